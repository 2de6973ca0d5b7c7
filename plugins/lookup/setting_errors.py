# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what is wrong with the variables of the collection."""

from __future__ import annotations

DOCUMENTATION = r"""
name: setting_errors
short_description: List what is wrong with the values of the roles' variables
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Looks at the public variables of all roles of the collection that have a value for the host of the task, those of
    roles that run later too.
  - Finds values that the argument specifications of the roles do not allow, and values of a wrong form, such as a size
    without a unit, a duration, a host's name or a path that are none.
  - A variable that depends on something that is not known yet is left to the role that uses it.
options:
  _terms:
    description:
      - Names of further hosts to look at, as far as the inventory gives them variables of their own.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse values that would not work
  ansible.builtin.assert:
    that: query('cloudcartops.platform.setting_errors', *groups['k3s_agent'] | default([])) | length == 0
"""

RETURN = r"""
_raw:
  description: One sentence or more for each error, with the variable, what is wrong with it, and what it has to be.
  type: list
  elements: str
"""

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.cloudcartops.platform.plugins.module_utils import settings


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        known, here = settings.options(), variables.get("inventory_hostname", "")
        found: dict[str, list[str]] = {}
        for host in [here, *terms]:
            there = variables if host == here else variables["hostvars"][host]
            problems = settings.errors(known, self._values(there, known)) + settings.unknown(known, there)
            for problem in problems:
                found.setdefault(problem, []).append(host)
        return [f"{', '.join(hosts)}: {problem}" for problem, hosts in found.items()]

    def _values(self, variables, known) -> dict:
        """Those that can be said already."""
        values = {}
        for name in known:
            try:
                if name in variables:
                    values[name] = self._templar.template(variables[name])
            except AnsibleError:
                continue  # it depends on what only a later task knows; that task names it
        return values
