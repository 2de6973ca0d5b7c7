# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of pipelines and the execution environment without running them."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def load(path: str | pathlib.Path) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_as_little_as_they_need(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == ({"contents": "write"} if name == "release" else {})
        assert job["timeout-minutes"] <= 60
        actions = [step for step in job["steps"] if "uses" in step]
        assert [step["uses"] for step in actions if not re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])] == []
        assert [s for s in actions if "checkout" in s["uses"] and s["with"] != {"persist-credentials": False}] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_calls_is_there(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for job in load(path)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for command in "\n".join(step.get("run", "") for step in job["steps"]).splitlines():
            if found := re.match(r"make (\S+)", command):
                targets = matrix["target"] if "matrix" in command else [found[1]]
                assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []
            if found := re.match(r"(scripts/\S+)", command):
                assert (ROOT / found[1]).is_file()
            if found := re.search(r"molecule test --scenario-name (\S+)", command):
                assert (ROOT / ".github/molecule" / found[1] / "molecule.yml").is_file()


def test_the_scenario_of_a_runner_is_not_among_those_of_make_molecule():
    """It turns the machine that it runs on into the platform."""
    assert not (ROOT / "molecule/runner").exists()
    scenario = load(".github/molecule/runner/molecule.yml")
    for path in scenario["ansible"]["playbooks"].values():
        path = path.replace("${MOLECULE_SCENARIO_DIRECTORY}", ".github/molecule/runner")
        assert (ROOT / path.replace("${MOLECULE_PROJECT_DIRECTORY}/", "")).is_file()


def test_the_execution_environment_holds_this_version():
    archive = "cloudcartops-platform-{version}.tar.gz".format(**load("galaxy.yml"))
    environment = load("execution-environment.yml")
    assert environment["additional_build_files"] == [{"src": archive, "dest": "archive"}]
    assert [c["name"] for c in environment["dependencies"]["galaxy"]["collections"]] == [f"archive/{archive}"]
    assert (ROOT / load("meta/execution-environment.yml")["dependencies"]["python"]).is_file()
