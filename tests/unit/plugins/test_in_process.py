# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that run in the worker's own process, and those that do not, by ansible-playbook itself."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml
from ansible.release import __version__
from ansible_collections.cloudcartops.platform.plugins.action import in_process
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.modules import control_packages

ROOT = pathlib.Path(__file__).resolve().parents[3]
RUNTIME = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
HERE = __version__.startswith(in_process.TESTED)  # with any other version nothing takes the short way


@pytest.fixture
def play(tmp_path):
    """A function: run one task of a host with a local connection and -vvvvv; its result and everything printed."""

    def run(task: dict, *arguments: str, **variables):
        task = {"register": "answer", "ignore_errors": True, "ignore_unreachable": True, **task}
        show = {"ansible.builtin.copy": {"dest": str(tmp_path / "answer.json"), "content": "{{ answer | to_json }}"}}
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        show |= {"delegate_to": "localhost", "check_mode": False}
        plays = [{"hosts": "cluster", "gather_facts": False, "tasks": [task, show]}]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
        hosts = {"all": {"hosts": {"cluster": host}}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
        command = [
            "ansible-playbook",
            "-vvvvv",
            "-i",
            str(tmp_path / "hosts.yml"),
            str(tmp_path / "play.yml"),
            *arguments,
        ]
        environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_PIPELINING": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((tmp_path / "answer.json").read_text(encoding="utf-8")), done.stdout + done.stderr

    return run


INFO = {"cloudcartops.platform.k8s_cluster_info": {"kubeconfig": "/nowhere/kubeconfig"}}


def in_own_process(printed: str) -> bool:
    """Whether no other program was started for the module."""
    return "EXEC" not in printed.partition("Using module file")[2].partition("TASK [")[0]


def test_every_module_for_the_control_node_takes_this_way():
    groups = RUNTIME["action_groups"]
    local = ["artifact_file", "control_helm", "kubeconfig"]
    routed = {name: way["action_plugin"] for name, way in RUNTIME["plugin_routing"]["modules"].items()}
    assert routed == dict.fromkeys([*groups["k8s"], *groups["vault"], *local], "cloudcartops.platform.in_process")


def test_the_result_is_the_same_either_way(play):
    here, printed = play(INFO)
    assert in_own_process(printed) == HERE
    there, printed = play({**INFO, "environment": {"A": "b"}})
    assert not in_own_process(printed)
    assert here["failed"] and "There is no kubeconfig /nowhere/kubeconfig." in here["msg"]
    exceptions = [answer.pop("exception", "") for answer in (here, there)]  # 2.18 names a temporary file there
    assert here == there and (exceptions[0] == exceptions[1] or not HERE)


def test_packages_are_asked_for_in_the_same_way(play):
    answer, printed = play({"cloudcartops.platform.control_packages": {}})
    assert in_own_process(printed) == HERE
    assert answer["failed"] is False and answer["changed"] is False


def test_all_missing_packages_are_named(monkeypatch):
    for name in ("requests", "websocket"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PlatformError) as error:
        control_packages.logic({}, False)
    assert error.value.facts == {"missing": ["requests", "websocket"]}
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and "-m pip install websocket-client" in lines[1]


def test_what_later_tasks_import_is_there_before_they_are_forked():
    """A task after it finds what it needs in memory: nothing of it is imported by the action plugin of the task."""
    script = (
        "import sys; from ansible.plugins.loader import action_loader, init_plugin_loader; init_plugin_loader();"
        "action_loader.get('cloudcartops.platform.control_packages', class_only=True);"
        "print(*sorted(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    here = "ansible_collections.cloudcartops.platform.plugins.modules"
    assert {*control_packages.PACKAGES, f"{here}.k8s_apply", f"{here}.k8s_rollout"} <= set(done.stdout.split())


def test_bad_arguments(play):
    answer, printed = play({"cloudcartops.platform.k8s_cluster_info": {"kubeconfig": "/nowhere", "kubeconifg": "x"}})
    assert in_own_process(printed) == HERE
    assert answer["failed"] and "Unsupported parameters" in answer["msg"] and "kubeconifg" in answer["msg"]


def test_check_mode_gets_through(play):
    answer, printed = play(INFO, "--check")
    assert in_own_process(printed) == HERE
    assert (answer["failed"], answer["cluster"], answer["changed"]) == (False, "absent", False)


def test_no_secret_is_shown(play):
    # From a variable, as errors show the lines of the play that they come from.
    module = {"url": "http://127.0.0.1:1", "token": "{{ token }}", "path": "kv", "type": "kv"}
    answer, printed = play({"cloudcartops.platform.vault_mount": module}, token="a-secret-token")
    assert in_own_process(printed) == HERE and answer["failed"] and "127.0.0.1:1" in answer["msg"]
    assert "a-secret-token" not in json.dumps(answer) + printed
    # -vvvvv of 2.19 shows the arguments as the module returns them.
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in printed or not HERE


@pytest.mark.parametrize("other", [{"ansible_connection": "ssh"}, {"ansible_python_interpreter": "/nowhere/python3"}])
def test_other_places_are_reached_in_the_usual_way(play, other):
    answer, _printed = play(INFO, **{"ansible_host": "127.0.0.1", "ansible_port": 1, **other})
    assert "There is no kubeconfig" not in json.dumps(answer)
