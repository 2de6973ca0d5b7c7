# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from a host, from a made-up tree of files and from the machine the tests run on."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import files, preflight
from ansible_collections.cloudcartops.platform.plugins.modules import (
    k3s_node_facts,
    preflight_info,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:280A 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
"""
ROUTE = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0100580A 0003 0 0 100 00000000 0 0 0
eth0 0000580A 00000000 0001 0 0 100 0000FFFF 0 0 0
"""


@pytest.fixture
def root(tmp_path):
    """A function that writes files below a root directory, which it returns."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return str(tmp_path)

    return write


def run(module, capsys, **args):
    with patch_module_args(args), pytest.raises(SystemExit) as stop:
        module.main()
    return stop.value.code, json.loads(capsys.readouterr().out)


def test_operating_system(root):
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
    expected = {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"}
    assert preflight.operating_system(root(**{"etc__os-release": text})) == expected


def test_an_unknown_operating_system(root):
    assert preflight.operating_system(root())["id"] == ""


def test_memory(root):
    assert preflight.memory_mib(root(proc__meminfo="MemTotal:        8074292 kB\nMemFree: 1 kB\n")) == 7885


def test_cgroups(root, tmp_path):
    v1 = "#subsys\nmemory\t4\t73\t1\ncpu\t1\t1\t1\ncpuset\t1\t1\t1\npids\t4\t73\t0\n"
    assert preflight.cgroups(root()) == {"version": 1, "missing": ["cpu", "cpuset", "memory", "pids"]}
    assert preflight.cgroups(root(proc__cgroups=v1)) == {"version": 1, "missing": ["pids"]}
    (tmp_path / "proc/cgroups").unlink()
    v2 = root(**{"sys__fs__cgroup__cgroup_DOT_controllers": "cpuset cpu io pids\n"})
    assert preflight.cgroups(v2) == {"version": 2, "missing": ["memory"]}


def test_swap(root):
    assert preflight.swap_mib(root()) == 0
    text = "Filename Type Size Used Priority\n/swap.img file 4194300 0 -2\n/dev/zram0 partition 1024 0 100\n"
    assert preflight.swap_mib(root(proc__swaps=text)) == 4096


def test_the_clock(monkeypatch):
    monkeypatch.setattr(preflight, "output", lambda *command: "no")
    found = preflight.clock(time.time() - 100)
    assert 100 <= found["ahead"] < 105 and found["synchronized"] is False
    monkeypatch.setattr(preflight, "output", lambda *command: "")
    assert preflight.clock() == {"ahead": None, "synchronized": None}


def test_kernel_features(root, tmp_path):
    name = f"boot__config-{os.uname().release}"
    every = "".join(f"CONFIG_{option}=y\n" for option in preflight.FEATURES.values())
    assert preflight.kernel(root())["missing"] == [], "without a configuration nothing is certain"
    assert preflight.kernel(root(**{name: every}))["missing"] == []
    text = every.replace("CONFIG_VXLAN=y", "CONFIG_VXLAN=m").replace("CONFIG_VETH=y", "# CONFIG_VETH is not set")
    found = preflight.kernel(root(**{name: text}), loadable=lambda module: False)
    assert found["release"] == os.uname().release
    assert found["missing"] == [{"module": "veth", "packaged": False}, {"module": "vxlan", "packaged": True}]
    assert [m["module"] for m in preflight.kernel(root(), loadable=lambda module: True)["missing"]] == ["veth"]
    (tmp_path / "sys/module/vxlan").mkdir(parents=True)
    assert [m["module"] for m in preflight.kernel(root(), loadable=lambda module: False)["missing"]] == ["veth"]


def test_kernel_features_of_a_configuration_in_the_kernel(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_OVERLAY_FS=y\n"))
    missing = [entry["module"] for entry in preflight.kernel(str(tmp_path))["missing"]]
    assert set(missing) == set(preflight.FEATURES) - {"overlay"}


def test_limits_of_inotify(root):
    assert preflight.inotify(root()) == {"instances": None, "watches": None}
    found = preflight.inotify(root(proc__sys__fs__inotify__max_user_instances="128\n"))
    assert found == {"instances": 128, "watches": None}


@pytest.mark.parametrize(
    ("own", "resolved", "expected"),
    [
        ("nameserver 192.0.2.53\nnameserver 127.0.0.1\n", "", ["192.0.2.53"]),
        ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 2001:db8::53\n", ["2001:db8::53"]),
        ("nameserver 127.0.0.53\n", "", []),
        ("nameserver fe80::1%eth0\nnameserver nonsense\n", "", []),
        ("", "", []),
    ],
)
def test_name_servers(root, own, resolved, expected):
    top = root(**{"etc__resolv_DOT_conf": own, "run__systemd__resolve__resolv_DOT_conf": resolved})
    assert preflight.name_servers(top) == expected


def test_firewalls(root, monkeypatch):
    states = {"firewalld.service": "inactive"}
    monkeypatch.setattr(preflight, "output", lambda *command: states[command[-1]])
    assert preflight.firewalls(root(**{"etc__ufw__ufw_DOT_conf": "# ENABLED=yes\nENABLED=no\n"})) == []
    states["firewalld.service"] = "active"
    assert preflight.firewalls(root(**{"etc__ufw__ufw_DOT_conf": "ENABLED=yes\n"})) == ["ufw", "firewalld"]


def test_the_way_to_the_server(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert preflight.reach(f"https://127.0.0.1:{port}")["problem"] == ""
    refused = preflight.reach(f"https://127.0.0.1:{port}")
    assert refused == {"host": "127.0.0.1", "port": port, "problem": "", "words": ""}, "nothing listens yet"
    unknown = preflight.reach("https://no-such-name.invalid")
    assert unknown["problem"] == "name" and unknown["words"] and unknown["port"] == 443

    def times_out(address, timeout):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", times_out)
    assert preflight.reach("https://[::1]:6443") == {
        "host": "::1",
        "port": 6443,
        "problem": "route",
        "words": "timed out",
    }


def test_cloud_init_is_waited_for(root, tmp_path):
    top = root(**{"run__cloud-init__enabled": ""})
    assert preflight.wait_until_set_up(0, top) == "cloud-init"
    root(**{"run__cloud-init__result_DOT_json": "{}"})
    assert preflight.wait_until_set_up(0, top) == ""


def test_the_package_manager_is_waited_for(root, monkeypatch):
    top = root(**{"var__lib__dpkg__lock-frontend": "", "var__lib__dpkg__lock": ""})
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('', flush=True); input()"
    )
    command = [sys.executable, "-c", program, f"{top}/var/lib/dpkg/lock-frontend"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        assert (
            preflight.wait_until_set_up(0, top)
            == f"{preflight.read(f'/proc/{holder.pid}/comm').strip()} (pid {holder.pid})"
        )
        looks = []

        def end(seconds):
            looks.append(seconds)
            holder.communicate("\n")

        monkeypatch.setattr(time, "sleep", end)
        assert preflight.wait_until_set_up(60, top) == "" and looks == [preflight.POLL]


@pytest.mark.parametrize(
    ("sign", "name"),
    [
        ("etc__kubernetes__kubelet_DOT_conf", "kubeadm"),
        ("etc__systemd__system__rke2-server_DOT_service", "RKE2"),
        ("etc__systemd__system__k0sworker_DOT_service", "k0s"),
        ("var__snap__microk8s__x", "MicroK8s"),
    ],
)
def test_other_kubernetes(root, sign, name):
    assert preflight.other_kubernetes(root()) == []
    assert preflight.other_kubernetes(root(**{sign: ""})) == [name]


def test_the_installed_version(tmp_path):
    program = tmp_path / "k3s"
    assert preflight.k3s_version(str(program)) == ""
    program.write_text("#!/bin/sh\necho 'k3s version v1.34.4+k3s1 (abc)'\necho go version go1.24\n", encoding="utf-8")
    program.chmod(0o755)
    assert preflight.k3s_version(str(program)) == "v1.34.4+k3s1"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert preflight.k3s_version(str(program)) == ""


def test_default_route(root):
    assert preflight.has_default_route(root(proc__net__route=ROUTE))
    assert not preflight.has_default_route(root(proc__net__route="\n".join(ROUTE.splitlines()[::2])))


def test_default_route_of_ipv6(root):
    line = "{zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003 {link}\n"
    parts = {"zero": "0" * 32, "gateway": "fe80" + "0" * 27 + "1"}
    assert not preflight.has_default_route(root(proc__net__ipv6_route=line.format(link="lo", **parts)))
    assert preflight.has_default_route(root(proc__net__ipv6_route=line.format(link="eth0", **parts)))


def test_listeners(root):
    assert preflight.listeners(root(proc__net__tcp=TCP)) == {6443: "4711"}


def test_the_owner_of_a_port_by_its_cgroup(root, tmp_path):
    top = root(proc__12__comm="kube-apiserver\n", proc__12__cgroup="0::/system.slice/k3s.service/x\n")
    (tmp_path / "proc/12/fd").mkdir()
    (tmp_path / "proc/12/fd/3").symlink_to("socket:[4711]")
    expected = {"4711": {"pid": 12, "name": "kube-apiserver", "unit": "k3s.service"}}
    assert preflight.owners(["4711", "4712"], top) == expected and preflight.owners([], top) == {}


def test_the_owner_of_a_port_by_its_ancestors(root, tmp_path, monkeypatch):
    top = root(
        proc__12__comm="x\n", proc__12__status="PPid:\t7\n", proc__7__status="PPid:\t1\n", proc__12__cgroup="0::/\n"
    )
    (tmp_path / "proc/12/fd").mkdir()
    (tmp_path / "proc/12/fd/3").symlink_to("socket:[4711]")
    monkeypatch.setattr(preflight, "main_pid", {"k3s.service": "7", "k3s-agent.service": "0"}.get)
    assert preflight.owners(["4711"], top)["4711"]["unit"] == "k3s.service"
    monkeypatch.setattr(preflight, "main_pid", {"k3s.service": "0", "k3s-agent.service": "0"}.get)
    assert preflight.owners(["4711"], top)["4711"]["unit"] == ""


def test_the_file_system_of_a_directory_that_does_not_exist(tmp_path):
    found = preflight.file_system(str(tmp_path / "not" / "there"))
    assert os.path.ismount(found["mount"]) and 0 <= found["free_gib"] <= found["size_gib"]


def test_the_module_sees_who_listens(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, result = run(
            preflight_info, capsys, data_dir=str(tmp_path / "none"), ports=[port], _ansible_check_mode=True
        )
    assert code == 0 and result["changed"] is False
    host = result["host"]
    assert [(p["port"], p["owner"]["pid"]) for p in host["ports"]] == [(port, os.getpid())]
    assert host["hostname"] == socket.gethostname() and host["cpus"] >= 1 and host["memory_mib"] > 0
    assert host["installed"] is False


def pem(ends, authority=None):
    """A certificate that says it is an authority, that it is none, or nothing of it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=timezone.utc)).not_valid_after(ends)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("authority", [None, False, True])
