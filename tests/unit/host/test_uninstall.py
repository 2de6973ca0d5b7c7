# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken off a host, from a made-up tree of files and a stand-in for what changes the kernel."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import uninstall
from ansible_collections.cloudcartops.platform.plugins.modules import k3s_uninstall

DATA = "/var/lib/rancher/k3s"
VOLUME = f"{DATA}/storage/pvc-1_shop_data-db_0"
OVERLAY = "120 99 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir={}/agent/containerd/x/fs,workdir=/w\n"
SAVED = """\
# Generated
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A POSTROUTING -s 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
COMMIT
"""
RESTORED = """\
*nat
:PREROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
COMMIT
"""


class System:
    """Stands in for the kernel: programs and processes disappear as they would."""

    def __init__(self, root):
        self.root, self.commands, self.killed, self.restored = root, [], [], {}
        self.saved = {"iptables-nft-save": SAVED, "iptables-legacy-save": "", "ip6tables-nft-save": ""}
        self.sets, self.stubborn = "KUBE-SRC-A\nmine\n", set()
        self.tables = "table ip kube-proxy\ntable ip6 kube-proxy\ntable inet filter\ntable ip nat\n"
        self.routes = [{"dst": "default"}, {"dst": "10.42.1.0/24"}, {"dst": "192.0.2.0/24"}, {"dst": "10.42.2.7"}]

    def has(self, program):
        return program in self.saved or program in ("ipset", "nft")

    def run(self, *command, text="", required=True):
        self.commands.append(" ".join(command))
        if command[0] in self.saved:
            return self.saved[command[0]]
        if command[0].endswith("-restore"):
            self.restored[command[0]] = text
            self.saved[command[0].replace("restore", "save")] = text
        elif command[0] == "umount":
            path = f"{self.root}/proc/self/mountinfo"
            with open(path, encoding="utf-8") as file:
                lines = [line for line in file if line.split()[4].replace("\\040", " ") != command[2]]
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(lines)
        elif command[:3] == ("ip", "link", "delete"):
            shutil.rmtree(f"{self.root}/sys/class/net/{command[3]}")
        elif command[:3] == ("ip", "-4", "-json"):
            return json.dumps(self.routes)
        elif command[:4] == ("ip", "-4", "route", "delete"):
            self.routes = [route for route in self.routes if route["dst"] != command[4]]
        elif command == ("nft", "list", "tables"):
            return self.tables
        elif command[:3] == ("nft", "delete", "table"):
            self.tables = self.tables.replace(f"table {command[3]} {command[4]}\n", "")
        elif command == ("ipset", "list", "-n"):
            return self.sets
        elif command[:2] == ("ipset", "destroy"):
            self.sets = self.sets.replace(f"{command[2]}\n", "")
        return ""

    def kill(self, pid):
        self.killed.append(pid)
        if pid not in self.stubborn:
            shutil.rmtree(f"{self.root}/proc/{pid}")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(uninstall, "POLL", 0)
    monkeypatch.setattr(uninstall, "PATIENCE", 0.5)


@pytest.fixture
def host(tmp_path):
    """A host with an agent on which pods run, and with things that are not ours next to each of its."""

    def write(path, text=""):
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def process(pid, name, parent, program, mountinfo=""):
        write(f"/proc/{pid}/status", f"Name:\t{name}\nState:\tS (sleeping)\nPPid:\t{parent}\n")
        write(f"/proc/{pid}/mountinfo", mountinfo)
        (tmp_path / f"proc/{pid}/exe").symlink_to(program)

    process(1, "systemd", 0, "/usr/lib/systemd/systemd")
    process(10, "k3s-agent", 1, "/usr/local/bin/k3s")
    process(11, "containerd-shim", 1, f"{DATA}/data/abc/bin/containerd-shim-runc-v2 (deleted)")
    process(12, "sh", 11, "/bin/sh")
    process(13, "sleep", 12, "/bin/sleep")
    process(14, "orphan", 1, "/bin/sleep", OVERLAY.format(DATA))
    process(20, "sshd", 1, "/usr/sbin/sshd")
    process(21, "other", 1, "/bin/sleep", OVERLAY.format("/var/lib/containers"))
    points = ["/", "/run/k3s/containerd/a", "/run/k3s/containerd/a/b\\040c", "/var/lib/kubelet/pods/x/vol", "/mnt"]
    points += ["/run/netns/cni-1", "/run/netns/mine", "/var/lib/kubelet"]
    write("/proc/self/mountinfo", "".join(f"1 1 0:1 / {point} rw - x x rw\n" for point in points))
    for name in ("eth0", "cni0", "flannel.1", "veth1", "veth2"):
        write(f"/sys/class/net/{name}/mtu", "1500")
    (tmp_path / "sys/class/net/veth1/master").symlink_to("../cni0")
    write("/run/flannel/subnet.env", "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\n")
    for name in ("cni-1", "mine"):
        write(f"/run/netns/{name}")
    write(f"{VOLUME}/table", "rows")
    write(f"{DATA}/agent/images/a.tar", "x")
    write("/run/k3s/containerd/containerd.sock")
    write("/run/containerd/s/1")
    (tmp_path / "usr/libexec/kubernetes/kubelet-plugins/volume/exec").mkdir(parents=True)
    write("/etc/rancher/k3s/config.yaml")
    write("/etc/rancher/node/password")
    write("/var/log/pods/a/0.log")
    write("/etc/systemd/system/k3s-agent.service")
    write("/etc/systemd/system/k3s-agent.service.env")
    write("/etc/systemd/system/other.service")
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "k3s-agent.service").symlink_to("/etc/systemd/system/k3s-agent.service")
    write("/usr/local/bin/k3s", "program")
    write("/usr/local/bin/crictl", "somebody else's")
    (tmp_path / "usr/local/bin/kubectl").symlink_to("k3s")
    (tmp_path / "sys/fs/cgroup/memory/kubepods/pod1").mkdir(parents=True)
    return uninstall.Host(DATA, f"{DATA}/storage", System(str(tmp_path)), str(tmp_path))


