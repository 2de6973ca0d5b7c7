# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module that talks to an API right in the process that Ansible forked for the task.

Such a module runs on the control node, with the Python that runs Ansible. Packing it, starting another Python and
importing everything there again takes longer than what most of them do. Where anything is not so, it is run in the
usual way: another connection, user, interpreter or environment, an asynchronous task, or a version of Ansible that this
was not tested with.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from importlib import import_module
from types import SimpleNamespace

from ansible.module_utils import basic
from ansible.module_utils.common import json as as_json
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.release import __version__

TESTED = ("2.19.",)
PROFILE = "legacy"  # how arguments and results are written as JSON


class ActionModule(NormalAction):
    """The usual way, but for the steps that pack the module and run the package."""

    def run(self, tmp=None, task_vars=None):
        interpreter = self._templar.template((task_vars or {}).get("ansible_python_interpreter", ""))
        self._here = (
            __version__.startswith(TESTED)
            and self._connection.transport == "local"
            and not self._play_context.become
            and not self._task.async_val
            and not any(self._task.environment or [])
            and interpreter == sys.executable
        )
        return super().run(tmp, task_vars)

    def _is_pipelining_enabled(self, module_style, wrap_async=False):
        return self._here or super()._is_pipelining_enabled(module_style, wrap_async)

    def _configure_module(self, module_name, module_args, task_vars):
        if not self._here:
            return super()._configure_module(module_name, module_args, task_vars)
        self._module = import_module(
            f"ansible_collections.cloudcartops.platform.plugins.modules.{module_name.split('.')[-1]}"
        )
        encoder = as_json.get_module_encoder(PROFILE, as_json.Direction.CONTROLLER_TO_MODULE)
        self._arguments = json.dumps({"ANSIBLE_MODULE_ARGS": module_args}, cls=encoder).encode()
        bits = {
            "module_style": "new",
            "shebang": f"#!{sys.executable}",
            "b_module_data": b"",
            "serialization_profile": PROFILE,
        }
        return SimpleNamespace(**bits), self._module.__file__

    def _low_level_execute_command(self, cmd, *arguments, **options):
        if not self._here:
            return super()._low_level_execute_command(cmd, *arguments, **options)
        basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = self._arguments, PROFILE
        printed, status = io.StringIO(), 0
        with contextlib.redirect_stdout(printed):
            try:
                self._module.main()
            except SystemExit as e:
                status = e.code or 0
        return {"rc": status, "stdout": printed.getvalue(), "stderr": ""}
