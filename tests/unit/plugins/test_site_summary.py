# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table at the end of a run of the site, by ansible-playbook itself."""

from __future__ import annotations

import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.callback import site_summary
from ansible_collections.cloudcartops.platform.plugins.module_utils import phases

ROOT = pathlib.Path(__file__).resolve().parents[3]
SECRET = "a-secret-of-the-message"
OK = {"name": "Look", "ansible.builtin.debug": {"msg": "fine"}}
CHANGE = {"name": "Change", "ansible.builtin.debug": {"msg": "x"}, "changed_when": True}
FAIL = {"name": "Role | Wait for it", "ansible.builtin.fail": {"msg": SECRET}}
SKIP = {"name": "Skip", "ansible.builtin.debug": {"msg": "x"}, "when": False}
MENDED = {"name": "Mend", "block": [FAIL], "rescue": [OK]}
PING = {"name": "Reach", "ansible.builtin.ping": {}}
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
GONE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
DIAGNOSE = "ansible-playbook cloudcartops.platform.diagnose -i "


@dataclass
class Run:
    """What a run printed after Ansible's recap, all of it, and the report."""

    printed: str
    report: dict | None

    @property
    def end(self) -> str:
        recap = self.printed.partition("PLAY RECAP")[2]
        return recap.partition("\n\n")[2]

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        """Changes and state by phase."""
        lines = self.end.partition("\n\n")[0].splitlines()[1:-1]
        return {words[0]: (words[2], " ".join(words[3:])) for words in map(str.split, lines)}

    @property
    def states(self) -> list[str]:
        return [state for _changed, state in self.rows.values()]


@pytest.fixture
def site(tmp_path):
    """A function: run plays on hosts, each (phase or "", its tasks)."""

    def run(*plays, hosts=None, arguments=(), report=None):
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts or {"one": LOCAL}}}))
        written = [
            {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks, "tags": phase}
            | ({"vars": {"__site_phase": phase}} if phase else {})
            for phase, tasks in plays
        ]
        # As in a checkout: by an import, whose variables are those of the import.
        for number, play in enumerate(written):
            given = {"vars": play.pop("vars")} if "vars" in play else {}
            (tmp_path / f"{number}.yml").write_text(yaml.safe_dump([play]))
            written[number] = {"ansible.builtin.import_playbook": f"{number}.yml", **given}
        (tmp_path / "inner.yml").write_text(yaml.safe_dump(written))
        (tmp_path / "site.yml").write_text(yaml.safe_dump([{"ansible.builtin.import_playbook": "inner.yml"}]))
        path = report or tmp_path / "report.json"
        command = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "site.yml"), *arguments]
        environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "NO_COLOR": "1", "COLUMNS": "200"}
        environment["CLOUDCARTOPS_REPORT_FILE"] = str(path)
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, **pipe)
        found = json.loads(path.read_text()) if path.is_file() else None
        return Run(done.stdout, found)

    return run


def test_a_run_that_changes_something(site, tmp_path):
    plays = [("lint", [OK]), ("", [CHANGE]), ("setup", [CHANGE, CHANGE, OK]), ("pull", [SKIP]), ("verify", [CHANGE])]
    ran = site(*plays, hosts={"one": LOCAL, "two": LOCAL})
    assert ran.rows == {
        "lint": ("0", "ok"),
        "setup": ("4", "changed"),
        "pull": ("0", "left out"),
        "verify": ("2", "changed"),
    }
    assert "WOULD" not in ran.end and "Failed" not in ran.printed
    recap = sum(int(n) for n in re.findall(r" changed=(\d+) ", ran.printed))
    assert recap == 8 and ran.report["changed"] == 6, "the play of somebody else is in none of the phases"
    assert [(p["phase"], p["state"], p["changed"]) for p in ran.report["phases"]] == [
        (name, state, int(changed)) for name, (changed, state) in ran.rows.items()
    ]
    assert (ran.report["result"], ran.report["check_mode"]) == ("ok", False)
    assert ran.report["seconds"] > 0 and ran.report["started"].endswith("+00:00")
    assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o600


def test_a_run_that_fails(site, tmp_path):
    ran = site(("lint", [OK]), ("vault", [CHANGE, FAIL]), ("data", [OK]))
    assert ran.rows == {"lint": ("0", "ok"), "vault": ("1", "failed"), "data": ("0", "not reached")}
    assert "Failed in vault: 'Role | Wait for it' on one\n" in ran.end
    assert f"{DIAGNOSE}{tmp_path}/hosts.yml\n" in ran.end
    assert SECRET in ran.printed and SECRET not in ran.end + json.dumps(ran.report)
    assert ran.report["result"] == "failed" and ran.report["seconds"] > 0
    assert ran.report["phases"][1]["failed"] == [{"host": "one", "task": "Role | Wait for it"}]