def files(host):
    found = []
    for directory, _names, names in os.walk(host.root):
        found += [host.named(os.path.join(directory, name)) for name in names]
    return sorted(name for name in found if not name.startswith(("/proc", "/sys")))


OTHERS = ["/etc/systemd/system/other.service", "/run/netns/mine", "/usr/local/bin/crictl"]


def test_everything_goes_but_volumes_and_what_is_not_ours(host):
    result = uninstall.uninstall(host)
    assert files(host) == [*OTHERS, f"{VOLUME}/table"]
    assert sorted(set(host.system.killed)) == [10, 11, 12, 13, 14]
    assert host.system.restored == {"iptables-nft-restore": RESTORED}, "tables without our rules are left alone"
    commands = host.system.commands
    assert commands.index("systemctl disable --now k3s-agent.service") < commands.index("ip link delete cni0")
    unmounted = [c.split(" ", 2)[2] for c in commands if c.startswith("umount")]
    assert unmounted == [
        "/run/netns/cni-1", "/var/lib/kubelet/pods/x/vol", "/run/k3s/containerd/a/b c", "/run/k3s/containerd/a",
    ]  # fmt: skip
    links = [c.split()[-1] for c in commands if c.startswith("ip link delete")]
    assert links == ["veth1", "cni0", "flannel.1"]
    assert [route["dst"] for route in host.system.routes] == ["default", "192.0.2.0/24"]
    assert host.system.sets == "mine\n"
    assert host.system.tables == "table inet filter\ntable ip nat\n"
    assert not os.path.exists(host.at("/sys/fs/cgroup/memory/kubepods"))
    assert (
        not os.path.exists(host.at("/usr/libexec/kubernetes"))
        and not os.path.exists(host.at("/etc/rancher"))
        and os.path.exists(host.at("/var/lib/rancher"))
    )
    assert "systemctl daemon-reload" in commands
    assert result["changed"] and {"unit k3s-agent.service", "process sh (pid 12)", "interface cni0"} <= set(
        result["removed"]
    )
    assert "4 rules and chains of iptables-nft" not in result["removed"]
    assert "3 rules and chains of iptables-nft" in result["removed"]
    assert result["kept_volumes"] == [{"path": VOLUME, "namespace": "shop", "claim": "data-db_0"}]


def test_a_second_run_changes_nothing_and_still_names_the_volumes(host):
    uninstall.uninstall(host)
    host.system.commands.clear()
    result = uninstall.uninstall(host)
    assert result["changed"] is False and result["removed"] == [] and host.system.commands == []
    assert [volume["claim"] for volume in result["kept_volumes"]] == ["data-db_0"]


def test_volumes_go_on_request_also_later(host):
    uninstall.uninstall(host)
    result = uninstall.uninstall(host, keep_volumes=False)
    assert result["changed"] and result["kept_volumes"] == [] and files(host) == OTHERS
    assert not os.path.exists(host.at("/var/lib/rancher"))
    assert uninstall.uninstall(host, keep_volumes=False)["changed"] is False


def test_volumes_elsewhere_go_without_their_neighbours(host, tmp_path):
    elsewhere = tmp_path / "srv"
    (elsewhere / "pvc-2_shop_data/x").mkdir(parents=True)
    (elsewhere / "my_own_things").mkdir()
    host.volumes_dir = "/srv"
    uninstall.uninstall(host)
    assert (elsewhere / "pvc-2_shop_data/x").is_dir() and not os.path.exists(host.at(DATA))
    uninstall.uninstall(host, keep_volumes=False)
    assert os.listdir(elsewhere) == ["my_own_things"]


