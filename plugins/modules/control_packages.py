#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the control node has the Python packages that the modules need."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_packages
short_description: Check that the control node has the Python packages that the modules need
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Names all that are missing at once, and how to install them, before anything is changed.
  - In a playbook it also makes the tasks after it start faster, because Ansible has the packages in memory then.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
options: {}
"""

EXAMPLES = r"""
- name: Check the Python of the control node
  cloudcartops.platform.control_packages:
"""

RETURN = r"""
missing:
  description: Names by which the missing packages are imported.
  returned: when packages are missing
  type: list
  elements: str
  sample: [websocket]
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require

PACKAGES = ("kafka", "requests", "websocket", "yaml")


def logic(params: dict, check_mode: bool) -> dict:
    missing: dict[str, str] = {}
    for name in PACKAGES:
        try:
            require(name)
        except PlatformError as e:
            missing[name] = str(e)
    if missing:
        raise PlatformError("\n".join(missing.values()), missing=list(missing))
    return {"changed": False}


def main() -> None:
    run(logic, {})


if __name__ == "__main__":
    main()
