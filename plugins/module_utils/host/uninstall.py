# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take K3s off a host: everything it runs, mounted, set up in the kernel and wrote.

Facts this relies on:

* Stopping the unit ends K3s and leaves the pods running below their shims (``KillMode=process``).
* Shims, and all other programs of K3s, run from ``DATA-DIR/data``; the root of each container is an overlay whose upper
  directory is in ``DATA-DIR/agent``.
* ``/run/netns/cni-*`` are the pods' network namespaces; their links hang on the bridge ``cni0``.
* Rules of kube-proxy, of the network plugin and of the policy controller carry ``KUBE-``, ``CNI-`` or ``flannel``.
  A kube-proxy that uses nftables has tables of its own name (https://kubernetes.io/docs/reference/networking/virtual-ips).
* ``/run/flannel/subnet.env`` names the network of the pods, to which flannel may have set routes by way of other nodes.

Every step looks for what it removes, so a run after one that was interrupted goes on where that one ended. What tells
that K3s was here at all, its units and its program, goes last.
"""

from __future__ import annotations

import contextlib
import glob
import ipaddress
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import preflight

UNITS = ("k3s.service", "k3s-agent.service")
UNIT_DIRECTORY = "/etc/systemd/system"
BINARY = "/usr/local/bin/k3s"
SCRIPTS = ("k3s-killall.sh", "k3s-uninstall.sh", "k3s-agent-uninstall.sh")  # of K3s's own installer
LINKS = ("kubectl", "crictl", "ctr")
DIRECTORIES = (
    *("/run/k3s", "/run/flannel", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers"),
    *("/etc/rancher/k3s", "/etc/rancher/node"),
)
# Made for what was in them, and removed if nothing else is.
FRAMES = (
    *("/run/netns", "/etc/rancher", "/var/lib/rancher", "/usr/libexec/kubernetes/kubelet-plugins/volume/exec"),
    *("/usr/libexec/kubernetes/kubelet-plugins/volume", "/usr/libexec/kubernetes/kubelet-plugins"),
    "/usr/libexec/kubernetes",
)
MOUNTS = re.compile(r"/run/k3s/|/run/netns/cni-|/var/lib/kubelet/(pods|plugins)/")
INTERFACES = re.compile(r"cni0|flannel[.-].+|kube-ipvs0")
RULES = re.compile(r"KUBE-|CNI-|(?i:flannel)")
FIREWALLS = ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")
PATIENCE = 10  # seconds that processes have to be gone after they were killed
POLL = 0.1


class System:
    """What the steps change, besides files."""

    def __init__(self, data_dir):
        # K3s brings what the host may lack.
        bundled = os.path.join(data_dir, "data/current/bin")
        self.path = os.pathsep.join(
            [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", bundled, os.path.join(bundled, "aux")]
        )

    def has(self, program):
        return shutil.which(program, path=self.path) is not None

    def run(self, *command, text="", required=True):
        """What a program prints; nothing if it fails and is not required. Raises PlatformError."""
        try:
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, env={**os.environ, "PATH": self.path}, check=False
            )
        except OSError as e:
            raise PlatformError(f"{command[0]} cannot be run: {e.strerror}.", "Install it on the host.") from e
        if done.returncode != 0 and required:
            raise PlatformError(f"'{' '.join(command)}' failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout if done.returncode == 0 else ""

    def kill(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Host:
    """A host, by files below ``root``, so that tests can bring their own."""

    def __init__(self, data_dir, volumes_dir, system, root="/"):
        self.data_dir, self.volumes_dir = data_dir.rstrip("/"), volumes_dir.rstrip("/")
        self.system, self.root = system, root

    def at(self, path):
        """Where a path of the host is."""
        return os.path.join(self.root, path.lstrip("/"))

    def named(self, path):
        """What a path that was found is called on the host."""
        return "/" + os.path.relpath(path, self.root)

    def there(self, path):
        return os.path.lexists(self.at(path))

    def units(self):
        """The units of K3s, with and without a file."""
        return [name for name in UNITS if self.there(f"{UNIT_DIRECTORY}/{name}")]

    def unit_files(self):
        found = []
        for name in UNITS:
            found += [f"{UNIT_DIRECTORY}/{name}{suffix}" for suffix in ("", ".env", ".d")]
            found += map(self.named, glob.glob(self.at(f"{UNIT_DIRECTORY}/*.wants/{name}")))
        return [path for path in found if self.there(path)]

    def status(self, pid):
        """Name and PPid of a process; nothing if it has ended."""
        found = dict(re.findall(r"^(Name|PPid|State):\s+(\S+)", preflight.read(self.at(f"/proc/{pid}/status")), re.M))
        return {} if found.get("State") in ("Z", "X") else found

    def processes(self):
        """{pid: name} of what runs from K3s's directories, of what it started, and of the containers."""
        names, parents, ours = {}, {}, set()
        for directory in glob.glob(self.at("/proc/[0-9]*")):
            pid = int(os.path.basename(directory))
            status = self.status(pid)
            if not status:
                continue
            names[pid], parents[pid] = status["Name"], int(status["PPid"])
            try:
                program = os.readlink(f"{directory}/exe")
            except OSError:  # a thread of the kernel, or gone
                program = ""
            program = program[: -len(" (deleted)")] if program.endswith(" (deleted)") else program
            mounts = preflight.read(f"{directory}/mountinfo")
            if (
                program == BINARY
                or program.startswith(f"{self.data_dir}/data/")
                or re.search(rf"^\S+ \S+ \S+ \S+ / .*upperdir={re.escape(self.data_dir)}/agent/", mounts, re.M)
            ):
                ours.add(pid)
        children = {}
        for pid, parent in parents.items():
            children.setdefault(parent, []).append(pid)
        waiting = list(ours)
        while waiting:
            new = [pid for pid in children.get(waiting.pop(), []) if pid not in ours]
            ours.update(new)
            waiting += new
        protected = os.getpid()
        while protected in parents:  # this run, wherever it was started
            ours.discard(protected)
            protected = parents[protected]
        return {pid: names[pid] for pid in sorted(ours)}

    def mounts(self):
        """Mount points of K3s and its pods, the innermost first."""
        lines = [line.split() for line in preflight.read(self.at("/proc/self/mountinfo")).splitlines()]
        points = [
            re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4]) for fields in lines if len(fields) > 4
        ]
        return [point for point in reversed(points) if MOUNTS.match(point)]

    def namespaces(self):
        return sorted(map(self.named, glob.glob(self.at("/run/netns/cni-*"))))

    def interfaces(self):
        """The bridge and the tunnels of the pods' network, and what hangs on the bridge, which goes first."""
        names = [os.path.basename(path) for path in sorted(glob.glob(self.at("/sys/class/net/*")))]
        masters = {name: os.path.realpath(self.at(f"/sys/class/net/{name}/master")) for name in names}
        hanging = [name for name in names if os.path.basename(masters[name]) == "cni0"]
        return hanging + [name for name in names if INTERFACES.fullmatch(name)]

    def rules(self):
        """{program: what to restore} for each program that shows rules or chains of K3s, and how many there are."""
        programs = [name for name in FIREWALLS if self.system.has(f"{name}-save")]
        programs = programs or [name for name in ("iptables", "ip6tables") if self.system.has(f"{name}-save")]
        found = {}
        for program in programs:
            tables, count = [], 0
            for table in re.findall(r"^\*.*?^COMMIT$", self.system.run(f"{program}-save", required=False), re.M | re.S):
                lines = table.splitlines()
                kept = [line for line in lines if not RULES.search(line)]
                if len(kept) < len(lines):
                    tables += kept
                    count += len(lines) - len(kept)
            if tables:
                found[program] = ("\n".join([*tables, ""]), count)
        return found

    def sets(self):
        """The IP sets of the policy controller."""
        names = self.system.run("ipset", "list", "-n", required=False).split() if self.system.has("ipset") else []
        return [name for name in names if re.match(r"(inet6:)?KUBE-|kube-router-", name)]

    def tables(self):
        """The tables of a kube-proxy that was told to use nftables, as arguments of `nft`."""
        shown = self.system.run("nft", "list", "tables", required=False) if self.system.has("nft") else ""
        return re.findall(r"^table (ip6?) (kube-proxy)$", shown, re.M)

    def routes(self):
        """Routes to pods of other nodes, as arguments of `ip`."""
        text = preflight.read(self.at("/run/flannel/subnet.env"))
        found = []
        for kind, value in re.findall(r"^FLANNEL_(IPV6_)?NETWORK=(\S+)$", text, re.M):
            for network in map(ipaddress.ip_network, value.split(",")):
                version = "-6" if kind or network.version == 6 else "-4"
                shown = self.system.run("ip", version, "-json", "route", "show", required=False)
                for route in json.loads(shown or "[]"):
                    if route["dst"] != "default" and ipaddress.ip_network(route["dst"], strict=False).subnet_of(
                        network
                    ):
                        found.append((version, route["dst"]))
        return found

    def control_groups(self):
        """The cgroups of pods, the innermost first."""
        tops = glob.glob(self.at("/sys/fs/cgroup/kubepods*")) + glob.glob(self.at("/sys/fs/cgroup/*/kubepods*"))
        return [path for top in tops for path, _names, _files in os.walk(top, topdown=False)]

    def volumes(self):
        """The volumes that claims of pods have filled, as K3s's own provisioner names their directories."""
        found = []
        for path in sorted(glob.glob(self.at(f"{self.volumes_dir}/*"))):
            parts = os.path.basename(path).split("_", 2)
            if len(parts) == 3 and parts[0].startswith("pvc-") and os.path.isdir(path):
                found.append({"path": self.named(path), "namespace": parts[1], "claim": parts[2]})
        return found

    def kept(self, keep_volumes):
        """The directory that stays, or an empty text."""
        return self.volumes_dir if keep_volumes and self.volumes() else ""

    def data(self, keep_volumes):
        """What holds the data, without what stays."""
        volumes = [] if keep_volumes else [volume["path"] for volume in self.volumes()]
        return [path for path in [*volumes, self.data_dir] if self.holds(path, self.kept(keep_volumes))]

    def directories(self, keep_volumes):
        """Directories of ours that have anything in them to remove."""
        found = [path for path in DIRECTORIES if self.holds(path)]
        if not self.there("/run/containerd/containerd.sock") and self.holds("/run/containerd"):
            found.append("/run/containerd")  # the sockets of the shims; no other containerd runs here
        return found + self.data(keep_volumes)

    def holds(self, path, kept=""):
        """Whether there is anything to remove: a file system of its own stays, and so does the way to ``kept``."""
        if not os.path.isdir(self.at(path)):
            return False
        stays = os.path.ismount(self.at(path)) or f"{kept}/".startswith(f"{path}/")
        return not stays or any(
            not f"{kept}/".startswith(f"{path}/{entry}/") and not os.path.ismount(self.at(f"{path}/{entry}"))
            for entry in os.listdir(self.at(path))
            if entry != "lost+found"
        )

    def programs(self):
        """The links to K3s and the scripts of its own installer, then K3s itself."""
        places = [f"/usr/local/bin/{name}" for name in LINKS]
        found = [p for p in places if os.path.islink(self.at(p)) and os.path.basename(os.readlink(self.at(p))) == "k3s"]
        found += [f"/usr/local/bin/{name}" for name in SCRIPTS if self.there(f"/usr/local/bin/{name}")]
        return found + ([BINARY] if self.there(BINARY) else [])

    def was_here(self, keep_volumes):
        """Whether anything tells that K3s was installed."""
        return bool(self.unit_files() or self.programs() or self.data(keep_volumes) or self.holds("/etc/rancher/k3s"))


