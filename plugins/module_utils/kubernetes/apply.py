# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply of many objects: read, dry run, compare, write only what would change, and prune leftovers."""

from __future__ import annotations

import base64
import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import (
    Client,
    UnknownKind,
    connect,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import holds
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import (
    BUILT_IN,
    MANAGED_BY,
    OWNER,
    ref,
)

PART_OF = "app.kubernetes.io/part-of"
COMPONENT = "app.kubernetes.io/component"
HIDDEN = "<hidden>"
ESTABLISHED = "Established"
THREADS = 8
DELETION_TIMEOUT = 30  # seconds

_FIRST = {"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass"}
WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}
# Not pruned: data, what the cluster makes of a Service (with its labels, and without an owner reference), and messages
_KEPT = {"PersistentVolumeClaim", "Endpoints", "Event"}
_LAST = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService"}
_VERBS = {"created": "create", "updated": "update", "deleted": "delete"}
# What the server writes by itself, and what holds a copy of the whole object
_SERVER_SIDE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_COPIES = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")


@dataclass
class Outcome:
    """What became, or would become, of one object."""

    wanted: dict
    action: str  # created, updated, deleted, unchanged or failed
    before: dict | None = None
    after: dict | None = None
    error: str = ""

    @property
    def ref(self) -> str:
        meta = self.wanted["metadata"]
        return ref(self.wanted["kind"], meta["name"], meta.get("namespace"))

    def summary(self) -> dict:
        meta = self.wanted["metadata"]
        summary = {"kind": self.wanted["kind"], "name": meta["name"], "namespace": meta.get("namespace")}
        uid = (self.before or self.after or {}).get("metadata", {}).get("uid")
        return {**summary, "action": self.action, "uid": uid}

    def diff(self) -> dict:
        before, after = shown(self.before), shown(self.after)
        if self.wanted["kind"] == "Secret":
            old, new = before.get("data") or {}, after.get("data") or {}
            if before:
                before["data"] = dict.fromkeys(old, HIDDEN)
            if after:
                after["data"] = {k: HIDDEN if old.get(k, v) == v else f"{HIDDEN}, changed" for k, v in new.items()}
        return {"before_header": self.ref, "after_header": self.ref, "before": before, "after": after}


def k8s_apply(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    given, params["definitions"] = params["definitions"], [redacted(d) for d in params["definitions"]]
    namespace, labels = params["namespace"], {PART_OF: params["part_of"], COMPONENT: params["component"]}
    if params["prune"] and not (namespace and all(labels.values())):
        raise PlatformError(
            "prune would not know which objects are meant.", "Set the options namespace, part_of and component too."
        )
    wanted = prepare(given, labels, namespace)
    client = connect(params["kubeconfig"], params["context"], check_mode)
    outcomes = apply(client, wanted, check_mode) if client else [Outcome(w, "created", after=w) for w in wanted]
    if client and params["prune"] and all(o.action != "failed" for o in outcomes):
        outcomes += prune(client, wanted, labels, namespace, check_mode)
    return result(outcomes, check_mode, absent=client is None)


def result(outcomes: list[Outcome], check_mode: bool, absent: bool = False) -> dict:
    """The module's result; raises when an object failed, after all that could be applied was."""
    objects = [o.summary() for o in outcomes]
    changes = [o for o in outcomes if o.action in _VERBS]
    failed = [o.error for o in outcomes if o.action == "failed"]
    if failed:
        raise PlatformError("\n".join(failed), changed=bool(changes) and not check_mode, objects=objects)
    answer = {"changed": bool(changes), "objects": objects, "diff": [o.diff() for o in changes]}
    if check_mode:
        answer["plan"] = [f"{_VERBS[o.action]} {o.ref}" for o in changes]
        answer["cluster"] = "absent" if absent else "present"
    return answer


def prepare(definitions: list[dict], labels: dict | None = None, namespace: str | None = None) -> list[dict]:
    """Copies of the definitions, with namespace and labels (those that have a value); refuses what cannot be right."""
    seen: dict[tuple, int] = {}
    ours = {MANAGED_BY: OWNER, **{k: v for k, v in (labels or {}).items() if v}}
    prepared = []
    for number, definition in enumerate(definitions, 1):
        where = f"Definition {number} of {len(definitions)}"
        obj = copy.deepcopy(definition)
        meta = obj.get("metadata")
        name = meta.get("name") if isinstance(meta, dict) else None
        for key, value in (("apiVersion", obj.get("apiVersion")), ("kind", obj.get("kind")), ("metadata.name", name)):
            if not isinstance(value, str) or not value:
                raise PlatformError(f"{where} has no {key}.", "Every object needs apiVersion, kind and metadata.name.")
        built_in = BUILT_IN.get((obj["apiVersion"], obj["kind"]))
        if built_in and built_in.namespaced and not meta.get("namespace"):
            if not namespace:
                raise PlatformError(
                    f"{where}, {ref(obj['kind'], name)}, has no namespace.",
                    "Give it metadata.namespace, or set the option namespace.",
                )
            meta["namespace"] = namespace
        key = _key(obj)
        if key in seen:
            raise PlatformError(
                f"{where} is the same object as number {seen[key]}: {ref(obj['kind'], name, meta.get('namespace'))}.",
                "Remove one of them.",
            )
        seen[key] = number
        meta["labels"] = {**(meta.get("labels") or {}), **ours}
        if obj["kind"] == "Secret" and obj.get("stringData"):  # the server would keep keys that leave stringData
            encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in obj.pop("stringData").items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}
        prepared.append(obj)
    return prepared


