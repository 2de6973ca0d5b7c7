# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Healthy rollouts, many at once: none of them is called pointless, however slow it is and whatever it looks like."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

KUBECTL = "kubectl -n rollouts"
STAYS = "exec tail -f /dev/null"
IMAGES = "/var/lib/rancher/k3s/agent/images"
LATER = "lab.cloudcart.local/arrives-later:1"
TIGHT = 15  # seconds that it takes to end
# A web server that answers 503 until the file is there.
HEALTH = r"""#!/bin/sh\n[ -e /tmp/started ] || printf "Status: 503 starting\\r\\n"\nprintf "\\r\\n"\n"""
SERVES = (
    "mkdir -p /tmp/www/cgi-bin; cd /tmp/www/cgi-bin; "
    f"printf '{HEALTH}' >health; chmod +x health; sleep 10; httpd -p 8080 -h /tmp/www; "
    f"sleep 10; touch /tmp/started; {STAYS}"
)
LATE_ANSWERS = "nc -w 2 late 8080 -e true"


@dataclass
class Slow:
    """A workload that is ready after ``least`` seconds at the soonest; ``more`` are objects that it needs."""

    name: str
    least: int
    script: str
    container: dict = field(default_factory=dict)
    pod: dict = field(default_factory=dict)
    kind: str = "Deployment"
    spec: dict = field(default_factory=dict)
    more: list = field(default_factory=list)

    def objects(self, image: str) -> list[dict]:
        command = ["/bin/sh", "-c", self.script]
        container = {"name": "main", "image": image, "command": command, **self.container}
        if self.kind != "Job":  # started is what its probe asks for, unless it has one of its own
            probe = {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 2, "failureThreshold": 60}
            container = {"startupProbe": probe, **container}
        pod = {"terminationGracePeriodSeconds": 1, **self.pod}
        pod["containers"] = [container]
        labels = {"app": self.name}
        spec = {"template": {"metadata": {"labels": labels}, "spec": pod}, **self.spec}
        if self.kind != "Job":
            spec = {"replicas": 1, "selector": {"matchLabels": labels}, **spec}
        version = "batch/v1" if self.kind == "Job" else "apps/v1"
        workload = {"apiVersion": version, "kind": self.kind, "metadata": {"name": self.name}, "spec": spec}
        return [*self.more, workload]


def obj(kind: str, name: str, spec: dict) -> dict:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def claim(name: str, klass: str) -> dict:
    room = {"resources": {"requests": {"storage": "1Mi"}}, "accessModes": ["ReadWriteOnce"]}
    return obj("PersistentVolumeClaim", name, {**room, "storageClassName": klass})


def uses(name: str) -> dict:
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}


SOON_THERE = f"touch /tmp/started; {STAYS}"
AT_ONCE = {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}


def slow(image: str, half: str) -> list[Slow]:
    """Rollouts that take their time. ``half`` is so much memory that a node has room for one pod of it only."""
    health = {"httpGet": {"path": "/cgi-bin/health", "port": 8080}, "periodSeconds": 2, "failureThreshold": 60}
    service = obj("Service", "late", {"selector": {"app": "late"}, "ports": [{"port": 8080}]})
    waits = {
        "name": "wait",
        "image": image,
        "command": ["/bin/sh", "-c", f"until {LATE_ANSWERS}; do sleep 1; done"],
    }
    ends = f"echo >>/data/runs; [ $(wc -l </data/runs) -gt 2 ] || exit 1; {SOON_THERE}"
    data = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    scratch = {"volumes": [{"name": "data", "emptyDir": {}}]}
    ends_slowly = f"trap 'sleep {TIGHT}; exit' TERM; touch /tmp/started; while :; do sleep 1; done"
    return [
        Slow("starts-slowly", 25, f"sleep 30; {SOON_THERE}"),
        # its port is closed at first, then it answers 503
        Slow("late", 15, SERVES, {"startupProbe": health}, more=[service]),
        Slow("depends", 15, SOON_THERE, pod={"initContainers": [waits]}),
        Slow("tries-again", 15, LATE_ANSWERS, kind="Job", pod={"restartPolicy": "Never"}),
        Slow("ends-twice", 5, ends, data, scratch),
        Slow("gets-its-image", 3, SOON_THERE, {"image": LATER}),
        Slow("gets-its-claim", 0, SOON_THERE, pod=uses("soon")),
        Slow("one-by-one", 6, f"sleep 3; {SOON_THERE}", kind="StatefulSet", spec={"replicas": 3}),
        Slow("tight", 0, ends_slowly, {"resources": {"requests": {"memory": half}}},
             {"terminationGracePeriodSeconds": 2 * TIGHT}, spec=AT_ONCE),
    ]  # fmt: skip


