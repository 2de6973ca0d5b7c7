# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_apply: what is written, what is not, and what is shown of it."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import apply as module
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import k8s_apply, prepare

SECRET = "hunter2-hunter2-hunter2"


def obj(kind="ConfigMap", name="a", namespace="shop", api_version="v1", **body):
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **body}


CRD = obj(
    "CustomResourceDefinition",
    "widgets.example.com",
    None,
    "apiextensions.k8s.io/v1",
    spec={"group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}},
)
WIDGET = obj("Widget", "w", api_version="example.com/v1")


@pytest.fixture
def apply(kubeconfig):
    def call(*definitions, check=False, **options):
        params = {
            "kubeconfig": kubeconfig,
            **dict.fromkeys(("context", "part_of", "component", "namespace")),
            **options,
        }
        params = {"prune": False, **params}
        return k8s_apply({**params, "definitions": list(definitions)}, check)

    return call


def actions(result):
    return {o["name"]: o["action"] for o in result["objects"]}


def test_creates_in_order_with_ownership_labels(api, apply):
    deployment = obj("Deployment", "web", api_version="apps/v1")
    hook = obj("MutatingWebhookConfiguration", "hook", None, "admissionregistration.k8s.io/v1")
    result = apply(hook, deployment, obj(data={"k": "v"}), obj("Namespace", "shop", None), part_of="cloudcart")
    assert result["changed"] and set(actions(result).values()) == {"created"}
    assert [o["name"] for o in result["objects"]] == ["hook", "web", "a", "shop"], "in the order given"
    assert [line.rpartition("/")[2] for line in api.sent("PATCH")] == ["shop", "a", "web", "hook"], "in one that works"
    labels = api.objects["/api/v1/namespaces/shop/configmaps/a"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/managed-by": "cloudcartops", "app.kubernetes.io/part-of": "cloudcart"}
    query = next(query for method, _path, query, *_rest in api.requests if method == "PATCH")
    assert query == {"fieldManager": "cloudcartops", "force": "true", "fieldValidation": "Strict"}


def test_second_run_writes_nothing(api, apply):
    api.namespace("shop")
    apply(obj(data={"k": "v"}))
    api.requests.clear()
    result = apply(obj(data={"k": "v"}))
    assert (result["changed"], result["diff"], actions(result)) == (False, [], {"a": "unchanged"})
    assert api.sent("PATCH", "POST", "DELETE") == ["PATCH /api/v1/namespaces/shop/configmaps/a dry"]


def test_drift_and_deletion_are_repaired(api, apply):
    api.namespace("shop")
    apply(obj(data={"k": "v"}), obj(name="b"))
    api.objects["/api/v1/namespaces/shop/configmaps/a"]["data"]["k"] = "by hand"
    del api.objects["/api/v1/namespaces/shop/configmaps/b"]
    result = apply(obj(data={"k": "v"}), obj(name="b"))
    assert actions(result) == {"a": "updated", "b": "created"}
    assert result["diff"][0]["before"]["data"] == {"k": "by hand"} and result["diff"][0]["after"]["data"] == {"k": "v"}
    assert result["diff"][0]["before_header"] == "ConfigMap shop/a"
    assert not {"uid", "managedFields", "resourceVersion"} & result["diff"][0]["before"]["metadata"].keys()


def test_status_and_server_fields_are_no_difference(api, apply):
    api.namespace("shop")
    apply(obj("Service", "s", spec={"x": 1}))
    api.objects["/api/v1/namespaces/shop/services/s"]["status"] = {"loadBalancer": {}}
    assert not apply(obj("Service", "s", spec={"x": 1}), check=True)["changed"]


def test_a_failed_job_is_replaced(api, apply):
    api.namespace("shop")
    path = "/apis/batch/v1/namespaces/shop/jobs/j"
    job = obj("Job", "j", api_version="batch/v1", spec={"backoffLimit": 1})
    failed = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    api.put(path, {**job, **failed})
    assert apply(job, check=True)["plan"] == ["create Job shop/j"]
    assert api.sent("DELETE") == []
    assert actions(apply(job)) == {"j": "created"}
    assert "status" not in api.objects[path]
    assert not apply(job)["changed"]
    assert api.sent("DELETE") == [f"DELETE {path}"]


def test_an_object_that_goes_is_made_anew_when_it_is_gone(api, apply):
    api.namespace("shop")
    path = "/api/v1/namespaces/shop/configmaps/a"
    going = api.put(path, {**obj(), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"]}})

    def end():
        del api.objects[path]
        yield {"type": "DELETED", "object": going}

    api.events["configmaps"] = [end()]
    assert apply(obj(), check=True)["plan"] == ["create ConfigMap shop/a"]
    assert actions(apply(obj())) == {"a": "created"}
    assert "deletionTimestamp" not in api.objects[path]["metadata"]


def test_an_object_that_is_held_is_named_with_what_holds_it(api, apply, monkeypatch):
    monkeypatch.setattr(module, "DELETION_TIMEOUT", 1)
    api.namespace("shop")
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["kubernetes.io/pvc-protection"]}
    claim = obj("PersistentVolumeClaim", "data")
    api.put("/api/v1/namespaces/shop/persistentvolumeclaims/data", {**claim, "metadata": {**claim["metadata"], **gone}})
    with pytest.raises(PlatformError, match=r"Claim shop/data is being deleted since .*delete those pods"):
        apply(claim)


def test_check_mode_writes_nothing_and_plans(api, apply):
    api.namespace("shop")
    api.put("/api/v1/namespaces/shop/configmaps/a", obj(data={"k": "old"}))
    result = apply(obj(data={"k": "new"}), obj(name="b"), check=True)
    assert result["plan"] == ["update ConfigMap shop/a", "create ConfigMap shop/b"] and result["cluster"] == "present"
    assert all(line.endswith("dry") for line in api.sent("PATCH", "POST", "DELETE"))


def test_check_mode_plans_what_depends_on_the_plan(api, apply):
    api.namespace("other")
    planned = apply(obj("Namespace", "shop", None), obj(), {**WIDGET, "metadata": {"name": "w"}}, CRD, check=True)
    assert planned["changed"] and set(actions(planned).values()) == {"created"}
    assert apply(obj(), check=True)["plan"] == ["create ConfigMap shop/a"], "an earlier task would make the namespace"


def test_without_a_cluster(apply, absent):
    result = apply(obj(), WIDGET, kubeconfig=absent, check=True)
    assert (result["changed"], result["cluster"]) == (True, "absent")
    assert result["plan"] == ["create ConfigMap shop/a", "create Widget shop/w"]
    with pytest.raises(PlatformError, match="There is no kubeconfig .*absent.yaml.*cloudcartops.platform.setup"):
        apply(obj(), kubeconfig=absent)


def test_new_kinds_wait_until_the_api_serves_them(api, apply):
    api.namespace("shop")
    api.resources["example.com/v1"] = [{"kind": "Widget", "name": "widgets", "namespaced": True}]
    established = {
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
        "metadata": {"resourceVersion": "9"},
    }
    api.events["customresourcedefinitions"] = [[{"type": "MODIFIED", "object": established}]]
    assert actions(apply(WIDGET, CRD)) == {"w": "created", "widgets.example.com": "created"}
    assert api.events["customresourcedefinitions"] == [], "the watch was used"
    assert "/apis/example.com/v1/namespaces/shop/widgets/w" in api.objects


def test_a_failure_names_the_object_and_stops_what_depends_on_it(api, apply):
    api.namespace("shop")
    api.fail("PATCH", "configmaps/bad", 403, 'configmaps "bad" is forbidden: User "u" cannot patch', reason="Forbidden")
    with pytest.raises(PlatformError) as e:
        apply(obj(name="good"), obj(name="bad"), obj("Deployment", "web", api_version="apps/v1"))
    assert "refused to apply ConfigMap shop/bad" in str(e.value) and "lacks this right" in str(e.value)
    assert {o["name"]: o["action"] for o in e.value.facts["objects"]} == {"good": "created", "bad": "failed"}
    assert e.value.facts["changed"] is True
    assert "/apis/apps/v1/namespaces/shop/deployments/web" not in api.objects


def test_unknown_kind_and_missing_namespace(api, apply):
    with pytest.raises(PlatformError, match="does not know the kind Widget of example.com/v1"):
        apply(WIDGET)
    with pytest.raises(PlatformError, match='namespaces "shop" not found.*Create the namespace first'):
        apply(obj())


def test_secret_values_are_shown_nowhere(api, run_module, kubeconfig):
    api.namespace("shop")
    api.put(
        "/api/v1/namespaces/shop/secrets/s",
        obj("Secret", "s", data={"password": "b2xk", "user": "dQ==", "old": "eA=="}),
    )
    secret = obj("Secret", "s", stringData={"password": SECRET, "user": "u"}, data={"more": "bW9yZQ=="})
    result = run_module("k8s_apply", kubeconfig=kubeconfig, definitions=[secret])
    assert result["changed"], result
    diff = result["diff"][0]
    assert diff["before"]["data"] == dict.fromkeys(("password", "user", "old"), "<hidden>")
    assert diff["after"]["data"]["password"] == "<hidden>, changed" and diff["after"]["data"]["user"] == "<hidden>"
    text = json.dumps(result)
    assert "invocation" in result, "what -vvv shows is looked at too"
    for value in (SECRET, base64.b64encode(SECRET.encode()).decode(), "bW9yZQ==", "b2xk"):
        assert value not in text
    stored = api.objects["/api/v1/namespaces/shop/secrets/s"]
    assert base64.b64decode(stored["data"]["password"]).decode() == SECRET and "stringData" not in stored


def test_secret_values_in_api_errors_are_hidden(api, run_module, kubeconfig):
    api.namespace("shop")
    encoded = base64.b64encode(SECRET.encode()).decode()
    api.fail("PATCH", "secrets/s", 400, f"cannot convert {encoded}")
    result = run_module(
        "k8s_apply", kubeconfig=kubeconfig, definitions=[obj("Secret", "s", stringData={"password": SECRET})]
    )
    assert result["failed"] and "cannot convert <hidden>" in result["msg"]
    assert encoded not in json.dumps(result) and SECRET not in json.dumps(result)


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ([{"kind": "ConfigMap", "metadata": {"name": "a"}}], "Definition 1 of 1 has no apiVersion"),
        ([obj(), {"apiVersion": "v1", "metadata": {"name": "a"}}], "Definition 2 of 2 has no kind"),
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": None}], "has no metadata.name"),
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 5}}], "has no metadata.name"),
        ([obj(namespace=None)], "Definition 1 of 1, ConfigMap a, has no namespace"),
        ([obj(), obj("Secret"), obj()], "Definition 3 of 3 is the same object as number 1: ConfigMap shop/a"),
    ],
)
def test_definitions_that_cannot_be_right(definitions, message):
    with pytest.raises(PlatformError, match=message):
        prepare(definitions)


