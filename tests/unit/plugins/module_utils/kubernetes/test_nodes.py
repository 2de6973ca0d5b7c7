# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_node: what it sets and takes away again, what it leaves alone, and which nodes it does not remove."""

from __future__ import annotations

import json

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils import nodes
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

NODE = "/api/v1/nodes/vm-2"
SYSTEM = {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}
DEDICATED = {"key": "for", "value": "database", "effect": "NoSchedule"}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(nodes, "POLL", 0)


@pytest.fixture
def node(api, kubeconfig):
    """A function that applies the module's logic to a node that has a label and a taint of others."""
    api.put(NODE, {"metadata": {"labels": {"kubernetes.io/hostname": "host-2"}}, "spec": {"taints": [SYSTEM]}})

    def call(check=False, **options):
        params = {"kubeconfig": kubeconfig, "context": None, "name": "vm-2", "state": "present", "timeout": 5}
        return nodes.k8s_node({**params, "labels": {}, "taints": [], **options}, check)

    return call


def live(api):
    """Labels and taints; the stand-in keeps the nulls of a patch, which the API does not."""
    found = api.objects[NODE]
    labels = {key: value for key, value in found["metadata"]["labels"].items() if value is not None}
    return labels, found["spec"]["taints"]


def test_labels_and_taints_follow_what_is_asked_for(api, node):
    first = node(labels={"disk": "fast", "zone": 1}, taints=[DEDICATED])
    assert first["changed"] and first["actions"] == ["label disk=fast", "label zone=1", "taint for:NoSchedule"]
    assert live(api) == ({"kubernetes.io/hostname": "host-2", "disk": "fast", "zone": "1"}, [SYSTEM, DEDICATED])
    assert node(labels={"disk": "fast", "zone": "1"}, taints=[DEDICATED])["changed"] is False

    second = node(labels={"disk": "slow"}, taints=[{**DEDICATED, "value": ""}])
    assert second["actions"] == ["label disk=slow", "label zone removed", "taint for:NoSchedule"]
    assert live(api) == (
        {"kubernetes.io/hostname": "host-2", "disk": "slow"},
        [SYSTEM, {"key": "for", "effect": "NoSchedule"}],
    )

    api.objects[NODE]["metadata"]["labels"].pop("zone")
    assert node()["actions"] == ["label disk removed", "taint for:NoSchedule removed"]
    assert live(api) == ({"kubernetes.io/hostname": "host-2"}, [SYSTEM])
    api.objects[NODE]["metadata"]["labels"].pop("disk")
    assert api.objects[NODE]["metadata"]["annotations"] == {nodes.MANAGED: None}
    assert node()["changed"] is False


def test_what_others_changed_comes_back(api, node):
    node(labels={"disk": "fast"}, taints=[DEDICATED])
    api.objects[NODE]["metadata"]["labels"]["disk"] = "slow"
    api.objects[NODE]["spec"]["taints"] = [SYSTEM]
    assert node(labels={"disk": "fast"}, taints=[DEDICATED])["actions"] == ["label disk=fast", "taint for:NoSchedule"]


def test_what_is_there_already_becomes_ours(api, node):
    api.objects[NODE]["metadata"]["labels"]["disk"] = "fast"
    assert node(labels={"disk": "fast"})["actions"] == [f"annotation {nodes.MANAGED}"]
    assert json.loads(api.objects[NODE]["metadata"]["annotations"][nodes.MANAGED]) == {"labels": ["disk"]}
    assert node()["actions"] == ["label disk removed"]


def test_check_mode_plans(api, node):
    planned = node(check=True, labels={"disk": "fast"}, taints=[DEDICATED])
    assert planned["changed"] and planned["diff"]["after"] == "label disk=fast\ntaint for:NoSchedule\n"
    del api.objects[NODE]
    assert node(check=True, labels={"disk": "fast"})["changed"], "the node is to come in the same run"
    assert api.sent("PATCH", "POST", "DELETE") == []


def test_check_mode_without_a_cluster(tmp_path, node):
    absent = {"kubeconfig": str(tmp_path / "none")}
    assert node(check=True, labels={"disk": "fast"}, **absent)["changed"]
    assert node(check=True, state="absent", **absent) == {
        "changed": False,
        "actions": [],
        "diff": {"before": "", "after": ""},
    }


