#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a Vault or OpenBao server hold what a specification says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_configuration
short_description: Make a Vault server hold what one specification says
version_added: "0.1.0"
description:
  - Reads everything the specification names, compares, and writes only what differs, in one process.
  - Names that the specification does not mention are left alone, unless O(purge) says otherwise.
  - Secret values are generated, derived and compared inside the module. They appear in no result, diff or variable.
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
      - Of secrets only the names of fields are shown, and why each would be written.
options:
  spec:
    description:
      - What the server shall hold.
    type: dict
    required: true
    suboptions:
      mounts:
        description:
          - Secrets engines. The type and the options of one that exists cannot be changed and are an error.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path of the engine.
            type: str
            required: true
          type:
            description: Type of the engine.
            type: str
            default: kv
          description:
            description: Text for people. An empty one leaves what is there.
            type: str
            default: ""
          options:
            description: 'Options of the engine, such as C({version: "2"}) for a KV engine with versions.'
            type: dict
            default: {}
          config:
            description:
              - What can be tuned, in the names of Vault's API, such as C(default_lease_ttl), C(max_lease_ttl) and
                C(listing_visibility). What is not given is left as it is.
            type: dict
            default: {}
          state:
            description: Whether it shall be there.
            type: str
            choices: [present, absent]
            default: present
          force:
            description: With O(spec.mounts[].state=absent), whether what is in the engine may be lost for ever.
            type: bool
            default: false
      auth_methods:
        description:
          - Auth methods. The type of one that exists cannot be changed and is an error.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path of the auth method, without C(auth/).
            type: str
            required: true
          type:
            description: Type of the auth method.
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
            description: Whether it shall be there.
            type: str
            choices: [present, absent]
            default: present
          force:
            description: With O(spec.auth_methods[].state=absent), whether its roles and users may be lost for ever.
            type: bool
            default: false
      kubernetes_auth_config:
        description:
          - Configurations of Kubernetes auth methods.
        type: list
        elements: dict
        default: []
        suboptions:
          mount:
            description: Path of the auth method, without C(auth/).
            type: str
            default: kubernetes
          fields:
            description:
              - The whole configuration, in the names of Vault's API, such as C(kubernetes_host).
            type: dict
            required: true
          token_reviewer_jwt:
            description:
              - Token that Vault reviews logins with. Without it Vault uses the token of its own pod, whose service
                account needs the ClusterRole C(system:auth-delegator).
              - See O(cloudcartops.platform.vault_kubernetes_auth_config#module:token_reviewer_jwt).
            type: str
      policies:
        description:
          - ACL policies. They are compared by what they mean, so comments, white space and order do not count.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the policy. Vault makes it lower case.
            type: str
            required: true
          policy:
            description: The policy, in HCL or JSON. Required with O(spec.policies[].state=present).
            type: str
          state:
            description: Whether it shall be there.
            type: str
            choices: [present, absent]
            default: present
      roles:
        description:
          - Roles of Kubernetes auth methods.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the role.
            type: str
            required: true
          mount:
            description: Path of the auth method, without C(auth/).
            type: str
            default: kubernetes
          fields:
            description:
              - The whole role, in the names of Vault's API. The old names C(ttl), C(max_ttl), C(period), C(policies),
                C(num_uses) and C(bound_cidrs) mean the new ones with C(token_).
              - Fields of the live role that are not given go back to their defaults.
              - A field the server does not know is an error (it would accept and ignore it). So is a policy that does
                not exist, and a role for every service account of every namespace.
              - Required with O(spec.roles[].state=present).
            type: dict
          state:
            description: Whether it shall be there.
            type: str
            choices: [present, absent]
            default: present
      secrets:
        description:
          - Secrets of KV version 2 engines.
          - Fields that nobody declares are kept. A soft-deleted secret is undeleted.
          - Two runs at once cannot overwrite each other (check-and-set).
        type: list
        elements: dict
        default: []
        suboptions:
          mount:
            description: Path of the engine.
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
              - As C(data), but Ansible also masks the values wherever else they would appear in this task's output.
            type: dict
            default: {}
          generate:
            description:
              - Fields that are generated once and then kept for ever. The key is the field's name, the value a
                dictionary with C(length) (32, the default, to 1024) and C(alphabet) (V(alphanumeric), the default, or
                V(hex)), or an empty one.
              - Values come from the operating system's random source.
            type: dict
            default: {}
          derive:
            description:
              - Fields that are made of the others. The key is the field's name, the value a template in which C({name})
                stands for a field of the same secret, quoted for use in a URL.
            type: dict
            default: {}
          state:
            description: Whether it shall be there. V(absent) deletes the newest version, which can be undeleted.
            type: str
            choices: [present, absent]
            default: present
          force:
            description: With O(spec.secrets[].state=absent), delete all versions for ever.
            type: bool
            default: false
  seed_secret:
    description:
      - Kubernetes Secret that keeps the generated values, so that a server in dev mode, which forgets everything when
        it restarts, is filled with the same values again.
      - It is written before Vault is. A value that is in Vault but not here is copied from Vault.
      - A server that stores what it holds is refused with this option. Never use it for production.
    type: dict
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      namespace:
        description: Namespace of the Secret.
        type: str
        required: true
  ownership:
    description:
      - Where to record the names of what this specification created, as a secret of a KV version 2 engine that the
        specification declares or that exists. It holds names only, and is written with check-and-set.
      - Every specification that is purged needs a record of its own.
    type: dict
    suboptions:
      mount:
        description: Path of the engine.
        type: str
        required: true
      path:
        description: Path of the record in the engine.
        type: str
        default: cloudcartops/ownership
  purge:
    description:
      - Remove what the record at O(ownership) names and the specification does not have any more. Whatever was there
        before, or was made by others, stays, and so does what every server has of its own.
      - Secrets are deleted in a way that can be undone (C(vault kv undelete), or having them in the specification
        again). A mount with something in it is an error, see C(force) of mounts.
    type: bool
    default: false
  purge_parts:
    description:
      - The parts of O(spec) that O(purge) is for. What else left the specification stays, and in the record.
    type: list
    elements: str
    choices: [roles, policies, secrets, auth_methods, mounts]
    default: [roles, policies, secrets, auth_methods, mounts]
  purge_limit:
    description:
      - Refuse, before anything is written, to purge more objects than this. Check mode shows them, with a warning.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Give PostgreSQL its secret, and a role to read it
  cloudcartops.platform.vault_configuration:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    service:
      namespace: cloudcart
    token_secret:
      name: vault-root-token
      namespace: cloudcart
    spec:
      mounts:
        - path: cloudcart
          options:
            version: "2"
      auth_methods:
        - path: kubernetes
      kubernetes_auth_config:
        - fields:
            kubernetes_host: https://kubernetes.default.svc
      policies:
        - name: database-policy
          policy: |
            path "cloudcart/data/database" {
              capabilities = ["read"]
            }
      roles:
        - name: postgres
          fields:
            bound_service_account_names: [postgres]
            bound_service_account_namespaces: [cloudcart]
            token_policies: [database-policy]
            token_ttl: 24h
      secrets:
        - mount: cloudcart
          path: database
          data:
            postgres_user: cloudcart
            postgres_host: postgres
          generate:
            postgres_password:
              length: 40
          derive:
            database_url: "postgresql://{postgres_user}:{postgres_password}@{postgres_host}:5432/cloudcart?sslmode=disable"

- name: Show what would change on a server that is reached directly
  cloudcartops.platform.vault_configuration:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    spec:
      policies:
        - name: audit
          policy: 'path "sys/audit" { capabilities = ["read", "sudo"] }'
  check_mode: true
  diff: true

- name: What this specification once created and does not have any more goes
  cloudcartops.platform.vault_configuration:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    spec:
      mounts:
        - path: shop
          options: {version: "2"}
      policies:
        - name: shop-database
          policy: 'path "shop/data/database" { capabilities = ["read"] }'
        - name: somebody-elses
          state: absent
    ownership: {mount: shop}
    purge: true
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode, in order.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One of V(mount), V(auth_method), V(kubernetes_auth_config), V(policy), V(role), V(seed), V(secret),
          V(record).
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
    - {kind: policy, name: database-policy, action: create}
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
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.configuration import configure


def main():
    run(configure, spec.OPTIONS, connection.OPTIONS, **connection.RULES, **spec.RULES)


if __name__ == "__main__":
    main()
