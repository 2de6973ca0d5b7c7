# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From many findings to few: what has one cause is one finding, and what follows from another stands below it."""

from __future__ import annotations

from dataclasses import dataclass, field

# What more depends on comes first.
ORDER = (
    "node", "pressure", "clock", "cordoned", "dns", "webhook", "injector", "vault", "login", "quota", "account",
    "refused", "create", "not-injected", "platform", "image", "command", "config", "mount", "volume", "full",
    "unschedulable", "memory", "secret-file", "crash", "probe", "no-value", "placeholder", "stale", "job", "deadline",
    "route", "consumer", "check", "waits",
)  # fmt: skip


@dataclass
class Finding:
    """Something wrong. ``names`` are what it takes away, ``because`` what would explain it if that were missing."""

    rule: str
    objects: list[str]
    cause: str
    fix: str
    evidence: str = ""
    command: str = ""
    names: set[str] = field(default_factory=set)
    because: set[str] = field(default_factory=set)
    group: str = ""
    consequences: list[Finding] = field(default_factory=list)

    @property
    def weight(self) -> int:
        return ORDER.index(self.rule) if self.rule in ORDER else len(ORDER)

    def shown(self, rank: int) -> dict:
        """For the result of a module."""
        told = {key: getattr(self, key) for key in ("rule", "objects", "cause", "evidence", "fix", "command")}
        followers = [{k: getattr(f, k) for k in ("rule", "objects", "cause", "command")} for f in self.consequences]
        return {"rank": rank, **told, "consequences": followers}


def ranked(findings: list[Finding]) -> list[dict]:
    """The root causes in order, each with its consequences."""
    merged = sorted(_merged(findings), key=lambda f: (f.weight, f.objects))
    causes = {id(f): [g for g in merged if g is not f and g.names & f.because] for f in merged}
    roots = [f for f in merged if not causes[id(f)]]
    explained = {id(f) for f in roots}
    while True:
        for f in merged:  # heaviest first, so that a chain is followed from its start
            if id(f) not in explained and any(id(c) in explained for c in causes[id(f)]):
                cause = next(c for c in causes[id(f)] if id(c) in explained)
                root = next(r for r in roots if r is cause or any(c is cause for c in r.consequences))
                root.consequences.append(f)
                explained.add(id(f))
                break
        else:
            left = [f for f in merged if id(f) not in explained]
            if not left:
                break
            roots.append(left[0])  # they explain each other: the heaviest is taken for the cause
            explained.add(id(left[0]))
    return [f.shown(rank) for rank, f in enumerate(sorted(roots, key=lambda f: f.weight), 1)]


def _merged(findings: list[Finding]) -> list[Finding]:
    """One for all that have the same rule and group. Without a group, each stands for itself."""
    kept: dict[tuple, Finding] = {}
    for number, f in enumerate(findings):
        first = kept.setdefault((f.rule, f.group or number), f)
        if first is not f:
            first.objects += [o for o in f.objects if o not in first.objects]
            first.names |= f.names
            first.because |= f.because
            if f.command not in first.command:
                first.command = _joined(first.command, f.command)
    return list(kept.values())


def _joined(one: str, other: str) -> str:
    return f"{one} && {other}" if one and other else one or other
