# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After uninstall the machine is what it was before K3s came; volumes stay until they are said to go."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.soak
# What comes and goes by itself.
PASSING = r"ps|grep|sort|sh|bash|sshd.*|sftp-server|systemd.*|[(]sd-pam[)]"
RESTLESS = r"root/[.](ansible|kube)|run/(log|user|systemd|sudo|udev|lock)|var/(log/journal|tmp|cache)"
RESTLESS += r"|var/lib/(systemd|private)"
# What there is on a machine: processes, mounts, links, namespaces, cgroups of pods, rules, units, files.
LOOKS = {
    "processes": f"ps -eo comm= | grep -vE '^({PASSING})$' | sort -u",
    "mounts": "cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/run/user | sort",
    "interfaces": "ls /sys/class/net",
    "namespaces": "ls /run/netns 2>/dev/null; true",
    "routes": "ip route | sort; ip -6 route | sort",
    "cgroups": "find /sys/fs/cgroup -maxdepth 2 -name 'kube*' -o -maxdepth 2 -name 'k8s*'",
    "rules": "for save in iptables-save ip6tables-save; do $save | grep -E '^(-A|:[^ ]+ -)' | sort; done; true",
    "units": "systemctl list-unit-files --no-legend | cut -d' ' -f1 | grep -v ^run-",
    "files": f"find /etc /usr /opt /root /srv /run /var /var/lib -xdev | grep -vE '^/({RESTLESS})(/|$)' | sort",
}
VOLUME = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: default}
spec:
  containers:
    - name: writer
      image: lab.cloudcart.local/busybox:1.35
      command: [sh, -c, "echo kept >/data/file; exec sleep 1000000"]
      readinessProbe: {exec: {command: [test, -s, /data/file]}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
CONTAINERS = "kubectl get pod writer -o jsonpath={.status.containerStatuses[*].containerID}"
STORAGE = "/var/lib/rancher/k3s/storage"


def state(machine) -> dict[str, list[str]]:
    return {name: machine.ssh(command).splitlines() for name, command in LOOKS.items()}


def uninstall(machine, *arguments: str):
    run = machine.site(*arguments, playbook="uninstall")
    assert run.status == 0, run.text[-6000:]
    return run


def difference(before, after) -> dict[str, set[str]]:
    changes = {name: set(before[name]) ^ set(after[name]) for name in LOOKS}
    return {name: change for name, change in changes.items() if change}


def test_the_machine_is_as_before(machine_of_its_own):
    machine = machine_of_its_own
    assert uninstall(machine, "-e", "k3s_uninstall_environment=dev").changed == [], "there is nothing yet"
    before = state(machine)
    run = machine.site(playbook="setup")
    assert run.status == 0, run.text[-6000:]
    machine.ssh("kubectl apply -f - && kubectl wait --for=condition=Ready pod/writer --timeout=120s", text=VOLUME)
    pods = machine.ssh(CONTAINERS)

    refused = machine.site(playbook="uninstall")
    assert refused.status != 0 and "-e k3s_uninstall_environment=dev" in refused.text
    planned = uninstall(machine, "--check").text
    for thing in ("unit k3s.service", "interface cni0", "mount /run/k3s/", "network namespace cni-", STORAGE):
        assert thing in planned
    assert machine.ssh(CONTAINERS) == pods, "check mode changes nothing"

    text = uninstall(machine, "-e", "k3s_uninstall_environment=dev").text
    kept = machine.ssh("find /var/lib/rancher | sort").splitlines()
    (volume,) = machine.ssh(f"ls {STORAGE}").split()
    assert volume.endswith("_default_data") and re.search(rf"{STORAGE}/{volume}\s+stays", text)
    assert machine.ssh(f"cat {STORAGE}/{volume}/file") == "kept\n"
    after = state(machine)
    assert difference(before, after | {"files": sorted(set(after["files"]) - set(kept))}) == {}
    assert uninstall(machine, "-e", "k3s_uninstall_environment=dev").changed == []

    again = machine.site(playbook="setup")
    assert again.status == 0, "a machine takes K3s again: " + again.text[-6000:]
    uninstall(machine, "-e", "k3s_uninstall_environment=dev", "-e", "k3s_uninstall_volumes=true")
    assert difference(before, state(machine)) == {}