def test_default_namespace_only_where_one_belongs():
    service, role = prepare([obj("Service", namespace=None), obj("Namespace", "n", None)], namespace="shop")
    assert service["metadata"]["namespace"] == "shop" and "namespace" not in role["metadata"]


# Pruning

COMPONENT = {"part_of": "cloudcart", "component": "redis", "namespace": "shop"}
LABELS = {"app.kubernetes.io/managed-by": "cloudcartops"} | {
    f"app.kubernetes.io/{key}": value for key, value in (("part-of", "cloudcart"), ("component", "redis"))
}


def place(api, path, kind, labels=None, namespace="shop", **meta):
    """Put an object into the stand-in, by default one of the component's."""
    api.put(
        path.replace("NS", f"namespaces/{namespace}"),
        {"kind": kind, "metadata": {"labels": LABELS if labels is None else labels, **meta}},
    )


@pytest.fixture
def leftovers(api):
    """What is pruned, and one of each that is not."""
    api.namespace("shop")
    place(api, "/api/v1/NS/services/gone", "Service")
    place(api, "/apis/apps/v1/NS/deployments/gone", "Deployment")
    place(api, "/api/v1/NS/persistentvolumeclaims/data", "PersistentVolumeClaim")
    place(api, "/api/v1/NS/endpoints/gone", "Endpoints")
    place(api, "/api/v1/NS/pods/owned", "Pod", ownerReferences=[{"kind": "ReplicaSet"}])
    place(api, "/api/v1/NS/secrets/going", "Secret", deletionTimestamp="2026-01-01T00:00:00Z")
    place(api, "/api/v1/NS/services/elsewhere", "Service", namespace="else")
    place(api, "/api/v1/NS/namespaces/x", "Namespace")
    for key in LABELS:
        place(api, f"/api/v1/NS/configmaps/{key[23:]}-other", "ConfigMap", {**LABELS, key: "other"})
    return ["/api/v1/namespaces/shop/services/gone", "/apis/apps/v1/namespaces/shop/deployments/gone"]


