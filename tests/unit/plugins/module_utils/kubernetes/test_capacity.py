# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_capacity_check: what pods ask for, and where they find room."""

from __future__ import annotations

from decimal import Decimal

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.capacity import (
    AGENT_RESOURCES,
    Amount,
    agents,
    k8s_capacity_check,
    pod_requests,
    quantity,
)

VAULT = "vault.hashicorp.com/"


def container(cpu="100m", memory="128Mi", **more):
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


def workload(kind="Deployment", name="web", cpu="100m", memory="128Mi", annotations=None, pod=None, **spec):
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
        "spec": {"containers": [container(cpu, memory)], **(pod or {})},
    }
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def node(api):
    def put(name, cpu="1", memory="1Gi", pods="110", ready="True", labels=None, **spec):
        status = {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods, "ephemeral-storage": "7"},
        }
        metadata = {"labels": {"kubernetes.io/hostname": name, **(labels or {})}}
        api.put(f"/api/v1/nodes/{name}", {"metadata": metadata, "spec": spec, "status": status})

    return put


@pytest.fixture
def running(api):
    def put(name, node, cpu="100m", namespace="shop", phase="Running", labels=None, **meta):
        spec = {"nodeName": node, "containers": [container(cpu)]} if node else {"containers": [container(cpu)]}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        api.put(path, {"metadata": {"labels": labels or {}, **meta}, "spec": spec, "status": {"phase": phase}})

    return put


@pytest.fixture
def check(kubeconfig):
    def call(*definitions, check_mode=False, **options):
        params = {"kubeconfig": kubeconfig, "context": None, "namespace": "shop", "required": False}
        params |= {"agent_resources": AGENT_RESOURCES, "definitions": list(definitions), **options}
        return k8s_capacity_check(params, check_mode)

    return call


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250m", "0.25"),
        (2, "2"),
        ("1.5", "1.5"),
        ("1Gi", 2**30),
        ("1G", 10**9),
        ("1e3", 1000),
        (".5k", 500),
        ("3u", "3e-6"),
    ],
)
def test_quantities(text, number):
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "much", "1 Gi", "1gi", "m"])
def test_no_quantities(text):
    with pytest.raises(ValueError):
        quantity(text)


def test_requests_of_a_pod():
    def asked(spec):
        amount = pod_requests(spec).shown()
        return amount["cpu"], amount["memory"]

    app = container("100m", "100Mi")
    assert asked({"containers": [app, app]}) == ("200m", "200Mi")
    assert asked({"containers": [{}, {"resources": {"limits": {"cpu": "1"}}}]}) == ("1000m", "0Mi"), "limit is request"
    start = {"containers": [app], "initContainers": [container("500m", "10Mi"), container("50m", "400Mi")]}
    assert asked(start) == ("500m", "400Mi"), "the larger of each, not the sum"
    sidecar = container("30m", "30Mi", restartPolicy="Always")
    assert asked({"containers": [app], "initContainers": [sidecar]}) == ("130m", "130Mi")
    assert asked({"containers": [app], "initContainers": [sidecar, container("200m", "1Mi")]}) == ("230m", "130Mi")
    assert asked({"containers": [app], "initContainers": [container("110m", "1Mi"), sidecar]}) == ("130m", "130Mi")
    assert asked({"containers": [app], "overhead": {"cpu": "7m"}}) == ("107m", "100Mi")


@pytest.mark.parametrize(
    ("annotations", "cpu", "memory"),
    [
        ({}, "100m", "100Mi"),
        ({"agent-inject": "false"}, "100m", "100Mi"),
        ({"agent-inject": "true"}, "350m", "164Mi"),
        ({"agent-inject": "true", "agent-pre-populate-only": "true"}, "250m", "100Mi"),
        ({"agent-inject": "1", "agent-pre-populate": "false"}, "350m", "164Mi"),
        ({"agent-inject": "true", "agent-requests-cpu": "25m", "agent-requests-mem": "32Mi"}, "125m", "132Mi"),
        ({"agent-inject": "true", "agent-requests-cpu": "", "agent-limits-cpu": "1"}, "1100m", "164Mi"),
    ],
)
def test_what_the_injector_adds(annotations, cpu, memory):
    meta = {"annotations": {VAULT + key: value for key, value in annotations.items()} | {"other": "x"}}
    spec = {"containers": [container("100m", "100Mi")]}
    asked = pod_requests(spec, agents(meta, AGENT_RESOURCES)).shown()
    assert (asked["cpu"], asked["memory"]) == (cpu, memory)


