# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make lock`, against the stand-in that publishes as K3s, Helm, chart repositories and registries do."""

from __future__ import annotations

import importlib.util
import json
import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
A, B, C, D, E = (letter * 64 for letter in "abcde")


@pytest.fixture
def lock(sources, monkeypatch):
    spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts/lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CHANNELS", f"{sources.url}/channels")
    monkeypatch.setattr(module, "HELM", f"{sources.url}/helm3-latest-version")
    return module


@pytest.fixture
def site(tmp_path, sources):
    """The published files, and a lock file that names them, with a comment to keep."""
    folder, url = sources.folder, sources.url
    (folder / "v1.2.3+k3s1").mkdir(parents=True)
    sums = f"{A}  k3s-airgap-images-arm64.tar\n{B}  k3s-arm64\n"
    (folder / "v1.2.3+k3s1/sha256sum-arm64.txt").write_text(sums, "utf-8")
    (folder / "helm-v3.0.1-linux-amd64.tar.gz.sha256sum").write_text(f"{C}  helm-v3.0.1-linux-amd64.tar.gz\n", "utf-8")
    index = {"entries": {"vault": [{"version": "0.2.0", "digest": E}, {"version": "0.1.0", "digest": D}]}}
    (folder / "index.yaml").write_text(yaml.safe_dump(index), "utf-8")
    text = f"""\
# Keep this.
schema: 1
artifacts:
  k3s:
    version: v1.2.3+k3s1
    files:
      linux-arm64:
        url: {url}/v1.2.3%2Bk3s1/k3s-arm64
        sha256: unresolved
  helm:
    version: v3.0.1
    files:
      linux-amd64:
        url: {url}/helm-v3.0.1-linux-amd64.tar.gz
        sha256: unresolved
  vault-chart:
    version: "0.1.0"
    files:
      any:
        url: {url}/vault-0.1.0.tgz
        sha256: unresolved
images:
  one:
    ref: {sources.image("library/one:1")}
    digests:
      linux-amd64: unresolved
      linux-arm64: unresolved
  two:
    ref: {sources.image("two:1")}
    digests:
      linux-arm64: unresolved
"""
    path = tmp_path / "lock.yml"
    path.write_text(text, "utf-8")
    return folder, path


def hashes(path):
    artifacts = yaml.safe_load(path.read_text("utf-8"))["artifacts"]
    return [file["sha256"] for entry in artifacts.values() for file in entry["files"].values()]


def digests(path):
    images = yaml.safe_load(path.read_text("utf-8"))["images"]
    return [digest for entry in images.values() for digest in entry["digests"].values()]


def test_all_is_resolved_and_the_rest_of_the_file_stays(lock, site, capsys):
    _folder, path = site
    before = path.read_text("utf-8")
    assert lock.main(path, []) == 0
    after = path.read_text("utf-8")
    assert hashes(path) == [B, C, D]
    assert digests(path) == [f"sha256:{n * 64}" for n in "122"]
    for value in (B, C, D, *digests(path)):
        after = after.replace(value, "unresolved")
    assert after == before
    assert lock.main(path, []) == 0 and "not changed" in capsys.readouterr().out.splitlines()[-1]


def test_what_cannot_be_read_stays_unresolved(lock, site, capsys):
    folder, path = site
    (folder / "helm-v3.0.1-linux-amd64.tar.gz.sha256sum").unlink()
    assert lock.main(path, []) == 1
    assert hashes(path) == [B, "unresolved", D]
    assert "helm linux-amd64: " in capsys.readouterr().err


@pytest.mark.parametrize("listing", ["", f"{A}  k3s\n", f"{A}  k3s-arm64\n{B}  k3s-arm64\n", "xyz  k3s-arm64\n"])
def test_a_listing_that_does_not_name_the_file_once_is_refused(lock, site, listing):
    folder, path = site
    (folder / "v1.2.3+k3s1/sha256sum-arm64.txt").write_text(listing, "utf-8")
    assert lock.main(path, []) == 1 and hashes(path)[0] == "unresolved"


def test_a_release_that_changed_under_its_name_is_not_accepted(lock, site, capsys):
    _folder, path = site
    path.write_text(path.read_text("utf-8").replace("unresolved", A, 1), "utf-8")
    assert lock.main(path, []) == 1
    assert hashes(path) == [A, C, D]
    assert f"was locked with {A}" in capsys.readouterr().err


def test_a_chart_that_is_not_in_the_index(lock, site, capsys):
    folder, path = site
    (folder / "index.yaml").write_text("entries: {}\n", "utf-8")
    assert lock.main(path, []) == 1 and "no digest for vault 0.1.0" in capsys.readouterr().err


def test_an_index_that_is_none(lock, site, capsys):
    folder, path = site
    (folder / "index.yaml").write_text("<html>\n", "utf-8")
    assert lock.main(path, []) == 1 and "is not the index of a chart repository" in capsys.readouterr().err


def test_a_version_that_is_not_that_of_the_address(lock, site, capsys):
    _folder, path = site
    path.write_text(path.read_text("utf-8").replace("version: v3.0.1", "version: v3.0.2"), "utf-8")
    assert lock.main(path, []) == 1 and hashes(path) == [B, "unresolved", D]
    assert "helm linux-amd64: its version is v3.0.2, which is not that of http" in capsys.readouterr().err


