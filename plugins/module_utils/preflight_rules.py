# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of preflight: what must be true before anything is changed. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.cloudcartops.platform.plugins.module_utils import k3s_version

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
RELEASES = {"ubuntu": ["22.04", "24.04", "26.04"], "debian": ["12", "13"]}
OUR_UNITS = ("k3s.service", "k3s-agent.service")
WEB = (80, 443)
# Days before their end. K3s renews its own certificates at a start with fewer than 120 left, 90 before 1.33.1; it never
# renews authorities, which live ten years.
RENEWED_AT_START, AUTHORITY_NEAR = 90, 180


def inventory_errors(facts: dict) -> list[str]:
    """What is wrong with the inventory as a whole.

    ``facts``: environment, vault_mode, servers and agents (names of the hosts in the groups), bundle_error.
    """
    errors = []
    servers, agents = facts["servers"], facts["agents"]
    if facts["environment"] not in ("dev", "prod"):
        errors.append(
            f"cloudcartops_environment is '{facts['environment']}'. Set it to dev or prod in group_vars/all.yml."
        )
    elif facts["environment"] == "prod" and facts["vault_mode"] == "dev":
        errors.append(
            "cloudcartops_environment is 'prod', and cloudcartops_vault_mode is 'dev', which keeps every secret in "
            "memory and forgets it on restart. Set cloudcartops_vault_mode to standalone, or leave it out."
        )
    if agents and not servers:
        errors.append(
            "The group k3s_agent has hosts and the group k3s_server has none. "
            "Put the host that the agents join into k3s_server."
        )
    if len(servers) > 1:
        errors.append(
            f"The group k3s_server has {len(servers)} hosts ({', '.join(servers)}), and this version of the collection "
            "installs exactly one server. Move the others to k3s_agent."
        )
    for name in sorted(set(servers) & set(agents)):
        errors.append(f"{name} is in k3s_server and in k3s_agent. Leave it in one of them: a server runs pods as well.")
    if facts["bundle_error"]:
        errors.append(facts["bundle_error"])
    return errors


def host_findings(result: dict, wanted: dict) -> list[dict]:
    """What was found of one host: for each check its name, what was read, ``level`` and ``message``.

    ``level`` is ok, warning (K3s can live with it) or error. ``result`` is what the task of preflight_info registered;
    ``wanted`` has groups, cpus, memory_gib, disk_gib, free_gib, clock_skew, inotify_instances, flannel_backend, and the
    versions k3s_version (that it will have) and server_version (of a server that is not part of the run, or empty).
    """
    if result.get("unreachable"):
        fix = "Check that it runs, and its ansible_host, ansible_user and ssh key."
        return [_finding("connection", "none", error=f"cannot be reached: {_words(result)} {fix}")]
    if "host" not in result:
        fix = "It needs python3 and a user that may become root."
        return [_finding("connection", "no answer", error=f"could not be looked at: {_words(result)} {fix}")]
    host = result["host"]
    found = [*_platform(host, wanted["groups"]), *_size(host, wanted), *_kernel(host, wanted), *_system(host, wanted)]
    return found + [*_network(host), *_ports(host), *_k3s(host, wanted)]


def host_errors(result: dict, wanted: dict) -> list[str]:
    """What is wrong with one host, see host_findings."""
    return [f["message"] for f in host_findings(result, wanted) if f["level"] == "error"]


def _finding(check: str, found: object, error: str = "", warning: str = "") -> dict:
    level = "error" if error else "warning" if warning else "ok"
    return {"check": check, "found": str(found), "level": level, "message": error or warning}


def _words(result: dict) -> str:
    text = " ".join(str(result.get("msg", "")).split()).replace("Task failed: ", "") or "no reason was given"
    details = str(result.get("module_stderr", "")).strip().splitlines()
    text = f"{text} ({details[-1]})" if details else text
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _platform(host: dict, groups: list[str]) -> Iterator[dict]:
    release = host["os"]
    known = release["version"] in RELEASES.get(release["id"], [])
    yield _finding(
        "operating system",
        release["name"],
        ""
        if known
        else f"runs {release['name']}, which this collection is not made for. "
        "Use Ubuntu 22.04, 24.04 or 26.04, or Debian 12 or 13.",
    )
    architecture = ARCHITECTURES.get(host["architecture"])
    error = ""
    if architecture is None:
        error = f"is a {host['architecture']} machine. Use x86_64 (amd64) or aarch64 (arm64)."
    for group in ("amd64", "arm64"):
        if group in groups and architecture and architecture != group:
            error = (
                f"is in the group {group}, but is a {host['architecture']} machine ({architecture}). "
                f"Move it to the group {architecture} in the inventory."
            )
    yield _finding("architecture", host["architecture"], error)


