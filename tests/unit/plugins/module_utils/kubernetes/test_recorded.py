# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster of the lab said of objects in trouble, and of the same when they were well again.

`pytest tests/live/test_faults.py --record` writes the files.
"""

from __future__ import annotations

import json
import pathlib
import types
from math import inf

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.diagnose import Diagnosis
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import diagnosis
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.looks import Looks

FOLDER = pathlib.Path(__file__).with_name("recorded")
PARTS = sorted(FOLDER.glob("*-part.json"))
FILES = sorted({*FOLDER.glob("*.json")} - {*PARTS})
RULES = {
    "command", "config", "crash", "deadline", "image", "memory", "mount", "platform", "probe", "quota", "secret-file",
    "unschedulable", "vault", "volume", "webhook", "not-injected",
}  # fmt: skip
GRACE = 60
# What gets more time: a node may take pods again, and a probe that gets 503 looks like a slow start.
LONGER = {"a node that takes no pods": GRACE, "a sealed Vault": inf}


class Replay:
    """A client that knows the recorded answers, and no others."""

    def __init__(self, answers: list) -> None:
        self.answers = {(method, *arguments): answer for method, arguments, answer in answers}

    def get(self, *arguments):
        return self.answers[("get", *arguments)]

    def list(self, *arguments, **_selectors):
        return self.answers[("list", *arguments)]

    def create(self, _obj, **_options):
        return self.answers[("create",)]

    def call(self, _method, path, **_options):
        assert path == "/version"
        return types.SimpleNamespace(headers={})

    def logs(self, namespace, name, container, previous=False, **_options):
        return self.answers["logs", namespace, name, container, "previous" if previous else ""]


def troubles(recorded: dict, grace: float) -> list[diagnosis.Trouble]:
    events = diagnosis.Events(recorded["events"])
    if recorded["kind"] == "Pod":
        return list(Looks(Replay(recorded["answers"])).troubles(recorded["object"], {}, grace, events))
    return list(diagnosis.workload_troubles(recorded["kind"], recorded["object"], {}, grace, events))


def load(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_recorded_is_named(path):
    sick = load(path)["sick"]
    assert (sick["rule"], sick["cause"]) in [(t.rule, t.cause) for t in troubles(sick, 0)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_wait_ends_early(path):
    recorded = load(path)
    sick = recorded["sick"]
    limit = LONGER.get(recorded["fault"], diagnosis.SOON)
    assert min(t.grace for t in troubles(sick, GRACE) if t.rule == sick["rule"]) <= limit


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_named_when_it_is_well_again(path):
    assert troubles(load(path)["well"], 0) == []


def findings(recorded: dict) -> list[tuple[str, str]]:
    """What a part of the diagnosis finds."""
    params = {"namespace": "cloudcart", "services": {}, "topics": [], "jobs": []}
    found = getattr(Diagnosis(Replay(recorded["answers"]), params), recorded["part"])()
    return [(f.rule, f.cause) for f in found]


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_what_a_part_of_the_diagnosis_found(path):
    recorded = load(path)
    assert (recorded["sick"]["rule"], recorded["sick"]["cause"]) in findings(recorded["sick"])
    assert findings(recorded["well"]) == []


def test_every_rule_of_the_diagnosis_about_objects_has_a_recording():
    assert {load(path)["sick"]["rule"] for path in PARTS} == {
        "node", "pressure", "cordoned", "dns", "route", "injector",
    }  # fmt: skip


def test_every_rule_about_pods_and_workloads_has_a_recording():
    assert {load(path)["sick"]["rule"] for path in FILES} == RULES