def test_sources_that_do_not_answer(lock, site, capsys):
    _folder, path = site
    path.write_text(
        path.read_text("utf-8").replace("127.0.0.1:", "127.0.0.1:1"), "utf-8"
    )  # no such port, or nobody there
    before = path.read_text("utf-8")
    assert lock.main(path, []) == 1 and path.read_text("utf-8") == before
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 5 and said.err.count(" cannot be read: ") == 5
    assert "not changed" in said.out and "Traceback" not in said.err


def test_an_image_that_is_not_there_for_an_architecture(lock, site, sources, capsys):
    _folder, path = site
    index = {"manifests": [{"digest": f"sha256:{A}", "platform": {"os": "linux", "architecture": "amd64"}}]}
    sources.image("library/one:1", index)
    assert lock.main(path, []) == 1
    assert digests(path)[:2] == [f"sha256:{A}", "unresolved"]
    assert "images/one: " in (said := capsys.readouterr().err) and "is not published for linux-arm64" in said


def test_a_tag_that_moved_is_told_and_not_followed(lock, site, sources, capsys):
    _folder, path = site
    path.write_text(path.read_text("utf-8").replace("linux-amd64: unresolved", f"linux-amd64: sha256:{A}"), "utf-8")
    assert lock.main(path, []) == 0 and digests(path)[0] == f"sha256:{A}"
    assert "has moved on linux-amd64; --update takes sha256:111" in capsys.readouterr().out
    publish_newer(site[0])
    assert lock.main(path, ["--update"]) == 0 and digests(path)[0] == f"sha256:{'1' * 64}"


def publish_newer(folder):
    """What --update finds: a patch of K3s, a Helm that is the same, and a chart."""
    channels = {"data": [{"id": "v1.2", "latest": "v1.2.10+k3s1"}, {"id": "v1.3", "latest": "v1.3.0+k3s1"}]}
    (folder / "channels").write_text(json.dumps(channels), "utf-8")
    (folder / "helm3-latest-version").write_text("v3.0.1\n", "utf-8")
    (folder / "v1.2.10+k3s1").mkdir(exist_ok=True)
    (folder / "v1.2.10+k3s1/sha256sum-arm64.txt").write_text(f"{E}  k3s-arm64\n", "utf-8")


def test_update_raises_the_versions(lock, site, capsys):
    folder, path = site
    assert lock.main(path, []) == 0
    publish_newer(folder)
    assert lock.main(path, ["--update"]) == 0
    artifacts = yaml.safe_load(path.read_text("utf-8"))["artifacts"]
    assert [a["version"] for a in artifacts.values()] == ["v1.2.10+k3s1", "v3.0.1", "0.2.0"]
    assert artifacts["k3s"]["files"]["linux-arm64"]["url"].endswith("/v1.2.10%2Bk3s1/k3s-arm64")
    assert artifacts["vault-chart"]["files"]["any"]["url"].endswith("/vault-0.2.0.tgz")
    assert hashes(path) == [E, C, E]
    assert "k3s: v1.2.3+k3s1 becomes v1.2.10+k3s1" in capsys.readouterr().out


@pytest.mark.parametrize(("channels", "helm"), [("{}", "v4.0.0"), ("<html>", "v3"), ('{"data": []}', "")])
def test_update_takes_nothing_that_is_no_version(lock, site, capsys, channels, helm):
    folder, path = site
    publish_newer(folder)
    (folder / "channels").write_text(channels, "utf-8")
    (folder / "helm3-latest-version").write_text(helm, "utf-8")
    assert lock.main(path, ["--update"]) == 1
    artifacts = yaml.safe_load(path.read_text("utf-8"))["artifacts"]
    assert [a["version"] for a in artifacts.values()] == ["v1.2.3+k3s1", "v3.0.1", "0.2.0"]
    assert {line.split()[1] for line in capsys.readouterr().err.splitlines()} == {"k3s:", "helm:"}


def test_the_lock_file_of_the_collection_has_a_place_for_everything(lock, monkeypatch):
    both = {"linux-amd64": f"sha256:{B}", "linux-arm64": f"sha256:{C}"}
    monkeypatch.setattr(lock, "published", lambda *_arguments: A)
    monkeypatch.setattr(lock.registry, "digests", lambda *_arguments: both)
    before = lock.LOCK.read_text("utf-8")
    text, problems = lock.resolve(lock.re.sub(r"(sha256|linux-\w+): (\S+)\n", r"\1: unresolved\n", before))
    content = yaml.safe_load(text)
    files = [file["sha256"] for entry in content["artifacts"].values() for file in entry["files"].values()]
    assert problems == [] and set(files) == {A}
    assert [entry["digests"] for entry in content["images"].values()] == [both] * len(content["images"])
    for name in ("k3s", "k3s-airgap-images"):
        assert set(content["artifacts"][name]["files"]) == set(both)
    assert set(content["artifacts"]["helm"]["files"]) == {*both, "darwin-amd64", "darwin-arm64"}
