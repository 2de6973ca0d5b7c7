# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's archive holds: what a user needs, and nothing of the workshop."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FILES = {"CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "requirements.txt"}
FOLDERS = {"changelogs", "docs", "meta", "playbooks", "plugins", "roles"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", str(folder)], cwd=ROOT, check=True)
    (path,) = folder.iterdir()
    return path


def test_what_it_holds(archive):
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert archive.name == "cloudcartops-platform-0.1.0.tar.gz"
    assert {m.name for m in members if "/" not in m.name and m.isfile()} == FILES
    assert {m.name.split("/")[0] for m in members if "/" in m.name or m.isdir()} == FOLDERS
    assert [m.name for m in members if not (m.isfile() or m.isdir()) or "__pycache__" in m.name] == []
    assert sum(m.size for m in members) < 5_000_000


def test_it_installs_and_its_playbook_is_found(archive, tmp_path):
    environment = os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_CONFIG": str(tmp_path / "none.cfg")}
    (tmp_path / "none.cfg").touch()
    install = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(tmp_path), str(archive)]
    subprocess.run(install, cwd=tmp_path, env=environment, check=True)
    (tmp_path / "hosts.yml").write_text(
        "k3s_server: {hosts: {vm-1: }}\nplatform: {hosts: {cluster: }}\n", encoding="utf-8"
    )
    command = ["ansible-playbook", "--list-tasks", "-i", "hosts.yml", "cloudcartops.platform.site"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    for role in ("preflight", "k3s", "helm", "vault", "vault_init", "postgresql", "verify"):
        assert f"{role} : " in done.stdout
