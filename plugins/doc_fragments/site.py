# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that reaches the platform as its users do."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  address:
    description:
      - Where the ingress is reached from the control node, as C(host) or C(host:port). No host name has to be known to
        any DNS, nor to C(/etc/hosts).
      - The address of the API server when not given, because K3s serves the ingress on every node.
    type: str
  domain:
    description:
      - Host name of the shop.
    type: str
    default: cloudcart.local
  scheme:
    description:
      - What the ingress is asked in.
    type: str
    choices: [http, https]
    default: http
  ca_cert:
    description:
      - Path of the CA certificates (PEM) that the ingress' certificate is verified with, for O(scheme=https).
      - The system's CA certificates are used when not given.
    type: path
  validate_certs:
    description:
      - Whether that certificate is verified.
    type: bool
    default: true
"""