def test_there_is_nothing_to_diagnose_before_the_platform(site):
    ran = site(("setup", [FAIL]), ("verify", [OK]))
    assert "run the same command again" in ran.end and DIAGNOSE not in ran.end


def test_a_machine_that_does_not_answer(site):
    ran = site(("setup", [PING]), ("verify", [OK]), hosts={"one": LOCAL, "two": GONE})
    assert ran.states == ["failed", "not reached"]
    assert "Failed in setup: 'Reach' on two\n" in ran.end and ran.report["result"] == "failed"


def test_what_a_rescue_mends_is_no_failure(site):
    ran = site(("setup", [MENDED]), ("verify", [OK]))
    assert ran.states == ["ok", "ok"] and ran.report["result"] == "ok"


def tells(*names: str, address: str = "192.0.2.1") -> dict:
    told = {"addresses": {"shop": "http://shop.test"}, "names": names, "address": address, "kubeconfig": "/a b"}
    told = {"data": {site_summary.SITE: told}, "aggregate": False}
    return {"name": "Tell", "ansible.builtin.set_stats": json.loads(json.dumps(told))}


def test_where_everything_is(site):
    ran = site(("ingress", [tells("localhost")]))
    assert "\nshop     http://shop.test\nkubectl  export KUBECONFIG='/a b'\n" in ran.end
    assert "/etc/hosts" not in ran.end and ran.report["site"]["addresses"] == {"shop": "http://shop.test"}


def test_names_that_are_not_found(site):
    ran = site(("ingress", [tells("nowhere.invalid", "localhost")]))
    assert "\n  192.0.2.1 nowhere.invalid localhost\n" in ran.end
    assert "/etc/hosts" not in site(("ingress", [tells("nowhere.invalid", address="")])).end


def test_check_mode(site):
    ran = site(("setup", [CHANGE]), ("ingress", [tells("nowhere.invalid")]), arguments=["--check"])
    assert "WOULD CHANGE" in ran.end and ran.rows["setup"] == ("1", "changed")
    assert "shop.test" not in ran.end and "/etc/hosts" not in ran.end, "nothing may be there yet"
    assert ran.report["check_mode"] is True and ran.report["site"] == {}


def test_tags_leave_phases_out(site):
    ran = site(("setup", [CHANGE]), ("vault", [OK]), arguments=["--tags", "vault"])
    assert ran.states == ["left out", "ok"]


def test_other_playbooks_end_as_ever(site):
    ran = site(("", [CHANGE]))
    assert not ran.end.strip() and ran.report is None


def test_a_report_that_cannot_be_written_is_told_before_the_first_task(site, tmp_path):
    (tmp_path / "file").touch()
    ran = site(("setup", [OK]), report=tmp_path / "file/report.json")
    told = "".join(ran.printed.split())  # it may be broken into lines anywhere
    assert f"report_file:{tmp_path}/file/report.jsoncannotbewritten:" in told.partition("TASK[")[0]
    assert ran.states == ["ok"]


def test_the_report_of_a_run_that_goes_on_or_was_killed(site, tmp_path):
    copy = ["cp", str(tmp_path / "report.json"), str(tmp_path / "copy.json")]
    copy = {"name": "Copy", "ansible.builtin.command": {"argv": copy}}
    assert site(("setup", [OK]), ("vault", [copy])).report["result"] == "ok"
    during = json.loads((tmp_path / "copy.json").read_text())
    assert during["result"] == "running"
    assert [p["state"] for p in during["phases"]] == ["not reached", "not reached"]


def test_the_site_names_its_phases():
    """After the playbooks that run them alone."""
    imports = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    named = [item["vars"]["__site_phase"] for item in imports]
    assert [item["ansible.builtin.import_playbook"] for item in imports] == [f"{name}.yml" for name in named]
    assert named[: len(phases.EARLY)] == list(phases.EARLY)


def test_the_ingress_tells_what_is_listened_for():
    tasks = yaml.safe_load((ROOT / "roles/ingress/tasks/main.yml").read_text(encoding="utf-8"))
    told = [task["ansible.builtin.set_stats"]["data"] for task in tasks if "ansible.builtin.set_stats" in task]
    assert told == [{site_summary.SITE: "{{ __ingress_site }}"}]


def test_a_slow_resolver_does_not_hold_the_end_up(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(phases.socket, "getaddrinfo", lambda name, _port: name == "fast" or never.wait(20))
    monkeypatch.setattr(phases, "FINDING", 0.05)
    started = phases.monotonic()
    assert phases.unknown(["fast", "slow", "slower"]) == ["slow", "slower"]
    assert phases.monotonic() - started < 5
    never.set()


def test_times():
    found = [phases.Phase("a", reached=True, seconds=59.6), phases.Phase("b")]
    assert [line.split()[1] for line in phases.table(found, False).splitlines()] == ["TIME", "1:00", "-", "1:00"]