def test_all_fits_and_is_shown_by_node(node, running, check):
    node("a", cpu="1", memory="1Gi")
    running("other", "a", "250m", namespace="kube-system")
    result = check(workload(replicas=2), workload("Job", "schema"), {"kind": "Service", "metadata": {"name": "web"}})
    assert (result["changed"], result["fits"], result["lacking"]) == (False, True, [])
    assert result["nodes"] == [
        {
            "name": "a",
            "usable": True,
            "note": "",
            "requested": {"cpu": "550m", "memory": "512Mi", "pods": "4"},
            "free": {"cpu": "450m", "memory": "512Mi", "pods": "106"},
            "allocatable": {"cpu": "1000m", "memory": "1024Mi", "pods": "110"},
        }
    ]


def test_what_does_not_fit_is_named_with_what_each_node_has_free(node, check):
    node("a", cpu="1")
    node("b", cpu="500m", ready="Unknown")
    result = check(workload(cpu="400m", replicas=3), workload(name="small", cpu="150m"))
    assert result["fits"] is False
    (lack,) = result["lacking"]
    assert (lack["workload"], lack["pods"], lack["of"]) == ("Deployment shop/web", 1, 3)
    assert lack["requests"]["cpu"] == "400m"
    assert lack["nodes"] == {"a": "has 50m CPU and 640Mi memory free", "b": "is not Ready"}
    with pytest.raises(PlatformError) as e:
        check(workload(cpu="400m", replicas=3), required=True)
    assert "Deployment shop/web: 1 of 3 pods, each asking for 400m CPU and 128Mi memory, do not fit." in str(e.value)
    assert "Node b is not Ready." in str(e.value) and "apps_resources" in e.value.fix
    assert "cloudcartops_services_override" in e.value.fix and e.value.facts["fits"] is False


def test_the_largest_pods_come_first(node, check):
    """In the order given, the small ones would take the room of the large one on each node."""
    node("a", cpu="1")
    node("b", cpu="1")
    assert check(workload(name="small", cpu="300m", replicas=4), workload(name="large", cpu="700m"))["fits"]


def test_what_runs_of_the_same_workloads_is_replaced(node, running, check):
    node("a", cpu="1")
    for number in range(2):
        running(f"web-{number}", "a", "400m", labels={"app": "web", "pod-template-hash": "x"})
    running("schema-x", "a", "100m", ownerReferences=[{"kind": "Job", "name": "schema"}])
    assert check(workload(cpu="400m", replicas=2), workload("Job", "schema"))["fits"]
    assert not check(workload(name="else", cpu="400m"))["fits"]
    running("web-0", "a", "400m", namespace="another", labels={"app": "web"})
    assert not check(workload(cpu="400m", replicas=2), workload("Job", "schema"))["fits"]


def test_pods_that_have_ended_or_wait_take_no_room(node, running, check):
    node("a", cpu="1")
    running("done", "a", "1", phase="Succeeded")
    running("broken", "a", "1", phase="Failed")
    running("going", "a", "1", deletionTimestamp="2026-01-01T00:00:00Z")
    running("pending", None, "1", phase="Pending")
    assert check(workload(cpu="1"))["fits"]


def test_memory_and_the_number_of_pods_count_too(node, check):
    node("a", memory="200Mi", pods="2")
    assert not check(workload(memory="201Mi"))["fits"]
    assert check(workload(memory="1Mi", cpu="1m", replicas=2))["fits"]
    assert not check(workload(memory="1Mi", cpu="1m", replicas=3))["fits"]
    assert check(workload(replicas=0), workload("Job", "j", parallelism=0, memory="1Ti"))["fits"]


def test_nothing_is_asked_of_what_is_overcommitted(node, running, check):
    node("a", cpu="1")
    running("large", "a", "2")
    assert check(workload(cpu="0"))["fits"]


@pytest.mark.parametrize(
    ("of_the_node", "of_the_pod", "reason"),
    [
        ({"unschedulable": True}, {}, "takes no new pods (it is cordoned)"),
        ({}, {"nodeSelector": {"disk": "ssd"}}, "is not disk=ssd, as the pod's nodeSelector demands"),
        (
            {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
            {"tolerations": [{"key": "k", "value": "other"}, {"operator": "Exists", "effect": "NoExecute"}]},
            "has the taint k:NoSchedule, which the pod does not tolerate",
        ),
    ],
)
def test_nodes_that_refuse(node, check, of_the_node, of_the_pod, reason):
    node("a", **of_the_node)
    (lack,) = check(workload(pod=of_the_pod))["lacking"]
    assert lack["nodes"] == {"a": reason}


def test_a_taint_that_a_node_keeps_for_a_moment_when_it_has_become_ready(node, check):
    node("a", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}])
    assert check(workload())["fits"]
    node("a", ready="False", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}])
    assert check(workload())["lacking"][0]["nodes"] == {"a": "is not Ready"}


