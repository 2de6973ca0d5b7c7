# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a K3s unit to "enabled and running with what is on the disk now", and say why it does not get there.

Facts this relies on (systemd.service(5), systemctl(1), the unit of K3s):

* The unit is ``Type=notify`` without a start timeout: ``systemctl start`` would wait for ever for an unreachable
  server, so the job is queued with ``--no-block`` and the unit's state is watched instead.
* ``Restart=always``: a fatal error never makes the unit "failed". It is "activating (auto-restart)" between attempts,
  and NRestarts rises.
* ExecMainStartTimestampMonotonic is when the program last started, in microseconds since boot, and
  ActiveEnterTimestampMonotonic when it last became ready. Between the two K3s writes its token and other files of its
  own.
"""

from __future__ import annotations

import os
import re
import subprocess
import time

from ansible_collections.cloudcartops.platform.plugins.module_utils import _scrub
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import text_diff

PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload", "NRestarts", "Job",
    "ExecMainStartTimestampMonotonic", "ExecMainStatus", "ActiveEnterTimestampMonotonic",
)  # fmt: skip
POLL = 0.3  # seconds between two looks at the unit
WAITING = "Waiting to retrieve agent configuration"
# What in the journal tells why K3s ended. Lines of the last kind appear in good starts too.
FATAL = re.compile(r'level=fatal|^FATA|Incorrect Usage|^panic:|^F |"command failed"')
WAITS = re.compile(WAITING + "|Failed to validate connection")
NOISE = "UnhandledError"
ERROR = re.compile(r"level=error|^ERRO|^E |[Ee]rror:|: not found$")
# What an operator does about it.
FIXES = (
    ("flag provided but not defined", "An agent does not start with options of servers: see k3s_agent_config."),
    (
        "401 Unauthorized",
        "The server does not accept the token: see k3s_token, or leave it empty to use the server's own. If that was "
        "rotated, run the play rotate.",
    ),
    ("different token", "The data on the disk belongs to another token: set k3s_token to the one it was made with."),
    ("token CA hash does not match", "The token belongs to another cluster: see k3s_token and k3s_server_url."),
    (
        "Node password rejected",
        "A node of this name has joined before: delete it (kubectl delete node NAME), or rename the host.",
    ),
    ("no space left on device", "A disk is full: 'df -h' on the host shows which. Make room, then run again."),
    (
        "certificate has expired",
        "K3s renews its certificates when it starts: 'systemctl restart k3s' on the server. If it says the same then, "
        "the clock of one of the machines is wrong.",
    ),
    ("address already in use", "Another program has the port: 'ss -ltnp' on the host shows which."),
    (WAITING, "The server does not answer: see k3s_server_url, and let this host reach its port."),
    (
        "Failed to validate connection",
        "The server does not answer: see k3s_server_url, and let this host reach its port.",
    ),
    ("invalid kernel parameter", "Set the kernel parameters that protect-kernel-defaults asks for before K3s starts."),
)
SECRET_KEYS = re.compile(
    r"""^\s*(?:export\s+)?["']?(?:[\w-]*(?:token|password|secret-key|access-key|vpn-auth)|datastore-endpoint
    |K3S_\w*TOKEN|AWS_\w+|K3S_DATASTORE_ENDPOINT)["']?\s*[:=]\s*["']?([^"'\s]+)""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


