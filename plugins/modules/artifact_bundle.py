#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect everything of the lock file into a bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_bundle
short_description: Collect everything of the lock file into a bundle
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Brings a folder in step with a lock file. It has the files, each with the SHA-256 of the lock
    file, and a C(lock.yml) that names them. That is what C(cloudcartops_bundle) takes.
  - A file that is there and right is not loaded again. After each file, C(lock.yml) names what is there, so a run that
    was stopped can be repeated.
  - Files of other versions that an earlier run has loaded are removed.
  - Images become archives by the program skopeo, by their digests. Those of the shop's services are not in the lock
    file.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  directory:
    description: The bundle. It is made if it does not exist.
    type: path
    required: true
  lock:
    description: Path of the lock file.
    type: path
    required: true
  platforms:
    description: Operating systems and architectures, of the machines and of the control node of the site.
    type: list
    elements: str
    choices: [linux-amd64, linux-arm64, darwin-amd64, darwin-arm64]
    default: [linux-amd64, linux-arm64]
  images:
    description: Whether the bundle has the images too. Otherwise the machines pull them from a registry.
    type: bool
    default: true
  skopeo:
    description: The program skopeo, by path or by name.
    type: str
    default: skopeo
"""

EXAMPLES = r"""
- name: Collect what machines with amd64 need
  cloudcartops.platform.artifact_bundle:
    lock: roles/catalog/files/lock.yml
    directory: /srv/bundle
    platforms: [linux-amd64]
"""

RETURN = r"""
directory:
  description: The bundle.
  returned: success
  type: str
files:
  description: The files of the bundle.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: Path in the bundle.
      type: str
    action:
      description: Either V(kept) or V(loaded). In check mode, V(loaded) is what would be.
      type: str
"""

from ansible.module_utils.urls import open_url
from ansible_collections.cloudcartops.platform.plugins.module_utils import bundle
from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run

OPTIONS = {
    "directory": {"type": "path", "required": True},
    "lock": {"type": "path", "required": True},
    "platforms": {
        "type": "list",
        "elements": "str",
        "choices": ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"],
        "default": ["linux-amd64", "linux-arm64"],
    },
    "images": {"type": "bool", "default": True},
    "skopeo": {"type": "str", "default": "skopeo"},
}


def logic(params: dict, check_mode: bool) -> dict:
    return bundle.collect(params, open_url, check_mode)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
