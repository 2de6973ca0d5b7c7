# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in the machine's list of hosts, by the module."""

from __future__ import annotations

import errno
import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import files, names
from ansible_collections.cloudcartops.platform.plugins.modules import host_names

NAMES = ["cloudcart.local", "prometheus.cloudcart.local", "vault.cloudcart.local"]


def block(line="10.0.0.5 cloudcart.local prometheus.cloudcart.local vault.cloudcart.local"):
    return f"# BEGIN CloudCart dev\n{line}\n# END CloudCart dev\n"


OLD = block(f"10.0.0.4 {' '.join(NAMES)}")


@pytest.fixture
def ensure(tmp_path, capsys, warnings_in_results):
    """A function: run the module for a file with this text; its result, and the text afterwards."""

    def run(text, template=None, **options):
        path, made_of = tmp_path / "hosts", tmp_path / "hosts.tmpl"
        for file, content in ((path, text), (made_of, template)):
            if content is not None:
                file.write_text(content, encoding="utf-8")
        arguments = {"names": NAMES, "mark": "CloudCart dev", "address": "10.0.0.5", "path": str(path)}
        arguments = {**arguments, "templates": [str(made_of)], **options}
        with patch_module_args(arguments), pytest.raises(SystemExit) as stop:
            host_names.main()
        result = json.loads(capsys.readouterr().out)
        assert stop.value.code == (1 if "msg" in result else 0)
        return result, path.read_text(encoding="utf-8") if path.exists() else None

    return run


@pytest.mark.parametrize(
    ("text", "left", "elsewhere"),
    [
        ("127.0.0.1 localhost\n", NAMES, []),
        ("#10.0.0.9 cloudcart.local\n10.0.0.9 xcloudcart.local cloudcart.locals a # cloudcart.local\n", NAMES, []),
        ("10.0.0.9\tcloudcart.local  other # old\n", NAMES[1:], ["10.0.0.9\tcloudcart.local  other"]),
        ("10.0.0.9 cloudcart.local\n", NAMES[1:], ["10.0.0.9 cloudcart.local"]),
        ("10.0.0.5 vault.cloudcart.local\n", NAMES[:2], []),
        ("10.0.0.55 vault.cloudcart.local\n", NAMES[:2], ["10.0.0.55 vault.cloudcart.local"]),
        ("127.0.0.1 " + " ".join(NAMES) + "\n", [], ["127.0.0.1 " + " ".join(NAMES)]),
        (OLD.replace("dev", "prod"), [], [OLD.splitlines()[1]]),
    ],
)
def test_names_that_are_there_already_stay(ensure, text, left, elsewhere):
    result, after = ensure(text)
    assert after == text + (block(f"10.0.0.5 {' '.join(left)}") if left else "")
    assert (result["changed"], result["elsewhere"]) == (bool(left), elsewhere)
    warnings = result.get("warnings", [])
    assert len(warnings) == len(elsewhere)
    assert all(os.uname().nodename in str(w) and elsewhere[0].split()[0] in str(w) for w in warnings), warnings
    again, same = ensure(after)
    assert (again["changed"], again["diff"], same) == (False, [], after)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (f"127.0.0.1 localhost\n{OLD}::1 ip6-localhost\n", f"127.0.0.1 localhost\n{block()}::1 ip6-localhost\n"),
        (f"{OLD}::1 a\n{OLD}", f"{block()}::1 a\n"),
        (OLD.rstrip("\n"), block()),
        ("127.0.0.1 localhost", f"127.0.0.1 localhost\n{block()}"),
        (f"{OLD}10.0.0.9 {' '.join(NAMES)}\n", f"10.0.0.9 {' '.join(NAMES)}\n"),
        (None, block()),
        ("# BEGIN CloudCart dev\n127.0.0.1 localhost\n", f"# BEGIN CloudCart dev\n127.0.0.1 localhost\n{block()}"),
    ],
)
def test_where_the_block_stands(ensure, text, after):
    result, found = ensure(text)
    assert (result["changed"], found) == (True, after)
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == (text or "", after)


def test_the_template_of_cloud_init_where_there_is_one(ensure, tmp_path):
    result, _after = ensure("", template="## template\n")
    assert len(result["diff"]) == 2
    assert (tmp_path / "hosts.tmpl").read_text(encoding="utf-8") == "## template\n" + block()
    (tmp_path / "hosts.tmpl").unlink()
    assert ensure("")[0]["changed"] and not (tmp_path / "hosts.tmpl").exists()


def test_removed_again(ensure):
    text = f"127.0.0.1 localhost\n{OLD}10.0.0.9 cloudcart.local\n"
    result, after = ensure(text, template=OLD, state="absent")
    assert (result["changed"], result["elsewhere"], len(result["diff"])) == (True, [], 2)
    assert after == "127.0.0.1 localhost\n10.0.0.9 cloudcart.local\n"
    assert ensure(after, template="", state="absent")[0]["changed"] is False
    assert ensure(after, template="", state="absent", names=[])[0]["changed"] is False


def test_check_mode_only_tells(ensure):
    result, after = ensure("::1 a\n", _ansible_check_mode=True)
    assert result["changed"] and result["diff"][0]["after"] == "::1 a\n" + block() and after == "::1 a\n"


def test_where_the_names_lead(ensure, monkeypatch):
    monkeypatch.setattr(names, "default_address", lambda: "10.0.0.7")
    assert ensure("")[0]["address"] == "10.0.0.5"
    assert ensure("", address=None)[0]["address"] == "10.0.0.7"
    monkeypatch.setattr(names, "default_address", lambda: "")
    assert ensure("", address=None)[0]["address"] == "127.0.0.1"


def test_mode_and_what_is_no_text_are_kept_through_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"# \xff\r\n")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "hosts").symlink_to("real")
    result = names.ensure([str(tmp_path / "hosts")], NAMES, "CloudCart dev", "10.0.0.5", False, False)
    assert (tmp_path / "real").read_bytes() == b"# \xff\r\n" + block().encode()
    assert (tmp_path / "hosts").is_symlink() and (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert json.dumps(result, ensure_ascii=False).encode("utf-8"), "the diff can be printed"


@pytest.mark.parametrize(("error", "written"), [(errno.EBUSY, True), (errno.EROFS, False)])
def test_a_mount_is_written_in_place(ensure, tmp_path, monkeypatch, error, written):
    def refuse(*_paths):
        raise OSError(error, "No")

    monkeypatch.setattr(files.os, "replace", refuse)
    result, after = ensure("::1 a\n")
    assert after == ("::1 a\n" + block() if written else "::1 a\n")
    assert ("cannot be written: No." in result.get("msg", "")) is not written
    assert os.listdir(tmp_path) == ["hosts"]
