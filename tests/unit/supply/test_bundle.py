# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles, made from the stand-in of the sources, and by a stand-in of skopeo."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import subprocess
import urllib.request

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils import artifacts, bundle
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

DIGESTS = {f"linux-{a}": f"sha256:{n * 64}" for a, n in (("amd64", "1"), ("arm64", "2"))}
ROOT = pathlib.Path(__file__).resolve().parents[3]
LOCK = ROOT / "roles/catalog/files/lock.yml"
REF = "docker.io/library/one:1"
# A stand-in: it writes its arguments to the archive, as the real program does with an image, and to a list.
SKOPEO = """#!/bin/sh
echo "$*" >>"{calls}"
[ ! -e "{folder}/broken" ] || {{ echo "manifest unknown" >&2; exit 1; }}
for last; do :; done
archive=${{last#docker-archive:}}
echo "$*" >"${{archive%%:*}}"
"""


def open_url(url, headers=None, timeout=10):
    """As Ansible's, which reads all certificates of the system for each address."""
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout)


class Setup:
    def __init__(self, tmp_path, sources):
        self.sources, self.directory, self.lock = sources, tmp_path / "bundle", tmp_path / "lock.yml"
        self.calls, self.broken = tmp_path / "calls", tmp_path / "broken"
        self.skopeo = tmp_path / "skopeo"
        self.skopeo.write_text(SKOPEO.format(calls=self.calls, folder=tmp_path), "utf-8")
        self.skopeo.chmod(0o755)
        helm = {p: self.published(f"helm-{p}.tar.gz") for p in (*DIGESTS, "darwin-arm64")}
        self.content = {
            "schema": 1,
            "artifacts": {
                "k3s": {"version": "v1", "files": {p: self.published(f"k3s-{p}") for p in DIGESTS}},
                "helm": {"version": "v3", "files": helm},
                "vault-chart": {"version": "1", "files": {"any": self.published("vault-1.tgz")}},
            },
            "images": {"one": {"ref": REF, "digests": dict(DIGESTS)}},
        }

    def published(self, name: str) -> dict:
        (self.sources.folder / name).write_text(f"{name}\n", "utf-8")
        return {"url": f"{self.sources.url}/{name}", "sha256": hashlib.sha256(f"{name}\n".encode()).hexdigest()}

    def collect(self, check_mode=False, **over) -> dict:
        self.lock.write_text(yaml.safe_dump(self.content), "utf-8")
        params = {"lock": str(self.lock), "directory": str(self.directory), "platforms": list(DIGESTS)}
        params |= {"images": True, "skopeo": str(self.skopeo), **over}
        return bundle.collect(params, open_url, check_mode)

    def refused(self, **over) -> str:
        with pytest.raises(PlatformError) as error:
            self.collect(**over)
        return str(error.value)

    def loaded(self, result: dict) -> list[str]:
        return [file["file"] for file in result["files"] if file["action"] == "loaded"]


@pytest.fixture
def setup(tmp_path, sources):
    return Setup(tmp_path, sources)


def test_what_is_made_is_a_bundle(setup):
    result = setup.collect()
    assert result["changed"] and len(setup.loaded(result)) == 2 + 2 + 1 + 2
    for platform in DIGESTS:
        for name in ("k3s", "helm", "vault-chart"):
            [found] = artifacts.find(name, platform, str(setup.directory), check=True)
            assert found["path"].startswith(str(setup.directory)) and "url" not in found
        [image] = artifacts.find("images/*", platform, str(setup.directory), check=True)
        assert (image["ref"], image["digest"]) == (REF, DIGESTS[platform])
    assert sorted(setup.calls.read_text("utf-8").splitlines()) == [
        f"copy --quiet --override-os=linux --override-arch={a} docker://docker.io/library/one@{DIGESTS[f'linux-{a}']} "
        f"docker-archive:{setup.directory}/images/.one-linux-{a}.tar.new:{REF}"
        for a in ("amd64", "arm64")
    ]
    assert list(setup.directory.rglob(".*")) == []


