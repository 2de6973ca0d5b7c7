# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade restarts K3s and nothing else, under a service that goes on answering; steps back are refused."""

from __future__ import annotations

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from lab import build, bundle, cache  # noqa: E402

pytestmark = pytest.mark.soak
NEWER = build.K3S_VERSION.replace("+k3s1", "+k3s2")
SERVICE = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
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
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
"""
ASK = """
import json, os, time, urllib.request
asked = failed = longest = 0
bad = None
while not os.path.exists("/tmp/stop"):
    asked += 1
    try:
        urllib.request.urlopen("http://127.0.0.1:30080/index.html", timeout=2).read()
        bad = None
    except OSError:
        failed += 1
        bad = bad or time.monotonic()
        longest = max(longest, time.monotonic() - bad)
    time.sleep(0.05)
print(json.dumps({"asked": asked, "failed": failed, "longest": longest}))
"""


def play(machine, folder, *arguments: str, playbook: str = "upgrade"):
    return machine.site("-e", f"cloudcartops_bundle={folder}", *arguments, playbook=playbook)


def running(machine) -> tuple[str, set[str]]:
    """The version of the node, and the containers of its pods."""
    version = machine.ssh("kubectl get nodes -o jsonpath={.items[*].status.nodeInfo.kubeletVersion}")
    containers = machine.ssh("kubectl get pods -A -o jsonpath={.items[*].status.containerStatuses[*].containerID}")
    return version, set(containers.split())


def test_upgrade(machine_of_its_own):
    machine = machine_of_its_own
    old = cache.ensure(bundle.component())
    new = cache.ensure(bundle.component(NEWER))
    done = play(machine, old, playbook="setup")
    assert done.status == 0, done.text[-6000:]
    machine.ssh("kubectl apply -f - && kubectl wait --for=condition=Ready pod/web --timeout=120s", text=SERVICE)
    version, containers = running(machine)
    assert version == build.K3S_VERSION

    planned = play(machine, new, "--check")
    assert planned.status == 0, planned.text[-6000:]
    assert any(name.endswith("K3s | Copy the program from the bundle") for name in planned.changed)
    machine.ssh("cat >/tmp/ask.py; systemd-run -p StandardOutput=file:/tmp/asked python3 /tmp/ask.py", text=ASK)
    done = play(machine, new)
    machine.ssh("touch /tmp/stop; until test -s /tmp/asked; do sleep 0.1; done")
    assert done.status == 0, done.text[-6000:]
    assert running(machine) == (NEWER, containers), "the pods have not been restarted"
    asked = json.loads(machine.ssh("cat /tmp/asked"))
    # The new kubelet asks the pod whether it is ready before it says so.
    assert asked["asked"] > 50 and asked["longest"] < 5, asked

    assert play(machine, new).changed == []
    started = machine.ssh("systemctl show --property=ExecMainStartTimestampMonotonic k3s.service")
    for playbook in ("upgrade", "setup"):
        refused = play(machine, old, playbook=playbook)
        assert refused.status != 0 and refused.changed == []
        assert re.search(rf"cc-\S+: has K3s {re.escape(NEWER)}, and the lock file\s+names the older", refused.text)
    assert machine.ssh("systemctl show --property=ExecMainStartTimestampMonotonic k3s.service") == started
