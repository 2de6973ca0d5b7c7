# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and taints of a node as the inventory says, and its way out of the cluster."""

from __future__ import annotations

import json
import time

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import ended

# What was set here before, so that what left the inventory leaves the node, and what others set stays.
MANAGED = "cloudcartops.github.io/managed"
POLL = 0.5
MIRROR = "kubernetes.io/config.mirror"


def k8s_node(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    client = connect(params["kubeconfig"], params["context"], check_mode)
    node = client.get("Node", params["name"]) if client else None
    if params["state"] == "absent":
        actions = remove(client, node, params, check_mode) if node else []
    else:
        if not node and not check_mode:
            raise PlatformError(
                f"There is no node {params['name']}.", "Run the play cloudcartops.platform.setup for it."
            )
        actions = keep_in_step(client, node or {"metadata": {}, "spec": {}}, params, check_mode)
    return {
        "changed": bool(actions),
        "actions": actions,
        "diff": {"before": "", "after": "".join(f"{a}\n" for a in actions)},
    }


def taint_name(taint: dict) -> str:
    return f"{taint['key']}:{taint['effect']}"


def keep_in_step(client: Client | None, node: dict, params: dict, check_mode: bool) -> list[str]:
    """Set the labels and taints, and remove those that were set before and are not asked for any more."""
    meta = node["metadata"]
    managed = json.loads((meta.get("annotations") or {}).get(MANAGED) or "{}")
    labels, live = {str(k): str(v) for k, v in params["labels"].items()}, meta.get("labels") or {}
    changes = {key: value for key, value in labels.items() if live.get(key) != value}
    changes.update({key: None for key in managed.get("labels", []) if key not in labels and key in live})
    actions = [f"label {key}" + (f"={value}" if value is not None else " removed") for key, value in changes.items()]

    wanted = {taint_name(t): {k: v for k, v in t.items() if v} for t in params["taints"]}
    present = {taint_name(t): t for t in node["spec"].get("taints") or []}
    gone = [name for name in managed.get("taints", []) if name not in wanted and name in present]
    new = [n for n, t in wanted.items() if n not in present or present[n].get("value", "") != t.get("value", "")]
    actions += [f"taint {name} removed" for name in gone] + [f"taint {name}" for name in new]

    ours = {key: sorted(names) for key, names in (("labels", labels), ("taints", wanted)) if names}
    if not actions and managed == ours:
        return []
    if client and not check_mode:
        body: dict = {
            "metadata": {
                "resourceVersion": meta["resourceVersion"],
                "labels": changes,
                "annotations": {MANAGED: json.dumps(ours) if ours else None},
            }
        }
        if gone or new:
            others = [taint for name, taint in present.items() if name not in gone and name not in wanted]
            body["spec"] = {"taints": others + list(wanted.values())}
        client.patch("Node", params["name"], body)
    return actions or [f"annotation {MANAGED}"]


def stranded(client: Client, name: str, hostname: str) -> list[str]:
    """Claims whose data is on the node and nowhere else."""
    found = []
    for volume in client.list("PersistentVolume"):
        spec = volume["spec"]
        terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
        rules = [rule for term in terms for key in ("matchExpressions", "matchFields") for rule in term.get(key) or []]
        here = any(set(rule.get("values") or []) in ({name}, {hostname}) for rule in rules)
        claim = spec.get("claimRef")
        if here and claim and volume.get("status", {}).get("phase") == "Bound":
            found.append(f"{claim['namespace']}/{claim['name']}")
    return sorted(found)


def remove(client: Client, node: dict, params: dict, check_mode: bool) -> list[str]:
    """Let no new pods onto the node, evict those that are there, and delete it. Raises PlatformError."""
    name, labels = params["name"], node["metadata"].get("labels") or {}
    if "node-role.kubernetes.io/control-plane" in labels:
        raise PlatformError(
            f"The node {name} is a server, and only agents can leave. Nothing was changed.",
            "The play uninstall ends a whole cluster.",
        )
    claims = stranded(client, name, labels.get("kubernetes.io/hostname", name))
    if claims:
        raise PlatformError(
            f"The node {name} has the only copy of the data of {', '.join(claims)}. Nothing was changed.",
            "Copy the data elsewhere and delete these claims (kubectl -n NAMESPACE delete pvc NAME), then run again.",
            claims=claims,
        )
    pods = to_evict(client, name)
    actions = [f"evict {pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods] + [
        f"delete Node {name}"
    ]
    if check_mode:
        return actions
    if not node["spec"].get("unschedulable"):
        client.patch("Node", name, {"spec": {"unschedulable": True}, "metadata": {}})
    evict(client, name, params["timeout"])
    client.delete("Node", name)
    return actions


def to_evict(client: Client, node: str) -> list[dict]:
    """The pods of a node that run elsewhere as well as here: none of DaemonSets, of files, or that have ended."""
    return [
        pod
        for pod in client.list("Pod", fields=f"spec.nodeName={node}")
        if not any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or [])
        and MIRROR not in (pod["metadata"].get("annotations") or {})
        and not ended(pod)
    ]


def evict(client: Client, node: str, timeout: int) -> None:
    """Evict pods, as their disruption budgets allow, until there are none. Raises PlatformError."""
    deadline, refusals = time.monotonic() + timeout, {}
    while True:
        pods = to_evict(client, node)
        if not pods:
            return
        if time.monotonic() > deadline:
            names = [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods]
            why = "".join(f" {refusals[name]}" for name in names if name in refusals)
            raise PlatformError(
                f"Pods did not leave the node {node} within {timeout} s: {', '.join(names)}.{why}",
                "'kubectl describe pod' shows what keeps them. The node takes no new ones: 'kubectl uncordon' ends it.",
            )
        for pod in pods:
            meta = pod["metadata"]
            if "deletionTimestamp" in meta:
                continue
            body = {
                **{"apiVersion": "policy/v1", "kind": "Eviction"},
                "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            }
            path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
            try:
                client.call("POST", path, doing=f"evict Pod {meta['namespace']}/{meta['name']}", body=body)
            except ApiError as e:
                if e.status not in (404, 429):  # gone, or its disruption budget does not allow it yet
                    raise
                refusals[f"{meta['namespace']}/{meta['name']}"] = e.what
        time.sleep(POLL)
