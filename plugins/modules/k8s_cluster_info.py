#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a cluster answers, and what it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_cluster_info
short_description: Tell whether a Kubernetes cluster answers, its version and its nodes
version_added: "0.1.0"
description:
  - Connects to the cluster that a kubeconfig names.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
options:
  required:
    description:
      - Whether the absence of the cluster is an error outside check mode.
      - Anything else that goes wrong (refused credentials, a wrong certificate, a timeout) is an error in any case.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Learn whether the cluster answers
  cloudcartops.platform.k8s_cluster_info:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
  register: cluster_probe

- name: Show its nodes
  ansible.builtin.debug:
    msg: "{{ cluster_probe.nodes | map(attribute='name') | join(', ') }}"
  when: cluster_probe.cluster == 'present'
"""

RETURN = r"""
cluster:
  description: V(present), or V(absent) when there is no kubeconfig or nothing listens at its address.
  returned: always
  type: str
server:
  description: URL of the API server.
  returned: when the cluster is present
  type: str
  sample: https://192.0.2.10:6443
version:
  description: Version of the API server.
  returned: when the cluster is present
  type: str
  sample: v1.34.4+k3s1
nodes:
  description: The nodes; empty without a cluster.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
    ready:
      description: Whether the node is Ready.
      type: bool
    roles:
      description: Its roles by its labels, such as V(control-plane).
      type: list
      elements: str
    architecture:
      description: Its architecture as Kubernetes names it, such as V(amd64).
      type: str
    version:
      description: Version of its kubelet.
      type: str
    addresses:
      description: Its addresses by type, such as V(InternalIP).
      type: dict
    allocatable:
      description: What pods may use of it, as Kubernetes quantities.
      type: dict
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.info import k8s_cluster_info


def main():
    run(k8s_cluster_info, {"required": {"type": "bool", "default": True}}, KUBERNETES)


if __name__ == "__main__":
    main()
