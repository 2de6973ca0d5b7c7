# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is, read from files below ``root`` so that tests can bring their own."""

from __future__ import annotations

import base64
import binascii
import fcntl
import glob
import gzip
import ipaddress
import os
import re
import socket
import struct
import subprocess
import time
import urllib.parse
from datetime import datetime, timezone


def read(path):
    """The text of a file, or an empty string if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def operating_system(root="/"):
    """ID, VERSION_ID and PRETTY_NAME of os-release(5)."""
    values = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', read(os.path.join(root, "etc/os-release")), re.MULTILINE))
    return {
        "id": values.get("ID", ""),
        "version": values.get("VERSION_ID", ""),
        "name": values.get("PRETTY_NAME", "an unknown operating system"),
    }


def memory_mib(root="/"):
    """MemTotal of proc_meminfo(5) in MiB."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read(os.path.join(root, "proc/meminfo")), re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


def cgroups(root="/"):
    """The version of cgroups, and which controllers that pods need are off in both versions."""
    unified = read(os.path.join(root, "sys/fs/cgroup/cgroup.controllers")).split()
    enabled = re.findall(r"^(\w+)\s+\d+\s+\d+\s+1$", read(os.path.join(root, "proc/cgroups")), re.MULTILINE)
    missing = [name for name in ("cpu", "cpuset", "memory", "pids") if name not in unified and name not in enabled]
    return {"version": 2 if unified else 1, "missing": missing}


def has_default_route(root="/"):
    """Whether there is a default route, by proc_net(5): 0.0.0.0/0, or ::/0 on a link other than lo."""
    ipv4 = [line.split() for line in read(os.path.join(root, "proc/net/route")).splitlines()[1:]]
    ipv6 = [line.split() for line in read(os.path.join(root, "proc/net/ipv6_route")).splitlines()]
    return any(f[1] == "00000000" and f[7] == "00000000" for f in ipv4 if len(f) > 7) or any(
        f[0] == "0" * 32 and f[1] == "00" and f[9] != "lo" for f in ipv6 if len(f) > 9
    )


def file_system(path):
    """Mount point, size and free space of the file system that ``path`` is or will be on."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    stats = os.statvfs(path)
    mount = os.path.realpath(path)
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    gib = float(1 << 30)
    return {
        "mount": mount,
        "size_gib": round(stats.f_blocks * stats.f_frsize / gib, 1),
        "free_gib": round(stats.f_bavail * stats.f_frsize / gib, 1),
    }


def listeners(root="/"):
    """TCP ports that something listens on, as {port: inode of the socket}, by proc_net_tcp(5)."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in read(os.path.join(root, "proc/net", name)).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                found.setdefault(int(fields[1].rpartition(":")[2], 16), fields[9])
    return found


def owners(inodes, root="/"):
    """{inode: PID, name and systemd unit of the process that holds the socket}, for those that can be seen."""
    wanted, found = {f"socket:[{inode}]": inode for inode in inodes}, {}
    for link in glob.iglob(os.path.join(root, "proc/[0-9]*/fd/*")) if wanted else ():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target in wanted:
            process = os.path.dirname(os.path.dirname(link))
            unit = re.search(r"/([^/\s]+\.service)", read(os.path.join(process, "cgroup")))
            found[wanted[target]] = {
                "pid": int(os.path.basename(process)),
                "name": read(os.path.join(process, "comm")).strip(),
                "unit": unit.group(1) if unit else unit_of(process),
            }
    return found


def unit_of(process):
    """The K3s unit whose main process is an ancestor of ``process``, for processes that left the unit's cgroup."""
    ancestors = []
    pid = os.path.basename(process)
    while pid not in ("0", "") and pid not in ancestors:
        ancestors.append(pid)
        status = read(os.path.join(os.path.dirname(process), pid, "status"))
        parent = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
        pid = parent.group(1) if parent else ""
    for unit in ("k3s.service", "k3s-agent.service"):
        if main_pid(unit) in ancestors:
            return unit
    return ""


def main_pid(unit):
    """The main PID of a unit as text; 0 if it does not run, empty without systemd."""
    return output("systemctl", "show", "--property=MainPID", "--value", unit)


