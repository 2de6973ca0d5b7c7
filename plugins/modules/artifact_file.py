#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide the file of an artifact on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_file
short_description: Provide the file of an artifact on the control node
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns the path of a file that has the SHA-256 of the lock file. It is the one in the bundle, or is downloaded.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  artifact:
    description:
      - What P(cloudcartops.platform.artifact#lookup) returns.
    type: dict
    required: true
  directory:
    description: Directory for what is downloaded. It is made if it does not exist.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Provide the chart of Vault
  cloudcartops.platform.artifact_file:
    artifact: "{{ lookup('cloudcartops.platform.artifact', 'vault-chart') }}"
    directory: ~/.cache/cloudcartops/artifacts
  register: chart
"""

RETURN = r"""
path:
  description: Path of the file. In check mode it may not be there yet.
  returned: success
  type: str
"""

from ansible.module_utils.urls import open_url
from ansible_collections.cloudcartops.platform.plugins.module_utils import artifact_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run

OPTIONS = {"artifact": {"type": "dict", "required": True}, "directory": {"type": "path", "required": True}}


def logic(params: dict, check_mode: bool) -> dict:
    return artifact_file.ensure(params["artifact"], params["directory"], open_url, check_mode)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
