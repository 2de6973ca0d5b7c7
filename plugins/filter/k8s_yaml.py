# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that writes Kubernetes objects as k8s_apply would send them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: k8s_yaml
short_description: Write Kubernetes objects as YAML, as k8s_apply would send them
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns one YAML document for each object, with the namespace and the labels that
    M(cloudcartops.platform.k8s_apply) would add. The same objects give the same text.
  - Secrets are left out, so that the text can go to a repository.
positional: namespace
options:
  _input:
    description: The objects, as the Kubernetes API defines them.
    type: list
    elements: dict
    required: true
  namespace:
    description: Namespace of the objects that need one and do not name it.
    type: str
    required: true
  part_of:
    description: Value of the label C(app.kubernetes.io/part-of).
    type: str
  component:
    description: Value of the label C(app.kubernetes.io/component).
    type: str
"""

EXAMPLES = r"""
- name: Write what would be applied to a file
  ansible.builtin.copy:
    content: "{{ redis_manifests | cloudcartops.platform.k8s_yaml('cloudcart', part_of='cloudcart') }}"
    dest: redis.yaml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The YAML documents.
  type: str
"""

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import COMPONENT, PART_OF, prepare


class Dumper(yaml.SafeDumper):
    """Text of several lines is written as such, and nothing by reference to another place."""

    def ignore_aliases(self, data):
        return True


def _text(dumper, value):
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style="|" if "\n" in value else None)


for plain, represent in ((str, _text), (dict, Dumper.represent_dict), (list, Dumper.represent_list)):
    Dumper.add_multi_representer(plain, represent)
Dumper.add_multi_representer(int, lambda dumper, value: dumper.represent_int(int(value)))
Dumper.add_representer(str, _text)


def k8s_yaml(definitions, namespace, part_of=None, component=None):
    try:
        objects = prepare(definitions, {PART_OF: part_of, COMPONENT: component}, namespace)
    except PlatformError as e:
        raise AnsibleFilterError(str(e)) from e
    shown = [obj for obj in objects if obj["kind"] != "Secret"]
    return yaml.dump_all(shown, Dumper=Dumper, explicit_start=True, width=4096, allow_unicode=True)


class FilterModule:
    def filters(self):
        return {"k8s_yaml": k8s_yaml}
