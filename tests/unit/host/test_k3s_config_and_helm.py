# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in a node's configuration, and the Helm program of the control node."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.filter.k3s_config_errors import k3s_config_errors
from ansible_collections.cloudcartops.platform.plugins.module_utils import k3s_config
from ansible_collections.cloudcartops.platform.plugins.modules import control_helm


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("server", {}),
        ("server", {"disable": ["traefik"], "tls-san+": ["x"], "node-label": ["a=b"], "https-listen-port": 7443}),
        ("agent", {"node-ip": "192.0.2.1", "kubelet-arg+": ["max-pods=50"]}),
    ],
)
def test_good_options(kind, config):
    assert k3s_config_errors(config, kind, "vm") == []


@pytest.mark.parametrize(
    ("kind", "config", "says"),
    [
        ("agent", {"disable": ["traefik"]}, "an option of servers"),
        ("agent", {"tls-san+": ["x"]}, "Move it to k3s_server_config"),
        ("server", {"node_label": []}, "Did you mean 'node-label'?"),
        ("server", {"profile": "cis"}, "no option of K3s"),
        ("server", {"token": "x"}, "Set k3s_token"),
        ("agent", {"server": "https://x"}, "Set k3s_server_url"),
        ("server", {"data-dir": "/x"}, "Set k3s_data_dir"),
        ("server", {"cluster-reset": True}, "reset the cluster at each start"),
        ("agent", ["disable"], "not a dictionary"),
        ("server", {True: 1}, "no option of K3s"),
    ],
)
def test_bad_options(kind, config, says):
    [error] = k3s_config_errors(config, kind, "vm")
    assert error.startswith(f"vm: k3s_{kind}_config ") and says in error


def test_the_value_of_a_token_is_not_repeated():
    assert "s3cret" not in str(k3s_config_errors({"token": "s3cret", "agent_token": "s3cret"}, "server", "vm"))


def test_no_option_is_of_both_kinds():
    assert set() == k3s_config.NODE_KEYS & k3s_config.SERVER_KEYS
    assert set(k3s_config.OURS) & (k3s_config.NODE_KEYS | k3s_config.SERVER_KEYS) == set()


def helm(path, version, code=0):
    """A program that answers like Helm."""
    path.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo "{version}"\nexit {code}\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def artifact(tmp_path):
    """A release archive of Helm in a bundle, as the lookup describes it."""
    program = helm(tmp_path / "program", "v3.19.5")
    archive = tmp_path / "helm-v3.19.5-linux-amd64.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(program, "linux-amd64/helm")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return {"name": "helm", "version": "v3.19.5", "sha256": sha256, "path": str(archive), "filename": archive.name}


def run(capsys, **args):
    with patch_module_args(args), pytest.raises(SystemExit) as stop:
        control_helm.main()
    return stop.value.code, json.loads(capsys.readouterr().out)


def test_the_pinned_helm_is_installed_once(artifact, tmp_path, capsys):
    directory = tmp_path / "new" / "bin"
    _code, planned = run(capsys, artifact=artifact, directory=str(directory), _ansible_check_mode=True)
    assert planned["changed"] is True and not directory.exists()
    code, result = run(capsys, artifact=artifact, directory=str(directory))
    assert code == 0 and result["changed"] is True and result["binary"] == planned["binary"]
    assert os.access(result["binary"], os.X_OK) and os.listdir(directory) == [os.path.basename(result["binary"])]
    assert run(capsys, artifact=artifact, directory=str(directory))[1]["changed"] is False


def test_another_version_gets_another_name(artifact, tmp_path, capsys):
    _code, one = run(capsys, artifact=artifact, directory=str(tmp_path), _ansible_check_mode=True)
    _code, two = run(
        capsys, artifact={**artifact, "sha256": "0" * 64}, directory=str(tmp_path), _ansible_check_mode=True
    )
    assert one["binary"] != two["binary"]


def test_a_damaged_archive_is_refused(artifact, tmp_path, capsys):
    with open(artifact["path"], "ab") as file:
        file.write(b"x")
    code, result = run(capsys, artifact=artifact, directory=str(tmp_path / "bin"))
    assert code == 1 and "the lock file says" in result["msg"] and not (tmp_path / "bin").exists()


def test_an_archive_without_helm_is_refused(artifact, tmp_path, capsys):
    with tarfile.open(artifact["path"], "w:gz") as tar:
        tar.add(tmp_path / "program", "linux-amd64/README.md")
    with open(artifact["path"], "rb") as file:
        artifact["sha256"] = hashlib.sha256(file.read()).hexdigest()
    code, result = run(capsys, artifact=artifact, directory=str(tmp_path / "bin"))
    assert code == 1 and "no program called helm" in result["msg"]


@pytest.mark.parametrize("version", ["v3.8.0", "v3.19.5", "v3.21.0+g123"])
def test_your_own_helm(tmp_path, capsys, version):
    program = helm(tmp_path / "helm", version)
    code, result = run(capsys, binary=str(program))
    assert (code, result["binary"], result["version"], result["changed"]) == (0, str(program), version, False)


def test_your_own_helm_by_name(tmp_path, capsys, monkeypatch):
    helm(tmp_path / "helm", "v3.19.5")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run(capsys, binary="helm")[1]["binary"] == str(tmp_path / "helm")


@pytest.mark.parametrize(
    ("version", "code", "says"),
    [
        ("v4.0.1", 0, "which is Helm v4.0.1. Set helm_binary"),
        ("v3.7.2", 0, "which is Helm v3.7.2"),
        ("hello", 0, "does not answer like Helm"),
        ("v3.19.5", 1, "does not answer like Helm"),
        (None, 0, "no such program"),
    ],
)
def test_a_helm_that_does_not_suit(tmp_path, capsys, version, code, says):
    if version:
        helm(tmp_path / "helm", version, code)
    code, result = run(capsys, binary=str(tmp_path / "helm"))
    assert code == 1 and says in result["msg"]
