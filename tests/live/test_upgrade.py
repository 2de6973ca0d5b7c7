# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade restarts K3s and nothing else, under a service that goes on answering; steps back are refused."""

from __future__ import annotations

import pathlib
import re
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from lab import build, bundle, cache  # noqa: E402

pytestmark = pytest.mark.soak
NEWER = build.K3S_VERSION.replace("+k3s1", "+k3s2")
# On every node, and each node answers with its own.
SERVICE = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: lab.cloudcart.local/busybox:1.35
          command: [sh, -c, "echo here >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
          readinessProbe: {httpGet: {port: 8080, path: /index.html}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
"""


@dataclass
class Asked:
    """How often a node was asked, and the longest time in which it gave no answer."""

    times: int = 0
    longest: float = 0


def ask(address: str, enough: threading.Event) -> Asked:
    asked, silent_since = Asked(), 0.0
    while not enough.wait(0.05):
        asked.times += 1
        started = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://{address}:30080/index.html", timeout=2) as answer:
                answer.read()
            silent_since = 0
        except OSError:
            silent_since = silent_since or started
            asked.longest = max(asked.longest, time.monotonic() - silent_since)
    return asked


def play(machine, folder, *arguments: str, playbook: str = "upgrade"):
    return machine.site("-e", f"cloudcartops_bundle={folder}", *arguments, playbook=playbook)


def running(machine) -> tuple[set[str], set[str]]:
    """The versions of the nodes, and the containers of their pods."""
    versions = machine.ssh("kubectl get nodes -o jsonpath={.items[*].status.nodeInfo.kubeletVersion}")
    containers = machine.ssh("kubectl get pods -A -o jsonpath={.items[*].status.containerStatuses[*].containerID}")
    return set(versions.split()), set(containers.split())


def test_upgrade(pair):
    machine = pair
    old = cache.ensure(bundle.component())
    new = cache.ensure(bundle.component(NEWER))
    done = play(machine, old, playbook="setup")
    assert done.status == 0, done.text[-6000:]
    machine.ssh("kubectl apply -f - && kubectl rollout status daemonset/web --timeout=120s", text=SERVICE)
    versions, containers = running(machine)
    assert versions == {build.K3S_VERSION}
    addresses = machine.ssh("kubectl get pods -l app=web -o jsonpath={.items[*].status.hostIP}").split()
    assert len(addresses) == 2

    planned = play(machine, new, "--check")
    assert planned.status == 0, planned.text[-6000:]
    assert any(name.endswith("K3s | Copy the program from the bundle") for name in planned.changed)
    enough = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask, address, enough) for address in addresses]
        try:
            done = play(machine, new)
        finally:
            enough.set()
    assert done.status == 0, done.text[-6000:]
    assert running(machine) == ({NEWER}, containers), "the pods have not been restarted"
    for asked in [result.result() for result in asking]:
        # The new kubelet asks the pod whether it is ready before it says so.
        assert asked.times > 50 and asked.longest < 5, asked

    assert play(machine, new).changed == []
    started = machine.ssh("systemctl show --property=ExecMainStartTimestampMonotonic k3s.service")
    for playbook in ("upgrade", "setup"):
        refused = play(machine, old, playbook=playbook)
        assert refused.status != 0 and refused.changed == []
        assert re.search(rf"cc-\S+: has K3s {re.escape(NEWER)}, and the lock file\s+names the older", refused.text)
    assert machine.ssh("systemctl show --property=ExecMainStartTimestampMonotonic k3s.service") == started
