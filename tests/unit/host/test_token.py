# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of the join token: once, without a word of it, and completed when it was begun."""

from __future__ import annotations

import json
import os
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import token
from ansible_collections.cloudcartops.platform.plugins.modules import k3s_token

FULL = "K10" + "0123456789abcdef" * 4 + "::server:"
# What K3s does, as far as it is of interest: it writes its arguments and the token that it was given down.
PROGRAM = """#!/bin/sh
printf '%s\\n' "$*" >"$FOLDER/arguments"
printf '%s' "$K3S_TOKEN" >"$FOLDER/given"
"""
ROTATES = PROGRAM + f"echo {FULL}pw-two >$FOLDER/server/token\n"
REFUSES = (
    PROGRAM
    + """echo 'level=fatal msg="https://127.0.0.1:6443/v1-k3s/token: 401 Unauthorized, not '$K3S_TOKEN' nor pw-one"' >&2
exit 1
"""
)


class Unit:
    """The unit of a server that has been ready for a minute."""

    name = "k3s.service"

    def __init__(self, state="active"):
        ready = str(int((time.monotonic() - 60) * 1e6))
        self.state = {"ActiveState": state, "ActiveEnterTimestampMonotonic": ready}

    def show(self):
        return self.state


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A function that rotates the token of a made-up server with a made-up K3s."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    (tmp_path / "server").mkdir()
    kept = tmp_path / "server/token"
    kept.write_text(f"{FULL}pw-one\n", encoding="utf-8")
    os.utime(kept, (time.time() - 120,) * 2)

    def rotate(program=ROTATES, unit=None, **options):
        (tmp_path / "k3s").write_text(program, encoding="utf-8")
        (tmp_path / "k3s").chmod(0o755)
        return token.rotate(unit or Unit(), str(tmp_path / "k3s"), str(tmp_path), "https://127.0.0.1:6443", **options)

    return rotate


def test_k3s_makes_another_token(server, tmp_path):
    assert server(check_mode=True) == {"changed": True, "begun": False}
    assert not (tmp_path / "arguments").exists()
    assert server() == {"changed": True, "begun": False}
    arguments = (tmp_path / "arguments").read_text(encoding="utf-8").strip()
    assert arguments == f"token rotate --data-dir {tmp_path} --server https://127.0.0.1:6443"
    assert (tmp_path / "given").read_text(encoding="utf-8") == f"{FULL}pw-one"


def test_a_rotation_that_waits_for_the_restart_is_not_begun_again(server, tmp_path):
    server()
    (tmp_path / "arguments").unlink()
    assert server() == {"changed": False, "begun": True}
    assert not (tmp_path / "arguments").exists()


@pytest.mark.parametrize(
    ("program", "unit", "says"),
    [
        (ROTATES, Unit("activating"), ["k3s.service is activating", "play setup"]),
        (REFUSES, None, ["does not rotate its token", "Unauthorized, not ******** nor ********", "run this again"]),
        (PROGRAM, None, ["has the old one", "k3s --version"]),
    ],
)
def test_what_goes_wrong(server, program, unit, says):
    with pytest.raises(PlatformError) as error:
        server(program, unit)
    assert [part for part in says if part not in str(error.value)] == []
    assert "pw-one" not in str(error.value)


def test_a_host_without_k3s(server, tmp_path):
    (tmp_path / "server/token").unlink()
    with pytest.raises(PlatformError, match="play setup"):
        server()


def test_the_module(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(k3s_token, "Unit", lambda name: Unit())
    (tmp_path / "k3s").write_text(ROTATES, encoding="utf-8")
    (tmp_path / "k3s").chmod(0o755)
    arguments = {"program": str(tmp_path / "k3s"), "data_dir": str(tmp_path)}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        k3s_token.main()
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and json.loads(printed)["changed"] is True
    assert "pw-one" not in printed and "pw-two" not in printed
