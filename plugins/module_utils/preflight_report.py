# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the role preflight has left in variables, and the lock file, to what there is to say."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils import artifacts, preflight_rules
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError


def of_hostvars(hosts: list[str], hostvars: dict, inventory: dict) -> dict:
    """The report for ``hosts``, from what the tasks of the role preflight have left in ``hostvars``.

    ``inventory`` is that of preflight_rules.inventory_errors, with ``bundle`` instead of bundle_error.
    """
    bundle_error, version = "", ""
    try:
        version = str(artifacts.Artifacts(inventory["bundle"]).artifacts.get("k3s", {}).get("version", ""))
    except PlatformError as e:
        bundle_error = str(e)
    judged = {}
    for name in hosts:
        variables = hostvars[name]
        server = variables.get("__preflight_server", {}).get("host", {})
        versions = {"k3s_version": version, "server_version": server.get("k3s_version", "")}
        judged[name] = {
            "result": variables["__preflight_result"],
            "wanted": {**variables["__preflight_wanted"], **versions},
        }
    return preflight_rules.report({**inventory, "bundle_error": bundle_error}, judged)
