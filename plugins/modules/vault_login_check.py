#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that service accounts can log in to Vault."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_login_check
short_description: Prove that Kubernetes service accounts can log in to Vault and read their secrets
version_added: "0.1.0"
description:
  - Makes a short-lived token of each service account, logs in with it as a pod would, reads what the role should be
    able to read, tries what it should be denied, and revokes the login.
  - Vault itself says no more than C(permission denied) for most failures. The module looks for the cause in what can be
    read in Vault and in Kubernetes. It tells apart a missing role, a wrong mount, an auth method without configuration,
    an account or namespace that the role is not for, audience, issuer, keys, CA and address of the Kubernetes API, a
    reviewer's token that is invalid or has expired, the missing right to review tokens, a pod of Vault whose own token
    is void, a policy that is missing or lacks C(data/), and a server that is sealed or cannot be reached.
  - The token of O(token) or O(token_secret) serves to look for causes. Logins do not use it.
  - Neither the tokens nor what is read appears in the result.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.vault_group
  - cloudcartops.platform.vault
attributes:
  check_mode:
    support: full
    details:
      - The module changes nothing, but logins leave a trace in Vault's audit log. In check mode a failure is no error.
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file of the cluster that the service accounts are in.
    type: path
    required: true
  logins:
    description:
      - The logins to try.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name of the role.
        type: str
        required: true
      mount:
        description: Path of the auth method, without C(auth/).
        type: str
        default: kubernetes
      service_account:
        description: Name of the ServiceAccount. The role's name when not given.
        type: str
      namespace:
        description: Namespace of the ServiceAccount.
        type: str
        required: true
      audiences:
        description: Audiences of the token, for a role with an audience. The API server's own when not given.
        type: list
        elements: str
        default: []
      reads:
        description: Paths that must be readable, as the API has them, so with C(data/) for a KV version 2 engine.
        type: list
        elements: str
        default: []
      denied:
        description: Paths that must not be readable.
        type: list
        elements: str
        default: []
  reviewer:
    description:
      - Name of the ServiceAccount as which Vault reviews tokens, in the namespace of O(service). That of Vault's pods
        when not given.
    type: str
  absent_accounts:
    description:
      - Whether a login of a ServiceAccount that does not exist (yet) is a failure, or is left out.
    type: str
    choices: [fail, skip]
    default: fail
  required:
    description:
      - Whether a login that fails is a failure of the module.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Prove that PostgreSQL gets its secret and no other
  cloudcartops.platform.vault_login_check:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    service: {namespace: cloudcart}
    token_secret: {name: vault-root-token, namespace: cloudcart}
    logins:
      - role: postgres
        namespace: cloudcart
        reads: [cloudcart/data/database]
        denied: [cloudcart/data/jwt]
"""

RETURN = r"""
ok:
  description: Whether all logins did what they should.
  returned: always
  type: bool
logins:
  description: What became of each login.
  returned: always
  type: list
  elements: dict
  contains:
    role:
      description: Name of the role.
      type: str
    mount:
      description: Path of the auth method.
      type: str
    service_account:
      description: Namespace and name of the ServiceAccount.
      type: str
    ok:
      description: Whether it did what it should, or was left out.
      type: bool
    skipped:
      description: Whether it was left out, because there is no such ServiceAccount.
      type: bool
    msg:
      description: What is wrong and what to do. Empty when nothing is.
      type: str
cluster:
  description: Whether the Kubernetes cluster exists. V(absent) only in check mode.
  returned: success
  type: str
vault:
  description: Whether the server exists. V(absent) only in check mode.
  returned: success
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection, login_check


def main():
    run(login_check.vault_login_check, login_check.OPTIONS, connection.OPTIONS, **connection.RULES)


if __name__ == "__main__":
    main()