class Unit:
    """One unit, through systemctl and journalctl."""

    def __init__(self, name):
        self.name = name

    def systemctl(self, *arguments):
        """Run systemctl and return what it prints. Raises PlatformError if it fails."""
        return self._run("systemctl", *arguments)

    def show(self):
        """The properties of the unit."""
        text = self.systemctl("show", "--property=" + ",".join(PROPERTIES), self.name)
        return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)

    def journal(self, since):
        """The lines that the unit has written since a time in seconds since the epoch."""
        return self._run(
            "journalctl", "--unit", self.name, "--since", f"@{since:.0f}", "--output=cat", "--no-pager", "--lines=400"
        ).splitlines()

    @staticmethod
    def _run(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as e:
            raise PlatformError(
                f"{command[0]} cannot be run: {e.strerror}.", "K3s needs a host that runs systemd."
            ) from e
        if done.returncode != 0:
            raise PlatformError(f"'{' '.join(command)}' failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout


def started_at(state, moment="ExecMainStart"):
    """When the program last started, or became ready (ActiveEnter), in seconds since the epoch; 0 if it never did."""
    start = int(state.get(f"{moment}TimestampMonotonic") or 0)
    return time.time() - time.monotonic() + start / 1e6 if start else 0


def changed_since_ready(paths, state):
    """Those of ``paths``, which K3s writes while it starts, that have changed after it was ready."""
    return newer_files(paths, started_at(state, "ActiveEnter"), time.time()) if state["ActiveState"] == "active" else []


def newer_files(paths, since, now):
    """Those of ``paths`` (files, and the files directly in directories) that changed after ``since``.

    A time in the future says nothing: the clock was wrong once, and such a file must not restart K3s in each run.
    """
    files = []
    for path in paths:
        if os.path.isdir(path):
            files += sorted(os.path.join(path, name) for name in os.listdir(path))
        else:
            files.append(path)
    return [f for f in files if os.path.isfile(f) and since < os.stat(f).st_mtime <= now]


def plan(state, newer):
    """What has to be done: any of ``reload`` and ``enable``, then ``start`` or ``restart`` or neither."""
    actions = []
    if state["LoadState"] == "not-found" or state["NeedDaemonReload"] == "yes":
        actions.append("reload")
    if state["UnitFileState"] != "enabled":
        actions.append("enable")
    running = state["ActiveState"] in ("active", "reloading", "activating") and state["SubState"] != "auto-restart"
    if not running:
        actions.append("start")
    elif newer:
        actions.append("restart")
    return actions


def scrub(line, secrets):
    """``line`` without anything that is a secret or looks like one."""
    for secret in secrets:
        line = line.replace(secret, _scrub.HIDDEN)
    return _scrub.scrub(line)


def secrets_in(paths):
    """The values of the secret options in configuration and environment files."""
    found = set()
    for path in paths:
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else [""]:
            try:
                with open(os.path.join(path, name) if name else path, encoding="utf-8") as file:
                    found.update(value for value in SECRET_KEYS.findall(file.read(1 << 20)) if len(value) > 3)
            except (OSError, UnicodeDecodeError):
                continue
    return sorted(found, key=len, reverse=True)


def reasons(lines, limit=6):
    """The lines that tell why, without their time stamps and repetitions; the last lines if none does."""
    plain = [re.sub(r'^time="[^"]*" ', "", line.strip()) for line in lines]
    plain = [re.sub(r"^([EF])\d{4} \S+ +\d+ ", r"\1 ", line) for line in plain if line and not line.startswith(";")]
    fatal, waiting, error = (list(dict.fromkeys(filter(sign.search, plain))) for sign in (FATAL, WAITS, ERROR))
    if fatal:
        # The last word is often no more than "kubelet exited": what was logged before it tells why.
        return [line for line in error if line not in fatal and NOISE not in line][-3:] + fatal[-3:]
    return (waiting or error or list(dict.fromkeys(plain)))[-limit:]


def failure(unit, what, since, secrets):
    """The error that says ``what`` happened, with the journal's reason and the fix."""
    lines = [scrub(line, secrets)[:400] for line in reasons(unit.journal(since))]
    text = "\n".join(lines)
    fix = next((fix for sign, fix in FIXES if sign in text), "")
    quoted = "Its journal says:\n" + text if lines else "Its journal says nothing."
    more = f"More with 'journalctl -u {unit.name}' on the host."
    return PlatformError(f"{what} {quoted}", "\n" + " ".join(filter(None, [fix, more])), reasons=lines)


def wait(unit, before, since, timeout, join_timeout, secrets):
    """Watch the unit until it is active. Raises PlatformError as soon as that has become impossible.

    ``before``: properties before it was started, or None if a start that is under way is awaited.
    """
    deadline = time.monotonic() + timeout
    first = None
    next_look = time.monotonic() + join_timeout
    while True:
        state = unit.show()
        fresh = before is None or state["ExecMainStartTimestampMonotonic"] != before["ExecMainStartTimestampMonotonic"]
        if state["ActiveState"] == "active" and fresh:
            return state
        if fresh and first is None:
            first = int(state["NRestarts"] or 0)
        ended = state["SubState"] == "auto-restart" or (first is not None and int(state["NRestarts"] or 0) > first)
        if fresh and (ended or (state["ActiveState"] in ("failed", "inactive") and state["Job"] in ("", "0"))):
            status = state["ExecMainStatus"]
            raise failure(unit, f"{unit.name} ended with status {status} instead of becoming ready.", since, secrets)
        if time.monotonic() > deadline:
            raise failure(
                unit,
                f"{unit.name} did not become ready within {timeout} s (it is {state['SubState']}).",
                since,
                secrets,
            )
        if time.monotonic() > next_look:
            next_look = time.monotonic() + 5
            if any(WAITS.search(line) for line in unit.journal(int(time.time()) - 10)):
                raise failure(unit, f"{unit.name} has waited {join_timeout} s for its server.", since, secrets)
        time.sleep(POLL)


def ensure(
    unit, paths, timeout, join_timeout, pending=False, check_mode=False, config=None, unit_file=None, own_paths=()
):
    """Do all of it. ``paths`` are what a running K3s has read at its start, ``own_paths`` what it has written then.

    ``pending``: earlier tasks of a check would have changed one of ``paths``. ``config`` and ``unit_file`` are files to
    write first (``Wanted``).
    """
    wanted = [file for file in (config, unit_file) if file and file.changed]
    if not check_mode:
        for file in wanted:
            file.write()
    paths = [*paths, *(file.path for file in (config, unit_file) if file)]
    pending = pending or any(file.outdated for file in wanted)
    state = unit.show()
    newer = newer_files(paths, started_at(state), time.time()) + changed_since_ready(own_paths, state)
    actions = plan(state, newer or (check_mode and pending))
    result = {
        "changed": bool(actions or wanted),
        "actions": actions,
        "written": [file.path for file in wanted],
        "newer": newer if "restart" in actions else [],
    }
    after = describe("active" if "start" in actions else state["ActiveState"], "enabled", actions)
    result["diff"] = [{"before": describe(state["ActiveState"], state["UnitFileState"], []), "after": after}]
    if unit_file in wanted:
        result["diff"].append(text_diff(unit_file.path, unit_file.before, unit_file.content))
    if config in wanted:  # its text has secrets
        result["diff"].append({"prepared": f"{config.path} is written; what it says is not shown.\n"})
    if check_mode:
        return result
    secrets = secrets_in(paths)
    if "reload" in actions:
        unit.systemctl("daemon-reload")
        if unit.show()["LoadState"] == "not-found":
            raise PlatformError(f"There is no unit {unit.name} on this host.", "Install its unit file first.")
    if "enable" in actions:
        unit.systemctl("enable", unit.name)
    starts = "start" in actions or "restart" in actions
    since = int(time.time()) if starts else int(started_at(state))
    if starts:
        state = unit.show()  # a unit that loops may have been started again in the meantime
        # A restart also ends the pause between two attempts of a unit that loops.
        unit.systemctl("restart", "--no-block", unit.name)
    if starts or state["ActiveState"] != "active":
        wait(unit, state if starts else None, since, timeout, join_timeout, secrets)
    return result


def describe(active, enabled, actions):
    """One side of the diff."""
    text = f"active: {active}\nenabled: {enabled or 'no unit file'}\n"
    return text + ("restarted: yes\n" if "restart" in actions else "")