def remove(host, path, kept):
    """Remove a file or a directory, but neither ``kept`` nor what is mounted in it. Links are not followed."""
    place = host.at(path)
    if path == kept:
        return
    if not stat.S_ISDIR(os.lstat(place).st_mode):
        os.unlink(place)
        return
    for entry in os.listdir(place):
        if not os.path.ismount(os.path.join(place, entry)):
            remove(host, f"{path}/{entry}", kept)
    if not os.path.ismount(place) and not os.listdir(place):
        os.rmdir(place)


def kill_all(host):
    """Kill the processes of K3s until there are none, and return them. Raises PlatformError."""
    killed, deadline = {}, time.monotonic() + PATIENCE
    while True:
        ours = host.processes()
        # One whose parent was killed first may not be known as ours any more.
        running = {**{pid: name for pid, name in killed.items() if host.status(pid).get("Name") == name}, **ours}
        if not running:
            return killed
        if time.monotonic() > deadline:
            raise PlatformError(
                "Processes of K3s do not end: "
                + ", ".join(f"{name} (pid {pid})" for pid, name in running.items())
                + ".",
                "They wait for a device or a network volume that does not answer: bring it back, or reboot the host.",
            )
        for pid in ours:
            host.system.kill(pid)
        killed.update(ours)
        time.sleep(POLL)


