# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that lists what the services of the catalogue read of Vault."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_secrets
short_description: List what the services of the catalogue read of Vault
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns a value for the option O(cloudcartops.platform.vault_kv2_fingerprint_info#module:secrets), with the
    keys that services with an C(image) take.
positional: mount
options:
  _input:
    description: The services by name, as P(cloudcartops.platform.service_catalogue#filter) returns them.
    type: dict
    required: true
  mount:
    description: Path of the KV engine.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is read
  ansible.builtin.debug:
    msg: "{{ services | cloudcartops.platform.service_secrets('cloudcart') }}"
  vars:
    services:
      shop: {image: shop, command: [/shop], secrets: {jwt: {JWT_SECRET: secret}}}
"""

RETURN = r"""
_value:
  description: C(mount), C(path) and C(keys) of each secret.
  type: list
  elements: dict
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue.manifests import secrets_read


class FilterModule:
    def filters(self):
        return {"service_secrets": secrets_read}