def output(*command):
    """What a program prints, without the end of the line; nothing if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# Other distributions of Kubernetes, and what tells of each.
OTHERS = {
    "kubeadm": ("etc/kubernetes/kubelet.conf", "etc/kubernetes/manifests/*"),
    "RKE2": ("etc/systemd/system/rke2-*.service", "usr/local/lib/systemd/system/rke2-*.service", "etc/rancher/rke2"),
    "k0s": ("etc/systemd/system/k0s*.service",),
    "MicroK8s": ("var/snap/microk8s",),
}


def other_kubernetes(root="/"):
    """Names of the distributions of Kubernetes, other than K3s, that are installed."""
    return [name for name, signs in OTHERS.items() if any(glob.glob(os.path.join(root, pattern)) for pattern in signs)]


def swap_mib(root="/"):
    """How much swap is in use as such, in MiB, by proc(5)."""
    lines = [line.split() for line in read(os.path.join(root, "proc/swaps")).splitlines()[1:]]
    return sum(int(line[2]) for line in lines if len(line) > 2) // 1024


def clock(now=None):
    """How far the clock is ahead of ``now``, in seconds, and whether systemd says that a server keeps it in step."""
    told = output("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return {
        "ahead": None if now is None else round(time.time() - now, 1),
        "synchronized": {"yes": True, "no": False}.get(told),
    }


# What K3s needs of the kernel: module, and the option it is built with.
FEATURES = {
    "overlay": "OVERLAY_FS",
    "bridge": "BRIDGE",
    "br_netfilter": "BRIDGE_NETFILTER",
    "veth": "VETH",
    "nf_conntrack": "NF_CONNTRACK",
    "xt_comment": "NETFILTER_XT_MATCH_COMMENT",
    "xt_conntrack": "NETFILTER_XT_MATCH_CONNTRACK",
    "vxlan": "VXLAN",
    "wireguard": "WIREGUARD",
}


def kernel(root="/", loadable=lambda module: output("modprobe", "--dry-run", "--verbose", module) != ""):
    """Release of the kernel, and those of FEATURES that it certainly lacks: by its configuration, where it has one."""
    release = os.uname().release
    text = read(os.path.join(root, "boot", f"config-{release}"))
    if not text:
        try:
            with gzip.open(os.path.join(root, "proc/config.gz"), "rt", encoding="utf-8") as file:
                text = file.read()
        except (OSError, EOFError):
            pass
    options = dict(re.findall(r"^CONFIG_(\w+)=([ym])$", text, re.MULTILINE))
    missing = []
    for module, option in FEATURES.items():
        loaded = os.path.isdir(os.path.join(root, "sys/module", module))
        built = options.get(option)
        if text and not loaded and (built is None or (built == "m" and not loadable(module))):
            missing.append({"module": module, "packaged": built == "m"})
    return {"release": release, "missing": missing}


def inotify(root="/"):
    """Limits of inotify(7) for each user."""
    limits = {}
    for name in ("instances", "watches"):
        text = read(os.path.join(root, "proc/sys/fs/inotify", f"max_user_{name}")).strip()
        limits[name] = int(text) if text.isdigit() else None
    return limits


def name_servers(root="/"):
    """The name servers that pods will ask: of the first file that names one off the loopback interface, as K3s does."""
    for path in ("etc/resolv.conf", "run/systemd/resolve/resolv.conf"):
        found = re.findall(r"^\s*nameserver\s+(\S+)", read(os.path.join(root, path)), re.MULTILINE)
        usable = [server for server in found if is_global_unicast(server)]
        if usable:
            return usable
    return []


def is_global_unicast(text):
    """Whether an address can be one of a name server for pods."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast)


def firewalls(root="/"):
    """Front ends of the firewall that are on."""
    found = ["ufw"] if re.search(r"^ENABLED=[\"']?yes", read(os.path.join(root, "etc/ufw/ufw.conf")), re.M) else []
    return found + (["firewalld"] if output("systemctl", "is-active", "firewalld.service") == "active" else [])


