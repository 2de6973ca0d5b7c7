# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an object has come: pure functions over what the API says of it.

Rollout rules: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_CONDITION = {"Deployment": "available", "Job": "complete", "PersistentVolumeClaim": "bound"}


class Progress(NamedTuple):
    """Whether the wait for one object is over, and its state in words."""

    done: bool
    text: str


def progress(kind: str, condition: str, obj: dict | None) -> Progress:
    """Judge ``obj`` (None: it does not exist) by ``condition``, a word in any case: "available", "Ready" …

    Of a Service "ready" means an endpoint is; ``obj`` is then one of its EndpointSlices.
    """
    condition = condition.lower()
    if obj is None:
        return Progress(condition == "absent", "does not exist")
    if condition == "absent":
        return Progress(False, "still exists")
    if condition == "exists":
        return Progress(True, "exists")
    judge = _JUDGES.get((kind, condition))
    return judge(obj) if judge else _by_condition(obj, condition)


def condition_of(obj: dict, kind: str) -> dict:
    """The condition of that type in an object's status; empty without one."""
    return next((c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == kind), {})


def holds(obj: dict, kind: str) -> bool:
    """Whether the condition of that type is true."""
    return condition_of(obj, kind).get("status") == "True"


def ended(pod: dict) -> bool:
    """Whether a pod has run to its end, well or not."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _by_condition(obj: dict, condition: str) -> Progress:
    for item in obj.get("status", {}).get("conditions") or []:
        if item["type"].lower() == condition:
            text = ": ".join(filter(None, (item.get("reason"), item.get("message"))))
            return Progress(
                item["status"] == "True", f"{item['type']} is {item['status']}" + (f" ({text})" if text else "")
            )
    return Progress(False, f"has no condition {condition} yet")


def _seen(obj: dict) -> bool:
    return obj.get("status", {}).get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)


def _deployment(obj: dict) -> Progress:
    return _replicas(obj, "availableReplicas", "available")


def _stateful_set(obj: dict) -> Progress:
    return _replicas(obj, "readyReplicas", "ready")


def _replicas(obj: dict, counter: str, word: str) -> Progress:
    wanted, status = obj["spec"].get("replicas", 1), obj.get("status", {})
    good, updated = status.get(counter, 0), status.get("updatedReplicas", 0)
    text = f"{good} of {wanted} pods {word}" + ("" if updated >= wanted else f", {updated} up to date")
    return Progress(_seen(obj) and good == updated == wanted == status.get("replicas", 0), text)


def _daemon_set(obj: dict) -> Progress:
    status = obj.get("status", {})
    wanted, good = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    return Progress(
        _seen(obj) and good >= wanted and status.get("updatedNumberScheduled", 0) >= wanted,
        f"{good} of {wanted} pods ready",
    )


def _job(obj: dict) -> Progress:
    status, wanted = obj.get("status", {}), obj["spec"].get("completions", 1)
    return Progress(_by_condition(obj, "complete").done, f"{status.get('succeeded', 0)} of {wanted} completed")


def _started(obj: dict) -> Progress:
    """All containers run and have passed their startup probes; they need not be ready."""
    containers = obj.get("status", {}).get("containerStatuses") or []
    good, wanted = sum(bool(c.get("started")) for c in containers), len(obj["spec"]["containers"])
    return Progress(good == wanted, f"{good} of {wanted} containers started")


def _phase(*good: str):
    def judge(obj: dict) -> Progress:
        phase = obj.get("status", {}).get("phase", "unknown")
        return Progress(phase in good, f"phase {phase}")

    return judge


def _endpoints(obj: dict) -> Progress:
    ready = any((e.get("conditions") or {}).get("ready", True) for e in obj.get("endpoints") or [])
    return Progress(ready, "has a ready endpoint" if ready else "has no ready endpoint")


_JUDGES = {
    ("Deployment", "available"): _deployment,
    ("Deployment", "ready"): _deployment,
    ("StatefulSet", "available"): _stateful_set,
    ("StatefulSet", "ready"): _stateful_set,
    ("DaemonSet", "available"): _daemon_set,
    ("DaemonSet", "ready"): _daemon_set,
    ("Job", "complete"): _job,
    ("Pod", "complete"): _phase("Succeeded"),
    ("Pod", "started"): _started,
    ("PersistentVolumeClaim", "bound"): _phase("Bound"),
    ("PersistentVolume", "bound"): _phase("Bound"),
    ("Namespace", "active"): _phase("Active"),
    ("Service", "ready"): _endpoints,
}
