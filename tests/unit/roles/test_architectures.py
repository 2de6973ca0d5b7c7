# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles choose by the facts of a machine: K3s and its images, Helm, the images of a bundle."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils import artifacts, preflight_rules

ROOT = pathlib.Path(__file__).resolve().parents[3]
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
SHA256 = "a" * 64


@pytest.fixture
def lock(tmp_path):
    """The lock file of the collection, as `make lock` leaves it."""
    path = tmp_path / "lock.yml"
    path.write_text(
        re.sub(r"(sha256|linux-\w+): (\S+)\n", rf"\1: {SHA256}\n", artifacts.LOCK.read_text("utf-8")), "utf-8"
    )
    return path


@pytest.mark.parametrize(("machine", "architecture"), MACHINES.items())
def test_k3s_and_its_images_are_those_of_the_machine(rendered, lock, machine, architecture):
    platform = rendered("k3s", "__k3s_platform", ansible_facts={"architecture": machine})
    assert platform == f"linux-{architecture}"
    [program] = artifacts.find("k3s", platform, lock=lock)
    [images] = artifacts.find("k3s-airgap-images", platform, lock=lock)
    assert program["filename"] == {"amd64": "k3s", "arm64": "k3s-arm64"}[architecture]
    assert images["filename"] == f"k3s-airgap-images-{architecture}.tar.zst"
    assert program["version"] == images["version"]


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Darwin", "x86_64", "darwin-amd64"),
        ("Darwin", "arm64", "darwin-arm64"),
    ],
)
def test_helm_is_that_of_the_control_node(monkeypatch, lock, system, machine, platform):
    uname = type("Uname", (), {"sysname": system, "machine": machine})
    monkeypatch.setattr(artifacts.os, "uname", lambda: uname)
    [helm] = artifacts.find("helm", "here", lock=lock)
    assert helm["url"].endswith(f"-{platform}.tar.gz")


def test_a_machine_of_another_kind_is_told_what_there_is(rendered, lock):
    platform = rendered("k3s", "__k3s_platform", ansible_facts={"architecture": "riscv64"})
    with pytest.raises(
        artifacts.PlatformError, match="not there for linux-riscv64. It is there for: linux-amd64, linux-arm64"
    ):
        artifacts.find("k3s", platform, lock=lock)


def test_the_role_knows_the_machines_that_preflight_lets_pass():
    known = yaml.safe_load((ROOT / "roles/k3s/vars/main.yml").read_text("utf-8"))["__k3s_architectures"]
    assert known.items() <= preflight_rules.ARCHITECTURES.items() and MACHINES.items() <= known.items()


def test_every_artifact_that_differs_is_chosen_by_the_platform():
    """No role takes one for a fixed architecture, and each that has one for each is asked for with it."""
    content = yaml.safe_load(artifacts.LOCK.read_text("utf-8"))
    differing = {name for name, entry in content["artifacts"].items() if "any" not in entry["files"]}
    text = "\n".join(
        p.read_text("utf-8") for p in (ROOT / "roles").rglob("*.yml") if p.parent.name in ("tasks", "vars")
    )
    asked = re.findall(r"(?:lookup|query)\('cloudcartops\.platform\.artifact', '([^']+)'([^)]*)\)", text)
    assert {name for name, _rest in asked} >= differing
    for name, rest in asked:
        if name in differing or name == "images/*":
            assert re.search("platform='here'" if name == "helm" else "platform=__k3s_platform", rest), (name, rest)
    assert not re.search(r"linux-(amd|arm)64", text)


@pytest.mark.parametrize("group", MACHINES.values())
def test_a_machine_in_the_group_of_its_architecture_suits(group):
    inventory = {"environment": "dev", "vault_mode": "dev", "servers": ["vm"], "agents": [], "bundle_error": ""}
    assert preflight_rules.inventory_errors(inventory) == []
    for machine, architecture in MACHINES.items():
        host = {"os": {"id": "debian", "version": "12", "name": "Debian 12"}, "architecture": machine}
        found = preflight_rules._platform(host, ["k3s_server", group])
        wrong = [finding["message"] for finding in found if finding["level"] == "error"]
        assert (wrong == []) == (architecture == group)
        assert not wrong or f"Move it to the group {architecture}" in wrong[0]
