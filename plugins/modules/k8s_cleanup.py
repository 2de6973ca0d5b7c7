#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete what was applied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_cleanup
short_description: Delete what this collection applied to a namespace
version_added: "0.1.0"
description:
  - Deletes the objects of a namespace that carry the label C(app.kubernetes.io/managed-by=cloudcartops) and that of
    O(part_of). Also ClusterRoleBindings with these labels that are for accounts of this namespace only, and
    ClusterRoles with these labels that no other such binding is for.
  - Goes by component, and takes the workloads of each first. It waits until their pods have ended, so that these can
    still speak to what they use.
  - Looks at the built-in kinds. PersistentVolumeClaims stay, and so do custom resources and the objects of Helm.
  - What is being deleted already is waited for, but is no change.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - The server itself checks the deletions (a dry run). Without a cluster there is nothing to delete.
  diff_mode:
    support: full
    details:
      - Of a Secret only the keys are shown.
options:
  namespace:
    description:
      - The namespace.
    type: str
    required: true
  part_of:
    description:
      - Value of the label C(app.kubernetes.io/part-of) of what is deleted.
    type: str
    required: true
  order:
    description:
      - Values of the label C(app.kubernetes.io/component), in the order in which they go. Everything else goes last.
    type: list
    elements: str
    default: []
  keep:
    description:
      - Objects that stay, each as C(KIND/NAME).
    type: list
    elements: str
    default: []
  whole_namespace:
    description:
      - Deletes something else, which is the namespace with everything in it, volumes and objects of others included.
      - It must have this collection's label.
    type: bool
    default: false
  timeout:
    description:
      - Seconds to wait, in all, for the end of what is waited for.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Remove the shop, except the volumes and what holds their passwords
  cloudcartops.platform.k8s_cleanup:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    part_of: cloudcart
    order: [ingress, monitoring, apps, kafka, redis, postgresql]
    keep: [Secret/vault-seed]

- name: Remove the namespace, the data included
  cloudcartops.platform.k8s_cleanup:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    part_of: cloudcart
    whole_namespace: true
"""

RETURN = r"""
objects:
  description: What was deleted, in that order.
  returned: always, and on failure as far as it came
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
    name:
      description: Name of the object.
      type: str
    namespace:
      description: Namespace of the object; null when it has none.
      type: str
    action:
      description: V(deleted), or V(failed).
      type: str
    uid:
      description: The API's own identifier of the object.
      type: str
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
  sample: ["delete Deployment cloudcart/frontend"]
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.cleanup import k8s_cleanup


def main():
    options = {
        "namespace": {"type": "str", "required": True},
        "part_of": {"type": "str", "required": True},
        "order": {"type": "list", "elements": "str", "default": []},
        "keep": {"type": "list", "elements": "str", "default": []},
        "whole_namespace": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 300},
    }
    run(k8s_cleanup, options, KUBERNETES)


if __name__ == "__main__":
    main()
