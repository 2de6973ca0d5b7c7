#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a K3s unit running with what is to be, and is, on the disk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_service
short_description: Keep the systemd unit of K3s running with the files that are on the disk
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Writes the configuration and the unit first where they are given, each in one step, with root as the owner.
  - Enables and starts the unit, and waits until it reports that it is ready.
  - Restarts it only if one of O(paths) is newer than the running program, or one of O(own_paths) than its being ready.
    That is read from the running system, so a
    run that was interrupted between a change and the restart is completed by the next one.
  - Never hangs on a server that cannot be reached, and fails at once when K3s ends instead of becoming ready, although
    systemd starts it again and again. The error quotes the lines of the journal that tell why, without secrets.
extends_documentation_fragment:
  - cloudcartops.platform.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Of the configuration only that it is written, because it may have secrets.
options:
  name:
    description: Name of the unit, with C(.service).
    type: str
    required: true
  paths:
    description: Files, and directories of files, that K3s reads when it starts. They do not need to exist.
    type: list
    elements: path
    default: []
  own_paths:
    description:
      - Files that K3s itself writes while it starts. One that has changed after K3s was ready restarts it, as its token
        does, which K3s does not take over by itself when it is rotated.
    type: list
    elements: path
    default: []
  config:
    description: Text for the configuration file of K3s, O(config_path), which gets the mode 0600.
    type: str
  config_path:
    description: The configuration file. It counts as one of O(paths) when O(config) is given.
    type: path
    default: /etc/rancher/k3s/config.yaml
  unit:
    description: Text for the unit's file in C(/etc/systemd/system), which counts as one of O(paths) then.
    type: str
  timeout:
    description: Seconds to wait until the unit is ready.
    type: int
    default: 300
  join_timeout:
    description: Seconds after which an agent that still waits for its server is given up.
    type: int
    default: 60
  pending:
    description:
      - Whether earlier tasks of the same run have changed one of O(paths).
      - Read in check mode only, where such a change is not on the disk.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep the server running
  cloudcartops.platform.k3s_service:
    name: k3s.service
    paths:
      - /usr/local/bin/k3s
      - /etc/rancher/k3s/config.yaml
      - /etc/systemd/system/k3s.service
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode. Any of V(reload), V(enable), V(start) and V(restart).
  returned: success
  type: list
  elements: str
written:
  description: The files that were written, or would be in check mode.
  returned: success
  type: list
  elements: str
newer:
  description: The files that made a restart necessary.
  returned: success
  type: list
  elements: str
reasons:
  description: What the journal says about a failure, without secrets.
  returned: when the unit does not become ready
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import Wanted
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.service import Unit, ensure

UNITS = "/etc/systemd/system"
OPTIONS = {
    "name": {"type": "str", "required": True},
    "paths": {"type": "list", "elements": "path", "default": []},
    "own_paths": {"type": "list", "elements": "path", "default": []},
    "config": {"type": "str", "no_log": True},
    "config_path": {"type": "path", "default": "/etc/rancher/k3s/config.yaml"},
    "unit": {"type": "str"},
    "timeout": {"type": "int", "default": 300},
    "join_timeout": {"type": "int", "default": 60},
    "pending": {"type": "bool", "default": False},
}


def logic(params: dict, check_mode: bool) -> dict:
    options = {key: params[key] for key in ("paths", "own_paths", "timeout", "join_timeout", "pending")}
    if params["config"] is not None:
        options["config"] = Wanted(params["config_path"], params["config"], 0o600)
    if params["unit"] is not None:
        options["unit_file"] = Wanted(f"{UNITS}/{params['name']}", params["unit"], 0o644)
    return ensure(Unit(params["name"]), check_mode=check_mode, **options)


def main() -> None:
    run(logic, OPTIONS)


if __name__ == "__main__":
    main()
