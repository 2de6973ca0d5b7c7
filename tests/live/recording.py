# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what the API says of an object in trouble, and of the same when it is well again, for the unit tests.

`pytest tests/live/test_faults.py --record` uses it.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/unit/plugins/module_utils/kubernetes/recorded"
UTILS = "ansible_collections.cloudcartops.platform.plugins.module_utils."
VALUES = ("data", "stringData", "binaryData")
# What decides by objects of the API alone, by the rules that it finds.
PARTS = {"node": "node_state", "pressure": "node_state", "cordoned": "node_state", "dns": "dns", "route": "routes",
         "injector": "injector"}  # fmt: skip
KEPT = {
    "metadata": ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "labels"),
    "spec": ("nodeName", "containers", "initContainers", "volumes", "replicas", "selector", "parallelism",
             "completions", "unschedulable", "taints", "storageClassName", "rules", "ports"),
    "container": ("name", "image", "resources", "command", "restartPolicy"),
    "event": ("reason", "message", "type", "involvedObject", "series", "firstTimestamp", "lastTimestamp", "eventTime"),
}  # fmt: skip


def some(item: dict, keys) -> dict:
    return {key: item[key] for key in keys if key in item}


def trimmed(obj: dict) -> dict:
    """What rules read of an object. No environment and no template: they may say more than a fixture should."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    notes = {key: value for key, value in (meta.get("annotations") or {}).items() if "/agent-inject" in key}
    others = {key: value for key, value in obj.items() if key not in ("metadata", "spec", "status", *VALUES)}
    found = others | {"metadata": some(meta, KEPT["metadata"]) | {"annotations": some(notes, [k for k in notes if
             "template" not in k])}, "spec": some(spec, KEPT["spec"])}  # fmt: skip
    for containers in {"containers", "initContainers"} & found["spec"].keys():
        found["spec"][containers] = [some(item, KEPT["container"]) for item in spec[containers]]
    if "volumes" in spec:
        found["spec"]["volumes"] = [volume for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    found["status"] = {key: value for key, value in status.items() if key not in ("images", "nodeInfo")}
    for statuses in ("initContainerStatuses", "containerStatuses"):
        for item in found["status"].get(statuses) or []:
            for key in ("volumeMounts", "resources", "allocatedResources", "user"):
                item.pop(key, None)
    return found


def needed(answer: list) -> list:
    """An answer, as far as those parts read it."""
    method, arguments, found = answer
    if method == "list" and arguments[0] == "Pod":
        found = [{"metadata": some(pod["metadata"], ("name", "namespace")), "spec": {}, "status": some(
            pod["status"], ("conditions",))} for pod in found]  # fmt: skip
    elif method == "list" and arguments[0] not in ("Node", "EndpointSlice", "Ingress", "Service"):
        found = []
    return [method, arguments, found]


class Keeper:
    """A client, of which the answers are kept."""

    def __init__(self, client) -> None:
        self.client, self.answers = client, []

    def _kept(self, method: str, arguments: tuple, options: dict):
        answer = getattr(self.client, method)(*arguments, **options)
        if isinstance(answer, list):
            answer = [trimmed(item) for item in answer]
        elif isinstance(answer, dict):
            answer = trimmed(answer)
        self.answers.append([method, [*arguments], answer])
        return answer

    def get(self, *arguments, **options):
        return self._kept("get", arguments, options)

    def list(self, *arguments, **options):
        return self._kept("list", arguments, options)

    def create(self, obj: dict, **options):
        return self._kept("create", (), {"obj": obj, **options})

    def call(self, *arguments, **options):
        return self.client.call(*arguments, **options)

    def logs(self, namespace: str, name: str, container: str, **options):
        scrub = importlib.import_module(UTILS + "_scrub").scrub
        text = scrub(self.client.logs(namespace, name, container, **options))
        previous = "previous" if options.get("previous") else ""
        self.answers.append(["logs", [namespace, name, container, previous], text])
        return text


class Recorder:
    """Of each fault: the object that shows it, its events, and what the rules asked for besides."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.client = importlib.import_module(UTILS + "kubernetes.client").connect(kubeconfig, None, False)
        self.namespace = namespace

    def _look(self, kind: str, obj: dict, warnings: list[dict]) -> tuple[dict, list]:
        """What is kept of an object, and its troubles, as from a wait that began before they did."""
        diagnosis = importlib.import_module(UTILS + "kubernetes.diagnosis")
        looks = importlib.import_module(UTILS + "kubernetes.looks").Looks
        ours = [e for e in warnings if e["involvedObject"].get("name") == obj["metadata"]["name"]]
        kept = {"kind": kind, "object": trimmed(obj), "events": [
            some(e, KEPT["event"]) | {"metadata": some(e["metadata"], ["creationTimestamp"])} for e in ours
        ]}  # fmt: skip
        events, keeper = diagnosis.Events(kept["events"]), Keeper(self.client)
        if kind == "Pod":
            found = list(looks(keeper).troubles(kept["object"], {}, 0, events))
        else:
            found = list(diagnosis.workload_troubles(kind, kept["object"], {}, 0, events))
        return kept | {"answers": keeper.answers}, found

    def _all(self):
        warnings = self.client.list("Event", self.namespace, fields="type=Warning")
        for kind in ("Pod", *importlib.import_module(UTILS + "diagnose").WORKLOADS):
            for obj in self.client.list(kind, self.namespace):
                yield kind, obj, warnings

    def sick(self, rule: str) -> dict | None:
        """The first object that a rule is about; None when it is about no pod and no workload."""
        for kind, obj, warnings in self._all():
            kept, found = self._look(kind, obj, warnings)
            for trouble in found:
                if trouble.rule == rule:
                    return kept | {"rule": rule, "cause": trouble.cause}
        return None

    def well(self, sick: dict) -> dict:
        """The same object later, or the pod that has come in its place."""
        meta = sick["object"]["metadata"]
        for kind, obj, warnings in self._all():
            same = obj["metadata"].get("labels", {}).get("app") == meta["labels"].get("app")
            if kind == sick["kind"] and same and "deletionTimestamp" not in obj["metadata"]:
                kept, found = self._look(kind, obj, warnings)
                assert not found, found
                return kept
        raise AssertionError(f"nothing has come in the place of {meta['name']}")

    def part(self, rule: str) -> tuple[dict, list]:
        """What a part of the diagnosis asked for, and what it found."""
        diagnose = importlib.import_module(UTILS + "diagnose")
        keeper = Keeper(self.client)
        diagnosis = diagnose.Diagnosis(keeper, {"namespace": self.namespace, "services": {}, "topics": [], "jobs": []})
        found = list(getattr(diagnosis, PARTS[rule])())
        return {"part": PARTS[rule], "answers": list(map(needed, keeper.answers))}, found

    def sick_part(self, rule: str) -> dict | None:
        if rule not in PARTS:
            return None
        kept, found = self.part(rule)
        return kept | {"rule": rule, "cause": next(f.cause for f in found if f.rule == rule)}

    def well_part(self, sick: dict) -> dict:
        kept, found = self.part(sick["rule"])
        assert not found, found
        return kept

    def write(self, title: str, sick: dict, well: dict) -> None:
        FOLDER.mkdir(exist_ok=True)
        name = re.sub("[^a-z]+", "-", title.lower()).strip("-") + ("-part" if "part" in sick else "")
        text = json.dumps({"fault": title, "sick": sick, "well": well}, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