def _size(host: dict, wanted: dict) -> Iterator[dict]:
    error = ""
    if host["cpus"] < wanted["cpus"]:
        error = (
            f"has {host['cpus']} CPUs, and {wanted['cpus']} are needed. "
            "Give it more, or lower preflight_min_cpus to try it anyway."
        )
    yield _finding("CPUs", host["cpus"], error)
    memory, error = host["memory_mib"] / 1024, ""
    if memory < wanted["memory_gib"]:
        error = (
            f"has {memory:.1f} GiB of memory, and {wanted['memory_gib']:g} are needed. Give it more, or lower "
            "preflight_min_memory_gib to try it anyway."
        )
    yield _finding("memory", f"{memory:.1f} GiB", error)
    disk, error = host["file_system"], ""
    if disk["size_gib"] < wanted["disk_gib"]:
        error = (
            f"has a file system of {disk['size_gib']:g} GiB at {disk['mount']} for the data of K3s, and "
            f"{wanted['disk_gib']:g} are needed. Grow it, set k3s_data_dir to a larger one, or lower "
            "preflight_min_disk_gib to try it anyway."
        )
    elif not host["installed"] and disk["free_gib"] < wanted["free_gib"]:
        error = (
            f"has {disk['free_gib']:g} GiB free at {disk['mount']}, and a first installation needs "
            f"{wanted['free_gib']:g}. Remove what is not needed, or lower preflight_min_free_gib to try it anyway."
        )
    yield _finding("disk", f"{disk['size_gib']:g} GiB, {disk['free_gib']:g} free, at {disk['mount']}", error)
    warning = ""
    if host["swap_mib"]:
        warning = (
            f"swaps to {host['swap_mib']} MiB. K3s runs, but pods may become slow instead of being ended at their "
            "limit. To turn it off: swapoff -a, and remove it from /etc/fstab."
        )
    yield _finding("swap", f"{host['swap_mib']} MiB" if host["swap_mib"] else "none", warning=warning)


def _kernel(host: dict, wanted: dict) -> Iterator[dict]:
    groups = host["cgroups"]
    names, error = ", ".join(groups["missing"]), ""
    if groups["missing"]:
        error = f"lacks the cgroup controllers {names}, without which no pod starts. "
        error += (
            "Add 'cgroup_memory=1 cgroup_enable=memory' to the kernel's command line, and reboot."
            if groups["missing"] == ["memory"]
            else "Boot a kernel that has them, with systemd's default settings for cgroups."
        )
    elif groups["version"] == 1 and (k3s_version.parse(wanted["k3s_version"]) or (0, 0))[:2] >= (1, 35):
        error = (
            "has cgroups of version 1, which K3s refuses from 1.35 on. Remove systemd.unified_cgroup_hierarchy=0 "
            "from the kernel's command line, and reboot."
        )
    yield _finding("cgroups", f"version {groups['version']}" + (f", without {names}" if names else ""), error)
    unused = {"wireguard", "vxlan"} - {wanted["flannel_backend"].partition("-")[0]}
    missing = [m for m in host["kernel"]["missing"] if m["module"] not in unused]
    names, error = ", ".join(m["module"] for m in missing), ""
    if missing:
        error = f"has the kernel {host['kernel']['release']} without {names}. "
        error += (
            "Install the modules that belong to it (on Ubuntu linux-modules-extra-$(uname -r)), and reboot if the "
            "kernel was replaced since the last start."
            if all(m["packaged"] for m in missing)
            else "Boot a kernel of the distribution, which has them."
        )
    yield _finding("kernel", host["kernel"]["release"] + (f", without {names}" if names else ""), error)
    instances, warning = host["inotify"]["instances"], ""
    if instances is not None and instances < wanted["inotify_instances"]:
        warning = (
            f"allows {instances} instances of inotify, which kubelet and pods use up ('too many open files'). Allow "
            "more: echo fs.inotify.max_user_instances=8192 >/etc/sysctl.d/90-inotify.conf, then sysctl --system."
        )
    yield _finding("inotify", f"{instances} instances", warning=warning)