def test_a_missing_node_is_an_error(api, node):
    del api.objects[NODE]
    with pytest.raises(PlatformError, match="There is no node vm-2. Run the play"):
        node(labels={"disk": "fast"})


def pod(api, name, on="vm-2", kind="ReplicaSet", phase="Running", **meta):
    owners = [{"kind": kind}] if kind else []
    api.put(
        f"/api/v1/namespaces/shop/pods/{name}",
        {
            **{"spec": {"nodeName": on}, "status": {"phase": phase}},
            "metadata": {"namespace": "shop", "ownerReferences": owners, **meta},
        },
    )


@pytest.fixture
def pods(api):
    """Pods of every kind. What the stand-in is told to evict ends at once."""
    api.namespace("shop")
    pod(api, "web")
    pod(api, "alone", kind="")
    pod(api, "elsewhere", on="vm-1")
    pod(api, "agent", kind="DaemonSet")
    pod(api, "done", phase="Succeeded")
    pod(api, "static", annotations={nodes.MIRROR: "x"})
    answer = api.answer

    def evicting(method, path, query, body):
        if path.endswith("/eviction"):
            refused = answer("GET", path, query, body)  # what fail() was told
            if refused[0] == 429:
                return refused
            api.objects.pop(path.rpartition("/")[0])
            return 201, {}
        return answer(method, path, query, body)

    api.answer = evicting


def test_a_node_leaves_when_its_pods_have_left(api, node, pods):
    planned = node(check=True, state="absent")
    assert planned["actions"] == ["evict shop/web", "evict shop/alone", "delete Node vm-2"]
    assert api.sent("PATCH", "POST", "DELETE") == []
    assert node(state="absent")["actions"] == planned["actions"]
    base = "/api/v1/namespaces/shop/pods"
    assert api.sent("PATCH", "POST", "DELETE") == [
        f"PATCH {NODE}", f"POST {base}/web/eviction", f"POST {base}/alone/eviction", f"DELETE {NODE}",
    ]  # fmt: skip
    assert [body["spec"] for method, _p, _q, body, _h in api.requests if method == "PATCH"] == [{"unschedulable": True}]
    assert node(state="absent")["changed"] is False


def test_a_disruption_budget_is_waited_for(api, node, pods):
    api.fail("GET", "web/eviction", 429, "Cannot evict pod as it would violate the pod's disruption budget.", times=2)
    assert node(state="absent")["changed"] and NODE not in api.objects


def test_pods_that_do_not_leave_are_named(api, node, pods):
    api.fail(
        "GET", "web/eviction", 429, "Cannot evict pod as it would violate the pod's disruption budget.", times=9999
    )
    pod(api, "ending", deletionTimestamp="2026-01-01T00:00:00Z")
    with pytest.raises(PlatformError) as error:
        node(state="absent", timeout=0.3)
    assert "shop/web, shop/ending" in str(error.value) and "disruption budget" in str(error.value)
    assert NODE in api.objects


def volume(api, name, value, key="kubernetes.io/hostname", phase="Bound"):
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}]
    api.put(
        f"/api/v1/persistentvolumes/{name}",
        {
            "spec": {
                "claimRef": {"namespace": "shop", "name": name},
                "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            },
            "status": {"phase": phase},
        },
    )


def test_a_node_with_the_only_copy_of_data_stays(api, node, pods):
    volume(api, "kafka", "host-2")
    volume(api, "database", "vm-2")
    volume(api, "elsewhere", "vm-1")
    volume(api, "old", "host-2", phase="Released")
    api.put("/api/v1/persistentvolumes/network", {"spec": {}, "status": {"phase": "Bound"}})
    for check in (True, False):
        with pytest.raises(PlatformError, match="only copy of the data of shop/database, shop/kafka. Nothing") as error:
            node(check=check, state="absent")
        assert error.value.facts == {"claims": ["shop/database", "shop/kafka"]}
    assert api.sent("PATCH", "POST", "DELETE") == []


def test_a_server_does_not_leave(api, node, pods):
    api.objects[NODE]["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "true"
    with pytest.raises(PlatformError, match="vm-2 is a server"):
        node(state="absent")
    assert api.sent("PATCH", "POST", "DELETE") == []