def apply(client: Client, wanted: list[dict], check_mode: bool) -> list[Outcome]:
    """Apply prepared objects, in an order that lets each find what it needs; several at a time.

    A failed object stops those that come after its group; the outcomes say which.
    """
    planned = _Planned(wanted) if check_mode else None
    outcomes: dict[int, Outcome] = {}
    groups: dict[int, list[dict]] = {}
    for obj in wanted:
        groups.setdefault(_phase(obj["kind"]), []).append(obj)
    with ThreadPoolExecutor(THREADS) as pool:
        for _phase_number, group in sorted(groups.items()):
            for outcome in pool.map(lambda obj: _apply(client, obj, check_mode, planned), group):
                outcomes[id(outcome.wanted)] = outcome
            if not check_mode:
                _await_established(client, group, outcomes)
            if any(o.action == "failed" for o in outcomes.values()):
                break
    return [outcomes[id(obj)] for obj in wanted if id(obj) in outcomes]


def prune(client: Client, wanted: list[dict], labels: dict, namespace: str, check_mode: bool) -> list[Outcome]:
    """Delete what carries our labels in the namespace and is not wanted (any more); several at a time.

    Looks at the built-in kinds of a namespace. Kept are claims of volumes, and what belongs to another object or is
    being deleted.
    """
    keys = set(map(_key, wanted))
    found = ours(client, namespace, labels)
    left = [o for o in found if _key(o) not in keys and "deletionTimestamp" not in o["metadata"]]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda obj: delete(client, obj, check_mode), left))


def ours(client: Client, namespace: str, labels: dict) -> list[dict]:
    """The objects of a namespace that carry our labels and belong to no other object, but for claims of volumes."""
    selector = ",".join(f"{key}={value}" for key, value in {MANAGED_BY: OWNER, **labels}.items())
    kinds = [r.kind for r in BUILT_IN.values() if r.namespaced and r.kind not in _KEPT]
    with ThreadPoolExecutor(2 * THREADS) as pool:
        lists = list(pool.map(lambda kind: _labelled(client, kind, namespace, selector), kinds))
    return [obj for listed in lists for obj in listed if "ownerReferences" not in obj["metadata"]]


def _labelled(client: Client, kind: str, namespace: str, selector: str) -> list[dict]:
    try:
        return client.list(kind, namespace, labels=selector)
    except ApiError as e:
        if e.status == 404:  # an older cluster without that version of the kind, so without our objects of it
            return []
        if e.status == 403:
            right = f"the right to list {client.resource(None, kind).plural} in the namespace {namespace}"
            raise PlatformError(
                e.what, f"Grant the kubeconfig's user {right}: it may hold what is to be deleted."
            ) from e
        raise


def delete(client: Client, live: dict, check_mode: bool, propagation: str = "Background") -> Outcome:
    """Delete one object; with the propagation "Foreground" it stays until all that belongs to it is gone."""
    where = live["metadata"]["name"], live["metadata"].get("namespace"), live["apiVersion"]
    try:
        client.delete(live["kind"], *where, propagation=propagation, dry_run=check_mode)
    except ApiError as e:
        return Outcome(live, "failed", error=str(e))
    return Outcome(live, "deleted", before=live)


def _key(obj: dict) -> tuple:
    """What tells objects apart, whatever version of the API they are written in."""
    meta = obj["metadata"]
    return (obj["apiVersion"].rpartition("/")[0], obj["kind"], meta.get("namespace"), meta["name"])


def _phase(kind: str) -> int:
    return 0 if kind in _FIRST else 3 if kind in _LAST else 2 if kind in WORKLOADS else 1


class _Planned:
    """Namespaces and kinds that the same run would make: a dry run cannot see them."""

    def __init__(self, wanted: list[dict]) -> None:
        self.namespaces = {o["metadata"]["name"] for o in wanted if o["kind"] == "Namespace"}
        crds = [o.get("spec", {}) for o in wanted if o["kind"] == "CustomResourceDefinition"]
        self.kinds = {(s.get("group"), s.get("names", {}).get("kind")) for s in crds}