def test_check_mode_lists_the_same_and_changes_nothing(host):
    before = files(host)
    planned = uninstall.uninstall(host, check_mode=True)
    assert planned["changed"] and files(host) == before and host.system.killed == []
    assert not [c for c in host.system.commands if c.startswith(("umount", "systemctl", "ip link delete"))]
    assert set(planned["removed"]) == set(uninstall.uninstall(host)["removed"])


def test_a_run_that_was_interrupted_is_completed(host):
    uninstall.stop(host)
    uninstall.clear_kernel(host)
    shutil.rmtree(host.at(f"{DATA}/agent"))
    os.unlink(host.at("/etc/systemd/system/k3s-agent.service"))
    assert uninstall.uninstall(host)["changed"]
    assert files(host) == [*OTHERS, f"{VOLUME}/table"]


def test_a_host_without_k3s_is_left_alone(tmp_path):
    (tmp_path / "var/lib/kubelet").mkdir(parents=True)
    bare = uninstall.Host(DATA, f"{DATA}/storage", System(str(tmp_path)), str(tmp_path))
    assert uninstall.uninstall(bare)["changed"] is False and bare.system.commands == []
    assert os.path.isdir(tmp_path / "var/lib/kubelet")


def test_another_kubernetes_is_not_harmed(host):
    os.makedirs(host.at("/etc/kubernetes/manifests"))
    with open(host.at("/etc/kubernetes/manifests/etcd.yaml"), "w", encoding="utf-8"):
        pass
    before = files(host)
    with pytest.raises(PlatformError, match="another Kubernetes as well .kubeadm."):
        uninstall.uninstall(host)
    assert files(host) == before and host.system.killed == []


def test_a_wrong_data_directory_is_refused(host):
    host.data_dir = "/usr"
    with pytest.raises(PlatformError, match="/usr is not the data directory of K3s: it holds libexec, local"):
        uninstall.uninstall(host)
    assert os.path.exists(host.at("/usr/local/bin/k3s")) and host.system.killed == []


def test_a_process_that_does_not_end_is_named(host):
    host.system.stubborn = {13}
    with pytest.raises(PlatformError, match=r"do not end: sleep \(pid 13\).*reboot"):
        uninstall.uninstall(host)
    assert os.path.exists(host.at("/usr/local/bin/k3s"))


def test_what_is_left_is_an_error(host, monkeypatch):
    real = host.system.run
    monkeypatch.setattr(
        host.system, "run", lambda *c, **options: "" if c[0] == "umount" or c[1:2] == ("link",) else real(*c, **options)
    )
    with pytest.raises(PlatformError, match=r"left of K3s: .*mount /run/netns/cni-1.*interface cni0") as error:
        uninstall.uninstall(host)
    assert "unit k3s-agent.service" in error.value.facts["removed"]


def test_file_systems_of_their_own_are_emptied_or_left(host, monkeypatch):
    mounted = {host.at(DATA), host.at(f"{DATA}/mine")}
    os.makedirs(host.at(f"{DATA}/mine/x"))
    os.makedirs(host.at(f"{DATA}/lost+found"))
    monkeypatch.setattr(os.path, "ismount", lambda path: path in mounted)
    uninstall.uninstall(host, keep_volumes=False)
    assert sorted(os.listdir(host.at(DATA))) == ["mine"]
    assert os.path.isdir(host.at(f"{DATA}/mine/x"))


def test_this_run_is_never_killed(host, tmp_path):
    (tmp_path / f"proc/{os.getpid()}").mkdir()
    (tmp_path / f"proc/{os.getpid()}/status").write_text("Name:\tpython3\nPPid:\t12\n", encoding="utf-8")
    assert set(host.processes()) == {10, 13, 14}


def test_the_module(tmp_path, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(k3s_uninstall, "Host", lambda *args: made.append(args) or args)
    monkeypatch.setattr(
        k3s_uninstall, "uninstall", lambda host, keep, check_mode: {"changed": False, "asked": [keep, check_mode]}
    )
    answers = []
    for args in ({}, {"volumes": "absent", "volumes_dir": "/srv", "_ansible_check_mode": True}):
        with patch_module_args(args), pytest.raises(SystemExit):
            k3s_uninstall.main()
        answers.append(json.loads(capsys.readouterr().out)["asked"])
    assert answers == [[True, False], [False, True]]
    assert [args[:2] for args in made] == [(DATA, f"{DATA}/storage"), (DATA, "/srv")]


def test_programs_that_fail_say_so(tmp_path):
    system = uninstall.System(str(tmp_path))
    assert system.run("sh", "-c", "echo out") == "out\n" and system.has("sh") and not system.has("no-such-program")
    assert system.run("sh", "-c", "exit 3", required=False) == ""
    with pytest.raises(PlatformError, match="'sh -c echo bad >&2; exit 3' failed: bad"):
        system.run("sh", "-c", "echo bad >&2; exit 3")
    with pytest.raises(PlatformError, match="no-such-program cannot be run"):
        system.run("no-such-program")
