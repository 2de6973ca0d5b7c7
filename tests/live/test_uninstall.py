# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After uninstall the machine is what it was before K3s came; volumes stay until they are said to go."""

from __future__ import annotations

import pathlib
import re

import pytest

pytestmark = pytest.mark.soak
STATE = pathlib.Path(__file__).resolve().parents[2] / "molecule/shared/state.sh"
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


def state(machine) -> set[str]:
    return set(machine.ssh(STATE.read_text(encoding="utf-8")).splitlines())


def uninstall(machine, *arguments: str):
    run = machine.site(*arguments, playbook="uninstall")
    assert run.status == 0, run.text[-6000:]
    return run


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
    kept = {f"file {path}" for path in machine.ssh("find /var/lib/rancher").splitlines()}
    (volume,) = machine.ssh(f"ls {STORAGE}").split()
    assert volume.endswith("_default_data") and re.search(rf"{STORAGE}/{volume}\s+stays", text)
    assert machine.ssh(f"cat {STORAGE}/{volume}/file") == "kept\n"
    assert len(before) > 100 and state(machine) - kept == before
    assert uninstall(machine, "-e", "k3s_uninstall_environment=dev").changed == []

    again = machine.site(playbook="setup")
    assert again.status == 0, "a machine takes K3s again: " + again.text[-6000:]
    uninstall(machine, "-e", "k3s_uninstall_environment=dev", "-e", "k3s_uninstall_volumes=true")
    assert state(machine) == before
