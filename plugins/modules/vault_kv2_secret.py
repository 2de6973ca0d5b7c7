#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret of a KV version 2 engine of a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kv2_secret
short_description: A secret of a KV version 2 engine, generated where nobody needs to know it
version_added: "0.1.0"
description:
  - Writes a secret whose fields are given, generated once, or derived from the others, inside the module. Its values
    appear in no result, diff or variable.
  - Fields that nobody declares are kept. Two runs at once cannot overwrite each other (check-and-set).
  - A secret whose newest version was deleted is undeleted, so that its generated fields stay what they were.
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
      - Only the names of fields are shown, and why each would be written.
options:
  mount:
    description: Path of the engine. It must exist.
    type: str
    required: true
  path:
    description: Path of the secret in the engine.
    type: str
    required: true
  data:
    description: Fields whose values you supply, as texts or numbers. They are stored as texts.
    type: dict
    default: {}
  sensitive_data:
    description:
      - As O(data), but Ansible also masks the values wherever else they would appear in this task's output.
    type: dict
    default: {}
  generate:
    description:
      - Fields that are generated once and then kept for ever. The key is the field's name, the value a dictionary with
        C(length) (32, the default, to 1024) and C(alphabet) (V(alphanumeric), the default, or V(hex)), or an empty one.
      - Values come from the operating system's random source.
    type: dict
    default: {}
  derive:
    description:
      - Fields that are made of the others. The key is the field's name, the value a template in which C({name}) stands
        for a field of the same secret, quoted for use in a URL.
    type: dict
    default: {}
  state:
    description: Whether the secret shall be there. V(absent) deletes its newest version, which can be undeleted.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: With O(state=absent), delete all versions for ever.
    type: bool
    default: false
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: The database's password is generated where it is kept
  cloudcartops.platform.vault_kv2_secret:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    mount: shop
    path: database
    data:
      user: shop
      host: postgres
    generate:
      password: {length: 40}
    derive:
      url: "postgresql://{user}:{password}@{host}:5432/shop?sslmode=disable"

- name: A secret goes, but can be brought back
  cloudcartops.platform.vault_kv2_secret:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    mount: shop
    path: legacy
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
      description: Always V(secret).
      type: str
    name:
      description: Name of the object, after its mount where it has one.
      type: str
    action:
      description: One of V(create), V(update), V(undelete), V(delete).
      type: str
    fields:
      description: Names of what differs, of an update.
      type: list
      elements: str
  sample:
    - {kind: secret, name: shop/database, action: update, fields: [password]}
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
    run(single("secrets"), spec.ITEMS["secrets"], connection.OPTIONS, **connection.RULES)


if __name__ == "__main__":
    main()
