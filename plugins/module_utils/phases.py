# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the whole site came to, phase by phase, and what to do next."""

from __future__ import annotations

import contextlib
import shlex
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic

# Those that come before there is anything to diagnose; their messages say all.
EARLY = ("lint", "setup", "capacity", "pull")
FINDING = 3  # seconds that a resolver may take


@dataclass
class Phase:
    """One part of the site. ``done`` and ``changed`` count results, a host's of a task each; ``failed`` has the failed
    task by host."""

    name: str
    reached: bool = False
    seconds: float = 0
    done: int = 0
    changed: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        if self.failed:
            return "failed"
        if self.changed:
            return "changed"
        if self.done:
            return "ok"
        return "left out" if self.reached else "not reached"

    def shown(self) -> dict:
        """For the report."""
        failed = [{"host": host, "task": task} for host, task in sorted(self.failed.items())]
        seconds = round(self.seconds, 2)
        return {
            "phase": self.name, "state": self.state, "seconds": seconds, "changed": self.changed, "failed": failed,
        }  # fmt: skip


def settle(phases: list[Phase], lost: Iterable[str]) -> None:
    """At the end of a run, forget what a rescue has mended, by the hosts that were lost in the end, and the plays that
    Ansible began after a failure without a host."""
    failed = False
    for phase in phases:
        phase.failed = {host: task for host, task in phase.failed.items() if host in lost}
        phase.reached = phase.reached and not (failed and phase.state == "left out")
        failed = failed or bool(phase.failed)


def table(phases: list[Phase], check_mode: bool) -> str:
    """The phases for people."""
    total = (_time(sum(p.seconds for p in phases)), sum(p.changed for p in phases), "")
    rows = [(p.name, _time(p.seconds) if p.reached else "-", p.changed, p.state) for p in phases]
    rows = [("PHASE", "TIME", "WOULD CHANGE" if check_mode else "CHANGED", "STATE"), *rows, ("all", *total)]
    widths = [max(len(str(row[n])) for row in rows) for n in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows)


def failures(phases: list[Phase]) -> list[str]:
    """Where it failed, a line for each task."""
    return [
        f"Failed in {phase.name}: '{task}' on {', '.join(sorted(h for h, t in phase.failed.items() if t == task))}"
        for phase in phases
        for task in dict.fromkeys(phase.failed.values())
    ]


def reach(site: dict) -> list[str]:
    """Where everything is, as the role ingress tells it."""
    lines = {**site.get("addresses", {})}
    if site.get("kubeconfig"):
        lines["kubectl"] = f"export KUBECONFIG={shlex.quote(site['kubeconfig'])}"
    return [f"{name:<{max(map(len, lines))}}  {where}" for name, where in lines.items()]


def advice(phases: list[Phase], failed: bool, site: dict, inventories: Iterable[str]) -> list[str]:
    """What to do next."""
    if failed:
        again = "Put that right and run the same command again: it goes on where this run has ended."
        if not any(p.failed and p.name not in EARLY for p in phases):
            return [again]
        command = ["ansible-playbook", "cloudcartops.platform.diagnose", *(w for i in inventories for w in ("-i", i))]
        return [again, f"When the message above is not enough, find the root cause:\n  {shlex.join(command)}"]
    names, address = site.get("names", []), site.get("address")
    if address and unknown(names):
        line = f"{address} {' '.join(names)}"
        return [
            f"This machine does not find these names. Where the browser runs, add this line to /etc/hosts:\n  {line}"
        ]
    return []


def unknown(names: list[str]) -> list[str]:
    """The names that this machine finds no address for within a moment."""
    found = set()

    def look(name: str) -> None:
        with contextlib.suppress(OSError, UnicodeError):
            socket.getaddrinfo(name, None)
            found.add(name)

    threads = [Thread(target=look, args=(name,), daemon=True) for name in names]
    end = monotonic() + FINDING
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, end - monotonic()))
    return [name for name in names if name not in found]


def _time(seconds: float) -> str:
    return f"{int(seconds + 0.5) // 60}:{int(seconds + 0.5) % 60:02}"