@pytest.mark.parametrize("year", [2036, 2049, 2050, 2127])  # the last two are written with four digits
def test_the_end_of_a_certificate(year, authority):
    found = preflight.certificate(pem(datetime(year, 11, 29, 10, 26, 5, tzinfo=timezone.utc), authority))
    assert (found["ends"], found["authority"]) == (f"{year}-11-29 10:26", authority is True)


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n=A\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate(text):
    assert preflight.certificate(text) is None


def test_the_certificates_of_a_node(tmp_path):
    now = datetime.now(timezone.utc)
    tls = tmp_path / "server/tls"
    for folder in (tls / "etcd", tls / "temporary-certs", tmp_path / "agent"):
        folder.mkdir(parents=True)
    (tls / "server-ca.crt").write_text(pem(now + timedelta(days=3650), authority=True), encoding="utf-8")
    # The chain follows, as in the files of K3s.
    (tls / "etcd/client.crt").write_text(pem(now - timedelta(days=1)) + pem(now), encoding="utf-8")
    (tls / "temporary-certs/loopback.crt").write_text(pem(now), encoding="utf-8")
    (tls / "etcd/other.crt").symlink_to("client.crt")
    (tls / "broken.crt").write_text("half a fi", encoding="utf-8")
    (tmp_path / "agent/client-kubelet.crt").write_text(pem(now + timedelta(days=100)), encoding="utf-8")
    found = [(c["path"].removeprefix(f"{tmp_path}/"), c["days"]) for c in preflight.certificates(str(tmp_path))]
    assert found == [
        ("server/tls/etcd/client.crt", -1.0), ("agent/client-kubelet.crt", 100.0), ("server/tls/server-ca.crt", 3650.0),
    ]  # fmt: skip