def _system(host: dict, wanted: dict) -> Iterator[dict]:
    yield _finding(
        "root",
        "yes" if host["root"] else "no",
        ""
        if host["root"]
        else "was not looked at as root. Set ansible_become to true for it, or ansible_user to root.",
    )
    yield _finding(
        "systemd",
        "yes" if host["systemd"] else "no",
        "" if host["systemd"] else "does not run systemd, which starts K3s. Boot it with systemd.",
    )
    ahead, error, warning = host["clock"]["ahead"] or 0, "", ""
    if abs(ahead) > wanted["clock_skew"]:
        error = (
            f"has a clock that is {abs(ahead):g} seconds {'ahead of' if ahead > 0 else 'behind'} the control node's, "
            f"so that certificates would not be valid yet; at most {wanted['clock_skew']:g} are allowed. Let both "
            "follow a time server: timedatectl set-ntp true."
        )
    elif host["clock"]["synchronized"] is False:
        warning = "follows no time server, so its clock will drift. Turn it on: timedatectl set-ntp true."
    yield _finding("clock", f"{ahead:+g} s", error, warning)
    busy = ""
    if host["busy"]:
        busy = (
            f"is still being set up: {host['busy']} works, and may replace or restart what K3s needs. It was waited "
            "for. See what it does ('cloud-init status --long', 'systemctl status unattended-upgrades apt-daily*'), "
            "then run this again, or raise preflight_patience."
        )
    # Where K3s is installed, it has been through this before.
    level = "warning" if host["installed"] else "error"
    yield _finding("package manager", host["busy"] or "free", **{level: busy})
    others = ", ".join(host["other_kubernetes"])
    yield _finding(
        "other Kubernetes",
        others or "none",
        f"has another Kubernetes: {others}. Two on one host take each other's ports and firewall rules. Remove it "
        "with its own tool (kubeadm reset, rke2-uninstall.sh, k0s reset, snap remove microk8s), or use another host."
        if others
        else "",
    )


def _network(host: dict) -> Iterator[dict]:
    yield _finding(
        "default route",
        "yes" if host["default_route"] else "no",
        ""
        if host["default_route"]
        else "has no default route, without which K3s does not find its own address. Add one, if only to a dummy link.",
    )
    yield _finding(
        "name servers",
        ", ".join(host["name_servers"]) or "none for pods",
        warning=""
        if host["name_servers"]
        else "has no name server that pods can reach: /etc/resolv.conf names none, or only the host's own. K3s would "
        "give them 8.8.8.8. Write a file with the right one, and name it in k3s_server_config and k3s_agent_config as "
        "resolv-conf.",
    )
    names, warning = ", ".join(host["firewalls"]), ""
    if names:
        warning = (
            f"has the firewall {names} on. It must let nodes reach 6443/tcp of the server, 8472/udp and 10250/tcp of "
            "each other, and the networks of pods and services (10.42.0.0/16 and 10.43.0.0/16). Where nothing else "
            "needs it: "
            + ", ".join({"ufw": "ufw disable"}.get(f, f"systemctl disable --now {f}") for f in host["firewalls"])
            + "."
        )
    yield _finding("firewall", names or "none", warning=warning)
    server = host["server"]
    if server:
        where, error = f"{server['host']}:{server['port']}", ""
        if server["problem"] == "name":
            error = (
                f"does not find the address of its server {server['host']} ({server['words']}). Correct "
                "k3s_server_url or k3s_api_endpoint, or the name servers of this host."
            )
        elif server["problem"] == "route":
            error = (
                f"does not reach its server at {where} ({server['words']}). Let its firewall, and those in between, "
                "pass that port, or set k3s_server_url to an address that this host reaches."
            )
        yield _finding("way to the server", f"{where} {server['problem'] and 'not '}reached", error)


def _ports(host: dict) -> Iterator[dict]:
    others = []
    for entry in host["ports"]:
        owner = entry["owner"]
        if owner and owner["unit"] in OUR_UNITS:
            continue
        others.append(entry)
        who = f"by {owner['name']} (pid {owner['pid']})" if owner else "by a process that cannot be seen"
        stop = f"Stop it: systemctl disable --now {owner['unit']}." if owner and owner["unit"] else "Stop that program."
        if entry["port"] in WEB:
            warning = (
                f"has port {entry['port']} taken {who}, so the shop is not reached there by this host's address. "
                f"{stop} Or give K3s another load balancer."
            )
            yield _finding(f"port {entry['port']}", who, warning=warning)
        else:
            error = f"has port {entry['port']}, which K3s needs, taken {who}. {stop}"
            yield _finding(f"port {entry['port']}", who, error)
    if not others:
        yield _finding("ports", "free, or K3s's own")


