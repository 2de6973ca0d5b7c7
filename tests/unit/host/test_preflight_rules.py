# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of preflight: each finds what it is for, and says what to do."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.cloudcartops.platform.plugins.filter import preflight_report
from ansible_collections.cloudcartops.platform.plugins.filter.preflight_errors import preflight_errors
from ansible_collections.cloudcartops.platform.plugins.module_utils import preflight_rules as rules

HOST = {
    "os": {"id": "ubuntu", "version": "24.04", "name": "Ubuntu 24.04.3 LTS"},
    "architecture": "x86_64",
    "hostname": "vm-1",
    "cpus": 4,
    "memory_mib": 7885,  # what a VM of 8 GB shows
    "swap_mib": 0,
    "cgroups": {"version": 2, "missing": []},
    "kernel": {"release": "6.8.0-88-generic", "missing": []},
    "inotify": {"instances": 8192, "watches": 65536},
    "clock": {"ahead": 0.4, "synchronized": True},
    "default_route": True,
    "name_servers": ["192.0.2.53"],
    "firewalls": [],
    "server": None,
    "busy": "",
    "root": True,
    "systemd": True,
    "file_system": {"mount": "/", "size_gib": 45.0, "free_gib": 40.0},
    "installed": False,
    "k3s_version": "",
    "etcd": False,
    "units": [],
    "other_kubernetes": [],
    "ports": [],
    "certificates": [],
}
WANTED = {
    **{"groups": ["amd64", "k3s_server"], "cpus": 4, "memory_gib": 7.5, "disk_gib": 40.0, "free_gib": 20.0},
    **{"clock_skew": 30.0, "inotify_instances": 1024, "flannel_backend": "vxlan"},
    **{"k3s_version": "v1.34.4+k3s1", "server_version": ""},
}
LEAF = {"path": "/var/lib/rancher/k3s/server/tls/a.crt", "ends": "2027-02-26 10:00", "days": 89.4, "authority": False}
CA = {"path": "/var/lib/rancher/k3s/server/tls/ca.crt", "ends": "2036-11-27 10:00", "days": 3650.0, "authority": True}
AGENT = {"groups": ["k3s_agent"]}
REACHED = {"host": "192.0.2.11", "port": 6443, "problem": "", "words": ""}
INVENTORY = {"environment": "dev", "vault_mode": "dev", "servers": ["a"], "agents": ["b"], "bundle_error": ""}


def findings(wanted=None, **changes):
    return rules.host_findings({"host": {**copy.deepcopy(HOST), **changes}}, {**WANTED, **(wanted or {})})


def judge(wanted=None, **changes):
    found = findings(wanted, **changes)
    assert [f["message"] for f in found if f["level"] == "warning"] == []
    return [f["message"] for f in found if f["level"] == "error"]