def stop(host):
    """End everything that runs, and return what did, as lines."""
    done = []
    for unit in host.units():
        host.system.run("systemctl", "disable", "--now", unit)
    done += [f"process {name} (pid {pid})" for pid, name in kill_all(host).items()]
    return done


def clear_kernel(host):
    """Undo what K3s set up in the kernel."""
    run = host.system.run
    for option in ("--force", "--lazy"):
        for point in host.mounts():
            run("umount", option, point, required=False)
    for path in host.namespaces():
        os.unlink(host.at(path))
    for name in host.interfaces():
        if name in host.interfaces():  # the end of a pair goes with the other
            run("ip", "link", "delete", name, required=False)
    for version, destination in host.routes():
        run("ip", version, "route", "delete", destination, required=False)
    for program, (text, _count) in host.rules().items():
        run(f"{program}-restore", text=text)
    for name in host.sets():
        run("ipset", "destroy", name, required=False)
    for family, name in host.tables():
        run("nft", "delete", "table", family, name, required=False)
    if any(path.endswith("/kubepods.slice") for path in host.control_groups()):
        run("systemctl", "stop", "kubepods.slice", required=False)
    deadline = time.monotonic() + PATIENCE
    while host.control_groups() and time.monotonic() < deadline:
        for path in host.control_groups():
            try:
                os.rmdir(path)
            except OSError:  # in use until the last process is gone for good
                time.sleep(POLL)


