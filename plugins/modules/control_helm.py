#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide the Helm program on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_helm
short_description: Provide the Helm program on the control node
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Installs the release of Helm that an artifact names, verified against its SHA-256, or checks that the user's own
    Helm is of a version that the collection works with.
  - Needs no GNU tar, so it works on macOS too.
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
      - What P(cloudcartops.platform.artifact#lookup) returns for V(helm).
    type: dict
  directory:
    description: Directory of the program. It is made if it does not exist.
    type: path
  binary:
    description: The user's own Helm, by path or by name. Nothing is installed then.
    type: str
"""

EXAMPLES = r"""
- name: Install Helm for the user who runs Ansible
  cloudcartops.platform.control_helm:
    artifact: "{{ lookup('cloudcartops.platform.artifact', 'helm', platform='linux-amd64') }}"
    directory: ~/.local/share/cloudcartops/bin
  register: helm

- name: Use the one that is there
  cloudcartops.platform.control_helm:
    binary: helm
"""

RETURN = r"""
binary:
  description: Path of the program.
  returned: success
  type: str
version:
  description: Its version.
  returned: success
  type: str
  sample: v3.19.5
"""

from ansible.module_utils.urls import open_url
from ansible_collections.cloudcartops.platform.plugins.module_utils import helm_program
from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run

OPTIONS = {"artifact": {"type": "dict"}, "directory": {"type": "path"}, "binary": {"type": "str"}}


def logic(params: dict, check_mode: bool) -> dict:
    if params["binary"]:
        return helm_program.own(params["binary"])
    return helm_program.pinned(params["artifact"], params["directory"], open_url, check_mode)


def main() -> None:
    run(
        logic,
        OPTIONS,
        mutually_exclusive=[("binary", "artifact")],
        required_one_of=[("binary", "artifact")],
        required_by={"artifact": ("directory",)},
    )


if __name__ == "__main__":
    main()