def test_a_good_host_passes():
    assert judge() == []
    assert judge(os={"id": "debian", "version": "13", "name": "Debian GNU/Linux 13 (trixie)"}) == []
    assert judge(certificates=[dict(LEAF, days=90.0), dict(CA, days=180.0)]) == []
    assert judge(AGENT, server=REACHED, clock={"ahead": None, "synchronized": None}) == []
    assert {f["level"] for f in findings()} == {"ok"} and all(f["found"] for f in findings())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"os": {"id": "fedora", "version": "43", "name": "Fedora Linux 43"}}, ["Fedora Linux 43", "Use Ubuntu 22.04"]),
        ({"os": {"id": "ubuntu", "version": "20.04", "name": "Ubuntu 20.04"}}, ["Ubuntu 20.04", "Debian 12 or 13"]),
        ({"architecture": "riscv64"}, ["riscv64", "aarch64 (arm64)"]),
        ({"architecture": "aarch64"}, ["in the group amd64", "Move it to the group arm64"]),
        ({"cpus": 3}, ["3 CPUs, and 4", "preflight_min_cpus"]),
        ({"memory_mib": 7600}, ["7.4 GiB of memory, and 7.5", "preflight_min_memory_gib"]),
        ({"file_system": {"mount": "/var", "size_gib": 30.0, "free_gib": 29.0}}, ["30 GiB at /var", "k3s_data_dir"]),
        (
            {"file_system": {"mount": "/", "size_gib": 45.0, "free_gib": 9.5}},
            ["9.5 GiB free", "preflight_min_free_gib"],
        ),
        ({"root": False}, ["not looked at as root", "ansible_become"]),
        ({"systemd": False}, ["does not run systemd"]),
        ({"cgroups": {"version": 2, "missing": ["memory"]}}, ["controllers memory", "cgroup_memory=1"]),
        ({"cgroups": {"version": 2, "missing": ["cpu", "memory"]}}, ["controllers cpu, memory", "Boot a kernel"]),
        (
            {"kernel": {"release": "6.8", "missing": [{"module": "vxlan", "packaged": True}]}},
            ["kernel 6.8 without vxlan", "linux-modules-extra"],
        ),
        (
            {"kernel": {"release": "6.8", "missing": [{"module": m, "packaged": False} for m in ("veth", "overlay")]}},
            ["kernel 6.8 without veth, overlay", "Boot a kernel"],
        ),
        ({"clock": {"ahead": 31, "synchronized": True}}, ["31 seconds ahead", "at most 30", "set-ntp true"]),
        ({"clock": {"ahead": -600.5, "synchronized": False}}, ["600.5 seconds behind"]),
        ({"busy": "apt-get (pid 7)"}, ["apt-get (pid 7) works", "preflight_patience"]),
        ({"other_kubernetes": ["kubeadm", "k0s"]}, ["kubeadm, k0s", "kubeadm reset"]),
        (
            {"server": {**REACHED, "problem": "name", "words": "Name or service not known"}},
            ["address of its server 192.0.2.11 (Name or", "k3s_api_endpoint"],
        ),
        (
            {"server": {**REACHED, "problem": "route", "words": "timed out"}},
            ["its server at 192.0.2.11:6443 (timed out)", "k3s_server_url"],
        ),
        ({"k3s_version": "v1.34.5+k3s1"}, ["the older v1.34.4+k3s1", "with the play uninstall"]),
        ({"default_route": False}, ["no default route"]),
        ({"units": ["k3s-agent.service"]}, ["k3s-agent.service of its former role"]),
        (
            {"ports": [{"port": 6443, "owner": {"pid": 12, "name": "nginx", "unit": "nginx.service"}}]},
            ["port 6443", "nginx (pid 12)", "systemctl disable --now nginx.service"],
        ),
        ({"ports": [{"port": 10250, "owner": None}]}, ["port 10250", "a process that cannot be seen"]),
    ],
)
def test_each_rule(changes, says):
    found = judge(**changes)
    assert len(found) == 1 and [part for part in says if part not in found[0]] == []


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"swap_mib": 2048}, "swap", ["2048 MiB", "swapoff -a"]),
        ({"inotify": {"instances": 128, "watches": 9}}, "inotify", ["allows 128", "max_user_instances=8192"]),
        ({"clock": {"ahead": 0.1, "synchronized": False}}, "clock", ["no time server", "set-ntp true"]),
        ({"busy": "apt-get (pid 7)", "installed": True}, "package manager", ["apt-get (pid 7) works"]),
        ({"name_servers": []}, "name servers", ["8.8.8.8", "resolv-conf"]),
        (
            {"firewalls": ["ufw", "firewalld"]},
            "firewall",
            ["ufw, firewalld", "ufw disable, systemctl"],
        ),
        ({"certificates": [LEAF, CA]}, "certificates", ["in 89 days", "server/tls/a.crt", "systemctl restart k3s,"]),
        ({"certificates": [dict(LEAF, days=-1.0), LEAF]}, "certificates", ["which ended on", "(1 more end within 90"]),
        ({"certificates": [dict(CA, days=179.0), dict(LEAF, days=200.0)]}, "authorities", ["rotate-ca", "ends in 179"]),
        (
            {"ports": [{"port": 80, "owner": {"pid": 12, "name": "nginx", "unit": "nginx.service"}}]},
            "port 80",
            ["port 80 taken by nginx (pid 12)", "systemctl disable --now nginx.service"],
        ),
    ],
)
def test_each_warning(changes, check, says):
    found = [f for f in findings(**changes) if f["level"] != "ok"]
    assert [(f["level"], f["check"]) for f in found] == [("warning", check)]
    assert [part for part in says if part not in found[0]["message"]] == []
    assert rules.host_errors({"host": {**HOST, **changes}}, WANTED) == []