@pytest.fixture
def namespace(platform):
    """A function: apply objects in a namespace that goes afterwards, with all that it had."""

    def apply(*objects: dict) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        platform.ssh(f"{KUBECTL} apply -f -", text=listed)

    platform.ssh("kubectl create namespace rollouts")
    yield apply
    platform.ssh(f"kubectl delete namespace rollouts; rm -f {IMAGES}/later.tar; ctr -n k8s.io images rm {LATER}")


@pytest.mark.soak
def test_slow_ones(platform, namespace, rollout):
    """Several at once; what some of them lack comes while they are waited for."""
    (node,) = json.loads(platform.ssh("kubectl get nodes -o json"))["items"]
    half = f"{int(node['status']['allocatable']['memory'].removesuffix('Ki')) * 55 // 100}Ki"
    image = next(name for i in node["status"]["images"] for name in i["names"] if "/busybox:" in name)
    ctr = "ctr -n k8s.io images"
    platform.ssh(f"{ctr} tag {image} {LATER} && {ctr} export /root/later.tar {LATER} && {ctr} rm {LATER}")
    cases = slow(image, half)

    def wait(case: Slow) -> tuple[dict | None, float]:
        started = time.monotonic()
        trouble, ended = rollout(case.name, case.kind, "rollouts")
        return trouble, ended - started

    with ThreadPoolExecutor(len(cases)) as pool:
        namespace(*(item for case in cases for item in case.objects(image)))
        waits = [pool.submit(wait, case) for case in cases]
        events = f"{KUBECTL} get events -o jsonpath='{{..message}}'"
        platform.until(f"{events} | grep -q 'persistentvolumeclaim .soon. not found'")
        namespace(claim("soon", "local-path"))
        platform.until(f"{KUBECTL} get pods -l app=gets-its-image -o jsonpath='{{..reason}}' | grep -q ImagePull")
        platform.ssh(f"mv /root/later.tar {IMAGES}/")
        platform.until(f"{KUBECTL} get pods -l app=ends-twice -o jsonpath='{{..reason}}' | grep -q CrashLoopBackOff")
        for case, result in zip(cases, waits):
            trouble, seconds = result.result()
            assert trouble is None, (case.name, trouble)
            assert seconds >= case.least, (case.name, seconds)
    platform.ssh(f"{KUBECTL} rollout restart deployment/tight")
    trouble, seconds = wait(next(case for case in cases if case.name == "tight"))
    assert trouble is None and seconds > TIGHT - 5, "there is no room until the old pod has ended"


@pytest.mark.soak
def test_restarts_of_every_deployment(platform, rollout):
    """All services at once; and before them, what they need."""
    found = json.loads(platform.ssh("kubectl -n cloudcart get deployments -o json"))["items"]
    component = {d["metadata"]["name"]: d["metadata"]["labels"].get("app.kubernetes.io/component") for d in found}
    apps = [name for name, part in component.items() if part == "apps"]
    injector = ["vault-agent-injector"]
    others = sorted({*component} - {*apps, *injector})
    assert len(apps) >= 8 and "redis" in others and injector[0] in component
    for batch in (others, apps, injector):
        platform.ssh(f"kubectl -n cloudcart rollout restart {' '.join(f'deployment/{name}' for name in batch)}")
        with ThreadPoolExecutor(len(batch)) as pool:
            troubles = dict(zip(batch, pool.map(lambda name: rollout(name)[0], batch)))
        assert not any(troubles.values()), troubles
    run = platform.site(playbook="install_vault_injector")  # it sees the webhook work
    assert run.status == 0, run.text[-6000:]
