# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_cleanup: what goes, in which order, and what stays."""

from __future__ import annotations

import json

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.cleanup import k8s_cleanup

OURS = {"app.kubernetes.io/managed-by": "cloudcartops", "app.kubernetes.io/part-of": "cloudcart"}
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/"
FOREGROUND, BACKGROUND = {"propagationPolicy": "Foreground"}, {"propagationPolicy": "Background"}


@pytest.fixture
def cleanup(kubeconfig):
    def call(check=False, **options):
        params = {"kubeconfig": kubeconfig, "context": None, "namespace": "shop", "part_of": "cloudcart", "timeout": 5}
        params |= {"order": ["ingress", "apps", "redis"], "keep": ["Secret/seed"], "whole_namespace": False}
        return k8s_cleanup({**params, **options}, check)

    return call


@pytest.fixture
def put(api):
    def put(path, component="", labels=OURS, namespace="shop", **meta):
        labels = labels | ({"app.kubernetes.io/component": component} if component else {})
        api.put(path.replace("NS", f"namespaces/{namespace}"), {"metadata": {"labels": labels, **meta}})

    return put


@pytest.fixture
def shop(api, put):
    api.put("/api/v1/namespaces/shop", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"labels": OURS}})
    put("/api/v1/NS/serviceaccounts/vault")
    put("/apis/apps/v1/NS/statefulsets/vault")
    put("/api/v1/NS/secrets/seed")
    put("/api/v1/NS/services/redis", "redis")
    put("/apis/apps/v1/NS/deployments/redis", "redis")
    put("/apis/apps/v1/NS/deployments/frontend", "apps")
    put("/api/v1/NS/services/frontend", "apps")
    put("/apis/networking.k8s.io/v1/NS/ingresses/shop", "ingress")
    put("/api/v1/NS/persistentvolumeclaims/data", "redis")
    put("/api/v1/NS/persistentvolumeclaims/others", labels={})
    put("/api/v1/NS/pods/frontend-x", "apps", ownerReferences=[{"kind": "ReplicaSet"}])
    put("/api/v1/NS/services/helms", labels={"app.kubernetes.io/managed-by": "Helm"})
    put("/api/v1/NS/services/elsewhere", namespace="else")
    api.put("/api/v1/namespaces/else", {"kind": "Namespace"})
    for name, spaces in (("ours", ["shop"]), ("shared", ["shop", "else"]), ("nobody", [])):
        put(BINDINGS + name)
        api.objects[BINDINGS + name]["subjects"] = [{"namespace": space} for space in spaces]
        api.objects[BINDINGS + name]["roleRef"] = {"name": f"of-{name}"}
        put(BINDINGS.replace("bindings", "s") + f"of-{name}")


GONE = [
    "Ingress shop/shop",
    "Deployment shop/frontend",
    "Service shop/frontend",
    "Deployment shop/redis",
    "Service shop/redis",
    "StatefulSet shop/vault",
    "ServiceAccount shop/vault",
    "ClusterRoleBinding ours",
    "ClusterRole of-ours",
]


def names(result):
    return [" ".join(filter(None, (o["kind"], o["namespace"], o["name"]))) for o in result["objects"]]


def test_goes_by_component_workloads_first_and_keeps_data(api, cleanup, shop):
    before = set(api.objects)
    result = cleanup()
    assert names(result) == [line.replace("/", " ") for line in GONE] and result["changed"]
    assert {o["action"] for o in result["objects"]} == {"deleted"}
    assert len(before - set(api.objects)) == len(GONE)
    assert "/api/v1/namespaces/shop/secrets/seed" in api.objects, "it opens the data that stays"
    assert all(BINDINGS + name in api.objects for name in ("shared", "nobody"))
    bodies = {path.split("/")[-2]: body for method, path, _q, body, _h in api.requests if method == "DELETE"}
    assert (bodies["deployments"], bodies["statefulsets"], bodies["services"]) == (FOREGROUND, FOREGROUND, BACKGROUND)
    again = cleanup()
    assert (again["changed"], again["objects"]) == (False, [])


