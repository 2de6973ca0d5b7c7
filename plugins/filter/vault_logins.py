# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that builds the logins of vault_login_check."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_logins
short_description: List the logins that prove that each service reads its secrets and no others
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns a value for the option O(cloudcartops.platform.vault_login_check#module:logins), from the same values as
    P(cloudcartops.platform.vault_spec#filter).
positional: services
options:
  _input:
    description: The secrets by name. Their values are not used.
    type: dict
    required: true
  services:
    description:
      - The services by name. C(secrets) of each lists the secrets it reads; C(service_account) is the name of its
        ServiceAccount, by default the service's own.
    type: dict
    required: true
  mount:
    description: Path of the KV engine.
    type: str
    required: true
  namespace:
    description: Namespace of the service accounts.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is to be tried
  ansible.builtin.debug:
    msg: "{{ secrets | cloudcartops.platform.vault_logins(services, mount='cloudcart', namespace='cloudcart') }}"
  vars:
    secrets:
      database: {}
      jwt: {}
    services:
      postgres:
        secrets: [database]
"""

RETURN = r"""
_value:
  description: The logins.
  type: list
  elements: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import catalogue


def vault_logins(secrets, services, mount, namespace):
    try:
        return catalogue.vault_logins(secrets, services, mount, namespace)
    except PlatformError as e:
        raise AnsibleFilterError(str(e)) from e


class FilterModule:
    def filters(self):
        return {"vault_logins": vault_logins}
