# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that tells everything about what preflight has read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_report
short_description: Show all checks of preflight, with what was read and what is thought of it
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - As P(cloudcartops.platform.preflight_errors#filter), but returns all that there is to say, also of what is well.
positional: hostvars
options:
  _input:
    description: Names of the hosts to judge.
    type: list
    elements: str
    required: true
  hostvars:
    description: As for P(cloudcartops.platform.preflight_errors#filter).
    type: dict
    required: true
  inventory:
    description: As for P(cloudcartops.platform.preflight_errors#filter).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show everything that was looked at
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts_all | cloudcartops.platform.preflight_report(hostvars, inventory=about)).table }}"
  vars:
    about: {environment: dev, vault_mode: dev, servers: [vm-1], agents: [], bundle: ""}
"""

RETURN = r"""
_value:
  description: What there is to say.
  type: dict
  contains:
    errors:
      description: What must be put right, a sentence or more each.
      type: list
      elements: str
    warnings:
      description: What K3s can live with, a sentence or more each.
      type: list
      elements: str
    table:
      description: A line for each check of each host, with its level (C(ok), C(warning) or C(error)) and what was read.
      type: list
      elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils.preflight_report import of_hostvars


class FilterModule:
    def filters(self):
        return {"preflight_report": of_hostvars}
