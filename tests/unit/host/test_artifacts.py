# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock file, bundles, and the files they name."""

from __future__ import annotations

import hashlib
import io
import pathlib

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible_collections.cloudcartops.platform.plugins.module_utils import artifact_file, artifacts
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

CONTENT = b"the program\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def bundle(tmp_path):
    """A bundle with a program for one platform, two images that share an archive, and one without."""
    (tmp_path / "k3s").write_bytes(CONTENT)
    (tmp_path / "images.tar").write_bytes(CONTENT)
    archive = {"linux-amd64": {"file": "images.tar", "sha256": SHA256}}
    lock = {
        "schema": 1,
        "artifacts": {"k3s": {"version": "v1.2.3+k3s1", "files": {"linux-amd64": {"file": "k3s", "sha256": SHA256}}}},
        "images": {
            "one": {"ref": "example.test/one:1", "files": archive},
            "two": {"ref": "example.test/two:1", "files": archive},
            "three": {"ref": "example.test/three:1"},
        },
    }
    write(tmp_path, lock)
    return tmp_path, lock


def write(folder, lock):
    (folder / "lock.yml").write_text(yaml.safe_dump(lock), encoding="utf-8")


def refused(*arguments, **options):
    with pytest.raises(PlatformError) as error:
        artifacts.find(*arguments, **options)
    return str(error.value)


def test_an_artifact_of_a_bundle(bundle):
    folder, _lock = bundle
    assert artifacts.find("k3s", "linux-amd64", str(folder)) == [
        {"name": "k3s", "version": "v1.2.3+k3s1", "sha256": SHA256, "path": str(folder / "k3s"), "filename": "k3s"}
    ]


def test_an_image_is_its_reference_and_for_a_platform_its_archive(bundle):
    folder, _lock = bundle
    reference = {"name": "images/one", "ref": "example.test/one:1"}
    assert artifacts.find("images/one", bundle=str(folder)) == [reference]
    archive = {"sha256": SHA256, "path": str(folder / "images.tar"), "filename": "images.tar"}
    assert artifacts.find("images/one", "linux-amd64", str(folder)) == [{**reference, **archive}]


def test_the_digest_of_an_image_is_that_of_the_platform_and_resolved(bundle):
    folder, lock = bundle
    lock["images"]["three"]["digests"] = {"linux-arm64": f"sha256:{'a' * 64}", "linux-amd64": "unresolved"}
    write(folder, lock)
    assert artifacts.find("images/three", "linux-arm64", str(folder))[0]["digest"] == f"sha256:{'a' * 64}"
    assert "digest" not in artifacts.find("images/three", bundle=str(folder))[0]
    assert "'images/three' is 'unresolved'" in (said := refused("images/three", "linux-amd64", str(folder)))
    assert "make lock" in said


def test_image_archives_come_once_each_and_only_for_the_platform(bundle):
    folder, _lock = bundle
    assert [a["filename"] for a in artifacts.find("images/*", "linux-amd64", str(folder))] == ["images.tar"]
    assert artifacts.find("images/*", "linux-arm64", str(folder)) == []
    assert artifacts.find("images/*", "linux-amd64") == []


def test_here_is_the_platform_of_the_control_node(bundle, monkeypatch):
    folder, _lock = bundle
    machine = type("Uname", (), {"sysname": "Linux", "machine": "x86_64"})
    monkeypatch.setattr(artifacts.os, "uname", lambda: machine)
    assert artifacts.find("k3s", "here", str(folder)) == artifacts.find("k3s", "linux-amd64", str(folder))
    machine.sysname, machine.machine = "Darwin", "arm64"
    assert "not there for darwin-arm64" in refused("k3s", "here", str(folder))


def test_verify_reads_the_file(bundle):
    folder, _lock = bundle
    assert artifacts.find("k3s", "linux-amd64", str(folder), check=True)
    (folder / "k3s").write_bytes(b"damaged")
    assert artifacts.find("k3s", "linux-amd64", str(folder))
    assert SHA256 in refused("k3s", "linux-amd64", str(folder), check=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": "absent", "sha256": SHA256}, "missing from the bundle"),
        ({"file": "../k3s", "sha256": SHA256}, "outside of the bundle"),
        ({"file": "/etc/hostname", "sha256": SHA256}, "outside of the bundle"),
        ({"file": "k3s", "sha256": "unresolved"}, "make lock"),
        ({"file": "k3s", "sha256": "abc"}, "not 64 lower-case hex digits"),
        ({"file": "k3s"}, "not 64 lower-case hex digits"),
        ({"sha256": SHA256}, "neither a url nor"),
    ],
)
def test_entries_that_are_refused(bundle, change, says):
    folder, lock = bundle
    lock["artifacts"]["k3s"]["files"]["linux-amd64"] = change
    write(folder, lock)
    assert says in refused("k3s", "linux-amd64", str(folder))