def test_again_nothing_is_loaded(setup):
    setup.collect()
    setup.sources.asked.clear()
    setup.calls.unlink()
    before = (setup.directory / "lock.yml").stat().st_mtime_ns
    result = setup.collect()
    assert not result["changed"] and setup.loaded(result) == []
    assert setup.sources.asked == [] and not setup.calls.exists()
    assert (setup.directory / "lock.yml").stat().st_mtime_ns == before


@pytest.mark.parametrize("file", ["k3s/linux-arm64/k3s-linux-arm64", "images/one-linux-arm64.tar"])
@pytest.mark.parametrize("damage", ["other", "absent"])
def test_what_is_damaged_is_loaded_anew(setup, file, damage):
    setup.collect()
    (setup.directory / file).write_text("other", "utf-8")
    if damage == "absent":
        (setup.directory / file).unlink()
    assert setup.loaded(setup.collect()) == [file]
    assert not setup.collect()["changed"]


def test_check_mode_writes_nothing(setup):
    result = setup.collect(check_mode=True)
    assert result["changed"] and len(setup.loaded(result)) == 7
    assert not setup.directory.exists() and not setup.sources.asked


def test_a_stopped_run_is_gone_on_with(setup):
    """What is there is named, what is not is not, and the next run loads the rest."""
    (setup.sources.folder / "vault-1.tgz").rename(setup.sources.folder / "away")
    assert "/vault-1.tgz cannot be downloaded to " in setup.refused()
    there = yaml.safe_load((setup.directory / "lock.yml").read_text("utf-8"))
    assert set(there["artifacts"]) == {"k3s", "helm"} and "files" not in there["images"]["one"]
    (setup.sources.folder / "away").rename(setup.sources.folder / "vault-1.tgz")
    assert len(setup.loaded(setup.collect())) == 1 + 2


def test_a_run_that_fails_forgets_nothing_that_was_there(setup):
    setup.collect()
    (setup.directory / "k3s/linux-amd64/k3s-linux-amd64").unlink()
    (setup.sources.folder / "k3s-linux-amd64").unlink()
    setup.refused()
    setup.published("k3s-linux-amd64")
    assert setup.loaded(setup.collect()) == ["k3s/linux-amd64/k3s-linux-amd64"]


def test_a_file_that_is_not_the_locked_one_does_not_get_in(setup):
    (setup.sources.folder / "k3s-linux-arm64").write_text("other", "utf-8")
    said = setup.refused()
    assert "/k3s-linux-arm64 has the SHA-256 " in said and "do not use it" in said
    assert not (setup.directory / "k3s/linux-arm64/k3s-linux-arm64").exists()


def test_an_image_that_cannot_be_brought(setup):
    setup.broken.touch()
    said = setup.refused()
    assert f"could not bring {REF} ({DIGESTS['linux-amd64']}) to " in said and "manifest unknown" in said
    assert list((setup.directory / "images").iterdir()) == []
    setup.broken.unlink()
    assert len(setup.loaded(setup.collect())) == 2


def test_everything_that_is_unresolved_is_told_at_once(setup):
    setup.content["artifacts"]["k3s"]["files"]["linux-arm64"]["sha256"] = "unresolved"
    setup.content["images"]["one"]["digests"]["linux-amd64"] = "unresolved"
    said = setup.refused()
    assert said.startswith("Nothing was loaded. Please put this right first:") and said.count("make lock") == 2
    assert "'k3s'" in said and "'images/one'" in said and not setup.directory.exists()


def test_an_artifact_that_is_not_there_for_a_platform(setup):
    del setup.content["artifacts"]["k3s"]["files"]["linux-arm64"]
    assert "The artifact 'k3s' v1 in " in (said := setup.refused()) and "is not there for linux-arm64" in said


