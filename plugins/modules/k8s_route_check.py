#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the routes of an Ingress answer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_route_check
short_description: Wait until the routes of an Ingress answer by the names of their hosts
version_added: "0.1.0"
description:
  - Asks the address of the Ingress for each route, with the host's name in the request, until all have given the wanted
    answer. The names need not resolve on the control node.
  - An answer is judged by its status and by what it contains, because a wrong service may well answer.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - Does not ask, tells what it would ask for.
  diff_mode:
    support: N/A
    details:
      - The module changes nothing.
options:
  ingress:
    description:
      - Name of the Ingress. Its status has the address, see O(address).
    type: str
    required: true
  namespace:
    description:
      - Namespace of the Ingress.
    type: str
    required: true
  address:
    description:
      - Address or name to ask at. When not given, the first one that the controller has written into the Ingress'
        status, which it is waited for.
    type: str
  port:
    description:
      - Port to ask at. When not given, 443 with O(tls), otherwise 80.
    type: int
  tls:
    description:
      - Whether to speak HTTPS. The certificate is not verified, but see O(certificate_sha256).
    type: bool
    default: false
  certificate_sha256:
    description:
      - SHA-256 of the certificate that must be shown, as M(cloudcartops.platform.k8s_tls_check) returns it.
    type: str
  routes:
    description:
      - What to ask for.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description:
          - Name of the host.
        type: str
        required: true
      path:
        description:
          - Path to ask for.
        type: str
        default: /
      status:
        description:
          - Statuses that are right.
        type: list
        elements: int
        default: [200]
      contains:
        description:
          - Text that the answer has to contain.
        type: str
  timeout:
    description:
      - Seconds to wait, for all routes together.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Wait until the shop can be reached
  cloudcartops.platform.k8s_route_check:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    ingress: cloudcart-ingress
    namespace: cloudcart
    routes:
      - host: cloudcart.local
        contains: <html
      - host: cloudcart.local
        path: /api/auth/validate
        status: [401]
"""

RETURN = r"""
address:
  description: Where it was asked. In check mode empty when O(address) was not given.
  returned: success
  type: str
  sample: 192.0.2.11
routes:
  description: The answers.
  returned: success, not in check mode
  type: list
  elements: dict
  contains:
    url:
      description: What was asked for.
      type: str
    status:
      description: Status of the answer.
      type: int
plan:
  description: What would be asked for.
  returned: in check mode
  type: list
  elements: str
  sample: ["ask for http://cloudcart.local/"]
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.routes import k8s_route_check

ROUTE = {
    "host": {"type": "str", "required": True},
    "path": {"type": "str", "default": "/"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "contains": {"type": "str"},
}
OPTIONS = {
    "ingress": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "address": {"type": "str"},
    "port": {"type": "int"},
    "tls": {"type": "bool", "default": False},
    "certificate_sha256": {"type": "str"},
    "routes": {"type": "list", "elements": "dict", "required": True, "options": ROUTE},
    "timeout": {"type": "int", "default": 120},
}


def main():
    run(k8s_route_check, OPTIONS, KUBERNETES)


if __name__ == "__main__":
    main()