def test_limits_that_are_not_known_are_no_fault():
    assert judge(inotify={"instances": None, "watches": None}) == []


def test_only_what_the_network_backend_needs_is_missed():
    missing = [{"module": module, "packaged": False} for module in ("wireguard", "vxlan")]
    kernel = {"release": "6.8", "missing": missing}
    assert judge({"flannel_backend": "host-gw"}, kernel=kernel) == []
    [error] = judge({"flannel_backend": "wireguard-native"}, kernel=kernel)
    assert "without wireguard." in error
    [error] = judge({"flannel_backend": "vxlan"}, kernel=kernel)
    assert "without vxlan." in error


def test_cgroups_of_version_1_are_refused_where_k3s_refuses_them():
    old = {"version": 1, "missing": []}
    assert judge(cgroups=old) == [] and judge({"k3s_version": ""}, cgroups=old) == []
    [error] = judge({"k3s_version": "v1.35.0+k3s1"}, cgroups=old)
    assert "refuses from 1.35 on" in error


def test_an_agent_must_not_be_newer_than_its_server():
    assert judge({**AGENT, "server_version": "v1.34.4+k3s1"}) == []
    [error] = judge({**AGENT, "server_version": "v1.34.3+k3s2"})
    assert "its server has v1.34.3+k3s2" in error
    assert judge({"server_version": "v1.34.3+k3s2"}) == [], "a server joins none"


def test_the_table_has_every_check_of_every_host():
    hosts = {name: {"result": {"host": {**HOST, "hostname": name}}, "wanted": WANTED} for name in ("a", "long-name")}
    hosts["a"]["result"]["host"] = {**HOST, "swap_mib": 5, "cpus": 1}
    hosts["gone"] = {"result": {"unreachable": True, "msg": "no"}, "wanted": WANTED}
    report = rules.report(INVENTORY, hosts)
    assert len(report["table"]) == 2 * len(findings()) + 1
    assert "a          swap              warning  5 MiB" in report["table"]
    assert "long-name  memory            ok       7.7 GiB" in report["table"]
    assert "gone       connection        error    none" in report["table"]
    assert [w.partition(":")[0] for w in report["warnings"]] == ["a"]
    assert [e.partition(":")[0] for e in report["errors"]] == ["a", "gone"]


def test_a_host_that_has_k3s_needs_no_free_space_and_may_hold_its_ports():
    owner = {"pid": 5, "name": "k3s", "unit": "k3s.service"}
    full = {"mount": "/", "size_gib": 45.0, "free_gib": 1.0}
    ports = [{"port": 6443, "owner": owner}, {"port": 10250, "owner": owner}]
    assert judge(installed=True, file_system=full, ports=ports, units=["k3s.service"]) == []


def test_an_agent_that_was_a_server_is_refused():
    [error] = judge({"groups": ["k3s_agent"]}, units=["k3s.service"])
    assert "k3s.service of its former role" in error


def test_a_host_in_no_architecture_group_may_be_of_either():
    assert judge({"groups": ["k3s_server"]}, architecture="aarch64") == []


