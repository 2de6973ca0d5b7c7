#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for Kubernetes objects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_rollout
short_description: Wait until workloads and other Kubernetes objects have reached a state, or say why they will not
version_added: "0.1.0"
description:
  - Waits for all the named objects at once, by watching them.
  - Fails as soon as success has become impossible, with the pod and container, the cause, the event or the last lines
    of the log that show it, and the fix. What looks like a secret is hidden in them.
  - Such causes are an image that cannot be pulled or is for another platform, a container that ends again and again
    or cannot be made, a pod that fits on no node, a volume that does not bind or mount, pods that a quota or a
    webhook does not let through, a probe that gets a final refusal, a pod that the injector has missed, a Vault agent
    that cannot log in or may not read its secret, a deadline that is over, and a Job that failed.
  - Trouble that was there when the wait began, and trouble that may pass, is given time to heal. The longest is
    O(grace); docs/diagnosis.md of the collection lists the rules.
  - Whether pods that could not be made before the wait may be made now is asked in a dry run. Who may not create pods
    has to wait for O(grace) then.
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
      - Does not wait, tells what it would wait for.
  diff_mode:
    support: N/A
    details:
      - The module changes nothing.
options:
  for:
    description:
      - What to wait for.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description:
          - Kind of the object.
        type: str
        required: true
      name:
        description:
          - Name of the object. It need not exist yet, unless O(for[].origin) is given.
        type: str
        required: true
      namespace:
        description:
          - Namespace of the object, if its kind has one.
        type: str
      api_version:
        description:
          - API version of the kind, needed only for kinds that are not built in.
        type: str
      origin:
        description:
          - What makes the object. When given, it is an error that the object does not exist, and the error names this.
        type: str
      condition:
        description:
          - The state to wait for; the case does not matter.
          - V(available) or V(ready) of a Deployment, StatefulSet or DaemonSet means that all its pods are, in their
            current version. V(complete) is for Jobs, V(bound) for volume claims, V(active) for namespaces. V(ready) of
            a Service means that it has a ready endpoint. V(started) of a Pod means that its containers run and have
            passed their startup probes. V(exists) and V(absent) suit every object.
          - Any other word is the type of a condition in the object's status that must be true.
          - When not given, it is V(available) for Deployments, V(complete) for Jobs, V(bound) for volume claims, and
            V(ready) for all others.
        type: str
  timeout:
    description:
      - Seconds to wait, for all objects together.
    type: int
    default: 300
  grace:
    description:
      - Seconds for which trouble that may pass by itself is tolerated.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Wait for the database and its first job
  cloudcartops.platform.k8s_rollout:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    timeout: 600
    for:
      - kind: StatefulSet
        name: postgres
        namespace: cloudcart
      - kind: Job
        name: postgres-schema
        namespace: cloudcart
        condition: complete
"""

RETURN = r"""
objects:
  description: The state of each object.
  returned: when the cluster is present, and on failure
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
      description: Namespace of the object.
      type: str
    condition:
      description: What was waited for.
      type: str
    met:
      description: Whether it has come.
      type: bool
    state:
      description: Its state in words.
      type: str
      sample: 1 of 1 pods ready
trouble:
  description: Why the wait is pointless.
  returned: on failure, unless the time was up
  type: dict
  contains:
    rule:
      description: Short name of the rule that found it.
      type: str
      sample: image
    workload:
      description: What was waited for.
      type: str
      sample: Deployment cloudcart/api-gateway
    object:
      description: What has the trouble.
      type: str
      sample: Pod cloudcart/api-gateway-5c9f7d7b8-x2x4v
    container:
      description: The container that has it; empty when it is no single one.
      type: str
    cause:
      description: What is wrong.
      type: str
    evidence:
      description: The event or the last lines of the log that show it.
      type: str
    fix:
      description: What to do about it.
      type: str
plan:
  description: What would be waited for.
  returned: in check mode
  type: list
  elements: str
  sample: ["wait for StatefulSet cloudcart/postgres to be ready"]
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.rollout import k8s_rollout


def main():
    item = {key: {"type": "str"} for key in ("namespace", "api_version", "condition", "origin")}
    item |= {key: {"type": "str", "required": True} for key in ("kind", "name")}
    options = {
        "for": {"type": "list", "elements": "dict", "required": True, "options": item},
        "timeout": {"type": "int", "default": 300},
        "grace": {"type": "int", "default": 30},
    }
    run(k8s_rollout, options, KUBERNETES)


if __name__ == "__main__":
    main()
