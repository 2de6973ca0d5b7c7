#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ACL policy of a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_policy
short_description: An ACL policy of a Vault server
version_added: "0.1.0"
description:
  - Writes and deletes an ACL policy.
  - Policies are compared by what they mean. Comments, white space, order, and whether it is HCL or JSON do not count.
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
    description: Name of the policy. Vault makes it lower case.
    type: str
    required: true
  policy:
    description: The policy, in HCL or JSON. Required with O(state=present).
    type: str
  state:
    description: Whether the policy shall be there. Built-in policies cannot be removed.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: The database's secret may be read
  cloudcartops.platform.vault_policy:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    name: shop-database
    policy: |
      path "shop/data/database" {
        capabilities = ["read"]
      }

- name: A policy goes
  cloudcartops.platform.vault_policy:
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
      description: Always V(policy).
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
    - {kind: policy, name: shop-database, action: create}
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
        single("policies"),
        spec.ITEMS["policies"],
        connection.OPTIONS,
        **connection.RULES,
        required_if=spec.REQUIRED_IF["policies"],
    )


if __name__ == "__main__":
    main()
