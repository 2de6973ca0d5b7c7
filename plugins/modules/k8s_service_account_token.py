#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token of a service account, in a file or returned."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_service_account_token
short_description: Make a token of a Kubernetes service account, and renew it before it expires
version_added: "0.1.0"
description:
  - Asks the API server for a token (TokenRequest) and keeps it in a file for its owner only, or returns it.
  - A token in the file stays as long as it is of the right account, audiences and bound object, has more time left than
    O(renew_before), and the API server still accepts it (TokenReview, where the kubeconfig's user may ask).
  - Tells when the API server granted less time than O(expiration).
  - Kubernetes cannot take a token back. It ends with its time, its service account, or the object it is bound to.
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
      - No token is made in check mode, so RV(token) is not returned.
  diff_mode:
    support: full
    details:
      - Shows what the token says of itself, never the token.
options:
  service_account:
    description:
      - Name of the ServiceAccount. Required unless O(state=absent).
    type: str
  namespace:
    description:
      - Namespace of the ServiceAccount. Required unless O(state=absent).
    type: str
  audiences:
    description:
      - Whom the token is for. The API server itself when not given.
    type: list
    elements: str
    default: []
  bound_object:
    description:
      - Object that the token ends with.
    type: dict
    suboptions:
      kind:
        description:
          - Kind of the object. A token for longer than an hour that is bound to a pod is refused, since it ends
            whenever the pod is replaced.
        type: str
        choices: [Pod, Secret, Node]
        required: true
      name:
        description: Name of the object, in O(namespace).
        type: str
        required: true
      uid:
        description: The object's uid, when it must be this very one.
        type: str
  expiration:
    description:
      - How long the token shall last, in seconds or as V(90m), V(24h), V(30d). At least ten minutes.
      - A change takes effect at the next renewal.
    type: str
    default: 1h
  renew_before:
    description:
      - How long before its end the token in the file is replaced, written like O(expiration). A fifth of the time
        that the server granted when not given.
    type: str
  path:
    description:
      - File for the token. It is written in one step and with mode 0600; missing directories are made.
      - When not given, the token is returned, and the task must have C(no_log=true).
      - Required when O(state=absent).
    type: path
  state:
    description:
      - V(absent) removes the file. The token in it stays valid until it expires.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Keep a reviewer's token for Vault, renewed a month ahead
  cloudcartops.platform.k8s_service_account_token:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    service_account: vault
    expiration: 365d
    renew_before: 30d
    path: ~/.kube/cloudcart-reviewer.jwt

- name: Get a short-lived token for a login to Vault
  cloudcartops.platform.k8s_service_account_token:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    service_account: user-service
    audiences: [vault]
    expiration: 10m
  no_log: true
  register: login

- name: Remove the file
  cloudcartops.platform.k8s_service_account_token:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    path: ~/.kube/cloudcart-reviewer.jwt
    state: absent
"""

RETURN = r"""
token:
  description: The token. The module is refused without C(no_log) on the task when it would return it.
  returned: success, without O(path), not in check mode
  type: str
path:
  description: The file, links followed. Empty when the token was returned.
  returned: success
  type: str
reason:
  description: Why there is a new token, or the file changed. Empty when the stored token stays.
  returned: success
  type: str
  sample: the stored one expires in 84 s
subject:
  description: Whose token it is.
  returned: when there is a token
  type: str
  sample: system:serviceaccount:cloudcart:vault
audiences:
  description: Whom the token is for.
  returned: when there is a token
  type: list
  elements: str
expires:
  description: When the token ends, in UTC.
  returned: when there is a token
  type: str
  sample: "2026-11-24T22:00:00Z"
lifetime:
  description: Seconds from the token's making to its end, as the server granted it.
  returned: when there is a token
  type: int
shortened:
  description: Whether the server just granted less than O(expiration).
  returned: when there is a token
  type: bool
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode, O(state=present)
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import service_account_token as logic


def main():
    run(
        logic.k8s_service_account_token,
        logic.OPTIONS,
        KUBERNETES,
        returns_secret=lambda params: not params["path"],
        required_if=[("state", "absent", ("path",)), ("state", "present", ("service_account", "namespace"))],
    )


if __name__ == "__main__":
    main()