def test_a_host_that_fails_in_several_ways_says_so_in_full():
    assert len(judge(cpus=1, memory_mib=512, root=False, default_route=False)) == 4


def test_unreachable_and_broken_hosts():
    [error] = rules.host_errors({"unreachable": True, "msg": "Task failed: no\n route"}, WANTED)
    assert error.startswith("cannot be reached: no route. Check that it runs")
    [error] = rules.host_errors({"msg": "Failed", "module_stderr": "\nsudo: a password is required\n"}, WANTED)
    assert "Failed (sudo: a password is required)" in error and "python3" in error


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"environment": "test"}, "Set it to dev or prod"),
        ({"environment": "prod", "vault_mode": "dev"}, "Set cloudcartops_vault_mode to standalone"),
        ({"servers": []}, "Put the host that the agents join into k3s_server"),
        ({"servers": ["a", "c"]}, "exactly one server"),
        ({"agents": ["a"]}, "Leave it in one of them"),
        ({"bundle_error": "No lock.yml."}, "No lock.yml."),
    ],
)
def test_each_rule_about_the_inventory(changes, says):
    [error] = rules.inventory_errors({**INVENTORY, **changes})
    assert says in error


def test_a_good_inventory_passes():
    assert rules.inventory_errors(INVENTORY) == []
    assert rules.inventory_errors({**INVENTORY, "environment": "prod", "vault_mode": "standalone"}) == []
    assert rules.inventory_errors({**INVENTORY, "servers": [], "agents": []}) == []


def test_names_of_nodes():
    assert rules.name_errors({"a": "vm-1", "b": "vm-2.example"}) == []
    [error] = rules.name_errors({"a": "VM", "b": "vm"})
    assert error.startswith("a, b: have the same hostname 'vm'")
    [error] = rules.name_errors({"a": "localhost"})
    assert "'localhost', which cannot be" in error
    [error] = rules.name_errors({"a": "my_vm"})
    assert "'my_vm', which cannot be the name of a node" in error


def test_the_filter_knows_the_versions(tmp_path):
    (tmp_path / "lock.yml").write_text(
        "schema: 1\nartifacts: {k3s: {version: v1.34.4+k3s1, files: {}}}\n", encoding="utf-8"
    )
    inventory = {"environment": "dev", "servers": ["one"], "agents": ["two"], "bundle": str(tmp_path)}
    wanted = {key: value for key, value in WANTED.items() if key not in ("k3s_version", "server_version")}
    variables = {
        "two": {
            "__preflight_result": {"host": {**HOST, "k3s_version": "v1.32.9+k3s1"}},
            "__preflight_wanted": {**wanted, **AGENT},
            "__preflight_server": {"host": {"k3s_version": "v1.34.4+k3s1"}},
        }
    }
    [error] = preflight_errors(["two"], variables, inventory)
    assert error.startswith("two: has K3s v1.32.9+k3s1") and "Go to v1.33 first" in error
    variables["two"]["__preflight_server"] = {"skipped": True}
    report = preflight_report.FilterModule().filters()["preflight_report"](["two"], variables, inventory)
    assert report["errors"] == [error] and any("to be v1.34.4+k3s1" in line for line in report["table"])


def test_the_filter_collects_the_errors_of_all_hosts(tmp_path):
    variables = {
        "one": {"__preflight_result": {"host": {**HOST, "cpus": 1}}, "__preflight_wanted": WANTED},
        "two": {"__preflight_result": {"unreachable": True, "msg": "gone"}, "__preflight_wanted": WANTED},
        "three": {"__preflight_result": {"host": HOST}, "__preflight_wanted": WANTED},
    }
    inventory = {"environment": "dev", "servers": ["one"], "agents": ["two"], "bundle": str(tmp_path)}
    found = preflight_errors(list(variables), variables, inventory)
    assert [e.partition(":")[0] for e in found[1:]] == ["one", "two", "one, three"]
    assert str(tmp_path / "lock.yml") in found[0]
