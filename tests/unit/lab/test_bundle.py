# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import re
import tarfile

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils import artifacts

from lab import build, bundle, cache, host, images
from lab.cache import Component
from lab.images import File, Image


def make_pair(component, out, run):
    (out / "tool").write_text("tool")
    (out / "tool.tar.zst").write_text("image")


@pytest.fixture
def small_bundle(monkeypatch):
    pair = Component("pair", make_pair)
    table = [
        build.Entry("artifacts", "tool", "v1.2", "linux-amd64", pair, "tool"),
        build.Entry("images", "tool", "lab.cloudcart.local/tool:1.2", "linux-amd64", pair, "tool.tar.zst"),
    ]
    monkeypatch.setattr(build, "table", lambda version: table)
    return bundle.make()


def test_the_collection_reads_the_bundle(small_bundle):
    found = artifacts.find("tool", "linux-amd64", str(small_bundle), check=True)[0]
    assert found == {
        "name": "tool",
        "version": "v1.2",
        "path": str(small_bundle / "tool"),
        "filename": "tool",
        "sha256": hashlib.sha256(b"tool").hexdigest(),
    }
    image = artifacts.find("images/*", "linux-amd64", str(small_bundle), check=True)[0]
    assert (image["ref"], image["path"]) == (
        "lab.cloudcart.local/tool:1.2",
        str(small_bundle / "images/tool.tar.zst"),
    )


def test_the_bundle_takes_no_room_beside_the_cache(small_bundle, lab_cache):
    assert (small_bundle / "tool").stat().st_nlink == 2
    assert bundle.make() == small_bundle
    assert bundle.make("v9.9.9+k3s1") == small_bundle, "the table decides, not the version"


def test_yaml_survives_the_round_trip(tmp_path):
    content = {"a": {"b-c": 'quo"ted: # text', "empty": {}, "none": None, "number": 1}, "l": ["x", "{{ y }}"]}
    bundle.write_yaml(tmp_path / "file.yml", content, "A comment.")
    assert yaml.safe_load((tmp_path / "file.yml").read_text()) == content
    assert [path.name for path in tmp_path.glob("*.yml")] == ["file.yml"]


def test_the_table_has_what_the_roles_ask_for():
    names = {(entry.kind, entry.name) for entry in build.table()}
    locked = yaml.safe_load(artifacts.LOCK.read_text())
    wanted = {("artifacts", name) for name in locked["artifacts"]} | {("images", name) for name in locked["images"]}
    assert wanted - names == {("images", "vault")}, "OpenBao stands in for Vault"


def test_another_version_of_k3s_rebuilds_only_what_says_so():
    def keys(version):
        return {entry.name: entry.component.key for entry in build.table(version) if entry.kind == "artifacts"}

    before, after = keys("v1.34.4+k3s1"), keys("v1.35.4+k3s1")
    assert {name for name in before if before[name] != after[name]} == {"k3s"}


def test_kubernetes_is_told_its_version():
    flags = build.kubernetes_ldflags("v1.34.4+k3s1")
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4+k3s1 " in flags
    assert "gitMajor=1 " in flags and "gitMinor=34 " in flags


def test_versions_are_read_where_they_stand(tmp_path):
    (tmp_path / "go.mod").write_text(
        "module x\n\nrequire (\n\texample.org/tool v3.5.3\n\texample.org/tool/v2 v2.0.0\n)\n"
    )
    (tmp_path / "Chart.yaml").write_text('apiVersion: v2\nappVersion: 9\nversion: "0.34.1-lab"\n')
    assert build.required_version(tmp_path, "example.org/tool") == "v3.5.3"
    assert build.chart_version(tmp_path) == "0.34.1-lab"