def _apply(client: Client, obj: dict, check_mode: bool, planned: _Planned | None) -> Outcome:
    meta = obj["metadata"]
    try:
        live = client.get(obj["kind"], meta["name"], meta.get("namespace"), obj["apiVersion"])
        if live and _failed_job(live):  # it would never run again: replace it
            if not check_mode:
                client.delete(obj["kind"], meta["name"], meta.get("namespace"), obj["apiVersion"])
            live = None
        if live and live["metadata"].get("deletionTimestamp"):  # what is written to it now would go with it
            if not check_mode and (holder := await_end(client, obj, DELETION_TIMEOUT)):
                return Outcome(obj, "failed", error=holder)
            live = None
        if live or check_mode:
            would = client.patch_apply(obj, dry_run=True)
            if live and comparable(live) == comparable(would):
                return Outcome(obj, "unchanged", live, live)
        after = would if check_mode else client.patch_apply(obj)
    except UnknownKind as e:
        if planned and (obj["apiVersion"].partition("/")[0], obj["kind"]) in planned.kinds:
            return Outcome(obj, "created", after=obj)
        return Outcome(obj, "failed", error=f"{ref(obj['kind'], meta['name'], meta.get('namespace'))}: {e}")
    except ApiError as e:
        if planned and e.namespace_missing:  # of this run, or of an earlier task of the same play
            return Outcome(obj, "created", after=obj)
        return Outcome(obj, "failed", error=_without_values(str(e), obj))
    return Outcome(obj, "updated" if live else "created", live, after)


def _failed_job(obj: dict) -> bool:
    return obj["kind"] == "Job" and holds(obj, "Failed")


def await_end(client: Client, obj: dict, seconds: int) -> str:
    """Wait until an object that is being deleted is gone; returns, when it is not gone in time, what holds it."""
    kind, meta = obj["kind"], obj["metadata"]
    where = {"namespace": meta.get("namespace"), "api_version": obj["apiVersion"]}
    for event, seen in client.watch(kind, fields=f"metadata.name={meta['name']}", timeout=seconds, **where):
        if event == "DELETED" or (event == "LISTED" and not seen["items"]):
            return ""
    live = client.get(kind, meta["name"], **where)
    return _held(live) if live else ""


def _held(live: dict) -> str:
    meta, kind = live["metadata"], live["kind"]
    holders = meta.get("finalizers") or live.get("spec", {}).get("finalizers") or []
    fix = f"See what still needs it ('kubectl describe {kind.lower()} {meta['name']}'), then run again."
    if "kubernetes.io/pvc-protection" in holders:
        fix = "Pods still use it. Save its data if it is needed, delete those pods, then run again: it is made anew."
    what = f"{ref(kind, meta['name'], meta.get('namespace'))} is being deleted since {meta['deletionTimestamp']}"
    conditions = live.get("status", {}).get("conditions") or [] if kind == "Namespace" else []
    reasons = " ".join(f"{c['message'].rstrip('.')}." for c in conditions if c["status"] == "True" and c.get("message"))
    return f"{what}, and is still held by {', '.join(holders)}. {reasons} {fix}"


def _await_established(client: Client, group: list[dict], outcomes: dict[int, Outcome]) -> None:
    """Wait until the API serves the kinds of new CustomResourceDefinitions."""
    for obj in group:
        after = outcomes[id(obj)].after
        if obj["kind"] == "CustomResourceDefinition" and after and not holds(after, ESTABLISHED):
            for kind, event in client.watch(obj["kind"], fields=f"metadata.name={obj['metadata']['name']}", timeout=30):
                if any(holds(crd, ESTABLISHED) for crd in (event["items"] if kind == "LISTED" else [event])):
                    break


def comparable(obj: dict) -> dict:
    """The object without what changes by itself."""
    obj = {k: v for k, v in obj.items() if k != "status"}
    obj["metadata"] = {k: v for k, v in obj["metadata"].items() if k not in _SERVER_SIDE}
    return obj


def shown(obj: dict | None) -> dict:
    """The object as a diff shows it."""
    if obj is None:
        return {}
    obj = copy.deepcopy(comparable(obj))
    annotations = obj["metadata"].get("annotations") or {}
    for copied in _COPIES:
        annotations.pop(copied, None)
    return obj


def redacted(definition: dict) -> dict:
    """The definition without the values of a Secret, for what Ansible prints of a module's arguments."""
    if definition.get("kind") != "Secret":
        return definition
    hidden = {
        k: dict.fromkeys(definition[k], HIDDEN) for k in ("data", "stringData") if isinstance(definition.get(k), dict)
    }
    return {**definition, **hidden}


def _without_values(message: str, obj: dict) -> str:
    """An error message about a Secret, without the Secret's values (the API quotes some that it refuses)."""
    values = (obj.get("data") or {}) if obj["kind"] == "Secret" else {}
    for value in map(str, values.values()):
        message = message.replace(value, HIDDEN)
    return message
