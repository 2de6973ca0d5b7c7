# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throwaway VMs: bare Debian systemd containers with sshd, each at an address of its own."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from lab import build, bundle, cache, images
from lab.cache import Component, LabError, say

SUITES = ("bookworm", "trixie")
DEFAULT_PREFIX = "cc-lab"
LABEL = "cloudcartops.lab"
SUBNET, GATEWAY = "10.77.0.0/16", "10.77.0.1"
PACKAGES = "systemd,systemd-sysv,dbus,python3,iproute2,iptables,ca-certificates,sudo,procps,kmod,mount,openssh-server"
# The host filters what its bridges forward. Without this rule it would also give packets between VMs its own address.
SWITCH = ("-t", "nat", "POSTROUTING", "-s", SUBNET, "-m", "physdev", "--physdev-is-bridged", "-j", "ACCEPT")
# The VMs reach each other and the host, nothing else. A proxy outside may answer for any address: the API server would
# keep a connection that it opened to a Service's address before kube-proxy's rules were there, and ask the wrong one.
# What one VM sends to another's pods is bridged, and goes on.
ISOLATION = (
    *("-t", "filter", "FORWARD", "-s", SUBNET, "!", "-d", SUBNET),
    *("-m", "physdev", "!", "--physdev-is-bridged", "-j", "REJECT"),
)
CHECKOUT = Path(__file__).resolve().parents[1]

# Public variables of the roles, for machines that share two cores: requests with which the whole platform fits one VM
# (dev) or two (prod) and a rolling update does not wait for room, and limits that let Java start in seconds.
SIZES = {
    role: {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu_limit, "memory": memory_limit}}
    for role, (cpu, cpu_limit, memory, memory_limit) in {
        "apps_resources": ("25m", "500m", "32Mi", "256Mi"),
        "kafka_resources": ("100m", "2", "256Mi", "512Mi"),
        "kafka_zookeeper_resources": ("50m", "1", "128Mi", "256Mi"),
        "monitoring_resources": ("50m", "1", "128Mi", "512Mi"),
        "postgresql_resources": ("50m", "1", "128Mi", "256Mi"),
        "redis_resources": ("25m", "500m", "64Mi", "128Mi"),
    }.items()
}

# What the first process of a real machine does, and systemd leaves out in a container.
SHARED_MOUNTS = """\
[Unit]
Description=Share mounts, as on a machine
DefaultDependencies=no
Before=local-fs-pre.target
Wants=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --make-rshared /

[Install]
WantedBy=sysinit.target
"""


def make_image(component: Component, out: Path, run) -> None:
    """Make the root filesystem of a bare VM."""
    unit = out.parent / "lab-shared-mounts.service"
    unit.write_text(SHARED_MOUNTS, encoding="utf-8")
    hooks = [
        f"upload {shlex.quote(str(unit))} /etc/systemd/system/{unit.name}",
        f'chroot "$1" systemctl enable {unit.name}',
        'chroot "$1" systemctl mask systemd-modules-load.service getty@.service',
        ': > "$1/etc/machine-id"',
        'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
    ]
    run(
        ["mmdebstrap", "--variant=minbase", f"--include={component.inputs['packages']}"]
        + [f"--customize-hook={hook}" for hook in hooks]
        + [component.inputs["suite"], out / "vm.tar"]
    )


def image_component(suite: str) -> Component:
    """Return the VM image of a Debian suite."""
    inputs = {"suite": suite, "packages": PACKAGES, "unit": SHARED_MOUNTS}
    return Component(f"vm-{suite}", make_image, inputs)


def addresses(prefix: str, number: int) -> list[str]:
    """Return the addresses that a VM may have: the first, or the next that no lost container of podman's holds."""
    block = 0 if prefix == DEFAULT_PREFIX else 1 + zlib.crc32(prefix.encode()) % 254
    return [f"10.77.{block}.{10 + number + 20 * attempt}" for attempt in range(12)]


@dataclass(frozen=True)
class Vm:
    """One VM: its prefix and number make its name."""

    prefix: str
    number: int
    ip: str

    @property
    def name(self) -> str:
        return f"{self.prefix}-{self.number}"

    @property
    def mac(self) -> str:
        """A MAC that stays, so that the host's neighbour table stays true when the VM is made anew."""
        return "02:cc:" + ":".join(f"{int(part):02x}" for part in self.ip.split("."))


