# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of K3s: when it is started or restarted, and what is said when it does not come up."""

from __future__ import annotations

import json
import os
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import service
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import Wanted
from ansible_collections.cloudcartops.platform.plugins.modules import k3s_service

NEW = {
    "LoadState": "not-found",
    "ActiveState": "inactive",
    "SubState": "dead",
    "UnitFileState": "",
    "NeedDaemonReload": "no",
    "NRestarts": "0",
    "Job": "",
    "ExecMainStartTimestampMonotonic": "0",
    "ExecMainStatus": "0",
    "ActiveEnterTimestampMonotonic": "0",
}
STARTING = {**NEW, "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "activating", "SubState": "start"}
RUNNING = {**STARTING, "ActiveState": "active", "SubState": "running"}
LOOPING = {**STARTING, "SubState": "auto-restart", "NRestarts": "1", "ExecMainStatus": "1"}
TOKEN = "K10" + "0123456789abcdef" * 4 + "::server:9f8e7d"


def at(state, seconds, **changes):
    """`state` of a program that started `seconds` ago."""
    return {**state, "ExecMainStartTimestampMonotonic": str(int((time.monotonic() - seconds) * 1e6)), **changes}


class Unit:
    """Stands in for the real unit: shows its states one after the other, the last one for ever."""

    name = "k3s.service"

    def __init__(self, *states, journal=()):
        self.states, self.lines, self.commands = list(states), list(journal), []

    def show(self):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def systemctl(self, *arguments):
        self.commands.append(" ".join(arguments))

    def journal(self, since):
        return self.lines


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(service, "POLL", 0)


def ensure(unit, paths=(), **options):
    return service.ensure(unit, list(paths), **{"timeout": 5, "join_timeout": 5, **options})


def failure(unit, **options):
    with pytest.raises(PlatformError) as error:
        ensure(unit, **options)
    return error.value


@pytest.mark.parametrize(
    ("state", "newer", "actions"),
    [
        (NEW, False, ["reload", "enable", "start"]),
        ({**NEW, "LoadState": "loaded", "UnitFileState": "disabled"}, False, ["enable", "start"]),
        (RUNNING, False, []),
        (RUNNING, True, ["restart"]),
        ({**RUNNING, "NeedDaemonReload": "yes"}, True, ["reload", "restart"]),
        ({**RUNNING, "UnitFileState": "disabled"}, False, ["enable"]),
        (STARTING, False, []),
        (STARTING, True, ["restart"]),
        (LOOPING, False, ["start"]),
        ({**RUNNING, "ActiveState": "failed", "SubState": "failed"}, True, ["start"]),
    ],
)
def test_plan(state, newer, actions):
    assert service.plan(state, newer) == actions


def test_files_newer_than_the_start(tmp_path):
    now = time.time()
    folder = tmp_path / "config.yaml.d"
    folder.mkdir()
    ages = {"old": 100, "changed": 10, "config.yaml.d/drop-in.yaml": 20, "future": -1000}
    for name, age in ages.items():
        (tmp_path / name).write_text("", encoding="utf-8")
        os.utime(tmp_path / name, (now - age, now - age))
    paths = [str(tmp_path / name) for name in ("old", "changed", "config.yaml.d", "future", "absent")]
    found = service.newer_files(paths, now - 50, now)
    assert found == [str(tmp_path / "changed"), str(folder / "drop-in.yaml")]


def test_a_new_unit_is_started():
    loaded = {**NEW, "LoadState": "loaded", "UnitFileState": "disabled"}
    unit = Unit(NEW, loaded, loaded, at(STARTING, 0), at(RUNNING, 0))
    result = ensure(unit)
    assert result["changed"] and result["actions"] == ["reload", "enable", "start"]
    assert unit.commands == ["daemon-reload", "enable k3s.service", "restart --no-block k3s.service"]


def test_a_missing_unit_file_is_an_error():
    assert "no unit k3s.service" in str(failure(Unit(NEW)))


def test_a_running_unit_is_left_alone(tmp_path):
    (tmp_path / "old").write_text("", encoding="utf-8")
    os.utime(tmp_path / "old", (1, 1))
    unit = Unit(at(RUNNING, 60))
    assert ensure(unit, [str(tmp_path / "old")])["changed"] is False and unit.commands == []


def test_a_change_that_was_not_followed_by_a_restart_is_completed(tmp_path):
    (tmp_path / "k3s").write_text("", encoding="utf-8")
    old = at(RUNNING, 60)
    # The restart is queued: for a moment the old program is still shown.
    unit = Unit(old, old, old, {**old, "ActiveState": "deactivating"}, at(RUNNING, 0))
    result = ensure(unit, [str(tmp_path / "k3s")])
    assert result["newer"] == [str(tmp_path / "k3s")] and result["actions"] == ["restart"]
    assert len(unit.states) == 1


@pytest.mark.parametrize(
    ("written", "actions"),
    [(50, []), (30, ["restart"]), (-3600, [])],  # while it started, after it was ready, by a clock that was wrong
)
def test_what_k3s_writes_itself_restarts_it_when_it_changed_later(tmp_path, written, actions):
    token = tmp_path / "token"
    token.write_text("x", encoding="utf-8")
    os.utime(token, (time.time() - written,) * 2)
    ready = {"ActiveEnterTimestampMonotonic": str(int((time.monotonic() - 40) * 1e6))}
    unit = Unit(at(RUNNING, 60, **ready), at(RUNNING, 60, **ready), at(RUNNING, 0, **ready))
    result = ensure(unit, own_paths=[str(token)])
    assert result["actions"] == actions and result["newer"] == ([str(token)] if actions else [])
    assert ensure(Unit(at(LOOPING, 60, **ready)), own_paths=[str(token)], check_mode=True)["actions"] == ["start"]


def test_check_mode_only_tells(tmp_path):
    unit = Unit(at(RUNNING, 60))
    result = ensure(unit, check_mode=True, pending=True)
    assert result["actions"] == ["restart"] and unit.commands == []
    [diff] = result["diff"]
    assert "restarted" in diff["after"] and "restarted" not in diff["before"]
    unit = Unit(NEW)
    assert ensure(unit, check_mode=True)["changed"] and unit.commands == []
    assert ensure(Unit(at(RUNNING, 60)), pending=True)["changed"] is False


@pytest.fixture
def wanted(tmp_path):
    """A function: configuration and unit of K3s with these texts, as options."""

    def make(config=f"token: {TOKEN}\n", unit_file="[Service]\n"):
        return {
            "config": Wanted(str(tmp_path / "rancher/config.yaml"), config, 0o600),
            "unit_file": Wanted(str(tmp_path / "k3s.service"), unit_file, 0o644),
        }

    return make


def test_configuration_and_unit_are_written_first(wanted, tmp_path):
    paths = [str(tmp_path / "rancher/config.yaml"), str(tmp_path / "k3s.service")]
    old = at(RUNNING, 60)
    result = ensure(Unit(old), check_mode=True, **wanted())
    assert (result["changed"], result["actions"], result["written"]) == (True, ["restart"], paths)
    assert os.listdir(tmp_path) == [] and TOKEN not in json.dumps(result)
    unit = Unit(old, old, old, at(RUNNING, 0))
    result = ensure(unit, **wanted())
    assert (result["changed"], result["actions"], result["newer"]) == (True, ["restart"], paths)
    assert (tmp_path / "rancher/config.yaml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "rancher/config.yaml").read_text(encoding="utf-8") == f"token: {TOKEN}\n"
    assert (tmp_path / "k3s.service").stat().st_mode & 0o777 == 0o644
    assert TOKEN not in json.dumps(result) and "is written" in result["diff"][2]["prepared"]
    assert (result["diff"][1]["before"], result["diff"][1]["after"]) == ("", "[Service]\n")
    for name in paths:
        os.utime(name, (1, 1))
    again = ensure(Unit(old), **wanted())
    assert (again["changed"], again["written"], len(again["diff"])) == (False, [], 1)


@pytest.mark.parametrize("damage", ["text", "mode", "link", "gone"])
def test_what_was_changed_by_hand_is_put_right(wanted, tmp_path, damage):
    old = at(RUNNING, 60)
    ensure(Unit(old, old, at(RUNNING, 0)), **wanted())
    path = tmp_path / "k3s.service"
    os.utime(path, (1, 1))
    if damage == "text":
        path.write_text("[Unit]\n", encoding="utf-8")
    elif damage == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
        if damage == "link":
            path.symlink_to("/dev/null")
    assert ensure(Unit(old, old, at(RUNNING, 0)), **wanted())["written"] == [str(path)]
    assert (path.stat().st_mtime == 1) is (damage == "mode")
    assert not path.is_symlink() and path.read_text(encoding="utf-8") == "[Service]\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(tmp_path)) == ["k3s.service", "rancher"], "nothing temporary is left"


def test_a_file_that_cannot_be_written(wanted, tmp_path, monkeypatch):
    (tmp_path / "k3s.service").mkdir()
    with pytest.raises(PlatformError, match=r"k3s\.service is a directory"):
        wanted()
    (tmp_path / "k3s.service").rmdir()
    (tmp_path / "rancher").write_text("", encoding="utf-8")
    assert "config.yaml cannot be written: " in str(failure(Unit(RUNNING), **wanted()))
    (tmp_path / "rancher").unlink()

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in str(failure(Unit(RUNNING), **wanted()))
    assert os.listdir(tmp_path / "rancher") == []
    (tmp_path / "k3s.service").touch()
    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(PlatformError, match="cannot be read: No space"):
        wanted()


def test_the_module_shows_no_configuration(tmp_path, monkeypatch, capsys):
    old = at(RUNNING, 60)
    monkeypatch.setattr(k3s_service, "UNITS", str(tmp_path))
    monkeypatch.setattr(k3s_service, "Unit", lambda name: Unit(old, old, old, at(RUNNING, 0)))
    files = {"config": f"token: {TOKEN}\n", "config_path": str(tmp_path / "config.yaml"), "unit": "[Service]\n"}
    with patch_module_args({"name": "k3s.service", **files}), pytest.raises(SystemExit) as stop:
        k3s_service.main()
    printed = capsys.readouterr().out
    assert stop.value.code == 0 and TOKEN not in printed
    assert json.loads(printed)["written"] == [files["config_path"], str(tmp_path / "k3s.service")]


def test_a_start_that_is_under_way_is_awaited():
    unit = Unit(at(STARTING, 5), at(STARTING, 5), at(RUNNING, 5))
    assert ensure(unit)["changed"] is False and unit.commands == []


def test_a_fatal_error_is_reported_at_once():
    old = at(LOOPING, 4)
    unit = Unit(
        old,
        old,
        old,  # the restart is queued
        at(STARTING, 0),
        at(LOOPING, 0),
        journal=[
            'time="2026-11-24T20:00:00Z" level=info msg="Starting k3s"',
            'time="2026-11-24T20:00:01Z" level=error msg="minor"',
            'time="2026-11-24T20:00:01Z" level=error msg="minor"',
            'time="2026-11-24T20:00:02Z" level=fatal msg="bad \\"node-label\\""',
        ],
    )
    error = failure(unit, timeout=600)
    assert error.facts["reasons"] == ['level=error msg="minor"', 'level=fatal msg="bad \\"node-label\\""']
    assert "ended with status 1" in str(error) and "journalctl -u k3s.service" in str(error)


def test_what_was_logged_before_a_fatal_error_is_quoted():
    lines = [
        'E1124 21:00:15.352367     427 kubelet.go:1704] "Failed to start ContainerManager" err="no cgroup"',
        "I1124 21:00:15.449527     425 run.go:72] fine",
        'time="2026-11-24T21:00:16Z" level=fatal msg="kubelet exited: exit status 1"',
    ]
    assert service.reasons(lines) == [
        'E kubelet.go:1704] "Failed to start ContainerManager" err="no cgroup"',
        'level=fatal msg="kubelet exited: exit status 1"',
    ]


def test_restarts_that_fall_between_two_looks_are_noticed():
    unit = Unit(at(STARTING, 1), at(STARTING, 1), at(STARTING, 0, NRestarts="1"), journal=["level=fatal msg=x"])
    assert "ended" in str(failure(unit, timeout=600))


def test_an_option_that_an_agent_does_not_know():
    lines = ["Incorrect Usage: flag provided but not defined: -disable", "", "NAME:", "   k3s agent - Run node agent"]
    text = str(failure(Unit(at(LOOPING, 9), at(LOOPING, 9), at(LOOPING, 0), journal=lines)))
    assert "-disable" in text and "k3s_agent_config" in text and "NAME" not in text


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ('level=fatal msg="write /x: no space left on device"', "Make room, then run again"),
        (
            'level=error msg="Failed to validate connection to cluster: x509: certificate has expired"',
            "'systemctl restart k3s' on the server",
        ),
        ('level=fatal msg="listen tcp :6443: bind: address already in use"', "'ss -ltnp'"),
        ('level=fatal msg="401 Unauthorized"', "run the play rotate"),
    ],
)
def test_what_to_do_about_it(line, fix):
    text = str(failure(Unit(at(LOOPING, 9), at(LOOPING, 9), at(LOOPING, 0), journal=[line])))
    assert line in text and fix in text


