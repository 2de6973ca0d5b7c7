# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that compares the injector's annotations with what Vault will hold."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_annotation_errors
short_description: Find what would keep pods from getting their secrets, without a cluster
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Looks at the annotations C(vault.hashicorp.com/...) of the pods in rendered manifests. Reports a role that does not
    exist, or is not for the pod's service account or namespace, a path that no policy of the role allows to read, or
    that lacks C(data/), a secret that does not exist, and a key that a template takes and the secret does not have.
positional: spec
options:
  _input:
    description: The manifests. Those without a pod are passed over.
    type: list
    elements: dict
    required: true
  spec:
    description: What Vault will hold, as for the option O(cloudcartops.platform.vault_configuration#module:spec).
    type: dict
    required: true
  namespace:
    description: Namespace of the manifests that name none.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check the annotations of a Deployment
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ manifests | cloudcartops.platform.vault_annotation_errors(spec, namespace='cloudcart') }}"
    manifests: "{{ lookup('ansible.builtin.file', 'deployment.yml') | from_yaml_all }}"
    spec: "{{ secrets | cloudcartops.platform.vault_spec(services, mount='cloudcart', namespace='cloudcart') }}"
    secrets:
      database:
        generate:
          password: {}
    services:
      shop:
        secrets: [database]
"""

RETURN = r"""
_value:
  description: What is wrong, a sentence each. Empty when nothing is.
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.annotations import annotation_errors


def vault_annotation_errors(manifests, spec, namespace):
    return annotation_errors(list(manifests), spec, namespace)


class FilterModule:
    def filters(self):
        return {"vault_annotation_errors": vault_annotation_errors}
