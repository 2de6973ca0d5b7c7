#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what preflight needs to know of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Read what the preflight checks need to know of a host
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Reads operating system, architecture, size, kernel, clock, network, listening ports and what is installed of a host
    in one call.
  - Judges nothing; the filter P(cloudcartops.platform.preflight_errors#filter) does.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
options:
  data_dir:
    description: Directory that K3s keeps its data in. It does not need to exist.
    type: path
    default: /var/lib/rancher/k3s
  ports:
    description: TCP ports to look for listeners on.
    type: list
    elements: int
    default: [6443, 10250]
  server_url:
    description: URL of a server that the host must reach. That nothing listens there yet is no problem.
    type: str
    default: ""
  now:
    description: Seconds since the epoch by the control node's clock, to compare the host's with.
    type: float
  patience:
    description: Seconds to wait for the end of cloud-init, and of what holds a lock of the package manager.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Look at the host
  cloudcartops.platform.preflight_info:
  register: host
"""

RETURN = r"""
host:
  description: What was read.
  returned: success
  type: dict
  contains:
    os:
      description: C(id), C(version) and C(name) of the operating system, from C(/etc/os-release).
      type: dict
    architecture:
      description: The machine's name of its architecture.
      type: str
      sample: x86_64
    hostname:
      description: The host's own name.
      type: str
    cpus:
      description: Processors that may be used.
      type: int
    memory_mib:
      description: Memory in MiB.
      type: int
    swap_mib:
      description: Swap in MiB.
      type: int
    cgroups:
      description: C(version) of the cgroups, and the controllers that are C(missing).
      type: dict
    kernel:
      description:
        - C(release) of the kernel, and the modules that it is certainly C(missing), each with whether it is
          C(packaged), so that only the file is not there.
      type: dict
    inotify:
      description: How many C(instances) and C(watches) a user may have.
      type: dict
    clock:
      description: How many seconds it is C(ahead) of O(now), and whether it is C(synchronized) with a time server.
      type: dict
    default_route:
      description: Whether there is a default route.
      type: bool
    name_servers:
      description: The name servers that K3s gives to pods. Empty if it would make one up.
      type: list
      elements: str
    firewalls:
      description: Front ends of the firewall that are on.
      type: list
      elements: str
    server:
      description:
        - C(host) and C(port) of O(server_url), and a C(problem). That is V(name) if its address is not found, V(route)
          if it is not reached, or empty. C(words) are the system's own.
      type: dict
    root:
      description: Whether the module ran as root.
      type: bool
    systemd:
      description: Whether systemd runs.
      type: bool
    busy:
      description: What still sets the host up after O(patience), or empty.
      type: str
    file_system:
      description: C(mount), C(size_gib) and C(free_gib) of the file system that holds O(data_dir).
      type: dict
    installed:
      description: Whether O(data_dir) has been used by K3s.
      type: bool
    k3s_version:
      description: Version of K3s that is installed, or empty.
      type: str
    etcd:
      description: Whether O(data_dir) holds an etcd.
      type: bool
    certificates:
      description:
        - Certificates of K3s, the first to end first, each with its C(path), when it C(ends), in UTC, in how many
          C(days) that is, and whether it is a certificate C(authority).
      type: list
      elements: dict
    other_kubernetes:
      description: Other distributions of Kubernetes that are installed.
      type: list
      elements: str
    units:
      description: Units of K3s that are installed.
      type: list
      elements: str
    ports:
      description: Those of O(ports) that something listens on, each with its C(owner) (C(pid), C(name) and C(unit)).
      type: list
      elements: dict
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import preflight

OPTIONS = {
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "ports": {"type": "list", "elements": "int", "default": [6443, 10250]},
    "server_url": {"type": "str", "default": ""},
    "now": {"type": "float"},
    "patience": {"type": "int", "default": 0},
}


def logic(params: dict, check_mode: bool) -> dict:
    return {"changed": False, "host": preflight.collect(**params)}


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
