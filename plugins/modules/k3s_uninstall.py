#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take K3s off a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_uninstall
short_description: Take K3s off a host, with everything it runs and has set up
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Stops and disables the unit, kills the pods, unmounts what was mounted for them, and removes their network
    namespaces, interfaces, routes, firewall rules and cgroups. Then it removes the data, the configuration, the unit
    and the program.
  - Volumes of the local path provisioner stay unless O(volumes=absent).
  - Looks again at the end, and fails with a list if anything is left.
  - Refuses a host that runs another Kubernetes too, as both share directories, interfaces and firewall chains.
  - A run that was interrupted is completed by the next one. On a host that never had K3s nothing is changed.
  - What an administrator made stays. That is C(/etc/default/k3s*), kernel parameters, and settings of the firewall.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
    details:
      - Lists in RV(removed) what would be removed.
  diff_mode:
    support: full
options:
  data_dir:
    description: Directory of the data of K3s.
    type: path
    default: /var/lib/rancher/k3s
  volumes_dir:
    description: Directory of the volumes of the local path provisioner. By default C(storage) in O(data_dir).
    type: path
  volumes:
    description: Whether the volumes stay (V(kept)) or go (V(absent)).
    type: str
    choices: [kept, absent]
    default: kept
"""

EXAMPLES = r"""
- name: List what would be removed
  cloudcartops.platform.k3s_uninstall:
  check_mode: true
  register: k3s

- name: Remove K3s and all its data
  cloudcartops.platform.k3s_uninstall:
    volumes: absent
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode, a line each.
  returned: always, but for a refusal
  type: list
  elements: str
  sample: ["unit k3s.service", "process containerd-shim (pid 4711)", "interface cni0", "directory /var/lib/kubelet"]
kept_volumes:
  description: The C(path), C(namespace) and C(claim) of each volume that stays.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.uninstall import Host, System, uninstall

OPTIONS = {
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "volumes_dir": {"type": "path"},
    "volumes": {"type": "str", "choices": ["kept", "absent"], "default": "kept"},
}


def logic(params: dict, check_mode: bool) -> dict:
    data_dir = params["data_dir"]
    host = Host(data_dir, params["volumes_dir"] or f"{data_dir}/storage", System(data_dir))
    return uninstall(host, params["volumes"] == "kept", check_mode)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
