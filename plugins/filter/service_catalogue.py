# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that merges the inventory's changes into the service catalogue."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_catalogue
short_description: Merge changes into the service catalogue, and refuse what would not work
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Merges the override in at every level. A value of V(null) leaves a service, or a key, out. A list of names as
    C(secrets) keeps the secrets of these names.
  - Fails with a list of everything that is wrong, each with its variable and its fix.
  - The keys are described at O(cloudcartops.platform.catalog#role:main:cloudcartops_services).
positional: override
options:
  _input:
    description: The services by name.
    type: dict
    required: true
  override:
    description: What differs from them.
    type: dict
    default: {}
  secrets:
    description: The secrets that there are, by name. When given, reading any other is an error.
    type: dict
"""

EXAMPLES = r"""
- name: Show what a second replica of one service makes of the catalogue
  ansible.builtin.debug:
    msg: "{{ services | cloudcartops.platform.service_catalogue(override) }}"
  vars:
    services:
      shop: {image: shop, port: 8080, health: /health}
    override:
      shop: {replicas: 2}
"""

RETURN = r"""
_value:
  description: The services by name.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue import services as catalogue


def service_catalogue(services, override=None, secrets=None):
    try:
        return catalogue.merged(services, {} if override is None else override, secrets)
    except PlatformError as e:
        raise AnsibleFilterError(str(e)) from e


class FilterModule:
    def filters(self):
        return {"service_catalogue": service_catalogue}