def reach(url, timeout=5):
    """How a URL is reached, so far as that can be told before anything listens there.

    ``problem`` is V(name), V(route), or empty: an answer, and a refused connection, show that the way is open.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    found = {"host": host, "port": port, "problem": "", "words": ""}
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        return {**found, "problem": "name", "words": str(getattr(e, "strerror", None) or e)}
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        pass
    except OSError as e:
        return {**found, "problem": "route", "words": str(e.strerror or e)}
    return found


PACKAGE_LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock")


def busy(root="/"):
    """What is still setting the host up: cloud-init, or who holds a lock of the package manager. Empty if nothing."""
    state = os.path.join(root, "run/cloud-init")
    if os.path.exists(os.path.join(state, "enabled")) and not os.path.exists(os.path.join(state, "result.json")):
        return "cloud-init"
    for path in PACKAGE_LOCKS:
        pid = holder(os.path.join(root, path))
        if pid:
            return f"{read(f'/proc/{pid}/comm').strip() or 'a program'} (pid {pid})"
    return ""


def holder(path):
    """PID of the process that holds a lock of fcntl(2) on a file, or 0."""
    layout = "hhqqi"  # type, whence, start, length, pid
    try:
        with open(path, "rb") as file:
            asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _whence, _start, _length, pid = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    return pid if kind != fcntl.F_UNLCK else 0


POLL = 0.5  # seconds between two looks at what is busy


def wait_until_set_up(timeout, root="/"):
    """Wait until nothing sets the host up any more; what still does when the time is over, or an empty text."""
    deadline = time.monotonic() + timeout
    while True:
        what = busy(root)
        if not what or time.monotonic() >= deadline:
            return what
        time.sleep(POLL)


def k3s_version(program="/usr/local/bin/k3s"):
    """The version of the program that is installed, or an empty text."""
    found = re.match(r"k3s version (\S+)", output(program, "--version"))
    return found.group(1) if found else ""


PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
# X.509 in DER: the extension basicConstraints with cA true, and Validity, which is two times and nothing else.
AUTHORITY = re.compile(rb"\x06\x03\x55\x1d\x13(?:\x01\x01\xff)?\x04.\x30.\x01\x01\xff", re.DOTALL)
TIME = rb"(?:\x17\x0d\d{12}|\x18\x0f\d{14})Z"
VALIDITY = re.compile(rb"\x30[\x1e\x20\x22]" + TIME + rb"(" + TIME + rb")")


def certificate(text):
    """``ends`` (UTC), ``days`` until then and ``authority`` of the first certificate in a text; None without one."""
    pem = PEM.search(text)
    try:
        der = base64.b64decode(pem.group(1)) if pem else b""
    except binascii.Error:
        return None
    found = VALIDITY.search(der)
    if not found:
        return None
    digits = found.group(1)[2:-1].decode()
    if len(digits) == 12:  # a year of two digits is of 1950 to 2049 (RFC 5280, 4.1.2.5.1)
        digits = ("19" if digits >= "5" else "20") + digits
    ends = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    return {
        "ends": ends.strftime("%Y-%m-%d %H:%M"),
        "days": round((ends.timestamp() - time.time()) / 86400, 1),
        "authority": AUTHORITY.search(der) is not None,
    }


def certificates(data_dir):
    """Those of K3s: ``path``, and what ``certificate`` says. The first to end comes first."""
    patterns = ("server/tls/*.crt", "server/tls/etcd/*.crt", "agent/*.crt")
    paths = {os.path.realpath(path) for pattern in patterns for path in glob.glob(os.path.join(data_dir, pattern))}
    found = [(path, certificate(read(path))) for path in sorted(paths)]
    return sorted(({"path": path, **about} for path, about in found if about), key=lambda about: about["days"])


def collect(data_dir, ports, server_url="", now=None, patience=0, root="/"):
    """Everything that the rules look at. ``ports`` that something listens on come with their owner."""
    still_busy = wait_until_set_up(patience, root)
    listening = listeners(root)
    taken = {port: listening[port] for port in ports if port in listening}
    owner = owners(taken.values(), root)
    uname = os.uname()
    return {
        "os": operating_system(root),
        "architecture": uname.machine,
        "hostname": uname.nodename,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory_mib(root),
        "swap_mib": swap_mib(root),
        "cgroups": cgroups(root),
        "kernel": kernel(root),
        "inotify": inotify(root),
        "clock": clock(now),
        "default_route": has_default_route(root),
        "name_servers": name_servers(root),
        "firewalls": firewalls(root),
        "server": reach(server_url) if server_url else None,
        "root": os.geteuid() == 0,
        "systemd": os.path.isdir(os.path.join(root, "run/systemd/system")),
        "busy": still_busy,
        "file_system": file_system(data_dir),
        "installed": os.path.isdir(os.path.join(data_dir, "agent")),
        "k3s_version": k3s_version(),
        "etcd": os.path.isdir(os.path.join(data_dir, "server/db/etcd/member")),
        "certificates": certificates(data_dir),
        "units": sorted(os.path.basename(p) for p in glob.glob(os.path.join(root, "etc/systemd/system/k3s*.service"))),
        "other_kubernetes": other_kubernetes(root),
        "ports": [{"port": port, "owner": owner.get(inode)} for port, inode in taken.items()],
    }