def test_a_server_that_does_not_answer_is_given_up():
    line = f'time="x" level=info msg="{service.WAITING}; server is not ready: dial tcp: connection refused"'
    error = failure(Unit(at(STARTING, 1), journal=[line, line]), timeout=600, join_timeout=0)
    assert "has waited 0 s for its server" in str(error) and "k3s_server_url" in str(error)
    assert len(error.facts["reasons"]) == 1


def test_the_time_limit():
    error = failure(Unit(at(STARTING, 1), journal=["one", "two"]), timeout=0)
    assert "did not become ready within 0 s (it is start)" in str(error) and error.facts["reasons"] == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (f"joining with {TOKEN}", "joining with ********"),
        ('level=info token="abc123" x', "level=info token=******** x"),
        ("--agent-token=abc123", "--agent-token=********"),
        ("postgres://user:pass@db/k3s", "postgres://user:********@db/k3s"),
        ("uses secret-of-the-file here", "uses ******** here"),
        ("Wrong number of arguments", "Wrong number of arguments"),
    ],
)
def test_scrub(line, clean):
    assert service.scrub(line, ["secret-of-the-file"]) == clean


def test_secrets_of_the_configuration_never_come_out(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "token: 'first-secret'\nagent-token: second-secret\nnode-name: vm-1\netcd-s3-secret-key: \"third-secret\"\n",
        encoding="utf-8",
    )
    folder = tmp_path / "config.yaml.d"
    folder.mkdir()
    (folder / "x.env").write_text("K3S_TOKEN='fourth-secret'\n", encoding="utf-8")
    paths = [str(tmp_path / "config.yaml"), str(folder), str(tmp_path / "absent")]
    assert set(service.secrets_in(paths)) == {f"{n}-secret" for n in ("first", "second", "third", "fourth")}
    unit = Unit(at(LOOPING, 9), at(LOOPING, 9), at(LOOPING, 0), journal=["level=fatal msg='no first-secret at vm-1'"])
    text = str(failure(unit, paths=paths))
    assert "first-secret" not in text and "vm-1" in text


def test_a_host_without_systemd(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PlatformError, match="a host that runs systemd"):
        service.Unit("k3s.service").show()
