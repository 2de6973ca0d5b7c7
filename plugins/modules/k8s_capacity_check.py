#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether the nodes have room."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_capacity_check
short_description: Check before a deployment whether the nodes have room for it
version_added: "0.1.0"
description:
  - Adds up what workloads ask for, including what Vault's injector adds to their pods, and places the pods on the
    nodes, the largest first. Says what will not fit, and what each node has free.
  - Looks at CPU, memory, the number of pods, node selectors, required node affinity, taints, cordoned nodes and nodes
    that are not Ready, and on which node the data of existing volumes is.
  - What runs already of the same workloads counts as free, since it is replaced. All other pods of the cluster count.
  - The scheduler may spread pods less well than this check, and has further rules, such as affinity between pods.
    During a rolling update a Deployment may need room for one more pod.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
options:
  definitions:
    description:
      - The objects that are to be deployed. Deployments, StatefulSets, DaemonSets and Jobs are counted, others ignored.
    type: list
    elements: dict
    required: true
  namespace:
    description:
      - Namespace of the objects that do not name theirs.
    type: str
    required: true
  agent_resources:
    description:
      - What the injector is set to give each agent container, where the annotations of a pod do not say it.
      - A pod with the annotation C(vault.hashicorp.com/agent-inject) gets an agent as an init container, and another
        one beside its containers unless C(vault.hashicorp.com/agent-pre-populate-only) is set.
    type: dict
    default:
      requests: {cpu: 250m, memory: 64Mi}
      limits: {cpu: 500m, memory: 128Mi}
  required:
    description:
      - Whether it is an error that not everything fits.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Check that the apps fit
  cloudcartops.platform.k8s_capacity_check:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    definitions: "{{ apps_manifests }}"
"""

RETURN = r"""
fits:
  description: Whether everything fits.
  returned: when the cluster is present
  type: bool
nodes:
  description: The nodes, with all that was placed on them.
  returned: when the cluster is present
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
    usable:
      description: Whether it is Ready and takes new pods.
      type: bool
    note:
      description: Why it is not usable.
      type: str
    requested:
      description: What its pods will have asked for, as C(cpu), C(memory) and C(pods).
      type: dict
    free:
      description: What is left then.
      type: dict
    allocatable:
      description: What pods may use of it in all.
      type: dict
  sample:
    - name: shop-1
      usable: true
      note: ""
      requested: {cpu: 3100m, memory: 5120Mi, pods: "24"}
      free: {cpu: 900m, memory: 2731Mi, pods: "86"}
      allocatable: {cpu: 4000m, memory: 7851Mi, pods: "110"}
lacking:
  description: The workloads that do not fit; empty when all do.
  returned: when the cluster is present
  type: list
  elements: dict
  contains:
    workload:
      description: Kind, namespace and name.
      type: str
    pods:
      description: How many of its pods do not fit.
      type: int
    of:
      description: How many pods it has.
      type: int
    requests:
      description: What each of them asks for.
      type: dict
    nodes:
      description: For each node why it does not take such a pod, or what it has free.
      type: dict
  sample:
    - workload: Deployment cloudcart/api-gateway
      pods: 1
      of: 2
      requests: {cpu: 500m, memory: 320Mi, pods: "1"}
      nodes: {shop-1: has 100m CPU and 2731Mi memory free}
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: success
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.capacity import (
    AGENT_RESOURCES,
    k8s_capacity_check,
)


def main():
    options = {
        "definitions": {"type": "list", "elements": "dict", "required": True},
        "namespace": {"type": "str", "required": True},
        "agent_resources": {"type": "dict", "default": AGENT_RESOURCES},
        "required": {"type": "bool", "default": True},
    }
    run(k8s_capacity_check, options, KUBERNETES)


if __name__ == "__main__":
    main()