def test_files_are_described_without_following_links(tmp_path, capsys):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("nowhere")
    paths = [str(tmp_path / name) for name in ("file", "link", "absent", "file/below")] + [str(tmp_path)]
    code, result = run(k3s_node_facts, capsys, paths=paths)
    found = [result["files"][path] for path in paths]
    assert code == 0 and [f["kind"] for f in found] == ["file", "link", "absent", "absent", "directory"]
    assert found[0] == {"kind": "file", "mode": "0640", "sha256": files.sha256_of(tmp_path / "file")}
    assert found[1]["target"] == "nowhere"


def test_facts_of_a_node_and_what_is_in_its_directories(tmp_path, capsys, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/one.tar").write_text("x", encoding="utf-8")
    paths, images = [str(tmp_path / "k3s")], str(tmp_path / "images")
    code, result = run(k3s_node_facts, capsys, paths=paths, directories=[images, str(tmp_path / "absent")])
    kinds = {path: found["kind"] for path, found in result["files"].items()}
    assert code == 0 and kinds == {
        paths[0]: "absent", images: "directory", f"{images}/one.tar": "file", str(tmp_path / "absent"): "absent",
    }  # fmt: skip
    assert result["files"][f"{images}/one.tar"]["sha256"] == files.sha256_of(tmp_path / "images/one.tar")
    facts = result["ansible_facts"]
    assert (facts["architecture"], facts["nodename"]) == (os.uname().machine, os.uname().nodename)

    class NoRoute(socket.socket):
        def connect(self, address):
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(files.socket, "socket", NoRoute)
    assert run(k3s_node_facts, capsys)[1]["ansible_facts"]["default_ipv4"] == {}


def test_the_address_is_that_of_the_default_route(monkeypatch):
    class Routed(socket.socket):
        def connect(self, address):
            super().connect(("127.0.0.1", 53))

    monkeypatch.setattr(files.socket, "socket", Routed)
    assert files.default_address() == "127.0.0.1"