@pytest.mark.parametrize(
    "toleration", [{"operator": "Exists"}, {"key": "k", "operator": "Exists"}, {"key": "k", "value": "v"}]
)
def test_what_is_tolerated(node, check, toleration):
    node("a", taints=[{"key": "k", "value": "v", "effect": "NoExecute"}, {"key": "x", "effect": "PreferNoSchedule"}])
    assert check(workload(pod={"tolerations": [toleration]}))["fits"]


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["ssd"], True),
        ("In", ["hdd"], False),
        ("NotIn", ["ssd"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
        ("Gt", ["1"], True),
    ],
)
def test_required_node_affinity(node, check, operator, values, fits):
    node("a", labels={"disk": "ssd"})
    terms = [{"matchExpressions": [{"key": "disk", "operator": operator, "values": values}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert check(workload(pod={"affinity": {"nodeAffinity": required}}))["fits"] is fits


def test_pods_stay_where_their_data_is(api, node, check):
    for name in ("a", "b"):
        node(name, cpu="1")
    api.put("/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0", {"spec": {"volumeName": "pv-1"}})
    api.put("/api/v1/namespaces/shop/persistentvolumeclaims/fresh", {"spec": {}})
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}]
    affinity = {"required": {"nodeSelectorTerms": terms}}
    api.put("/api/v1/persistentvolumes/pv-1", {"spec": {"nodeAffinity": affinity}})
    owned = {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}
    used = {
        "volumes": [{"persistentVolumeClaim": {"claimName": name}} for name in ("fresh", "none")] + [{"emptyDir": {}}]
    }
    database = workload("StatefulSet", "db", cpu="600m", replicas=1, pod=used, **owned)
    assert check(workload(cpu="600m"), database)["fits"], "the one with a choice leaves the room"
    node("b", cpu="500m")
    (lack,) = check(database)["lacking"]
    assert lack["nodes"] == {
        "a": "cannot reach the volume pv-1, which holds the pod's data",
        "b": "has 500m CPU and 1024Mi memory free",
    }


def test_a_daemon_set_needs_room_on_every_node_that_suits(node, check):
    node("a", cpu="1")
    node("b", cpu="100m")
    node("cordoned", cpu="100m", unschedulable=True)
    node("other", cpu="1m", labels={"os": "x"}, taints=[{"key": "k", "effect": "NoSchedule"}])
    (lack,) = check(workload("DaemonSet", cpu="200m"))["lacking"]
    assert (lack["pods"], lack["of"], list(lack["nodes"])) == (2, 2, ["b", "cordoned"])
    result = check(workload("DaemonSet", cpu="100m"))
    assert result["fits"] and [n["requested"]["pods"] for n in result["nodes"]] == ["1", "1", "1", "0"]


def test_a_cluster_without_nodes(check):
    result = check(workload())
    assert result["fits"] is False and result["msg"].endswith("There is no node.")
    assert check(workload("DaemonSet"))["fits"]


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (workload(cpu="lots"), "Deployment web has 'lots' where a number or a quantity belongs"),
        (workload(replicas="two"), "Deployment web has .*'two'"),
        ({"kind": "Job", "metadata": {"name": "j"}}, r"Job j is not complete \('spec'\)"),
        ({"kind": "Job"}, "Job without a name is not complete"),
        ({"kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": None}}}, "Job j is not complete"),
    ],
)
def test_definitions_that_cannot_be_right(api, check, definition, message):
    with pytest.raises(PlatformError, match=message):
        check(definition)
    assert api.requests == []


def test_without_a_cluster(check, absent):
    result = check(workload(), kubeconfig=absent, check_mode=True)
    assert (result["changed"], result["cluster"], result["skipped"]) == (False, "absent", True)
    assert "no cluster yet" in result["msg"]
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        check(workload(), kubeconfig=absent)


def test_the_module(api, node, run_module, kubeconfig):
    node("a")
    options = {"kubeconfig": kubeconfig, "namespace": "shop", "definitions": [workload(replicas=20)]}
    result = run_module("k8s_capacity_check", **options)
    assert result["failed"] and result["fits"] is False and result["lacking"][0]["pods"] == 12
    result = run_module("k8s_capacity_check", required=False, **options)
    assert not result["failed"] and result["msg"].startswith("The cluster has no room")
    assert {method for method, *_rest in api.requests} == {"GET"}


def test_amounts_add_up():
    one, two = Amount.of({"cpu": "1", "memory": "1Ki", "pods": "1"}), Amount.of({"cpu": "500m"})
    assert str(one + two) == "1500m CPU and 0Mi memory" and (one | two) == one and (one - two).cpu == Decimal("0.5")
