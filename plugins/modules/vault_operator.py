#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialise and unseal a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_operator
short_description: Initialise and unseal a Vault server, and revoke its root token
version_added: "0.1.0"
description:
  - Initialises a server and keeps its keys in a file on the control node, unseals it with them, and revokes its root
    token when it is no longer needed.
  - The file for the keys is opened, locked and written through to the disk before the server is initialised. Its answer
    goes there before anything else happens to it, in a process that outlives a kill of the module.
  - No key share or root token appears in the result, only fingerprints (the first 16 digits of the SHA-256).
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.vault_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  state:
    description:
      - V(status) only looks. It never fails because of the state the server is in.
      - V(initialized) initialises the server when that was not done yet.
      - V(unsealed) initialises it when O(keys_file) is given, and unseals it when it is sealed.
      - V(root_revoked) revokes the root token in O(keys_file), proves that the server refuses it, and takes it out of
        the file. Make sure before that there is another way in. C(vault operator generate-root) is the way back.
      - A server that is initialised and sealed, and whose keys are not here, is an error of its own.
    type: str
    choices: [status, initialized, unsealed, root_revoked]
    default: unsealed
  keys_file:
    description:
      - Path of the file on the control node with the keys. It is created with mode 0600. One that others may read is
        refused.
      - It is JSON. The key C(answer) holds what Vault answered (C(keys_base64) or C(recovery_keys_base64), and
        C(root_token)).
      - Keep a copy in a safe place. When the server is unsealed the file may be absent.
    type: path
  shares:
    description:
      - How many shares the key is split into, for O(state=initialized). Recovery keys when the server unseals itself.
    type: int
    default: 5
  threshold:
    description:
      - How many of them are needed.
    type: int
    default: 3
  pgp_keys:
    description:
      - Public PGP keys, one for each share, that the shares are encrypted with. In base64, without armor.
      - The file then holds encrypted shares, which only their owners can decrypt. The module cannot unseal by itself
        then.
    type: list
    elements: str
    default: []
  root_token_pgp_key:
    description:
      - Public PGP key that the root token is encrypted with.
    type: str
  unseal_keys:
    description:
      - Shares to unseal with, instead of those in O(keys_file).
    type: list
    elements: str
    default: []
  url:
    description:
      - Address of the server, when it can be reached directly.
      - One of O(url) and O(pod) is required.
    type: str
  pod:
    description:
      - Pod of the server in Kubernetes, reached through the API server's proxy with nothing but O(kubeconfig).
      - A sealed pod is not behind its Service, so it is addressed itself.
    type: dict
    suboptions:
      namespace:
        description: Namespace of the pod.
        type: str
        required: true
      name:
        description: Name of the pod.
        type: str
        default: vault-0
      port:
        description: Port of the pod.
        type: int
        default: 8200
      scheme:
        description: What the server speaks at that port.
        type: str
        choices: [http, https]
        default: http
  ca_cert:
    description:
      - Path of the CA certificates (PEM) that the server's certificate at O(url) is verified with.
      - The system's CA certificates are used when not given.
    type: path
  validate_certs:
    description:
      - Whether the server's certificate at O(url) is verified.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait for an answer of the server.
    type: int
    default: 30
  kubeconfig:
    description:
      - Path of the kubeconfig file for O(pod).
    type: path
  context:
    description:
      - Name of a context in O(kubeconfig). The file's current context when not given.
    type: str
requirements:
  - requests
  - PyYAML
  - kubernetes (only for a kubeconfig with an exec plugin or an auth provider such as OIDC)
notes:
  - Runs on the control node, as a task of the host that stands for the cluster.
  - HashiCorp Vault and OpenBao are both supported, over the API they share.
  - In check mode, when the cluster or the pod does not exist yet, the module returns the plan for a new server.
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: Initialise Vault once, and unseal it whenever its pod was restarted
  cloudcartops.platform.vault_operator:
    kubeconfig: ~/.kube/cloudcart-prod.yaml
    pod:
      namespace: cloudcart
    keys_file: ~/.cloudcart/vault-keys-prod.json

- name: Look at a server that is reached directly
  cloudcartops.platform.vault_operator:
    url: https://vault.example.com:8200
    state: status
  register: vault

- name: Revoke the root token, now that the operator can log in
  cloudcartops.platform.vault_operator:
    kubeconfig: ~/.kube/cloudcart-prod.yaml
    pod:
      namespace: cloudcart
    keys_file: ~/.cloudcart/vault-keys-prod.json
    state: root_revoked
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode, in order.
  returned: always, unless the options are wrong
  type: list
  elements: dict
  contains:
    action:
      description: One of V(initialize), V(keep_keys), V(unseal) and V(revoke_root_token).
      type: str
  sample:
    - {action: unseal}
status:
  description: What the server said of itself last. In check mode that is how it is, not how it would be.
  returned: always, unless the options are wrong
  type: dict
  contains:
    initialized:
      description: Whether it is initialised.
      type: bool
    sealed:
      description: Whether it is sealed.
      type: bool
    type:
      description: How it is unsealed, V(shamir) by key shares.
      type: str
    storage:
      description: Type of its storage.
      type: str
    shares:
      description: How many shares there are.
      type: int
    threshold:
      description: How many of them are needed.
      type: int
    version:
      description: Its version.
      type: str
keys:
  description:
    - Whether O(keys_file) has the keys. V(lost) means that a run was killed in the moment of initialisation.
  returned: success
  type: str
  sample: here
fingerprints:
  description: Fingerprints of the shares in O(keys_file), encrypted ones as they are there.
  returned: success
  type: list
  elements: str
  sample: ["sha256:0123456789abcdef"]
root_token:
  description:
    - What the root token in O(keys_file) is good for. V(none), V(usable), V(refused), V(encrypted), or V(unknown) while
      the server is sealed.
  returned: success
  type: str
  sample: none
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
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import operator


def main():
    run(operator.vault_operator, operator.OPTIONS, **operator.RULES)


if __name__ == "__main__":
    main()
