#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of secrets of KV version 2 engines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kv2_fingerprint_info
short_description: Tell whether secrets in Vault have changed, without telling them
version_added: "0.1.0"
description:
  - Returns a fingerprint of each secret. It changes when, and only when, a value of the keys in question does, so a pod
    that has it among its annotations is replaced when its secret was changed.
  - A secret that was written again with the same values, in a Vault that lost everything too, has the same fingerprint.
    Nothing is kept anywhere for that.
  - A fingerprint does not tell the values. To try a guess costs a twentieth of a second (scrypt), so that weak values
    cannot be found by trying many. This is also the time that the module takes for each secret.
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
      - The module only reads. In check mode a cluster, server, secret or key that does not exist yet is no error.
options:
  secrets:
    description:
      - The secrets, each path once.
    type: list
    elements: dict
    required: true
    suboptions:
      mount:
        description: Path of the engine.
        type: str
        required: true
      path:
        description: Path of the secret in the engine.
        type: str
        required: true
      keys:
        description: The keys whose values count. All when not given.
        type: list
        elements: str
"""

EXAMPLES = r"""
- name: Have a fingerprint of what the service reads
  cloudcartops.platform.vault_kv2_fingerprint_info:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    service: {namespace: cloudcart}
    token_secret: {name: vault-root-token, namespace: cloudcart}
    secrets:
      - {mount: cloudcart, path: database, keys: [postgres_user, postgres_password]}
      - {mount: cloudcart, path: jwt}
  register: shop
"""

RETURN = r"""
fingerprints:
  description:
    - The fingerprint of each secret, by path, as hexadecimal digits. In check mode an empty text for one that does not
      exist yet.
  returned: success
  type: dict
  sample: {"database": "75f2cc3d2b0b3f1a2cb0d4fb2b9a3d53"}
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
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection, fingerprints


def main():
    run(fingerprints.vault_kv2_fingerprint_info, fingerprints.OPTIONS, connection.OPTIONS, **connection.RULES)


if __name__ == "__main__":
    main()
