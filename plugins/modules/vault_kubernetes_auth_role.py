#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role of a Kubernetes auth method of a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kubernetes_auth_role
short_description: A role of a Kubernetes auth method
version_added: "0.1.0"
description:
  - Writes and deletes a role that service accounts log in with.
  - A field the server does not know, such as C(policy) or C(bound_audiences), is an error. The server itself would
    accept and ignore it, and leave a role without policies.
  - A policy that does not exist is an error, and so is a role for every service account of every namespace.
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
options:
  name:
    description: Name of the role.
    type: str
    required: true
  mount:
    description: Path of the auth method, without C(auth/). It must exist.
    type: str
    default: kubernetes
  fields:
    description:
      - The whole role, in the names of Vault's API, such as C(bound_service_account_names),
        C(bound_service_account_namespaces), C(audience), C(alias_name_source), C(token_policies) and C(token_ttl).
        Required with O(state=present).
      - The old names C(ttl), C(max_ttl), C(period), C(policies), C(num_uses) and C(bound_cidrs) mean the new ones with
        C(token_). Durations are seconds, or such as V(90s), V(30m), V(24h), V(7d).
      - Fields of the live role that are not given go back to their defaults.
    type: dict
  state:
    description: Whether the role shall be there.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: The shop's service account may read the database's secret
  cloudcartops.platform.vault_kubernetes_auth_role:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    name: shop
    fields:
      bound_service_account_names: [shop]
      bound_service_account_namespaces: [shop]
      audience: vault
      token_policies: [shop-database]
      token_ttl: 24h

- name: A role goes
  cloudcartops.platform.vault_kubernetes_auth_role:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    name: shop-legacy
    state: absent
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode. Empty when everything is as it should be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Always V(role).
      type: str
    name:
      description: Name of the object, after its mount where it has one.
      type: str
    action:
      description: One of V(create), V(update), V(delete).
      type: str
    fields:
      description: Names of what differs, of an update.
      type: list
      elements: str
  sample:
    - {kind: role, name: kubernetes/shop, action: update, fields: [token_ttl]}
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
        single("roles"),
        spec.ITEMS["roles"],
        connection.OPTIONS,
        **connection.RULES,
        required_if=spec.REQUIRED_IF["roles"],
    )


if __name__ == "__main__":
    main()
