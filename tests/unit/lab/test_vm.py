# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib

import pytest
import yaml

from lab import bundle, vm
from lab.cache import LabError

KEY = pathlib.Path("/state/id_ed25519")


def container(suite="bookworm", pid=42):
    return {
        "Names": ["cc-lab-1"],
        "Id": "abc123",
        "Pid": pid,
        "Labels": {vm.LABEL: "cc-lab", f"{vm.LABEL}.suite": suite, f"{vm.LABEL}.address": "10.77.0.31"},
    }


def machine(prefix, number):
    return vm.Vm(prefix, number, vm.addresses(prefix, number)[0])


def test_addresses_are_fixed_and_differ():
    one = machine("cc-lab", 1)
    assert (one.name, one.ip, one.mac) == ("cc-lab-1", "10.77.0.11", "02:cc:0a:4d:00:0b")
    every = [ip for prefix in ("cc-lab", "molecule") for number in range(1, 10) for ip in vm.addresses(prefix, number)]
    assert len(set(every)) == len(every)
    assert vm.addresses("molecule", 1) == vm.addresses("molecule", 1)
    assert all(0 < int(part) < 255 for ip in every for part in (ip.split(".")[3],))


@pytest.mark.parametrize(
    ("found", "alive", "kept"), [(None, False, False), (container(), False, False), (container(), True, True)]
)
def test_dead_machines_are_replaced_and_living_ones_kept(found, alive, kept):
    assert vm.is_kept(found, alive, "bookworm") == kept


def test_a_machine_is_found_at_the_address_it_got():
    assert vm.as_vm(container()) == vm.Vm("cc-lab", 1, "10.77.0.31")


def test_a_lost_container_does_not_keep_a_machine_from_starting(monkeypatch):
    asked = []

    def podman(*arguments, check=True):
        if arguments[0] == "run":
            asked.append(arguments[arguments.index("--ip") + 1])
            if len(asked) < 3:
                raise LabError(f"IPAM error: requested ip address {asked[-1]} is already allocated to container ID 1")

    monkeypatch.setattr(vm, "podman", podman)
    monkeypatch.setattr(vm.subprocess, "run", lambda *arguments, **options: None)
    started = vm.start("cc-lab", 2, "bookworm", "image", "network", KEY)
    assert asked == vm.addresses("cc-lab", 2)[:3] and started.ip == asked[-1]


def test_a_living_machine_of_another_suite_is_not_destroyed():
    with pytest.raises(LabError, match="cc-lab-1 runs Debian bookworm, not trixie: `lab/lab down` first"):
        vm.is_kept(container(), True, "trixie")
    assert not vm.is_kept(container(), False, "trixie")


@pytest.mark.parametrize(
    ("count", "present", "suites", "expected"),
    [
        (None, 0, ["bookworm"], ["bookworm"]),
        (None, 2, ["bookworm"], ["bookworm", "bookworm"]),
        (None, 0, ["bookworm", "trixie"], ["bookworm", "trixie"]),
        (3, 0, ["bookworm", "trixie"], ["bookworm", "trixie", "trixie"]),
        (1, 0, ["bookworm", "trixie"], ["bookworm"]),
    ],
)
def test_each_machine_has_its_suite_and_no_other_image_is_made(monkeypatch, count, present, suites, expected):
    made, started = [], []

    def start(prefix, number, suite, image, network, key):
        started.append((suite, image))
        return machine(prefix, number)

    dead = {f"other-{number}": container(pid=0) for number in range(1, present + 1)}
    monkeypatch.setattr(vm, "containers", lambda prefix: dead)
    monkeypatch.setattr(vm, "ensure_image", lambda suite: made.append(suite) or f"image of {suite}")
    monkeypatch.setattr(vm, "ensure_network", lambda: "network")
    monkeypatch.setattr(vm, "start", start)
    for name in ("raise_inotify_limit", "wait_for_ssh", "wait_for_boot"):
        monkeypatch.setattr(vm, name, lambda *arguments: None)
    vm.up("other", count, suites)
    assert started == [(suite, f"image of {suite}") for suite in expected]
    assert sorted(made) == sorted(set(expected))


def test_alive_is_what_the_kernel_says(tmp_path):
    process = tmp_path / "42"
    process.mkdir()
    (process / "cgroup").write_text("8:pids:/libpod_parent/libpod-abc123/init.scope\n")
    assert vm.is_alive(container(), tmp_path)
    (process / "cgroup").write_text("8:pids:/user.slice\n")
    assert not vm.is_alive(container(), tmp_path), "the number belongs to another process now"
    assert not vm.is_alive(container(pid=43), tmp_path)
    assert not vm.is_alive(container(pid=0), tmp_path)


def test_bridges_of_an_earlier_life_are_found():
    addresses = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
        {"ifname": "podman1", "addr_info": [{"local": vm.GATEWAY}]},
        {"ifname": "podman2", "addr_info": [{"local": vm.GATEWAY}]},
        {"ifname": "veth0"},
    ]
    assert vm.stale_bridges(addresses, "podman2") == ["podman1"]
    assert vm.stale_bridges(addresses, "") == ["podman1", "podman2"]


@pytest.mark.parametrize(("before", "after"), [("128\n", "8192"), ("9000\n", "9000\n")])
def test_the_limit_of_watches_is_only_raised(tmp_path, before, after):
    (tmp_path / "limit").write_text(before)
    vm.raise_inotify_limit(tmp_path / "limit")
    assert (tmp_path / "limit").read_text() == after


def test_the_inventory_has_a_server_agents_and_the_cluster(tmp_path):
    vms = [machine("cc-lab", number) for number in (1, 2, 3)]
    bundle.write_yaml(tmp_path / "hosts.yml", vm.inventory(vms, KEY, {"cloudcartops_bundle": "/b"}), "Test.")
    groups = yaml.safe_load((tmp_path / "hosts.yml").read_text())["all"]["children"]
    assert {name: list(group["hosts"]) for name, group in groups.items()} == {
        "k3s_server": ["cc-lab-1"],
        "k3s_agent": ["cc-lab-2", "cc-lab-3"],
        "amd64": ["cc-lab-1", "cc-lab-2", "cc-lab-3"],
        "platform": ["cluster"],
    }
    server, cluster = groups["k3s_server"]["hosts"]["cc-lab-1"], groups["platform"]["hosts"]["cluster"]
    assert server["ansible_host"] == "10.77.0.11" and server["ansible_ssh_private_key_file"] == str(KEY)
    assert "UserKnownHostsFile=/dev/null" in server["ansible_ssh_common_args"]
    assert str(KEY) not in server["ansible_ssh_common_args"]
    assert cluster["ansible_connection"] == "local"
    assert server["cloudcartops_bundle"] == cluster["cloudcartops_bundle"] == "/b"


def test_writing_the_inventory_again_replaces_it_and_its_link():
    vms = [machine("other", 1)]
    first = vm.write_inventory("other", vms, KEY)
    assert vm.write_inventory("other", vms, KEY) == first
    assert sorted(path.name for path in first.parent.iterdir()) == ["group_vars", "hosts.yml"]
    assert (first.parent / "group_vars").readlink().parts[-3:] == ("inventories", "dev", "group_vars")


def test_the_key_is_made_once_and_private(lab_cache):
    key = vm.ensure_key()
    before = key.read_bytes()
    assert vm.ensure_key().read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    key.with_suffix(".pub").unlink()
    assert vm.ensure_key().read_bytes() != before, "half a key is made anew"
