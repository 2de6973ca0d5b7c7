# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End a run of the whole site with one table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: site_summary
type: aggregate
short_description: End a run of the whole site with one table
version_added: "0.1.0"
description:
  - After a run of the playbook C(cloudcartops.platform.site), or of one that imports it, it prints a table of its
    phases with the time that each took, how much it changed and how it ended; then where the shop, Prometheus and
    Vault are, and what to do next. It does so after a run that failed as well.
  - A phase is named after the playbook that runs it alone, as in C(cloudcartops.platform.vault). It is V(ok),
    V(changed), V(failed), V(not reached), or V(left out) when C(--tags) or C(--limit) left nothing of it. What is
    counted as changed is what the recap of Ansible counts, added up over all hosts.
  - After all other playbooks it is silent.
author:
  - CloudCartOps contributors (@cloudcartops)
requirements:
  - Enable it by C(callbacks_enabled = cloudcartops.platform.site_summary) in the section C([defaults]) of
    C(ansible.cfg), or by the environment variable C(ANSIBLE_CALLBACKS_ENABLED). The C(ansible.cfg) of a checkout does.
options:
  report_file:
    description:
      - Where on the control node the same is written as JSON, with mode 0600. Not set, for nowhere.
      - Its C(result) is V(running) from the start of the run until its end, so that the report of a run that was
        killed is not taken for that of an earlier one. Then it is V(ok) or V(failed).
    type: path
    env:
      - name: CLOUDCARTOPS_REPORT_FILE
    ini:
      - section: callback_cloudcartops
        key: report_file
"""

import json
import os
from datetime import datetime, timezone
from time import monotonic

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.cloudcartops.platform.plugins.module_utils import phases
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import replace

PHASE = "__site_phase"  # a variable of the plays, set where playbooks/site.yml imports them
SITE = "ingress_site"  # what the role ingress tells by set_stats
CHECKS = ("validate_argument_spec", "ansible.builtin.validate_argument_spec")  # of roles that no tag asks for, too


class CallbackModule(CallbackBase):
    """Counts by phase. It looks at no result but for its state, so nothing of a result is ever shown."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cloudcartops.platform.site_summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._phases, self._current = {}, None

    def v2_playbook_on_start(self, playbook):
        names = [str(play.vars[PHASE]) for play in playbook.get_plays() if PHASE in play.vars]
        self._phases = {name: phases.Phase(name) for name in names}
        self._current, self._since = None, monotonic()
        self._started = datetime.now(timezone.utc)
        self._write("running", {})

    def v2_playbook_on_play_start(self, play):
        self._clock()
        self._current = self._phases.get(play.vars.get(PHASE))
        if self._current:
            self._current.reached = True

    def v2_runner_on_ok(self, result):
        task = getattr(result, "task", None) or result._task  # the second one with ansible-core 2.18
        if self._current and task.action not in CHECKS:
            self._current.done += 1
            self._current.changed += bool(result.is_changed())

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if self._current and not ignore_errors:
            host = getattr(result, "host", None) or result._host
            self._current.failed[host.name] = str(result.task_name)

    def v2_runner_on_unreachable(self, result):
        self.v2_runner_on_failed(result)

    def v2_playbook_on_stats(self, stats):
        if not self._phases:
            return
        self._clock()
        lost, found = {**stats.failures, **stats.dark}, [*self._phases.values()]
        failed, check_mode = bool(lost), bool(context.CLIARGS.get("check"))
        phases.settle(found, lost)
        site = {} if check_mode else stats.custom.get("_run", {}).get(SITE, {})
        parts = [phases.table(found, check_mode), "\n".join(phases.failures(found)), "\n".join(phases.reach(site))]
        parts.append("\n".join(phases.advice(found, failed, site, context.CLIARGS.get("inventory") or ())))
        self._display.display("\n\n".join(filter(None, parts)) + "\n")
        self._write("failed" if failed else "ok", site)

    def _clock(self):
        """Add the time since the last call to the phase that it was spent in."""
        now = monotonic()
        if self._current:
            self._current.seconds += now - self._since
        self._since = now

    def _write(self, result, site):
        path = self.get_option("report_file")
        if not path or not self._phases:
            return
        found = [phase.shown() for phase in self._phases.values()]
        report = {
            "result": result,
            "check_mode": bool(context.CLIARGS.get("check")),
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(sum(phase.seconds for phase in self._phases.values()), 2),
            "changed": sum(phase["changed"] for phase in found),
            "phases": found,
            "site": site,
        }
        text = json.dumps(report, indent=2) + "\n"
        try:
            replace(os.path.abspath(path), text, 0o600, os.geteuid(), os.getegid())
        except PlatformError as e:
            self._display.warning(f"report_file: {e} There is no report of this run. Set another path.")