def test_prune_deletes_what_is_left_over_and_nothing_else(api, apply, leftovers):
    before = set(api.objects)
    result = apply(obj(), prune=True, **COMPONENT)
    assert actions(result) == {"a": "created", "gone": "deleted"} and result["changed"]
    assert [o["kind"] for o in result["objects"]] == ["ConfigMap", "Service", "Deployment"]
    assert before - set(api.objects) == set(leftovers)
    assert api.objects["/api/v1/namespaces/shop/configmaps/a"]["metadata"]["labels"] == LABELS
    bodies = [body for method, _path, _query, body, _headers in api.requests if method == "DELETE"]
    assert bodies == [{"propagationPolicy": "Background"}] * 2
    again = apply(obj(), prune=True, **COMPONENT)
    assert (again["changed"], actions(again)) == (False, {"a": "unchanged"})


def test_without_prune_nothing_is_looked_for(api, apply, leftovers):
    assert actions(apply(obj(), **COMPONENT)) == {"a": "created"}
    assert all(path in api.objects for path in leftovers)
    assert api.sent("GET") == ["GET /version", "GET /api/v1/namespaces/shop/configmaps/a"]


def test_prune_in_check_mode_plans(api, apply, leftovers):
    result = apply(check=True, prune=True, **COMPONENT)
    assert result["plan"] == ["delete Service shop/gone", "delete Deployment shop/gone"] and result["changed"]
    assert [o["action"] for o in result["objects"]] == ["deleted", "deleted"]
    assert sorted(api.sent("DELETE")) == sorted(f"DELETE {path} dry" for path in leftovers)
    assert all(path in api.objects for path in leftovers)


