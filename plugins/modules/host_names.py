#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have names in the machine's own list of hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_names
short_description: Have names in the machine's own list of hosts, or remove them from there
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Keeps one marked block in C(/etc/hosts), and the same one in what that file is made of where there is such a file.
  - A name that C(/etc/hosts) has outside of the block keeps the entry it has. The
    module warns when that leads elsewhere.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  names:
    description: The names.
    type: list
    elements: str
    required: true
  mark:
    description: What the first and the last line of the block say after C(BEGIN) and C(END).
    type: str
    required: true
  address:
    description: Address that the names lead to. By default it is the machine's own, towards the default route.
    type: str
  state:
    description: Whether the block is there.
    type: str
    choices: [present, absent]
    default: present
  path:
    description: The list of hosts. It is made if it does not exist.
    type: path
    default: /etc/hosts
  templates:
    description: Files that get the block too if they exist, such as the one that cloud-init writes O(path) from.
    type: list
    elements: path
    default: [/etc/cloud/templates/hosts.debian.tmpl]
"""

EXAMPLES = r"""
- name: Let the machine find the shop
  cloudcartops.platform.host_names:
    names: [cloudcart.local, prometheus.cloudcart.local]
    mark: CloudCart dev
"""

RETURN = r"""
address:
  description: Address that the names lead to.
  returned: success
  type: str
elsewhere:
  description: Entries outside of the block that lead elsewhere.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import names

OPTIONS = {
    "names": {"type": "list", "elements": "str", "required": True},
    "mark": {"type": "str", "required": True},
    "address": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path", "default": "/etc/hosts"},
    "templates": {"type": "list", "elements": "path", "default": ["/etc/cloud/templates/hosts.debian.tmpl"]},
}


def logic(params: dict, check_mode: bool) -> dict:
    paths = [params["path"], *params["templates"]]
    absent = params["state"] == "absent"
    return names.ensure(paths, params["names"], params["mark"], params["address"], absent, check_mode)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
