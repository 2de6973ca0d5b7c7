#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep labels and taints of a node, or take it out of the cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_node
short_description: Keep the labels and taints of a node in step, or take it out of the cluster
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Sets labels and taints. Those that this module set before and that are not asked for any more are removed; those of
    others stay. An annotation of the node tells which are which.
  - With O(state=absent), lets no new pods onto the node, evicts those that are there as their disruption budgets allow,
    and deletes the node. Refuses, before anything is changed, a server, and a node with volumes that are bound and
    exist nowhere else, whose claims it lists.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  name:
    description: Name of the node.
    type: str
    required: true
  labels:
    description: Labels with their values.
    type: dict
    default: {}
  taints:
    description: Taints.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Key of the taint.
        type: str
        required: true
      value:
        description: Value of the taint.
        type: str
        default: ""
      effect:
        description: What it does to pods that do not tolerate it.
        type: str
        required: true
        choices: [NoSchedule, PreferNoSchedule, NoExecute]
  state:
    description: Whether the node is in the cluster.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description: Seconds that pods have to leave the node.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Keep a node for the database
  cloudcartops.platform.k8s_node:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    name: vm-2
    labels: {example.com/disk: fast}
    taints:
      - {key: example.com/database, effect: NoSchedule}

- name: Take it out of the cluster
  cloudcartops.platform.k8s_node:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    name: vm-2
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [label example.com/disk=fast, "taint example.com/database:NoSchedule"]
claims:
  description: The claims, as NAMESPACE/NAME, whose data is on this node only.
  returned: when the node is refused for them
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.nodes import k8s_node

TAINT = {
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str", "default": ""},
    "effect": {"type": "str", "required": True, "choices": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
}


def main() -> None:
    options = {
        "name": {"type": "str", "required": True},
        "labels": {"type": "dict", "default": {}},
        "taints": {"type": "list", "elements": "dict", "default": [], "options": TAINT},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "timeout": {"type": "int", "default": 300},
    }
    run(k8s_node, options, KUBERNETES)


if __name__ == "__main__":
    main()
