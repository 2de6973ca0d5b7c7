#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a Kubernetes auth method of a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kubernetes_auth_config
short_description: The configuration of a Kubernetes auth method
version_added: "0.1.0"
description:
  - Says how Vault reviews the tokens of the service accounts that log in.
  - Vault has no way to remove a configuration. M(cloudcartops.platform.vault_auth_method) with O(ignore:state=absent)
    disables the auth method as a whole.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.vault_group
  - cloudcartops.platform.vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Of the reviewer's JWT only its SHA-256 and its expiry are shown.
options:
  mount:
    description: Path of the auth method, without C(auth/). It must exist.
    type: str
    default: kubernetes
  fields:
    description:
      - The whole configuration, in the names of Vault's API, such as C(kubernetes_host), C(kubernetes_ca_cert) and
        C(disable_iss_validation). What is not given goes back to its default.
      - A field the server does not know is an error (it would accept and ignore it).
    type: dict
    required: true
  token_reviewer_jwt:
    description:
      - Token that Vault reviews logins with, instead of the token of its own pod. Prefer leaving it out, because
        Kubernetes renews the pod's token; its service account needs the ClusterRole C(system:auth-delegator).
      - Vault never gives it back. So that another one is noticed, its SHA-256 and its expiry are kept in the options
        of the auth method's mount, where nothing but this module uses them.
      - One that is malformed or has expired is refused. There is a warning when it expires within a day, or within a
        tenth of its life where that is shorter.
      - A JWT that somebody else put in the place of another one cannot be noticed; one that was removed is.
    type: str
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: Vault reviews logins with the token of its own pod
  cloudcartops.platform.vault_kubernetes_auth_config:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    service: {namespace: cloudcart}
    token_secret: {name: vault-root-token, namespace: cloudcart}
    fields:
      kubernetes_host: https://kubernetes.default.svc

- name: Vault runs outside of the cluster and needs a reviewer's token
  cloudcartops.platform.vault_kubernetes_auth_config:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    mount: kubernetes-staging
    fields:
      kubernetes_host: https://staging.example.com:6443
      kubernetes_ca_cert: "{{ lookup('ansible.builtin.file', 'staging-ca.pem') }}"
    token_reviewer_jwt: "{{ lookup('ansible.builtin.file', '~/.cloudcart/staging-reviewer.jwt') }}"
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode. Empty when everything is as it should be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Always V(kubernetes_auth_config).
      type: str
    name:
      description: Name of the object, after its mount where it has one.
      type: str
    action:
      description: One of V(create), V(update).
      type: str
    fields:
      description: Names of what differs, of an update.
      type: list
      elements: str
  sample:
    - {kind: kubernetes_auth_config, name: kubernetes, action: update, fields: [kubernetes_host]}
cluster:
  description: Whether the Kubernetes cluster exists. V(absent) only in check mode.
  returned: success
  type: str
  sample: present
vault:
  description: Whether the server exists. V(absent) only in check mode.
  returned: success
  type: str
  sample: present
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection, spec
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.configuration import single


def main():
    run(
        single("kubernetes_auth_config"),
        spec.ITEMS["kubernetes_auth_config"],
        connection.OPTIONS,
        **connection.RULES,
    )


if __name__ == "__main__":
    main()