def test_another_version_of_a_wanted_kind_is_the_same_object(api, apply):
    api.namespace("shop")
    api.resources["autoscaling/v1"] = [
        {"kind": "HorizontalPodAutoscaler", "name": "horizontalpodautoscalers", "namespaced": True}
    ]
    place(api, "/apis/autoscaling/v2/NS/horizontalpodautoscalers/a", "HorizontalPodAutoscaler")
    scaler = obj("HorizontalPodAutoscaler", api_version="autoscaling/v1")
    assert "deleted" not in actions(apply(scaler, prune=True, **COMPONENT)).values()


def test_prune_of_a_secret_shows_no_value(api, apply, run_module, kubeconfig):
    api.namespace("shop")
    place(api, "/api/v1/NS/secrets/s", "Secret")
    api.objects["/api/v1/namespaces/shop/secrets/s"]["data"] = {"password": SECRET}
    result = run_module("k8s_apply", kubeconfig=kubeconfig, definitions=[], prune=True, **COMPONENT)
    assert result["changed"], result
    assert result["diff"][0]["before"]["data"] == {"password": "<hidden>"} and result["diff"][0]["after"] == {}
    assert SECRET not in json.dumps(result)


def test_prune_needs_to_know_what_is_meant(api, run_module, kubeconfig):
    for lacking in COMPONENT:
        for value in (None, ""):
            options = {**COMPONENT, lacking: value}
            result = run_module("k8s_apply", kubeconfig=kubeconfig, definitions=[], prune=True, **options)
            assert result["failed"] and "Set the options namespace, part_of and component" in result["msg"]
    assert api.requests == []


def test_prune_without_the_right_to_list_names_it(api, apply, leftovers):
    api.fail("GET", "shop/secrets", 403, 'secrets is forbidden: User "u" cannot list', reason="Forbidden")
    with pytest.raises(PlatformError, match="right to list secrets in the namespace shop"):
        apply(prune=True, **COMPONENT)
    assert api.sent("DELETE") == []


def test_prune_goes_on_without_a_kind_that_the_cluster_does_not_serve(api, apply, leftovers):
    api.fail("GET", "horizontalpodautoscalers", 404, "the server could not find the requested resource")
    assert apply(prune=True, **COMPONENT)["changed"]
    api.fail("GET", "secrets", 500, "etcd is gone")
    with pytest.raises(PlatformError, match="refused to list secrets: etcd is gone"):
        apply(prune=True, **COMPONENT)


def test_prune_that_is_refused_fails_and_tells_what_was_deleted(api, apply, leftovers):
    api.fail("DELETE", "services/gone", 403, "forbidden")
    with pytest.raises(PlatformError, match="refused to delete Service shop/gone.*lacks this right") as e:
        apply(prune=True, **COMPONENT)
    assert {o["kind"]: o["action"] for o in e.value.facts["objects"]} == {"Service": "failed", "Deployment": "deleted"}
    assert e.value.facts["changed"] is True


def test_what_is_gone_when_its_turn_comes_is_no_error(api, apply, leftovers):
    api.fail("DELETE", "services/gone", 404, "not found")
    assert apply(prune=True, **COMPONENT)["changed"]


def test_nothing_is_pruned_when_an_object_failed_or_there_is_no_cluster(api, apply, leftovers, absent):
    api.fail("PATCH", "configmaps/a", 422, "no")
    with pytest.raises(PlatformError):
        apply(obj(), prune=True, **COMPONENT)
    assert apply(check=True, kubeconfig=absent, prune=True, **COMPONENT)["plan"] == []
    assert api.sent("DELETE") == []