def clear_files(host, keep_volumes):
    """Remove files and directories; what tells that K3s was here last."""
    kept = host.kept(keep_volumes)
    try:
        for path in host.directories(keep_volumes):
            remove(host, path, kept)
        for path in FRAMES:
            if os.path.isdir(host.at(path)) and not os.path.ismount(host.at(path)) and not os.listdir(host.at(path)):
                os.rmdir(host.at(path))
        for path in host.unit_files():
            remove(host, path, "")
        host.system.run("systemctl", "daemon-reload")
        for path in host.programs():
            os.unlink(host.at(path))
    except OSError as e:
        raise PlatformError(
            f"{e.filename} cannot be removed: {e.strerror}.", "Remove it by hand, then run this again."
        ) from e


def found(host, keep_volumes):
    """Everything there is to remove, a line each."""
    lines = [f"unit {name}" for name in host.units()]
    lines += [f"process {name} (pid {pid})" for pid, name in host.processes().items()]
    lines += [f"mount {path}" for path in host.mounts()]
    lines += [f"network namespace {os.path.basename(path)}" for path in host.namespaces()]
    lines += [f"interface {name}" for name in host.interfaces()]
    lines += [f"route {destination}" for _version, destination in host.routes()]
    lines += [f"{count} rules and chains of {program}" for program, (_text, count) in host.rules().items()]
    lines += [f"IP set {name}" for name in host.sets()]
    lines += [f"nftables table {family} {name}" for family, name in host.tables()]
    lines += [f"cgroup {host.named(path)}" for path in host.control_groups()]
    lines += [f"directory {path}" for path in host.directories(keep_volumes)]
    return lines + [f"file {path}" for path in host.unit_files() + host.programs()]


def uninstall(host, keep_volumes=True, check_mode=False):
    """Do all of it. Returns what was removed, or would be, and the volumes that stay."""
    volumes = host.volumes() if keep_volumes else []
    result = {"changed": False, "removed": [], "kept_volumes": volumes, "diff": {"before": "", "after": ""}}
    if not host.was_here(keep_volumes):
        return result
    inside = os.listdir(host.at(host.data_dir)) if host.there(host.data_dir) else []
    if inside and not {"agent", "data", "server", "storage"} & set(inside):
        raise PlatformError(
            f"{host.data_dir} is not the data directory of K3s: it holds {', '.join(sorted(inside)[:5])}. "
            "Nothing was removed.",
            "Set k3s_data_dir to what K3s runs with.",
        )
    others = preflight.other_kubernetes(host.root)
    if others:
        raise PlatformError(
            f"This host runs another Kubernetes as well ({', '.join(others)}), with which K3s shares /var/lib/kubelet, "
            "the pods' bridge and the firewall's chains. Nothing was removed.",
            "Remove that one first with its own tool, or remove K3s by hand.",
        )
    lines = found(host, keep_volumes)
    result.update(changed=True, removed=lines)
    result["diff"] = {"before": "\n".join([*lines, ""]), "after": ""}
    if check_mode:
        return result
    ended = stop(host)
    result["removed"] = list(dict.fromkeys([*lines, *ended]))
    clear_kernel(host)
    clear_files(host, keep_volumes)
    left = found(host, keep_volumes)
    if left:
        raise PlatformError(
            "This is left of K3s: " + ", ".join(left) + ".",
            "Something still uses it, or makes it anew: reboot the host, then run this again.",
            removed=result["removed"],
        )
    return result