def test_an_image_archive_is_whole_and_reproducible(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    files = [File("/bin/p", source=program), File("/bin/q", link="p"), File("/tmp", mode=0o1777, uid=70)]
    files += images.accounts(web=(33, 34, "/srv"))
    image = Image("tool", "v1+k3s1", files, {"User": "33"})
    images.write([image], tmp_path / "one.tar")
    program.touch()
    images.write([image], tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()

    with tarfile.open(tmp_path / "one.tar") as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        config_bytes = archive.extractfile(manifest["Config"]).read()
        (layer_name,) = manifest["Layers"]
        layer_bytes = archive.extractfile(layer_name).read()
        with tarfile.open(fileobj=archive.extractfile(layer_name)) as layer:
            members = {member.name: member for member in layer}
            passwd = layer.extractfile("etc/passwd").read().decode()
    assert manifest["RepoTags"] == ["lab.cloudcart.local/tool:v1-k3s1"]
    assert manifest["Config"] == f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    config = json.loads(config_bytes)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer_bytes).hexdigest()}"]
    assert config["config"] == {"Env": [images.PATH], "User": "33"}
    assert members["bin/q"].linkname == "p" and members["bin/p"].mode == 0o755
    assert (members["tmp"].mode, members["tmp"].uid, members["tmp"].isdir()) == (0o1777, 70, True)
    assert re.search("^web:x:33:34::/srv:", passwd, re.MULTILINE)


def test_images_of_one_archive_share_a_layer(tmp_path):
    shared = [File("/bin/p", text="p")]
    found = [Image(name, "1", [File("/name", text=name)], {}, shared) for name in ("one", "two")]
    images.write(found, tmp_path / "both.tar")
    with tarfile.open(tmp_path / "both.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        names = archive.getnames()
        configs = [json.load(archive.extractfile(item["Config"])) for item in manifest]
    layers = [item["Layers"] for item in manifest]
    assert [item["RepoTags"] for item in manifest] == [["lab.cloudcart.local/one:1"], ["lab.cloudcart.local/two:1"]]
    assert layers[0][0] == layers[1][0] and layers[0][1] != layers[1][1]
    assert sorted(name for name in names if name.endswith(".tar")) == sorted({name for two in layers for name in two})
    assert [[f"{sum.removeprefix('sha256:')}.tar" for sum in item["rootfs"]["diff_ids"]] for item in configs] == layers


def test_images_may_share_an_archive(monkeypatch):
    pair = Component("pair", make_pair)
    table = [build.Entry("images", name, f"x/{name}:1", "linux-amd64", pair, "tool.tar.zst") for name in ("a", "b")]
    monkeypatch.setattr(build, "table", lambda version: table)
    made = str(bundle.make())
    assert artifacts.find("images/b", "linux-amd64", made)[0]["ref"] == "x/b:1"
    assert len(artifacts.find("images/*", "linux-amd64", made, check=True)) == 1


def test_the_applications_are_started_by_the_commands_of_their_images():
    program = (build.SRC / "apps/main.go").read_text()
    for image, (first, *others) in build.APPS.items():
        command = " ".join([first.rpartition("/")[2], *others])
        assert re.search(rf'"{image.removeprefix("cloudcartops-")}": +{{"{re.escape(command)}"', program), image


def test_a_tree_is_chosen_by_patterns(tmp_path):
    for name in ("lib/x86/a.so.1", "lib/x86/b.so.1", "share/doc/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "lib/x86/a.so").symlink_to("a.so.1")
    found = images.tree(tmp_path, ["lib/*.so*"], ["*/b.*"])
    assert [(file.name, file.link) for file in found] == [("lib/x86/a.so", "a.so.1"), ("lib/x86/a.so.1", None)]


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.25 linux/arm64", (1, 25)), ("", (0,))],
)
def test_the_version_of_go_is_read(text, version):
    assert host.go_version(text) == version


def test_only_missing_packages_are_installed(monkeypatch, tmp_path):
    (tmp_path / "keyring").touch()
    tools = {"ip": "iproute2", "ssh": "openssh-client", str(tmp_path / "keyring"): "k", str(tmp_path / "other"): "o"}
    monkeypatch.setattr(host, "TOOLS", tools)
    assert host.missing_packages(which=lambda tool: "/usr/bin/ssh" if tool == "ssh" else None) == ["iproute2", "o"]


def test_tests_use_a_cache_of_their_own(lab_cache):
    assert cache.root() == lab_cache
