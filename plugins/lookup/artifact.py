# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of the locked artifacts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: artifact
short_description: Look up an artifact in the lock file or in a bundle
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns where an artifact comes from, its version and the SHA-256 it must have.
  - Reads the lock file of the collection, or that of a bundle. A bundle is a folder with a C(lock.yml) of the same
    schema whose entries name files of the folder, so that nothing is downloaded.
  - An entry whose SHA-256 is V(unresolved) is refused.
options:
  _terms:
    description:
      - Names of artifacts, such as V(k3s).
      - V(images/NAME) returns the reference of an image, V(images/*) the image archives of a bundle for O(platform).
    required: true
  platform:
    description: The operating system and architecture, such as V(linux-amd64); V(here) for those of the control node.
    type: str
    default: any
  bundle:
    description: Absolute path of a bundle on the control node. Empty for the lock file of the collection.
    type: str
    default: ""
  verify:
    description: Read the file of a bundle and fail unless it has the SHA-256 of the lock file.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show where K3s comes from
  ansible.builtin.debug:
    msg: "{{ lookup('cloudcartops.platform.artifact', 'k3s', platform='linux-arm64') }}"

- name: Show the image archives of a bundle
  ansible.builtin.debug:
    msg: "{{ query('cloudcartops.platform.artifact', 'images/*', platform='linux-amd64', bundle='/srv/bundle') }}"
"""

RETURN = r"""
_raw:
  description: One dictionary for each artifact.
  type: list
  elements: dict
  contains:
    name:
      description: The name that was looked up.
      type: str
    version:
      description: The version, for artifacts that are not images.
      type: str
    sha256:
      description: The SHA-256 in hex, for artifacts with a file.
      type: str
    url:
      description: Where to download it, without a bundle.
      type: str
    path:
      description: Where it is on the control node, with a bundle.
      type: str
    filename:
      description: The file's own name.
      type: str
    digest:
      description: The digest of an image for O(platform), if the lock file has one.
      type: str
    ref:
      description: The reference of an image.
      type: str
"""

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.cloudcartops.platform.plugins.module_utils import artifacts
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        options = {
            "platform": self.get_option("platform"),
            "bundle": self.get_option("bundle"),
            "check": self.get_option("verify"),
        }
        try:
            return [artifact for term in terms for artifact in artifacts.find(term, **options)]
        except PlatformError as e:
            raise AnsibleLookupError(str(e)) from e
