# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that judges what preflight has read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_errors
short_description: List everything that must be put right before hosts are changed
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Applies the rules of preflight to the inventory and to what M(cloudcartops.platform.preflight_info) read from each
    host, and returns every failure, each with its fix.
positional: hostvars
options:
  _input:
    description: Names of the hosts to judge.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - The variables of all hosts. C(__preflight_result) is what the module returned, C(__preflight_wanted) what the
        host must have, and C(__preflight_server), where there is any, what it returned of a server that is not judged.
    type: dict
    required: true
  inventory:
    description:
      - What the inventory says, as a dictionary with C(environment), C(vault_mode), C(servers), C(agents) and
        C(bundle).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse hosts that are too small
  ansible.builtin.assert:
    that: ansible_play_hosts_all | cloudcartops.platform.preflight_errors(hostvars, inventory=about) | length == 0
  vars:
    about: {environment: dev, vault_mode: dev, servers: [vm-1], agents: [], bundle: ""}
"""

RETURN = r"""
_value:
  description: One sentence or more for each failure. Empty if all is well.
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils.preflight_report import of_hostvars


def preflight_errors(hosts, hostvars, inventory):
    return of_hostvars(hosts, hostvars, inventory)["errors"]


class FilterModule:
    def filters(self):
        return {"preflight_errors": preflight_errors}
