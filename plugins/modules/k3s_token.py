#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a K3s server make another join token."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_token
short_description: Have a K3s server make another join token
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Runs C(k3s token rotate) on a running server, which chooses the token and writes it to C(server/token) in
    O(data_dir).
  - The server has to be restarted for it, see O(cloudcartops.platform.k3s_service#module:own_paths). If it was not
    since the token was rotated, this does nothing, so that a run that was interrupted is completed and not begun again.
  - No token is shown, or an argument of a process.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  name:
    description: Name of the unit, with C(.service).
    type: str
    default: k3s.service
  program:
    description: Path of K3s.
    type: path
    default: /usr/local/bin/k3s
  data_dir:
    description: Directory of the data of K3s.
    type: path
    default: /var/lib/rancher/k3s
  server:
    description: URL of the server, as the host itself reaches it.
    type: str
    default: https://127.0.0.1:6443
"""

EXAMPLES = r"""
- name: Make another token
  cloudcartops.platform.k3s_token:
"""

RETURN = r"""
begun:
  description: Whether the token had been rotated before, without the restart that follows.
  returned: success
  type: bool
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.service import Unit
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.token import rotate

OPTIONS = {
    "name": {"type": "str", "default": "k3s.service"},
    "program": {"type": "path", "default": "/usr/local/bin/k3s"},
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "server": {"type": "str", "default": "https://127.0.0.1:6443"},
}


def logic(params: dict, check_mode: bool) -> dict:
    return rotate(Unit(params["name"]), params["program"], params["data_dir"], params["server"], check_mode)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
