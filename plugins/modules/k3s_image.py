#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have images in the store of a K3s node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_image
short_description: Have images in the store of a K3s node before anything needs them
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Pulls, on the node itself, the images that it does not have.
  - Checks that each image is for the node's operating system and architecture, those that were there already too.
  - Everything that is wrong is reported at once, each image with the reason and the fix.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
    details:
      - Images that are missing count as changed. Whether a registry has them is not asked.
  diff_mode:
    support: full
options:
  names:
    description: References of the images, with registry and tag or digest.
    type: list
    elements: str
    required: true
  renew:
    description:
      - Those of O(names) to pull although they are there, for tags that move. It counts as changed when that gave
        another image.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that one pull may take.
    type: int
    default: 600
  executable:
    description: Path of K3s on the node.
    type: path
    default: /usr/local/bin/k3s
"""

EXAMPLES = r"""
- name: Have the image of the database on every node
  cloudcartops.platform.k3s_image:
    names: [docker.io/library/postgres:15-alpine]
"""

RETURN = r"""
images:
  description: The images, in the order of O(names).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The reference.
      type: str
    id:
      description: Identifier of the image in the store; empty when it is not there, in check mode.
      type: str
    platform:
      description: What it is for.
      type: str
    action:
      description: V(pulled), also when it would be in check mode, or V(none).
      type: str
  sample:
    - name: docker.io/library/postgres:15-alpine
      id: sha256:ec7e95df39b7e9f8a2
      platform: linux/amd64
      action: none
unusable:
  description: The images that cannot be had, or are for another platform.
  returned: on such a failure
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.images import Crictl, ensure

OPTIONS = {
    "names": {"type": "list", "elements": "str", "required": True},
    "renew": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 600},
    "executable": {"type": "path", "default": "/usr/local/bin/k3s"},
}


def logic(params: dict, check_mode: bool) -> dict:
    return ensure(Crictl(params["executable"], params["timeout"]), params["names"], params["renew"], check_mode)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
