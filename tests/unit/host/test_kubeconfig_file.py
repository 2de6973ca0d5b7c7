# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing the kubeconfig: ours is right, everybody else's stays."""

from __future__ import annotations

import json
import os
import pathlib
import stat

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils import kubeconfig_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.modules import kubeconfig

KEY = "c2VjcmV0LWtleQ=="
K3S = f"""\
apiVersion: v1
clusters:
- cluster: {{certificate-authority-data: Q0E=, server: "https://127.0.0.1:6443"}}
  name: default
contexts:
- context: {{cluster: default, user: default}}
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user: {{client-certificate-data: Q1JU, client-key-data: {KEY}}}
"""
OTHER = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://work.test"}}],
    "users": [{"name": "me", "user": {"token": "mine"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me", "namespace": "n"}}],
    "current-context": "work",
    "extensions": [{"name": "x"}],
}


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "new" / "deep" / "config"

    def call(content=K3S, merge=False, check_mode=False, server="https://192.0.2.1:6443"):
        return kubeconfig_file.ensure(str(path), content, "cloudcart-dev", server, merge, check_mode)

    call.path = path
    return call


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def existing(write, content=OTHER):
    write.path.parent.mkdir(parents=True)
    write.path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    write.path.chmod(0o600)


def test_a_new_file(write):
    assert write()["changed"] is True
    content = yaml.safe_load(write.path.read_text(encoding="utf-8"))
    cluster = {"certificate-authority-data": "Q0E=", "server": "https://192.0.2.1:6443"}
    assert content["clusters"] == [{"name": "cloudcart-dev", "cluster": cluster}]
    assert content["contexts"] == [
        {"name": "cloudcart-dev", "context": {"cluster": "cloudcart-dev", "user": "cloudcart-dev"}}
    ]
    assert content["users"][0]["user"]["client-key-data"] == KEY and content["current-context"] == "cloudcart-dev"
    assert mode(write.path) == 0o600 and mode(write.path.parent) == 0o700 and mode(write.path.parent.parent) == 0o700
    assert write()["changed"] is False
    assert os.listdir(write.path.parent) == ["config"]


def test_a_new_address(write):
    write()
    result = write(server="https://cluster.test:6443")
    assert result["changed"] and "cluster.test" in write.path.read_text(encoding="utf-8")
    assert "-cluster: cloudcart-dev at https://192.0.2.1:6443" not in result["diff"]["after"]


def test_a_file_that_others_could_read_is_closed(write):
    write()
    write.path.chmod(0o644)
    assert write(check_mode=True)["changed"] and mode(write.path) == 0o644
    assert write()["changed"] and mode(write.path) == 0o600


def test_check_mode_writes_nothing(write):
    assert write(check_mode=True)["changed"] is True
    assert write(content=None, check_mode=True)["changed"] is True
    assert not write.path.parent.exists()


def test_other_clusters_are_not_overwritten(write):
    existing(write)
    before = write.path.read_bytes()
    with pytest.raises(PlatformError, match=r"holds other clusters or users too \(me, work\).*k3s_kubeconfig_merge"):
        write()
    assert write.path.read_bytes() == before


def test_merging_keeps_all_that_is_not_ours(write):
    existing(write)
    result = write(merge=True)
    content = yaml.safe_load(write.path.read_text(encoding="utf-8"))
    for section in ("clusters", "users", "contexts"):
        assert content[section][0] == OTHER[section][0] and content[section][1]["name"] == "cloudcart-dev"
    assert content["current-context"] == "work" and content["extensions"] == OTHER["extensions"]
    assert yaml.safe_load(pathlib.Path(result["backup_file"]).read_text(encoding="utf-8")) == OTHER
    assert mode(result["backup_file"]) == 0o600
    again = write(merge=True)
    assert again["changed"] is False and again["backup_file"] == ""


def test_merging_replaces_ours_in_place_and_keeps_its_namespace(write):
    write()
    content = yaml.safe_load(write.path.read_text(encoding="utf-8"))
    content["contexts"][0]["context"]["namespace"] = "cloudcart"
    for section in ("clusters", "users", "contexts"):
        content[section].append(OTHER[section][0])
    write.path.write_text(yaml.safe_dump(content), encoding="utf-8")
    write(merge=True, server="https://new.test:6443")
    merged = yaml.safe_load(write.path.read_text(encoding="utf-8"))
    assert [c["name"] for c in merged["clusters"]] == ["cloudcart-dev", "work"]
    assert merged["contexts"][0]["context"]["namespace"] == "cloudcart"
    assert merged["clusters"][0]["cluster"]["server"] == "https://new.test:6443"


def test_a_link_stays_a_link(write, tmp_path):
    write()
    link = tmp_path / "link"
    link.symlink_to(write.path)
    kubeconfig_file.ensure(str(link), K3S, "cloudcart-dev", "https://new.test:6443", False, False)
    assert link.is_symlink() and "new.test" in write.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("users: [\nsecret-token-in-here: x", "not valid YAML (line 2)"),
        ("just text", "not a kubeconfig"),
        ("users: {a: b}", "not a kubeconfig"),
        ("contexts: [1]", "not a kubeconfig"),
    ],
)
def test_a_broken_file_is_not_touched_and_not_quoted(write, content, says):
    existing(write, content)
    with pytest.raises(PlatformError) as error:
        write(merge=True)
    assert says in str(error.value) and "secret" not in str(error.value)
    assert write.path.read_text(encoding="utf-8") == content


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(PlatformError, match="is a directory"):
        kubeconfig_file.ensure(str(tmp_path), K3S, "x", "https://x", False, False)


def test_a_server_kubeconfig_without_a_user_is_refused(write):
    with pytest.raises(PlatformError, match="names no cluster or no user"):
        write(content="apiVersion: v1\nkind: Config\n")


def test_the_module_prints_no_credentials(tmp_path, capsys):
    args = {
        "path": str(tmp_path / "config"),
        "content": K3S,
        "name": "n",
        "server": "https://x:1",
        "_ansible_diff": True,
    }
    with patch_module_args(args), pytest.raises(SystemExit) as stop:
        kubeconfig.main()
    text = capsys.readouterr().out
    assert stop.value.code == 0 and json.loads(text)["changed"] is True
    assert KEY not in text and "Q1JU" not in text


def test_the_module_needs_the_content_outside_of_check_mode(tmp_path, capsys):
    with (
        patch_module_args({"path": str(tmp_path / "c"), "name": "n", "server": "https://x"}),
        pytest.raises(SystemExit),
    ):
        kubeconfig.main()
    assert "content is empty" in json.loads(capsys.readouterr().out)["msg"]
