#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply Kubernetes objects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_apply
short_description: Apply any number of Kubernetes objects in one step
version_added: "0.1.0"
description:
  - Makes live objects match their definitions by server-side apply, as the field manager V(cloudcartops), and writes
    only objects that differ. Fields that the definitions do not name are left to whoever set them.
  - All objects go through one connection, in an order that lets each find what it needs (namespaces and custom resource
    definitions first, workloads late, webhooks last), several at a time. Their order in O(definitions) does not matter.
  - A Job that has failed is deleted and created anew, because it would never run again. An object that is being deleted
    is created anew when it is gone; it is an error when something holds it.
  - Every object gets the label C(app.kubernetes.io/managed-by=cloudcartops), which marks it as this collection's.
  - With O(prune), deletes what an earlier run applied and O(definitions) does not have any more.
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
      - The server itself checks the objects (a dry run), with its admission webhooks.
  diff_mode:
    support: full
    details:
      - Of a Secret only the keys are shown.
options:
  definitions:
    description:
      - The objects, as the Kubernetes API defines them.
      - The values of a Secret are never shown, not even in what C(-vvv) prints of the arguments.
      - May be empty, which is of use with O(prune).
    type: list
    elements: dict
    required: true
  namespace:
    description:
      - Namespace of the objects that need one and do not name it.
    type: str
  part_of:
    description:
      - Value of the label C(app.kubernetes.io/part-of) that every object gets.
    type: str
  component:
    description:
      - Value of the label C(app.kubernetes.io/component) that every object gets.
    type: str
  prune:
    description:
      - Deletes the objects in O(namespace) that carry this collection's label and those of O(part_of) and
        O(component), and are not in O(definitions). All three options are needed. Other namespaces are not looked at.
      - Looks at the built-in kinds. PersistentVolumeClaims, objects with an owner reference and objects without a
        namespace, such as namespaces, stay, and so do custom resources.
      - Nothing is deleted when an object of O(definitions) could not be applied.
      - Does not wait until the objects are gone. What they own, such as pods, goes in the background.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Apply a namespace and what runs in it
  cloudcartops.platform.k8s_apply:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    part_of: cloudcart
    definitions:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: cloudcart
      - apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: user-service
          namespace: cloudcart

- name: Apply the cache, and remove what an earlier version of it had and this one has not
  cloudcartops.platform.k8s_apply:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    part_of: cloudcart
    component: redis
    prune: true
    definitions: "{{ redis_manifests }}"

- name: Remove the cache, except its volume
  cloudcartops.platform.k8s_apply:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    part_of: cloudcart
    component: redis
    prune: true
    definitions: []
"""

RETURN = r"""
objects:
  description: What became of each object, in the order of O(definitions), then what was pruned.
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
      description: V(created), V(updated), V(deleted), V(unchanged), or V(failed).
      type: str
    uid:
      description:
        - The API's own identifier of the object; null when there is none.
        - Of no meaning for an object that check mode would create.
      type: str
  sample:
    - {kind: Namespace, name: cloudcart, namespace: null, action: created, uid: 0c5a2f1e-6f0b-4f7e-9a55-3d1f7f3f8a21}
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
  sample: ["create Namespace cloudcart"]
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import k8s_apply


def main():
    options = {
        "definitions": {"type": "list", "elements": "dict", "required": True},
        "namespace": {"type": "str"},
        "part_of": {"type": "str"},
        "component": {"type": "str"},
        "prune": {"type": "bool", "default": False},
    }
    run(k8s_apply, options, KUBERNETES)


if __name__ == "__main__":
    main()
