#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enable, tune and disable an auth method of a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_auth_method
short_description: An auth method of a Vault server
version_added: "0.1.0"
description:
  - Enables an auth method, tunes it, and disables it.
  - Disabling an auth method deletes its roles and revokes every token it gave. It is refused while there are roles,
    unless O(force) says so.
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
  path:
    description: Path of the auth method, without C(auth/).
    type: str
    required: true
  type:
    description: Type of the auth method. That of one that exists cannot be changed and is an error.
    type: str
    default: kubernetes
  description:
    description: Text for people. An empty one leaves what is there.
    type: str
    default: ""
  config:
    description:
      - What can be tuned, in the names of Vault's API, such as C(default_lease_ttl), C(max_lease_ttl) and
        C(listing_visibility). What is not given is left as it is.
    type: dict
    default: {}
  state:
    description: Whether the auth method shall be there.
    type: str
    choices: [present, absent]
    default: present
  force:
    description:
      - With O(state=absent), whether its roles and users may be lost for ever.
      - Only the Kubernetes auth method can be asked whether it is empty; any other one needs it.
    type: bool
    default: false
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: Let service accounts log in
  cloudcartops.platform.vault_auth_method:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    path: kubernetes-staging
    description: Service accounts of the staging cluster

- name: Nobody logs in that way any more, and the roles go too
  cloudcartops.platform.vault_auth_method:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    path: kubernetes-old
    state: absent
    force: true
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode. Empty when everything is as it should be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Always V(auth_method).
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
    - {kind: auth_method, name: kubernetes, action: create}
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
    run(single("auth_methods"), spec.ITEMS["auth_methods"], connection.OPTIONS, **connection.RULES)


if __name__ == "__main__":
    main()
