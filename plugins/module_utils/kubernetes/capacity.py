# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the nodes have room for what is to be deployed: the scheduler's filters, simplified, without its wait.

Requests of a pod: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import ended, holds
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

INJECTOR = "vault.hashicorp.com/"
# What the injector gives an agent container when it is not told otherwise
AGENT_RESOURCES = {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
FIX = (
    "Lower what is asked for (apps_resources and the like of the other roles, resources or replicas of single services "
    "in cloudcartops_services_override), take bigger machines, or add one to the group k3s_agent."
)
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkMGTPE]|[KMGTPE]i)?")
_SCALE = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")}
_SCALE |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)}
_SCALE |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}


def quantity(text: object) -> Decimal:
    """The number that a Kubernetes quantity stands for.

    :raises ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(str(text).strip())
    if not found:
        raise ValueError(text)
    return Decimal(found[1]) * _SCALE[found[2] or ""]


@dataclass
class Amount:
    """What a pod asks for, or a node has: CPUs, bytes of memory, pods."""

    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    pods: Decimal = Decimal(0)

    @classmethod
    def of(cls, resources: dict | None) -> Amount:
        return cls(**{k: quantity(v) for k, v in (resources or {}).items() if k in ("cpu", "memory", "pods")})

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpu + other.cpu, self.memory + other.memory, self.pods + other.pods)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.cpu - other.cpu, self.memory - other.memory, self.pods - other.pods)

    def __or__(self, other: Amount) -> Amount:
        """The larger of each."""
        return Amount(max(self.cpu, other.cpu), max(self.memory, other.memory), max(self.pods, other.pods))

    def fits(self, room: Amount) -> bool:
        """An amount that is not asked for fits an overcommitted node too."""
        pairs = (self.cpu, room.cpu), (self.memory, room.memory), (self.pods, room.pods)
        return all(wanted <= free or not wanted for wanted, free in pairs)

    def shown(self) -> dict[str, str]:
        return {"cpu": f"{self.cpu * 1000:.0f}m", "memory": f"{self.memory / 2**20:.0f}Mi", "pods": f"{self.pods:.0f}"}

    def __str__(self) -> str:
        return "{cpu} CPU and {memory} memory".format(**self.shown())


@dataclass
class Pod:
    """A pod that is to be deployed; of a DaemonSet, each of its pods."""

    workload: str
    spec: dict
    requests: Amount
    daemon: bool = False
    claims: list[tuple[str, str]] = field(default_factory=list)  # (namespace, name)
    places: list[tuple[str, dict]] = field(default_factory=list)  # (volume, node affinity) of the claims' volumes


@dataclass
class Node:
    """A node, and what its pods take of it."""

    name: str
    labels: dict
    taints: list[dict]
    trouble: str
    allocatable: Amount
    requested: Amount = field(default_factory=Amount)

    @property
    def free(self) -> Amount:
        return self.allocatable - self.requested

    def refuses(self, pod: Pod) -> str:
        """Why none of the pod's kind may run here, whatever room there is; empty when it may."""
        if self.trouble and not pod.daemon:
            return self.trouble
        for taint in [] if self.trouble else self.taints:
            tolerated = any(_tolerates(t, taint) for t in pod.spec.get("tolerations") or [])
            if taint["effect"] != "PreferNoSchedule" and not tolerated:
                return f"has the taint {taint['key']}:{taint['effect']}, which the pod does not tolerate"
        for label, value in (pod.spec.get("nodeSelector") or {}).items():
            if self.labels.get(label) != value:
                return f"is not {label}={value}, as the pod's nodeSelector demands"
        affinity = ((pod.spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
        if affinity and not self._matches(affinity):
            return "is not what the pod's node affinity demands"
        for volume, required in pod.places:
            if not self._matches(required):
                return f"cannot reach the volume {volume}, which holds the pod's data"
        return ""

    def _matches(self, selector: dict) -> bool:
        """https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity"""
        terms = selector.get("nodeSelectorTerms") or []
        return any(all(map(self._meets, term.get("matchExpressions") or [])) for term in terms)

    def _meets(self, expression: dict) -> bool:
        has, value = expression["key"] in self.labels, self.labels.get(expression["key"])
        listed = value in (expression.get("values") or [])
        operator = expression["operator"]
        return {"In": has and listed, "NotIn": not listed, "Exists": has, "DoesNotExist": not has}.get(operator, True)


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def k8s_capacity_check(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    workloads = [d for d in params["definitions"] if d.get("kind") in ("Deployment", "StatefulSet", "DaemonSet", "Job")]
    pods = [pod for w in workloads for pod in expand(w, params["namespace"], params["agent_resources"])]
    client = connect(params["kubeconfig"], params["context"], check_mode)
    if client is None:
        note = "There is no cluster yet, so its capacity is not known."
        return {"changed": False, "cluster": "absent", "skipped": True, "msg": note}
    nodes = read_nodes(client, workloads, params["namespace"])
    read_volumes(client, pods)
    lacking = place(pods, nodes)
    result = {"fits": not lacking, "nodes": [_row(node) for node in nodes], "lacking": lacking}
    message = _message(lacking)
    if lacking and params["required"]:
        raise PlatformError(message, f"\n{FIX}", **result)
    return {"changed": False, "cluster": "present", "msg": message, **result}


def expand(workload: dict, namespace: str, agent: dict) -> list[Pod]:
    """The pods of a workload.

    :raises PlatformError: it is not complete, or asks for what is no quantity.
    """
    name = ref(workload["kind"], (workload.get("metadata") or {}).get("name") or "without a name")
    try:
        return list(_expand(workload, namespace, agent))
    except ValueError as e:
        what = f"{name} has '{e}' where a number or a quantity belongs."
        raise PlatformError(what, "Write 2 for replicas, 250m for CPU and 128Mi for memory, say.") from e
    except (KeyError, TypeError, AttributeError) as e:
        raise PlatformError(f"{name} is not complete ({e}).", "Give it all that the API of its kind demands.") from e


def _expand(workload: dict, namespace: str, agent: dict) -> Iterator[Pod]:
    kind, meta, spec = workload["kind"], workload["metadata"], workload["spec"]
    namespace = meta.get("namespace") or namespace
    name, template = ref(kind, meta["name"], namespace), spec["template"]
    requests = pod_requests(template["spec"], agents(template.get("metadata") or {}, agent))
    count = spec.get({"Deployment": "replicas", "StatefulSet": "replicas", "Job": "parallelism"}.get(kind))
    volumes = template["spec"].get("volumes") or []
    used = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
    owned = [t["metadata"]["name"] for t in spec.get("volumeClaimTemplates") or []]
    for number in range(1 if count is None else int(count)):
        claims = [*used, *(f"{claim}-{meta['name']}-{number}" for claim in owned)]
        yield Pod(name, template["spec"], requests, kind == "DaemonSet", [(namespace, claim) for claim in claims])


def agents(meta: dict, resources: dict) -> tuple[list[dict], list[dict]]:
    """The init containers and the containers that Vault's injector adds to a pod with this metadata."""
    said = {k[len(INJECTOR) :]: str(v) for k, v in (meta.get("annotations") or {}).items() if k.startswith(INJECTOR)}

    def yes(key: str, default: str) -> bool:
        return said.get(key, default).lower() in ("1", "t", "true")

    if not yes("agent-inject", "false"):
        return [], []
    wanted = {}
    for part in ("requests", "limits"):
        ours = {k: said.get(f"agent-{part}-{short}") for k, short in (("cpu", "cpu"), ("memory", "mem"))}
        wanted[part] = {k: v for k, v in {**resources.get(part, {}), **_given(ours)}.items() if v != ""}
    only = yes("agent-pre-populate-only", "false")
    container = [{"resources": wanted}]
    return (container if only or yes("agent-pre-populate", "true") else []), ([] if only else container)


def pod_of(live: dict) -> Pod:
    """A pod that exists already, with its agents, as one to be placed."""
    meta, spec = live["metadata"], live["spec"]
    volumes = spec.get("volumes") or []
    claims = [
        (meta["namespace"], v["persistentVolumeClaim"]["claimName"]) for v in volumes if "persistentVolumeClaim" in v
    ]
    return Pod(ref("Pod", meta["name"], meta["namespace"]), spec, pod_requests(spec), claims=claims)


def _given(values: dict) -> dict:
    return {k: v for k, v in values.items() if v is not None}


def pod_requests(spec: dict, injected: tuple[list[dict], list[dict]] = ((), ())) -> Amount:
    """What the scheduler reserves for a pod: its containers, or the largest moment of its start when that is more."""
    running = sum((_container(c) for c in [*spec["containers"], *injected[1]]), Amount())
    start, sidecars = Amount(), Amount()
    for container in [*(spec.get("initContainers") or []), *injected[0]]:
        asked = _container(container)
        start |= asked + sidecars
        if container.get("restartPolicy") == "Always":
            sidecars += asked
    return (start | (running + sidecars)) + Amount.of(spec.get("overhead")) + Amount(pods=Decimal(1))


def _container(container: dict) -> Amount:
    resources = container.get("resources") or {}
    return Amount.of({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def read_nodes(client: Client, workloads: list[dict], namespace: str) -> list[Node]:
    """The nodes by name, with what runs there and is not replaced by ``workloads``."""
    nodes = {n["metadata"]["name"]: _node(n) for n in client.list("Node")}
    for pod in client.list("Pod"):
        node = nodes.get(pod["spec"].get("nodeName"))
        gone = ended(pod) or "deletionTimestamp" in pod["metadata"]
        if node and not gone and not any(_runs(pod["metadata"], w, namespace) for w in workloads):
            node.requested += pod_requests(pod["spec"])
    return [nodes[name] for name in sorted(nodes)]


# They follow the node's condition, and stay for a moment when it has become ready.
_OF_READINESS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def _node(node: dict) -> Node:
    spec, status = node.get("spec", {}), node.get("status", {})
    ready = holds(node, "Ready")
    trouble = "is not Ready" if not ready else "takes no new pods (it is cordoned)" if spec.get("unschedulable") else ""
    labels = node["metadata"].get("labels", {})
    taints = [t for t in spec.get("taints") or [] if not (ready and t["key"] in _OF_READINESS)]
    return Node(node["metadata"]["name"], labels, taints, trouble, Amount.of(status.get("allocatable")))


def _runs(meta: dict, workload: dict, namespace: str) -> bool:
    """Whether a live pod belongs to the workload that is to be deployed."""
    wanted = workload["metadata"]
    if meta.get("namespace") != (wanted.get("namespace") or namespace):
        return False
    if workload["kind"] == "Job":
        return any(o["kind"] == "Job" and o["name"] == wanted["name"] for o in meta.get("ownerReferences") or [])
    labels = (workload["spec"].get("selector") or {}).get("matchLabels")
    return bool(labels) and labels.items() <= (meta.get("labels") or {}).items()


def _tolerates(toleration: dict, taint: dict) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")


def read_volumes(client: Client, pods: list[Pod]) -> None:
    """Note which volumes exist already for the pods, and what they demand of the node."""
    wanted = {claim for pod in pods for claim in pod.claims}
    bound = {
        (namespace, claim["metadata"]["name"]): claim["spec"].get("volumeName")
        for namespace in sorted({namespace for namespace, _name in wanted})
        for claim in client.list("PersistentVolumeClaim", namespace)
    }
    volumes = {bound[claim] for claim in wanted if bound.get(claim)}
    affinities = {}
    for volume in client.list("PersistentVolume") if volumes else []:
        affinities[volume["metadata"]["name"]] = (volume["spec"].get("nodeAffinity") or {}).get("required")
    for pod in pods:
        names = [bound.get(claim) for claim in pod.claims]
        pod.places = [(name, affinities[name]) for name in names if affinities.get(name)]


def place(pods: list[Pod], nodes: list[Node]) -> list[dict]:
    """Put each pod on the first node that takes it: those with the fewest nodes to choose from first, then the largest.

    Returns what is left over, by workload; the nodes' requests grow by what was placed.
    """
    usable = [(pod, [node for node in nodes if not node.refuses(pod)]) for pod in pods]
    whole = sum((node.allocatable for node in nodes), Amount())

    def weight(amount: Amount) -> Decimal:
        return max(amount.cpu / (whole.cpu or 1), amount.memory / (whole.memory or 1))

    left = []
    for pod, choice in sorted(usable, key=lambda u: (not u[0].daemon, len(u[1]), -weight(u[0].requests))):
        room = [node for node in choice if pod.requests.fits(node.free)]
        for node in room if pod.daemon else room[:1]:
            node.requested += pod.requests
        full = [node for node in choice if node not in room] if pod.daemon else [] if room else nodes
        if full or not (room or pod.daemon):
            left.append((pod, full))
    return [_lack(name, pods, left) for name in dict.fromkeys(pod.workload for pod, _full in left)]


def _lack(name: str, pods: list[Pod], left: list[tuple[Pod, list[Node]]]) -> dict:
    mine = [(pod, full) for pod, full in left if pod.workload == name]
    pod, full = mine[0]
    count = len(full) if pod.daemon else len(mine)
    return {
        "workload": name,
        "pods": count,
        "of": count if pod.daemon else sum(p.workload == name for p in pods),
        "requests": pod.requests.shown(),
        "nodes": {node.name: node.refuses(pod) or f"has {node.free} free" for node in full},
    }


def _row(node: Node) -> dict:
    amounts = {"requested": node.requested.shown(), "free": node.free.shown(), "allocatable": node.allocatable.shown()}
    return {"name": node.name, "usable": not node.trouble, "note": node.trouble, **amounts}


def _message(lacking: list[dict]) -> str:
    if not lacking:
        return "All that is to be deployed fits."
    lines = ["The cluster has no room for all that is to be deployed."]
    for lack in lacking:
        each = "{cpu} CPU and {memory} memory".format(**lack["requests"])
        lines.append(f"{lack['workload']}: {lack['pods']} of {lack['of']} pods, each asking for {each}, do not fit.")
        lines += [f"  Node {name} {reason}." for name, reason in lack["nodes"].items()] or ["  There is no node."]
    return "\n".join(lines)