def podman(*arguments: str, check: bool = True) -> str:
    """Run podman with the runtime that works on every cgroup layout; return its output."""
    done = subprocess.run(
        ["podman", "--runtime", "runc", *arguments], capture_output=True, text=True, check=False, start_new_session=True
    )  # what kills the lab lets podman finish: half a container is worse than a whole one
    if check and done.returncode:
        raise LabError(f"podman {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def containers(prefix: str | None = None) -> dict[str, dict]:
    """Return the lab's containers by name, as podman believes them to be."""
    label = f"label={LABEL}={prefix}" if prefix else f"label={LABEL}"
    found = json.loads(podman("ps", "--all", "--filter", label, "--format", "json") or "null") or []
    return {item["Names"][0]: item for item in found}


def is_alive(container: dict, proc: Path = Path("/proc")) -> bool:
    """Tell whether the container's first process exists; podman says "running" of killed ones too."""
    try:
        return container["Id"] in (proc / str(container["Pid"]) / "cgroup").read_text(encoding="utf-8")
    except OSError:
        return False


def as_vm(container: dict) -> Vm:
    """Return the VM that a container is."""
    prefix, number = container["Labels"][LABEL], int(container["Names"][0].rpartition("-")[2])
    return Vm(prefix, number, container["Labels"].get(f"{LABEL}.address") or addresses(prefix, number)[0])


def is_kept(container: dict | None, alive: bool, suite: str) -> bool:
    """Tell whether `up` keeps what it found of a VM; a dead one is replaced."""
    if container is None or not alive or f"{LABEL}.address" not in container["Labels"]:
        return False
    if container["Labels"][f"{LABEL}.suite"] != suite:
        name = container["Names"][0]
        raise LabError(f"{name} runs Debian {container['Labels'][f'{LABEL}.suite']}, not {suite}: `lab/lab down` first")
    return True


def stale_bridges(addresses: list[dict], wanted: str) -> list[str]:
    """Return the interfaces, other than ``wanted``, that hold the gateway's address (from `ip -json addr`)."""
    return [
        link["ifname"]
        for link in addresses
        if link["ifname"] != wanted and any(item.get("local") == GATEWAY for item in link.get("addr_info", []))
    ]


def networks() -> list[dict]:
    """Return the lab's network, if there is one."""
    return json.loads(podman("network", "ls", "--filter", f"label={LABEL}", "--format", "json") or "null") or []


def ensure_network() -> str:
    """Return the name of the lab's network, after removing bridges that an earlier life left behind.

    Each network has a name of its own: podman files the addresses it gave away by the network's name and keeps those of
    containers that it lost, even beyond the network.
    """
    found = networks()
    name, interface = (found[0]["name"], found[0]["network_interface"]) if found else (f"{LABEL}-{token_hex(4)}", "")
    listing = subprocess.run(["ip", "-json", "addr"], capture_output=True, text=True, check=True).stdout
    for bridge in stale_bridges(json.loads(listing), interface):
        say(f"removing the stale bridge {bridge}")
        subprocess.run(["ip", "link", "delete", bridge], check=True)
    if not found:
        podman("network", "create", "--disable-dns", "--label", f"{LABEL}=1", "--subnet", SUBNET, name)
    for rule in (SWITCH, ISOLATION):
        if not iptables("-C", *rule):
            iptables("-I", *rule)
    return name


def iptables(verb: str, *rule: str) -> bool:
    """Change or ask for a rule of the host; tell whether that worked."""
    table, rest = rule[:2], rule[2:]
    return not subprocess.run(["iptables", "-w", *table, verb, *rest], check=False, capture_output=True).returncode


def ensure_image(suite: str) -> str:
    """Return the name of the VM image in podman's store, after building or importing it where missing."""
    component = image_component(suite)
    tag = f"localhost/cloudcartops-lab-vm:{component.key}"
    tar = cache.ensure(component) / "vm.tar"
    if subprocess.run(["podman", "image", "exists", tag], check=False).returncode:
        say(f"{component.name}: importing into podman")
        podman("import", "--quiet", "--change", f"LABEL {LABEL}={suite}", str(tar), tag)
        for line in podman(
            "images", "--filter", f"label={LABEL}={suite}", "--format", "{{.Repository}}:{{.Tag}}"
        ).split():
            if line != tag:
                podman("rmi", line, check=False)  # an older image; podman refuses while a VM still uses it
    return tag


def raise_inotify_limit(path: Path = Path("/proc/sys/fs/inotify/max_user_instances"), wanted: int = 8192) -> None:
    """Let root watch more files: on one kernel the programs of all VMs draw on one account, 128 by default."""
    if int(path.read_text(encoding="utf-8")) < wanted:
        say(f"raising {path} to {wanted}")
        path.write_text(str(wanted), encoding="utf-8")


def state() -> Path:
    """Return the folder of the ssh key and the inventories."""
    folder = cache.root() / "state"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ensure_key() -> Path:
    """Return the private key that opens the VMs, after making it where missing."""
    key = state() / "id_ed25519"
    if not (key.exists() and key.with_suffix(".pub").exists()):
        key.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cloudcartops-lab", "-f", str(key)]
        subprocess.run(command, check=True)
    return key


def inventory_folder(prefix: str) -> Path:
    """Return the folder of a lab's inventory, and of the kubeconfig of its cluster."""
    return state() if prefix == DEFAULT_PREFIX else state() / prefix


def ssh_options(key: Path) -> list[str]:
    """Return the ssh options for the lab's VMs, whose host keys nobody vouches for."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
    return ["-i", str(key), *(word for option in options for word in ("-o", option))]


def remove(name: str) -> None:
    """Remove a container with its anonymous volumes, whatever is left of it."""
    podman("rm", "--force", "--volumes", "--ignore", "--time", "0", name)


def start(prefix: str, number: int, suite: str, image: str, network: str, key: Path) -> Vm:
    """Start a new VM in the place of whatever has its name.

    Podman's own systemd mode would mount the host's whole systemd cgroups into every VM (cgroup v1), where the kubelets
    of different VMs would remove each other's pods; without it each VM has a tree of its own.
    """
    for ip in addresses(prefix, number):
        vm = Vm(prefix, number, ip)
        remove(vm.name)
        say(f"{vm.name}: starting at {vm.ip}")
        flags = f"""--detach --name {vm.name} --hostname {vm.name} --network {network} --ip {ip} --mac-address {vm.mac}
            --label {LABEL}={prefix} --label {LABEL}.suite={suite} --label {LABEL}.address={ip}
            --privileged --cgroupns=private --systemd=false --env container=podman --stop-signal SIGRTMIN+3
            --ulimit nofile=20000:20000 --ulimit nproc=8192:8192
            --tmpfs /run --tmpfs /run/lock --tmpfs /tmp --volume /var/lib --volume /var/log"""
        authorized = f"{key.with_suffix('.pub')}:/root/.ssh/authorized_keys:ro"
        try:
            podman("run", *flags.split(), "--volume", authorized, image, "/sbin/init")
        except LabError as problem:
            if "already allocated" not in str(problem):
                raise
            say(f"{vm.name}: a container that podman lost holds {ip}")
            continue
        subprocess.run(["ip", "neigh", "flush", "to", ip], check=False, capture_output=True)
        return vm
    raise LabError(f"{prefix}-{number}: lost containers hold all of its addresses: `lab/lab down --all` frees them")


def wait_for_ssh(vm: Vm, timeout: float = 90) -> None:
    """Wait until sshd answers."""
    deadline = time.monotonic() + timeout
    while not _answers(vm.ip):
        container = containers().get(vm.name)
        if container is None or not is_alive(container):
            raise LabError(f"{vm.name} died while starting:\n{podman('logs', '--tail', '20', vm.name, check=False)}")
        if time.monotonic() > deadline:
            raise LabError(f"{vm.name}: no sshd at {vm.ip}:22 after {timeout:.0f} s; see `podman logs {vm.name}`")
        time.sleep(0.1)


def wait_for_boot(vm: Vm, key: Path) -> None:
    """Wait until systemd has started everything of a new VM."""
    command = ["ssh", *ssh_options(key), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", f"root@{vm.ip}"]
    script = "timeout 60 systemctl is-system-running --wait; systemctl --failed --no-legend --plain"
    done = subprocess.run([*command, script], capture_output=True, text=True, check=False)
    if done.stdout.strip() != "running":
        raise LabError(f"{vm.name} did not start well:\n{done.stdout}{done.stderr}")


def _answers(ip: str) -> bool:
    """Tell whether an sshd greets; an open port alone proves little where a proxy stands in between."""
    try:
        with socket.create_connection((ip, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def inventory(vms: list[Vm], key: Path, lab_vars: dict) -> dict:
    """Return the Ansible inventory of the VMs: the first is the server.

    The lab's settings are variables of the hosts, because group_vars beside an inventory beat its group variables.
    """
    arguments = shlex.join(ssh_options(key)[2:])
    hosts = {
        vm.name: {
            "ansible_host": vm.ip,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": arguments,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        | lab_vars
        for vm in vms
    }
    cluster = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"} | lab_vars
    names = list(hosts)
    return {
        "all": {
            "children": {
                "k3s_server": {"hosts": {name: hosts[name] for name in names[:1]}},
                "k3s_agent": {"hosts": {name: hosts[name] for name in names[1:]}},
                "amd64": {"hosts": dict.fromkeys(names)},
                "platform": {"hosts": {"cluster": cluster}},
            }
        }
    }


def write_inventory(prefix: str, vms: list[Vm], key: Path) -> Path:
    """Write the inventory of a lab, beside a link to the group variables that every inventory of dev uses."""
    folder = inventory_folder(prefix)
    folder.mkdir(exist_ok=True)
    lab_vars = {
        "cloudcartops_environment": "dev",
        "cloudcartops_bundle": str(bundle.component().path),
        "cloudcartops_vault_distribution": "openbao",
        "cloudcartops_kubeconfig": str(folder / "kubeconfig.yaml"),
        "cloudcartops_image_registry": images.REGISTRY,
        "cloudcartops_image_tag": build.APPS_VERSION,
        "monitoring_kubelet_verify": False,
        "preflight_min_cpus": 2,
    } | SIZES
    path = folder / "hosts.yml"
    bundle.write_yaml(path, inventory(vms, key, lab_vars), f"Written by `lab/lab up`: the VMs {prefix}-*.")
    link = folder / "group_vars"
    link.unlink(missing_ok=True)
    link.symlink_to(CHECKOUT / "inventories/dev/group_vars")
    return path


def up(prefix: str, count: int | None, suites: Sequence[str]) -> Path:
    """Make the lab have ``count`` VMs (default: as many as it has, or there are suites); return its inventory.

    Each VM has the suite at its place in ``suites``, and those beyond its end have the last.
    """
    with cache.lock("vms"):
        present = containers(prefix)
        numbers = range(1, (count or len(present) or len(suites)) + 1)
        suite_of = {number: suites[min(number, len(suites)) - 1] for number in numbers}
        tags = {suite: ensure_image(suite) for suite in dict.fromkeys(suite_of.values())}
        key, network = ensure_key(), ensure_network()
        raise_inotify_limit()
        for name in present.keys() - {f"{prefix}-{number}" for number in numbers}:
            say(f"{name}: removing")
            remove(name)
        vms, fresh = [], []
        for number in numbers:
            container = present.get(f"{prefix}-{number}")
            suite = suite_of[number]
            if is_kept(container, container is not None and is_alive(container), suite):
                vms.append(as_vm(container))
            else:
                vms.append(start(prefix, number, suite, tags[suite], network, key))
                fresh.append(vms[-1])
    for vm in vms:
        wait_for_ssh(vm)
    for vm in fresh:
        wait_for_boot(vm, key)
    return write_inventory(prefix, vms, key)


def down(prefix: str | None) -> None:
    """Remove the lab's VMs (of one prefix, or all) and, with the last of them, its network."""
    with cache.lock("vms"):
        for name in containers(prefix):
            say(f"{name}: removing")
            remove(name)
        gone = "kubeconfig.yaml*"  # of their clusters
        for file in inventory_folder(prefix).glob(gone) if prefix else state().rglob(gone):
            file.unlink()
        if not containers():
            for network in networks():
                podman("network", "rm", network["name"])
            while any(iptables("-D", *rule) for rule in (SWITCH, ISOLATION)):
                pass


def status() -> list[str]:
    """Return a line for each VM of every lab."""
    return [
        f"{name}  {as_vm(item).ip}  {item['Labels'][f'{LABEL}.suite']}  {'running' if is_alive(item) else 'dead'}"
        for name, item in sorted(containers().items())
    ]


def ssh(prefix: str, number: int, command: list[str]) -> None:
    """Become an ssh to a VM."""
    container = containers(prefix).get(f"{prefix}-{number}")
    if container is None:
        raise LabError(f"there is no VM {prefix}-{number}: `lab/lab status` lists those there are")
    os.execvp("ssh", ["ssh", *ssh_options(ensure_key()), f"root@{as_vm(container).ip}", *command])