def test_what_is_not_in_the_lock_file_is_named(bundle):
    folder, _lock = bundle
    assert "It has: k3s" in refused("k4s", "linux-amd64", str(folder))
    assert "It is there for: linux-amd64" in refused("k3s", "linux-arm64", str(folder))
    assert "It has: one, three, two" in refused("images/four", bundle=str(folder))


@pytest.mark.parametrize(
    ("text", "says"),
    [("schema: 2", "schema: 1"), ("[", "not valid YAML"), ("- 1", "schema: 1"), (None, "cloudcartops_bundle")],
)
def test_lock_files_that_are_refused(tmp_path, text, says):
    if text is not None:
        (tmp_path / "lock.yml").write_text(text, encoding="utf-8")
    assert says in refused("k3s", "linux-amd64", str(tmp_path))


def test_a_bundle_needs_an_absolute_path():
    assert "not an absolute path" in refused("k3s", "linux-amd64", "bundle")


def test_the_lock_file_of_the_collection_has_all_that_the_roles_look_up():
    lock = artifacts.Artifacts()
    assert set(lock.artifacts) == {"k3s", "k3s-airgap-images", "helm", "vault-chart"}
    assert {"vault", "openbao", "vault-k8s", "postgresql"} <= set(lock.images)
    for name, entry in lock.artifacts.items():
        for platform, file in entry["files"].items():
            assert file["url"].startswith("https://"), f"{name} {platform}"
            assert entry["version"].replace("+", "%2B") in file["url"] and set(file) == {"url", "sha256"}
    for name in ("k3s", "k3s-airgap-images"):
        assert set(lock.artifacts[name]["files"]) == {"linux-amd64", "linux-arm64"}
    assert set(lock.artifacts["helm"]["files"]) == {"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"}


def test_a_url_gives_the_file_name(tmp_path):
    lock = tmp_path / "lock.yml"
    file = {"url": "https://example.test/v1%2Bk3s1/k3s-arm64", "sha256": SHA256}
    lock.write_text(yaml.safe_dump({"schema": 1, "artifacts": {"k3s": {"files": {"any": file}}}}), encoding="utf-8")
    [found] = artifacts.find("k3s", "linux-arm64", lock=lock)
    assert found == {"name": "k3s", "version": "", "filename": "k3s-arm64", **file}


def test_the_lookup_plugin(bundle):
    folder, _lock = bundle
    plugin = lookup_loader.get("cloudcartops.platform.artifact")
    found = plugin.run(["k3s", "images/*"], platform="linux-amd64", bundle=str(folder), verify=True)
    assert [a["filename"] for a in found] == ["k3s", "images.tar"]
    with pytest.raises(AnsibleLookupError, match="There is no artifact 'k4s'"):
        plugin.run(["k4s"], platform="linux-amd64", bundle=str(folder))


class Server:
    """Stands in for open_url: answers with `content`, or raises `error`."""

    def __init__(self, content=CONTENT, error=None):
        self.content, self.error, self.asked = content, error, []

    def __call__(self, url, timeout):
        self.asked.append(url)
        if self.error:
            raise self.error
        return io.BytesIO(self.content)


REMOTE = {"url": "https://example.test/chart.tgz", "sha256": SHA256, "filename": "chart.tgz"}


def test_a_download_happens_once(tmp_path):
    server, directory = Server(), str(tmp_path / "new" / "cache")
    planned = artifact_file.ensure(REMOTE, directory, server, check_mode=True)
    assert planned == {"changed": True, "path": f"{directory}/chart.tgz"} and not server.asked
    assert artifact_file.ensure(REMOTE, directory, server, check_mode=False) == planned
    assert pathlib.Path(planned["path"]).read_bytes() == CONTENT
    assert artifact_file.ensure(REMOTE, directory, server, check_mode=False)["changed"] is False
    assert server.asked == [REMOTE["url"]]


def test_a_damaged_download_is_replaced(tmp_path):
    (tmp_path / "chart.tgz").write_bytes(b"half of it")
    assert artifact_file.ensure(REMOTE, str(tmp_path), Server(), check_mode=False)["changed"] is True
    assert (tmp_path / "chart.tgz").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("server", "says"),
    [(Server(b"something else"), "and the lock file says"), (Server(error=OSError("no route")), "no route")],
)
def test_a_failed_download_leaves_nothing(tmp_path, server, says):
    with pytest.raises(PlatformError, match=says):
        artifact_file.ensure(REMOTE, str(tmp_path), server, check_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_bundle_is_used_where_it_is(bundle):
    folder, _lock = bundle
    [artifact] = artifacts.find("k3s", "linux-amd64", str(folder))
    assert artifact_file.ensure(artifact, "/nowhere", Server(), False) == {
        "changed": False,
        "path": str(folder / "k3s"),
    }
    (folder / "k3s").write_bytes(b"damaged")
    with pytest.raises(PlatformError, match="copy the bundle again"):
        artifact_file.ensure(artifact, "/nowhere", Server(), False)
