#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the kubeconfig of a new cluster on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Write the kubeconfig of a K3s cluster on the control node
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Takes the kubeconfig that K3s writes for its own host, gives cluster, user and context a name, sets the address
    that works from the control node, and writes the result for its owner only (mode C(0600), missing directories
    C(0700)).
  - A file that holds other clusters is not overwritten. They stay as they are with O(merge), and a copy of the file as
    it was is kept next to it.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows names and addresses, never credentials.
requirements:
  - PyYAML
options:
  path:
    description: File to write. A symbolic link is followed.
    type: path
    required: true
  content:
    description:
      - The kubeconfig of the server, as text.
      - May be left out in check mode, for a server that does not run yet.
    type: str
  name:
    description: Name of cluster, user and context.
    type: str
    required: true
  server:
    description: URL of the API server.
    type: str
    required: true
  merge:
    description: Add the cluster to a file that may hold others.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the kubeconfig of the server
  ansible.builtin.slurp:
    src: /etc/rancher/k3s/k3s.yaml
  register: kubeconfig
  no_log: true

- name: Write it here
  cloudcartops.platform.kubeconfig:
    path: ~/.kube/cloudcart-dev.yaml
    content: "{{ kubeconfig.content | b64decode }}"
    name: cloudcart-dev
    server: https://192.0.2.11:6443
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file that was written, links resolved.
  returned: success
  type: str
context:
  description: Name of the context.
  returned: success
  type: str
backup_file:
  description: Copy of the file as it was before, or empty.
  returned: success
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils import kubeconfig_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

OPTIONS = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "no_log": True},
    "name": {"type": "str", "required": True},
    "server": {"type": "str", "required": True},
    "merge": {"type": "bool", "default": False},
}


def logic(params: dict, check_mode: bool) -> dict:
    if not params["content"] and not check_mode:
        raise PlatformError("content is empty.", "Read it from /etc/rancher/k3s/k3s.yaml of a server that runs.")
    return kubeconfig_file.ensure(
        params["path"], params["content"], params["name"], params["server"], params["merge"], check_mode
    )


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
