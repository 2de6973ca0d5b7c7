# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that checks the configuration of K3s nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: k3s_config_errors
short_description: List what is wrong with the extra configuration of a K3s node
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Finds options that K3s does not know, options of servers given to an agent, and options that the role
    C(cloudcartops.platform.k3s) sets itself.
positional: kind, host
options:
  _input:
    description: Options of K3s, as they stand in its configuration file.
    type: dict
    required: true
  kind:
    description: Kind of node.
    type: str
    choices: [server, agent]
    required: true
  host:
    description: Name of the host, for the message.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse options that do not exist
  ansible.builtin.assert:
    that: k3s_server_config | cloudcartops.platform.k3s_config_errors('server', inventory_hostname) | length == 0
"""

RETURN = r"""
_value:
  description: One sentence or more for each error. Empty if all is well.
  type: list
  elements: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils import k3s_config


def k3s_config_errors(config, kind, host):
    return k3s_config.errors(host, kind, config)


class FilterModule:
    def filters(self):
        return {"k3s_config_errors": k3s_config_errors}
