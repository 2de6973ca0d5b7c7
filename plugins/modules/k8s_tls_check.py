#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a certificate and its key."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_tls_check
short_description: Check a certificate and its key before an Ingress uses them
version_added: "0.1.0"
description:
  - Fails, with everything that is wrong, when the key is not the certificate's, when the certificate does not cover a
    host, or when it is not valid now. Who signed it is not looked at.
  - Takes them from two files of the control node, or from a Secret of the cluster. Nothing of the key is returned.
  - Warns when the certificate expires within 30 days.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
options:
  hosts:
    description:
      - Names that the certificate has to cover.
    type: list
    elements: str
    required: true
  certificate:
    description:
      - Path of the certificate in PEM format, the server's own one first, then those that signed it.
    type: path
  key:
    description:
      - Path of its private key in PEM format, not encrypted.
    type: path
  secret:
    description:
      - Name of a Secret of the type C(kubernetes.io/tls).
    type: str
  namespace:
    description:
      - Namespace of O(secret).
    type: str
requirements:
  - cryptography
"""

EXAMPLES = r"""
- name: Check what the shop's Ingress will show
  cloudcartops.platform.k8s_tls_check:
    kubeconfig: ~/.kube/cloudcart-prod.yaml
    certificate: /etc/ssl/shop/fullchain.pem
    key: /etc/ssl/shop/key.pem
    hosts:
      - shop.example.com
      - vault.shop.example.com
"""

RETURN = r"""
names:
  description: The names that the certificate is for.
  returned: when there is a certificate
  type: list
  elements: str
  sample: [shop.example.com, "*.shop.example.com"]
not_after:
  description: When it expires, in UTC.
  returned: when there is a certificate
  type: str
  sample: "2027-02-01T12:00:00Z"
sha256:
  description: SHA-256 of the certificate (DER).
  returned: when there is a certificate
  type: str
  sample: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
cluster:
  description: V(absent) when the cluster of O(secret) does not exist yet.
  returned: in check mode, without a cluster
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.tls import k8s_tls_check

OPTIONS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "certificate": {"type": "path"},
    "key": {"type": "path", "no_log": False},
    "secret": {"type": "str", "no_log": False},
    "namespace": {"type": "str"},
}
RULES = {
    "required_together": [("certificate", "key"), ("secret", "namespace")],
    "required_one_of": [("certificate", "secret")],
    "mutually_exclusive": [("certificate", "secret")],
}


def main():
    run(k8s_tls_check, OPTIONS, KUBERNETES, **RULES)


if __name__ == "__main__":
    main()
