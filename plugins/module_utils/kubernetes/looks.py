# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no watch tells of a pod in trouble: logs, the room on the nodes, volume claims. Read where it may matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from time import monotonic

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import capacity, diagnosis
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, Unreachable
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import SOON, Events, Trouble
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError

NO_LOG = "unable to retrieve container logs"  # with status 200
INTERVAL = 2  # seconds between two looks at the same thing


class Looks:
    """Troubles of pods with all that can be found out about them. ``again_in`` is when a look is due again."""

    def __init__(self, client: Client) -> None:
        self.client, self.again_in = client, inf
        self.silent: set[str] = set()  # nodes whose kubelet would not answer
        self._kept: dict[tuple, tuple[float, object]] = {}
        self._logs: dict[tuple, str] = {}  # of runs that are over

    def next_round(self) -> None:
        self.again_in = inf

    def _now_and_then(self, key: tuple, look):
        """What ``look`` returned at most INTERVAL seconds ago."""
        self.again_in = min(self.again_in, INTERVAL)
        until, found = self._kept.get(key, (0, None))
        if until <= monotonic():
            found = look()
            self._kept[key] = monotonic() + INTERVAL, found
        return found

    def log(self, pod: dict, container: str, **options) -> str:
        """The last lines of a container's log; empty when there are none to be had.

        Of its previous run, or of the present one when the kubelet has that no more.
        """
        meta = pod["metadata"]
        if pod["spec"].get("nodeName") in self.silent:
            return ""
        try:
            text = self.client.logs(meta["namespace"], meta["name"], container, **options)
            if options.get("previous") and (not text or text.startswith(NO_LOG)):
                text = self.client.logs(meta["namespace"], meta["name"], container, **{**options, "previous": False})
        except (ApiError, Unreachable):  # a log is a help, not a condition
            return ""
        return "" if text.startswith(NO_LOG) else text

    def troubles(
        self, pod: dict, first: dict, grace: float, events: Events, seconds: int | None = None
    ) -> Iterator[Trouble]:
        """What is wrong with a pod; of the agent's log only the last ``seconds`` count."""
        if "deletionTimestamp" in pod["metadata"]:
            return
        for container, restarts, previous in diagnosis.crashed(pod):
            old = {name: count for name, count, _previous in diagnosis.crashed(first)} if first else {}
            if old.get(container) != restarts:  # what was so before has its next chance
                key = (pod["metadata"]["uid"], container, restarts, previous)
                if not self._logs.get(key):
                    self._logs[key] = self.log(pod, container, previous=previous, tail=30)
                trouble = diagnosis.crash_trouble(pod, container, restarts, self._logs[key])
                if trouble:
                    yield trouble
        for trouble in diagnosis.troubles(pod, first, grace, events):
            yield self._placed(trouble, pod, grace, events) if trouble.rule == "unschedulable" else trouble
        if diagnosis.agent_is_waiting(pod):
            key = (pod["metadata"]["uid"], "agent")
            log = self._now_and_then(key, lambda: self.log(pod, diagnosis.AGENT_INIT, seconds=seconds, tail=60))
            trouble = diagnosis.agent_trouble(pod, log, grace)
            if trouble:
                yield trouble

    def _placed(self, trouble: Trouble, pod: dict, grace: float, events: Events) -> Trouble:
        """Why a pod fits on no node, in numbers; or the volume that it waits for."""
        try:
            return self._now_and_then(trouble.key, lambda: self._place(trouble, pod, grace, events))
        except (ApiError, Unreachable):  # no right to look at nodes: the scheduler's message has to do
            return trouble

    def _place(self, trouble: Trouble, pod: dict, grace: float, events: Events) -> Trouble:
        namespace = pod["metadata"]["namespace"]
        for name in diagnosis.claims(pod):
            claim = self.client.get("PersistentVolumeClaim", name, namespace)
            cause, fix = diagnosis.claim_trouble(claim, namespace, name, self.client.list("StorageClass"), events)
            if cause:
                cause = f"{trouble.subject} waits for its volume. {cause}"
                return replace(trouble, rule="volume", cause=cause, fix=fix, group=f"claim {name}")
        wanted = capacity.pod_of(pod)
        capacity.read_volumes(self.client, [wanted])
        nodes = capacity.read_nodes(self.client, [], namespace)  # without those pods that are on their way out
        why = {node.name: node.refuses(wanted) or f"has {node.free} free" for node in nodes}
        if any(not node.refuses(wanted) and wanted.requests.fits(node.free) for node in nodes):
            patience = inf  # there is room as soon as others are gone
        else:
            patience = grace if any(node.trouble for node in nodes) else trouble.grace
        evidence = f"it asks for {wanted.requests}; " + "; ".join(f"node {n} {reason}" for n, reason in why.items())
        return replace(trouble, grace=patience, evidence=evidence)

    def workload(self, kind: str, obj: dict, first: dict, grace: float, events: Events) -> Iterator[Trouble]:
        """What is wrong with a workload itself."""

        def ask() -> str | None:
            return self._now_and_then((obj["metadata"].get("uid"), "create"), lambda: self._refusal(obj))

        yield from diagnosis.workload_troubles(kind, obj, first, grace, events, ask)

    def _refusal(self, obj: dict) -> str | None:
        """Why the API server takes no pod of a workload now: "" if it takes one, None if that is not to be told."""
        meta, spec, template = obj["metadata"], obj["spec"], obj["spec"]["template"]
        claims = [t["metadata"]["name"] for t in spec.get("volumeClaimTemplates") or []]
        volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **(template.get("metadata") or {}),
                "generateName": f"{meta['name']}-",
                "namespace": meta["namespace"],
            },
            "spec": {**template["spec"], "volumes": [*(template["spec"].get("volumes") or []), *volumes]},
        }
        try:
            self.client.create(pod, dry_run=True)
        except ApiError as e:
            known = any(phrase in e.what for phrase, _rule in diagnosis.REFUSALS)
            return e.what.partition(": ")[2] if known and "cannot create resource" not in e.what else None
        except Unreachable:
            return None
        return ""

    def claim(self, claim: dict, grace: float) -> Iterator[Trouble]:
        """What is wrong with a volume claim."""
        namespace, name = claim["metadata"].get("namespace"), claim["metadata"]["name"]

        def look():
            warnings = Events(self.client.list("Event", namespace, fields="type=Warning"))
            return diagnosis.claim_trouble(claim, namespace, name, self.client.list("StorageClass"), warnings)

        cause, fix = self._now_and_then(("claim", namespace, name), look)
        if cause:
            yield Trouble(("claim", namespace, name), min(grace, SOON), "volume", cause.partition(" ")[0], cause, fix)
