# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that builds the spec of vault_configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_spec
short_description: Build what Vault shall hold from a list of secrets and of who reads them
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns a value for the option O(cloudcartops.platform.vault_configuration#module:spec), with a KV version 2 engine,
    the Kubernetes auth method, a policy for each secret, and a role for each service that reads any.
positional: services
options:
  _input:
    description:
      - The secrets by name. Each is a dictionary with C(data), C(sensitive_data), C(generate) and C(derive), as
        M(cloudcartops.platform.vault_configuration) describes them.
    type: dict
    required: true
  services:
    description:
      - The services by name. C(secrets) of each lists the secrets it reads, or is a dictionary by their names;
        C(service_account) is the name of its ServiceAccount, by default the service's own. Other keys are ignored.
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
  kubernetes_host:
    description: Address of the Kubernetes API as Vault reaches it.
    type: str
    default: https://kubernetes.default.svc
  ttl:
    description: How long a login lasts.
    type: str
    default: 24h
"""

EXAMPLES = r"""
- name: Show the spec for one secret and one reader
  ansible.builtin.debug:
    msg: "{{ secrets | cloudcartops.platform.vault_spec(services, mount='cloudcart', namespace='cloudcart') }}"
  vars:
    secrets:
      database:
        generate:
          postgres_password: {}
    services:
      postgres:
        secrets: [database]
"""

RETURN = r"""
_value:
  description: The spec.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import catalogue


def vault_spec(secrets, services, mount, namespace, kubernetes_host="https://kubernetes.default.svc", ttl="24h"):
    try:
        return catalogue.vault_spec(secrets, services, mount, namespace, kubernetes_host, ttl)
    except PlatformError as e:
        raise AnsibleFilterError(str(e)) from e


class FilterModule:
    def filters(self):
        return {"vault_spec": vault_spec}
