#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a Secret of random values, once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_random_secret
short_description: Make a Kubernetes Secret of random values, once
version_added: "0.1.0"
description:
  - Gives a Secret a random value for each field that it lacks, from the operating system's random number generator.
  - A field that has a value keeps it, whatever its rule says now. Fields that O(fields) does not name are left alone.
  - The values go to the API server only; they are never shown, returned or written elsewhere.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the names of the fields only.
options:
  name:
    description:
      - Name of the Secret.
    type: str
    required: true
  namespace:
    description:
      - Namespace of the Secret. It must exist.
    type: str
    required: true
  fields:
    description:
      - The fields by name. Each value is a dictionary, possibly empty, of C(length) (16 to 1024 characters, by default
        32) and C(alphabet) (V(alphanumeric), the default, V(hex) or V(digits)).
    type: dict
    required: true
  part_of:
    description:
      - Value of the label C(app.kubernetes.io/part-of), when the Secret is created.
    type: str
"""

EXAMPLES = r"""
- name: Make the root token of the dev server
  cloudcartops.platform.k8s_random_secret:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    name: vault-dev
    fields:
      token:
        length: 40
"""

RETURN = r"""
created:
  description: Names of the fields that got a value, or would get one in check mode.
  returned: always
  type: list
  elements: str
  sample: [token]
uid:
  description: The Secret's uid, which changes when the Secret was deleted and made anew. Empty when there is no Secret.
  returned: always
  type: str
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
  sample: ["generate token of Secret cloudcart/vault-dev"]
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.random_secret import k8s_random_secret


def main():
    options = {
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "fields": {"type": "dict", "required": True},
        "part_of": {"type": "str"},
    }
    run(k8s_random_secret, options, KUBERNETES)


if __name__ == "__main__":
    main()