def test_an_image_without_a_digest(setup):
    del setup.content["images"]["one"]["digests"]["linux-arm64"]
    assert "The image 'one' in " in (said := setup.refused()) and "has no digest for linux-arm64" in said


def test_without_skopeo(setup):
    said = setup.refused(skopeo="no-such-program")
    assert "There is no program no-such-program" in said and "bundle_images to false" in said


def test_without_images_the_references_stay(setup):
    result = setup.collect(images=False, skopeo="no-such-program")
    assert len(setup.loaded(result)) == 5
    assert artifacts.find("images/one", bundle=str(setup.directory))[0]["ref"] == REF
    assert artifacts.find("images/*", "linux-amd64", str(setup.directory)) == []


def test_a_control_node_of_another_system(setup):
    result = setup.collect(platforms=["linux-arm64", "darwin-arm64"])
    assert sorted(setup.loaded(result)) == [
        "helm/darwin-arm64/helm-darwin-arm64.tar.gz", "helm/linux-arm64/helm-linux-arm64.tar.gz",
        "images/one-linux-arm64.tar", "k3s/linux-arm64/k3s-linux-arm64", "vault-chart/any/vault-1.tgz",
    ]  # fmt: skip


def test_a_newer_version_takes_the_place_of_the_older(setup):
    setup.collect()
    (setup.directory / "notes.txt").write_text("of the operator", "utf-8")
    setup.content["artifacts"]["vault-chart"] = {"version": "2", "files": {"any": setup.published("vault-2.tgz")}}
    setup.content["images"]["one"]["digests"]["linux-amd64"] = f"sha256:{'4' * 64}"
    assert sorted(setup.loaded(setup.collect())) == ["images/one-linux-amd64.tar", "vault-chart/any/vault-2.tgz"]
    assert [p.name for p in (setup.directory / "vault-chart/any").iterdir()] == ["vault-2.tgz"]
    assert (setup.directory / "notes.txt").exists()


def test_a_directory_that_cannot_be_made(setup, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be made" in setup.refused(directory=str(tmp_path / "file/bundle"))


def test_the_play_tells_what_is_missing_before_it_loads_anything(tmp_path):
    """The lock file of a checkout that `make lock` was not run in; with it, the play would need the internet."""
    lock = tmp_path / "roles/catalog/files/lock.yml"
    lock.parent.mkdir(parents=True)
    text = re.sub("sha256(:) ?[0-9a-f]{64}", r"sha256\1 unresolved", LOCK.read_text("utf-8")).replace(
        ": sha256: u", ": u"
    )
    lock.write_text(text, "utf-8")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/bundle.yml").write_text((ROOT / "playbooks/bundle.yml").read_text("utf-8"), "utf-8")
    command = ["ansible-playbook", str(tmp_path / "playbooks/bundle.yml"), "-e", f"bundle_directory={tmp_path}/bundle"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr
    assert "Nothing was loaded. Please put this right first:" in done.stdout
    assert all(
        f"'{name}'" in done.stdout for name in ("k3s", "k3s-airgap-images", "helm", "vault-chart", "images/redis")
    )
    assert not (tmp_path / "bundle").exists()


def test_the_play_against_the_stand_in(setup, tmp_path, monkeypatch):
    """With the real module and Ansible's own way to load; changed, then not."""
    setup.lock = tmp_path / "roles/catalog/files/lock.yml"
    setup.lock.parent.mkdir(parents=True)
    setup.lock.write_text(yaml.safe_dump(setup.content), "utf-8")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/bundle.yml").write_text((ROOT / "playbooks/bundle.yml").read_text("utf-8"), "utf-8")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    command = ["ansible-playbook", str(tmp_path / "playbooks/bundle.yml"), "-e", f"bundle_directory={setup.directory}"]
    for counts in ("changed=1", "changed=0"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and counts in done.stdout, done.stdout + done.stderr
        assert f"7 files are in {setup.directory}." in done.stdout
    assert len(artifacts.find("images/*", "linux-arm64", str(setup.directory), check=True)) == 1
