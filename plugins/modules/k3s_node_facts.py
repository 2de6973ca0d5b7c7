#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what the role k3s needs to know of a host, at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_node_facts
short_description: Read what the role k3s needs to know of a host, at once
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Reads the few facts of the host that the role needs, under the names that M(ansible.builtin.setup) gives them, and
    the state of files. Links are not followed.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
attributes:
  facts:
    description: Returns C(ansible_facts).
    support: full
options:
  paths:
    description: Absolute paths to describe. They do not need to exist.
    type: list
    elements: path
    default: []
  directories:
    description: Directories to describe, with what is directly in them. They do not need to exist.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Look at the host and at what is installed
  cloudcartops.platform.k3s_node_facts:
    paths: [/usr/local/bin/k3s]
    directories: [/var/lib/rancher/k3s/agent/images]
  register: installed
"""

RETURN = r"""
ansible_facts:
  description: Facts of the host.
  returned: success
  type: dict
  contains:
    architecture:
      description: The machine's name of its architecture.
      type: str
      sample: x86_64
    nodename:
      description: The host's own name.
      type: str
    default_ipv4:
      description: C(address) is the one that the host uses towards the default route. Empty without such a route.
      type: dict
      sample: {address: 192.0.2.10}
files:
  description: >-
    What was found, by path. C(kind) is V(absent), V(file), V(link), V(directory) or V(other); C(mode) is in octal;
    C(target) is there for links, C(sha256) for files.
  returned: success
  type: dict
  sample:
    /usr/local/bin/kubectl:
      kind: link
      mode: "0777"
      target: k3s
"""

import os

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import files

OPTIONS = {
    "paths": {"type": "list", "elements": "path", "default": []},
    "directories": {"type": "list", "elements": "path", "default": []},
}


def logic(params: dict, check_mode: bool) -> dict:
    uname, address = os.uname(), files.default_address()
    facts = {
        "architecture": uname.machine,
        "nodename": uname.nodename,
        "default_ipv4": {"address": address} if address else {},
    }
    found = files.describe_all(params["paths"] + params["directories"] + files.inside(params["directories"]))
    return {"changed": False, "ansible_facts": facts, "files": found}


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