def test_check_mode_lists_and_deletes_nothing(api, cleanup, shop):
    before = set(api.objects)
    result = cleanup(check=True)
    assert result["plan"] == [f"delete {line}" for line in GONE] and result["changed"]
    assert set(api.objects) == before and all(line.endswith("dry") for line in api.sent("DELETE"))
    assert not [query for _method, _path, query, *_rest in api.requests if "watch" in query], "nothing to wait for"


def test_the_next_component_goes_when_the_pods_of_the_last_have_ended(api, cleanup, shop):
    path = "/apis/apps/v1/namespaces/shop/deployments/frontend"
    api.objects[path]["metadata"]["finalizers"] = ["foregroundDeletion"]
    seen, original = [], api._delete

    def hold(request, query, body, name):
        if request == path:  # as the API does: it stays, until its pods are gone
            api.objects[path]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return 200, {}
        return original(request, query, body, name)

    def end():
        seen.extend(api.sent("DELETE"))
        gone = api.objects.pop(path)
        yield {"type": "DELETED", "object": gone}

    api._delete = hold
    api.events["deployments"] = [end()]
    assert cleanup()["changed"]
    assert [line.rpartition("/")[2] for line in seen] == ["shop", "frontend"], "of redis nothing was deleted before"


def test_what_a_killed_run_left_is_waited_for(api, cleanup, put):
    put("/apis/apps/v1/NS/deployments/frontend", "apps", deletionTimestamp="2026-01-01T00:00:00Z")

    def end():
        yield {"type": "DELETED", "object": api.objects.pop("/apis/apps/v1/namespaces/shop/deployments/frontend")}

    api.events["deployments"] = [end()]
    assert cleanup()["changed"] is False and api.events["deployments"] == []
    assert api.sent("DELETE") == []


def test_what_does_not_end_is_named_and_stops_the_rest(api, cleanup, shop):
    path = "/apis/apps/v1/namespaces/shop/deployments/frontend"
    held = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}
    api.objects[path]["metadata"] |= held
    api.objects[path]["kind"] = "Deployment"
    with pytest.raises(PlatformError, match="Deployment shop/frontend is being deleted .*held by foregroundDeletion"):
        cleanup(timeout=1)
    assert "/apis/apps/v1/namespaces/shop/deployments/redis" in api.objects


def test_a_refusal_stops_the_rest(api, cleanup, shop):
    api.fail("DELETE", "deployments/frontend", 403, "forbidden")
    with pytest.raises(PlatformError, match="refused to delete Deployment shop/frontend") as e:
        cleanup()
    assert names(e.value.facts)[0] == "Ingress shop shop" and e.value.facts["changed"] is True
    assert "/apis/apps/v1/namespaces/shop/deployments/redis" in api.objects


def test_the_whole_namespace(api, cleanup, shop):
    planned = cleanup(check=True, whole_namespace=True)
    claims = ["PersistentVolumeClaim shop/data", "PersistentVolumeClaim shop/others"]
    assert planned["plan"] == [f"delete {line}" for line in (*claims, "Namespace shop")]
    assert "/api/v1/namespaces/shop" in api.objects
    result = cleanup(whole_namespace=True)
    assert result["changed"] and "/api/v1/namespaces/shop" not in api.objects
    assert cleanup(whole_namespace=True) == {"changed": False, "objects": [], "diff": []}


def test_a_namespace_of_others_stays(api, cleanup, shop):
    with pytest.raises(PlatformError, match="The namespace else is not this collection's"):
        cleanup(whole_namespace=True, namespace="else")
    assert api.sent("DELETE") == []


def test_without_a_cluster(cleanup, absent):
    assert cleanup(check=True, kubeconfig=absent)["plan"] == []
    assert cleanup(check=True, kubeconfig=absent)["cluster"] == "absent"
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        cleanup(kubeconfig=absent)


def test_the_module_shows_no_secret(api, shop, run_module, kubeconfig):
    api.objects["/api/v1/namespaces/shop/secrets/seed"]["data"] = {"seed": "aHVudGVyMg=="}
    result = run_module("k8s_cleanup", kubeconfig=kubeconfig, namespace="shop", part_of="cloudcart")
    assert result["changed"] and not result["failed"]
    assert "Secret shop/seed" in json.dumps(result["diff"]) and "aHVudGVyMg" not in json.dumps(result)