def _k3s(host: dict, wanted: dict) -> Iterator[dict]:
    server = "k3s_server" in wanted["groups"]
    other = "k3s-agent.service" if server else "k3s.service"
    if other in host["units"]:
        yield _finding(
            "former role",
            other,
            f"has the unit {other} of its former role, and a host is either server or agent. Take K3s off it with "
            "the play uninstall, or change its group back.",
        )
    installed, target = host["k3s_version"], wanted["k3s_version"]
    problems = (
        k3s_version.errors(installed, target, "" if server else wanted["server_version"], server and host["etcd"])
        if target
        else []
    )
    shown = f"{installed or 'none'}, to be {target}" if target != installed else installed
    yield _finding("K3s", shown or "none", " ".join(problems))
    yield from _certificates(host["certificates"], "k3s" if server else "k3s-agent")


def _certificates(certificates: list[dict], unit: str) -> Iterator[dict]:
    own = [c for c in certificates if not c["authority"]]
    kinds = {
        "certificates": (
            own,
            RENEWED_AT_START,
            f"K3s renews it when it starts: systemctl restart {unit}, which leaves pods running. Then run the play "
            "setup, which brings the renewed kubeconfig. If it ends as before, stop K3s and run "
            "'k3s certificate rotate'.",
        ),
        "authorities": (
            [c for c in certificates if c["authority"]],
            AUTHORITY_NEAR,
            "K3s does not renew it by itself: on the server, make new ones and take them over with "
            "'k3s certificate rotate-ca', then restart all nodes, the server first.",
        ),
    }
    for check, (found, near, fix) in kinds.items():
        if not found:
            continue
        first, warning = found[0], ""
        if first["days"] < near:
            when = "ended" if first["days"] < 0 else f"ends in {first['days']:.0f} days,"
            others = sum(c["days"] < near for c in found) - 1
            more = f" ({others} more end within {near} days)" if others else ""
            warning = f"has {first['path']}, which {when} on {first['ends']} UTC{more}. {fix}"
        yield _finding(check, f"first ends {first['ends']} UTC ({first['days']:.0f} days)", warning=warning)


def name_errors(hostnames: dict[str, str]) -> list[str]:
    """What is wrong with the hosts' own names, given as {inventory name: hostname}. They become the names of nodes."""
    errors, seen = [], {}
    for name, hostname in hostnames.items():
        node = hostname.lower()
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", node) or node.startswith("localhost"):
            errors.append(
                f"{name}: has the hostname '{hostname}', which cannot be the name of a node. "
                "Use letters, digits and '-', at most 63: hostnamectl set-hostname NAME."
            )
        seen.setdefault(node, []).append(name)
    for node, names in seen.items():
        if len(names) > 1:
            errors.append(
                f"{', '.join(names)}: have the same hostname '{node}', and nodes need names of their own. "
                "Rename all but one: hostnamectl set-hostname NAME."
            )
    return errors


def report(inventory: dict, hosts: dict[str, dict]) -> dict:
    """``errors`` and ``warnings``, as sentences that start with the host they are about, and ``table``, as lines.

    ``hosts`` is {inventory name: {"result": what was registered, "wanted": see host_findings}}.
    """
    found = {name: host_findings(host["result"], host["wanted"]) for name, host in hosts.items()}
    names = {n: h["result"]["host"]["hostname"] for n, h in hosts.items() if "host" in h["result"]}

    def messages(level: str) -> list[str]:
        return [f"{name}: {f['message']}" for name, findings in found.items() for f in findings if f["level"] == level]

    rows = [(name, f["check"], f["level"], f["found"]) for name, findings in found.items() for f in findings]
    widths = [max((len(row[n]) for row in rows), default=0) for n in range(3)]
    return {
        "errors": inventory_errors(inventory) + messages("error") + name_errors(names),
        "warnings": messages("warning"),
        "table": [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:{widths[2]}}  {row[3]}" for row in rows],
    }
