# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for objects by watching them, and tell at once when waiting has become pointless."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils._scrub import scrub
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import diagnosis
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import (
    Client,
    Unreachable,
    connect,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import Events, Trouble
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.looks import Looks
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import (
    DEFAULT_CONDITION,
    Progress,
    condition_of,
    progress,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import API_VERSIONS, ref

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Source:
    """A collection to watch; ``name`` narrows it to one object."""

    kind: str
    api_version: str | None
    namespace: str | None
    name: str = ""

    @property
    def selectors(self) -> dict:
        if self.kind == "EndpointSlice":
            return {"labels": f"{SERVICE_LABEL}={self.name}"}
        if self.kind == "Event":
            return {"fields": "type=Warning"}
        return {"fields": f"metadata.name={self.name}"} if self.name else {}


@dataclass(frozen=True)
class Target:
    """One thing to wait for."""

    kind: str
    name: str
    namespace: str | None
    condition: str
    api_version: str | None
    origin: str | None = None

    def __str__(self) -> str:
        return f"{ref(self.kind, self.name, self.namespace)} to be {self.condition}"

    @property
    def watched_kind(self) -> str:
        return "EndpointSlice" if self.kind == "Service" and self.condition.lower() == "ready" else self.kind


def k8s_rollout(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    targets = [_target(item, number) for number, item in enumerate(params["for"], 1)]
    client = connect(params["kubeconfig"], params["context"], check_mode)
    if client is None:
        return {"changed": False, "cluster": "absent", "objects": [], "plan": [f"wait for {t}" for t in targets]}
    wait = Wait(client, targets, params["timeout"], params["grace"])
    if not check_mode:
        wait.run()
    result = {"changed": False, "objects": [wait.report(t) for t in targets]}
    if check_mode:
        result |= {"cluster": "present", "plan": [f"wait for {t}" for t in wait.pending]}
    return result


def _target(item: dict, number: int) -> Target:
    for key in ("kind", "name"):
        if not item.get(key):
            raise PlatformError(f"Item {number} of the option for has no {key}.", "Give kind and name of each object.")
    condition = item.get("condition") or DEFAULT_CONDITION.get(item["kind"], "ready")
    api_version = item.get("api_version") or API_VERSIONS.get(item["kind"])
    if not api_version:
        raise PlatformError(
            f"Item {number} of the option for, {item['kind']}, needs api_version: the kind is not built in."
        )
    return Target(item["kind"], item["name"], item.get("namespace"), condition, api_version, item.get("origin"))


class Wait:
    """A wait for several objects at once, for ``timeout`` seconds; trouble that may pass gets ``grace`` seconds."""

    def __init__(self, client: Client, targets: list[Target], timeout: float, grace: float) -> None:
        self.client, self.targets, self.timeout, self.grace = client, targets, timeout, grace
        self.started = monotonic()
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.objects: dict[Source, dict[tuple, dict]] = {}  # what is known, by (namespace, name)
        self.looks = Looks(client)
        self.first: dict[str, dict] = {}  # pods and workloads by uid as they were when the wait began
        self.before: dict[Source, dict[str, str]] = {}  # when the events of that time happened last, by uid
        self.since: dict[tuple, float] = {}  # when each present trouble was first seen
        self.lost = ""  # why the API server cannot be reached just now
        self.sources: dict[Target, Source] = self._sources()
        for source in set(self.sources.values()):
            self._keep(source, "LISTED", {"items": self._list(source)})

    def _sources(self) -> dict[Target, Source]:
        """One watch for each kind and namespace; only of the object itself when it is the only one."""
        groups: dict[Source, list[Target]] = {}
        for target in self.targets:
            version = None if target.watched_kind != target.kind else target.api_version
            name = target.name if target.watched_kind == "EndpointSlice" else ""
            groups.setdefault(Source(target.watched_kind, version, target.namespace, name), []).append(target)
        return {
            t: Source(s.kind, s.api_version, s.namespace, group[0].name) if len(group) == 1 else s
            for s, group in groups.items()
            for t in group
        }

    def _list(self, source: Source) -> list[dict]:
        return self.client.list(source.kind, source.namespace, api_version=source.api_version, **source.selectors)

    # state

    def _keep(self, source: Source, event: str, obj: dict) -> None:
        known = self.objects.setdefault(source, {})
        if event == "LISTED":
            known.clear()
            if source.kind == "Event":
                self.before.setdefault(source, {e["metadata"].get("uid"): diagnosis.seen_at(e) for e in obj["items"]})
        for item in obj["items"] if event == "LISTED" else [obj]:
            key = (item["metadata"].get("namespace"), item["metadata"]["name"])
            if event == "DELETED":
                known.pop(key, None)
            else:
                known[key] = item

    def _object(self, target: Target) -> dict | None:
        known = self.objects[self.sources[target]]
        if target.watched_kind != target.kind:  # a Service has several slices
            slices = [s for s in known.values() if s["metadata"]["labels"].get(SERVICE_LABEL) == target.name]
            return next(
                (s for s in slices if progress(target.kind, target.condition, s).done), slices[0] if slices else None
            )
        return known.get((target.namespace, target.name))

    def state(self, target: Target) -> Progress:
        return progress(target.kind, target.condition, self._object(target))

    @property
    def pending(self) -> list[Target]:
        return [t for t in self.targets if not self.state(t).done]

    def report(self, target: Target) -> dict:
        keys = ("kind", "name", "namespace", "condition")
        done, text = self.state(target)
        return {**{k: getattr(target, k) for k in keys}, "met": done, "state": text}

    # the wait

    def run(self) -> None:
        """Return when all is done.

        :raises PlatformError: the time is up, or the wait has become pointless: what, cause and fix.
        """
        pending = self.pending
        if not pending:
            return
        for target in pending:
            if target.origin and not self._object(target):
                raise PlatformError(
                    f"{ref(target.kind, target.name, target.namespace)} does not exist.",
                    f"{target.origin} makes it: run that first.",
                    objects=[self.report(t) for t in self.targets],
                )
        spaces = {t.namespace for t in pending if t.kind in WORKLOADS}
        pods = {Source("Pod", "v1", space) for space in spaces}
        for source in pods:
            self._keep(source, "LISTED", {"items": self._list(source)})
        for known in list(self.objects.values()):
            self.first |= {o["metadata"].get("uid"): o for o in known.values()}
        events = {Source("Event", "v1", space) for space in spaces}
        for source in pods | events | {self.sources[t] for t in pending}:
            threading.Thread(target=self._follow, args=(source,), daemon=True).start()
        while pending := self.pending:
            left = self.started + self.timeout - monotonic()
            patience = self._patience(pending)
            if left <= 0:
                raise self._timed_out(pending)
            self._next_events(min(left, patience))

    def _follow(self, source: Source) -> None:
        """Watch one collection, in a thread of its own, until the time is up."""
        pause = threading.Event()
        while (left := self.started + self.timeout - monotonic()) > 0:
            try:
                for event, obj in self.client.watch(
                    source.kind,
                    source.namespace,
                    api_version=source.api_version,
                    timeout=int(left) + 1,
                    **source.selectors,
                ):
                    self.events.put((source, event, obj))
            except Unreachable as e:  # it restarts, perhaps: keep trying
                self.events.put((source, "LOST", e))
                pause.wait(1)
            except Exception as e:  # for the main thread to raise
                if source.kind != "Event":  # they are a help, not a condition
                    self.events.put((source, "FAILED", e))
                return

    def _next_events(self, seconds: float) -> None:
        """Take in what has happened; wait for the first event at most so long."""
        try:
            source, event, obj = self.events.get(timeout=max(seconds, 0.01))
            while True:
                if event == "FAILED":
                    raise obj
                self.lost = str(obj) if event == "LOST" else ""
                if event != "LOST":
                    self._keep(source, event, obj)
                source, event, obj = self.events.get_nowait()
        except queue.Empty:
            return

    # diagnosis

    def _patience(self, pending: list[Target]) -> float:
        """Raise when a trouble has lasted too long; return for how many seconds the next one may still last."""
        now, patience, present = monotonic(), float("inf"), set()
        self.looks.next_round()
        warnings = {
            source.namespace: Events(self.objects.get(source, {}).values(), self.before.get(source))
            for source in {Source("Event", "v1", t.namespace) for t in pending}
        }
        for target in pending:
            for trouble in self._troubles(target, warnings[target.namespace]):
                present.add(trouble.key)
                left = self.since.setdefault(trouble.key, now) + trouble.grace - now
                if left <= 0:
                    raise self._pointless(target, trouble)
                patience = min(patience, left)
        self.since = {key: since for key, since in self.since.items() if key in present}
        return min(patience, self.looks.again_in)

    def _troubles(self, target: Target, events: Events) -> Iterator[Trouble]:
        obj = self._object(target)
        if not obj:
            return
        if target.kind == "PersistentVolumeClaim":
            yield from self.looks.claim(obj, self.grace)
        if target.kind not in WORKLOADS:
            return
        pods = self._pods(target)
        failed = condition_of(obj, "Failed")
        if target.kind == "Job" and failed.get("status") == "True":
            subject = ref(target.kind, target.name, target.namespace)
            yield Trouble(
                (target, "Failed"),
                0,
                "job",
                subject,
                f"{subject}: {failed.get('reason')}: {failed.get('message')}",
                "Correct the cause and run again, which replaces the Job.",
                log=("", False) if pods else None,
            )
        for pod in pods:
            first = self.first.get(pod["metadata"]["uid"], {})
            elapsed = int(monotonic() - self.started) + 1  # older lines may tell of what is mended by now
            yield from self.looks.troubles(pod, first, self.grace, events, elapsed)
        if target.kind != "Pod":
            first = self.first.get(obj["metadata"].get("uid"), {})
            yield from self.looks.workload(target.kind, obj, first, self.grace, events)

    def _pods(self, target: Target) -> list[dict]:
        """The pods that the target's success depends on."""
        obj = self._object(target)
        if not obj or target.kind not in WORKLOADS:
            return []
        if target.kind == "Pod":
            return [obj]
        known = self.objects.get(Source("Pod", "v1", target.namespace), {}).values()
        wanted = obj["spec"].get("selector", {}).get("matchLabels") or {}
        pods = [p for p in known if wanted.items() <= p["metadata"].get("labels", {}).items()]
        if target.kind == "Deployment" and len({p["metadata"]["labels"].get("pod-template-hash") for p in pods}) > 1:
            newest = max(pods, key=lambda p: p["metadata"]["creationTimestamp"])["metadata"]["labels"]
            pods = [p for p in pods if p["metadata"]["labels"].get("pod-template-hash") == newest["pod-template-hash"]]
        return pods

    def _pointless(self, target: Target, trouble: Trouble) -> PlatformError:
        text = [f"Waiting for {target} is pointless ({self.state(target).text}).", f"Cause: {trouble.cause}"]
        text += [f"Evidence: {trouble.evidence}"] if trouble.evidence else []
        log = ""
        if trouble.log:
            pods = sorted(self._pods(target), key=lambda p: p["metadata"]["creationTimestamp"])
            pods = [p for p in pods if p["metadata"]["uid"] == trouble.key[0]] or pods
            log = self.looks.log(pods[-1], trouble.log[0], previous=trouble.log[1], tail=15) if pods else ""
            text += ["Last lines of its log:", log] if log else []
        told = {
            "rule": trouble.rule,
            "workload": ref(target.kind, target.name, target.namespace),
            "object": trouble.subject,
            "container": trouble.container,
            "cause": scrub(trouble.cause),
            "evidence": scrub(trouble.evidence or log),
            "fix": trouble.fix,
        }
        return PlatformError(
            scrub("\n".join(text)),
            f"\nFix: {trouble.fix}",
            trouble=told,
            objects=[self.report(t) for t in self.targets],
        )

    def _timed_out(self, pending: list[Target]) -> PlatformError:
        text = []
        for target in pending:
            text.append(f"Waited {self.timeout:.0f} s in vain for {target}: {self.state(target).text}.")
            text += [f"  {line}" for line in map(diagnosis.summary, self._pods(target)) if line]
            text += [f"  {line}" for line in self._warnings(target)]
        if self.lost:
            text.append(f"The API server was lost: {self.lost}")
        first = pending[0]
        where = f" -n {first.namespace}" if first.namespace else ""
        describe = f"'kubectl describe {first.kind.lower()} {first.name}{where}'"
        fix = f"\nFix: {describe} tells more; raise timeout if it only needs longer."
        return PlatformError(scrub("\n".join(text)), fix, objects=[self.report(t) for t in self.targets])

    def _warnings(self, target: Target) -> list[str]:
        """The latest warning of each reason about the target and its pods."""
        names = {target.name} | {p["metadata"]["name"] for p in self._pods(target)}
        try:
            events = self.client.list("Event", target.namespace, fields="type=Warning") if target.namespace else []
        except (ApiError, Unreachable):
            return []
        ours = [e for e in events if e["involvedObject"].get("name") in names]
        ours.sort(key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
        return [f"{reason}: {e.get('message', '')}" for reason, e in {e.get("reason"): e for e in ours}.items()]
