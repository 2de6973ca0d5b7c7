# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_rollout: when it is over, and when it is pointless."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Unreachable
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import agent_trouble, summary
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import progress
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.rollout import Target, Wait, k8s_rollout

from .conftest import Server, handler

DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web"
POD = "/api/v1/namespaces/shop/pods/web-1"
WEB = {"kind": "Deployment", "name": "web", "namespace": "shop"}


def deployment(ready=0, **status):
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": ready, **status}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    meta = {"name": "web", "namespace": "shop", "generation": 1, "resourceVersion": "200"}
    return {"metadata": meta, "spec": spec, "status": status}


def pod(state=None, restarts=0, last=None, container="web", name="web-1", created="2026-01-01T00:00:00Z", **status):
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": "web"}, "resourceVersion": "201"}
    spec = {"containers": [{"name": "web", "image": "shop/web:1"}]}
    field = "initContainerStatuses" if container == "vault-agent-init" else "containerStatuses"
    item = {"name": container, "ready": False, "restartCount": restarts, "state": state or {}, "lastState": last or {}}
    return {"metadata": {**meta, "creationTimestamp": created}, "spec": spec, "status": {field: [item], **status}}


def waiting(reason, message="", **more):
    return pod({"waiting": {"reason": reason, "message": message}}, **more)


def event(obj, kind="MODIFIED"):
    return {"type": kind, "object": obj}


@pytest.fixture
def wait(kubeconfig):
    def call(*items, check=False, timeout=10, grace=10, **options):
        params = {"kubeconfig": kubeconfig, "context": None, "timeout": timeout, "grace": grace, **options}
        return k8s_rollout({**params, "for": list(items or [WEB])}, check)

    return call


@pytest.fixture
def pointless(api, wait):
    """Wait for the Deployment while its pod is, or after an event becomes, as given; returns the message."""

    def call(*pods, at_once=False, **options) -> str:
        api.put(DEPLOYMENT, deployment())
        if at_once:
            api.put(POD, pods[0])
        api.events["pods"] = [[event(p) for p in pods[1 if at_once else 0 :]]] if len(pods) > at_once else []
        with pytest.raises(PlatformError) as e:
            wait(**options)
        assert e.value.facts["objects"][0]["met"] is False
        return str(e.value)

    return call


# over


def test_what_is_done_needs_no_watch(api, wait):
    api.put(DEPLOYMENT, deployment(ready=1))
    result = wait()
    assert result == {
        "changed": False,
        "objects": [{**WEB, "condition": "available", "met": True, "state": "1 of 1 pods available"}],
    }
    assert api.sent("GET") == ["GET /version", "GET /apis/apps/v1/namespaces/shop/deployments"]


def test_one_list_for_all_of_a_kind(api, wait):
    for name in ("a", "b"):
        api.put(f"/api/v1/nodes/{name}", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    wait({"kind": "Node", "name": "a"}, {"kind": "Node", "name": "b", "condition": "Ready"})
    assert api.sent("GET")[1:] == ["GET /api/v1/nodes"]


def test_the_event_ends_the_wait(api, wait):
    api.put(DEPLOYMENT, deployment())
    api.events["deployments"] = [[event(deployment(ready=1))]]
    assert wait()["objects"][0]["met"]


def test_an_object_that_comes_later_and_one_that_goes(api, wait):
    gone = {"kind": "ConfigMap", "name": "old", "namespace": "shop", "condition": "absent"}
    old = api.put("/api/v1/namespaces/shop/configmaps/old", {})
    api.events["deployments"] = [[event(deployment(ready=1), "ADDED")]]
    api.events["configmaps"] = [[event(old, "DELETED")]]
    result = wait(WEB, gone)
    assert [o["state"] for o in result["objects"]] == ["1 of 1 pods available", "does not exist"]


def test_what_is_made_elsewhere_is_not_waited_for_in_vain(api, wait):
    made = {**WEB, "origin": "The play site"}
    with pytest.raises(PlatformError, match="web does not exist. The play site makes it: run that first."):
        wait(made)
    assert wait(made, check=True)["plan"] == ["wait for Deployment shop/web to be available"]
    api.put(DEPLOYMENT, deployment(ready=1))
    assert wait(made)["objects"][0]["met"]


def test_a_service_is_ready_when_an_endpoint_is(api, wait):
    path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/"
    labels = {"metadata": {"labels": {"kubernetes.io/service-name": "vault"}}}
    api.put(path + "one", {**labels, "endpoints": [{"conditions": {"ready": False}}]})
    two = {**labels, "endpoints": [{"conditions": {"ready": True}}]}
    two = {**two, "metadata": {**two["metadata"], "name": "two", "namespace": "shop", "resourceVersion": "300"}}
    api.events["endpointslices"] = [[event(two, "ADDED")]]
    result = wait({"kind": "Service", "name": "vault", "namespace": "shop"})
    assert result["objects"][0]["state"] == "has a ready endpoint"
    assert api.requests[1][2] == {"labelSelector": "kubernetes.io/service-name=vault"}


def test_trouble_that_heals_in_time(api, wait):
    api.put(DEPLOYMENT, deployment())
    api.put(POD, waiting("ImagePullBackOff", "not found"))
    api.events["deployments"] = [[event(deployment(ready=1))]]
    assert wait(grace=5)["objects"][0]["met"], "trouble of before the wait gets its grace"


def test_the_api_server_may_go_and_come_back(api, client, monkeypatch):
    api.put(DEPLOYMENT, deployment())
    rounds = [Unreachable("Nothing listens.", refused=True), [("MODIFIED", deployment(ready=1))]]

    def watch(kind, *_args, **_options):
        if kind != "Deployment":
            return iter(())
        step = rounds.pop(0) if rounds else []
        if isinstance(step, Exception):
            raise step
        return iter(step)

    monkeypatch.setattr(client, "watch", watch)
    wait = Wait(client, [Target("Deployment", "web", "shop", "available", "apps/v1")], timeout=10, grace=5)
    monkeypatch.setattr("threading.Event.wait", lambda self, timeout=None: time.sleep(0.01))
    wait.run()
    assert rounds == [] and wait.state(wait.targets[0]).done


# pointless


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", "failed to resolve reference: docker.io/shop/web:1: not found"),
        ("ImagePullBackOff", "pull access denied"),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never"),
        ("InvalidImageName", "invalid reference format"),
    ],
)
def test_image_that_cannot_come(pointless, reason, message):
    text = pointless(waiting(reason, message))
    assert text.startswith("Waiting for Deployment shop/web to be available is pointless (0 of 1 pods available).")
    assert f"Pod shop/web-1, container web: the image shop/web:1 cannot be used ({reason}): {message}" in text
    assert "\nFix: Correct the image's name and tag" in text and "kubectl delete pod -n shop web-1" in text


def test_registry_that_does_not_answer_gets_its_grace(pointless):
    started = time.monotonic()
    assert "i/o timeout" in pointless(waiting("ErrImagePull", "dial tcp: i/o timeout"), grace=0.3)
    assert time.monotonic() - started > 0.3


def test_known_trouble_that_does_not_heal(pointless):
    started = time.monotonic()
    assert "ImagePullBackOff" in pointless(waiting("ImagePullBackOff", "not found"), at_once=True, grace=0.3)
    assert time.monotonic() - started > 0.3


ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}


def test_crash_loop_shows_the_log(api, pointless):
    api.logs["web-1", "web", "previous"] = "starting\nFATAL: no such table"
    text = pointless(
        waiting("CrashLoopBackOff", restarts=1, last=ENDED), waiting("CrashLoopBackOff", restarts=2, last=ENDED)
    )
    assert "container web ends again and again (exit code 3, Error)" in text
    assert "Last lines of its log:\nstarting\nFATAL: no such table\n" in text


def test_crash_loop_of_before_is_only_judged_by_its_next_end(api, pointless):
    before, after = (waiting("CrashLoopBackOff", restarts=n, last=ENDED) for n in (7, 8))
    assert "again and again" in pointless(before, after, at_once=True)
    api.objects.clear()
    assert "in vain" in pointless(before, at_once=True, timeout=0.3, grace=0.1)


def test_out_of_memory(pointless):
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    text = pointless(waiting("CrashLoopBackOff", restarts=2, last=last))
    assert "OOMKilled" in text and "Raise its memory limit" in text


def test_command_that_does_not_exist(pointless):
    last = {"terminated": {"exitCode": 128, "reason": "StartError", "message": 'exec: "/no/such": no such file'}}
    text = pointless(waiting("CrashLoopBackOff", restarts=1, last=last))
    assert 'container web cannot start: exec: "/no/such": no such file' in text


def test_container_that_cannot_be_made(pointless):
    text = pointless(waiting("CreateContainerConfigError", 'secret "s" not found'), grace=0.1)
    assert 'container web: CreateContainerConfigError: secret "s" not found' in text


def test_pod_that_fits_nowhere(pointless):
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: Insufficient cpu",
    }
    text = pointless(pod(conditions=[condition]), grace=0.1)
    assert "Pod shop/web-1 fits on no node: 0/1 nodes: Insufficient cpu" in text


def test_replica_failure(api, wait):
    message = 'pods "web" is forbidden: exceeded quota'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    api.put(DEPLOYMENT, deployment(conditions=[condition]))
    with pytest.raises(
        PlatformError, match="Deployment shop/web: pods cannot be made: .* exceeded quota\nFix: Raise the ResourceQuota"
    ):
        wait(grace=0.1)


def test_a_refusal_of_before_the_wait_counts_when_it_comes_again(api, wait):
    """Or when a pod like that is refused now."""
    condition = {"type": "ReplicaFailure", "status": "True", "message": "failed calling webhook"}
    api.put(DEPLOYMENT, deployment(conditions=[condition]))
    api.namespace("shop")
    about = {"type": "Warning", "reason": "FailedCreate", "involvedObject": {"kind": "ReplicaSet", "name": "web-5d576"}}
    times = {"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:40Z"}
    old = api.put("/api/v1/namespaces/shop/events/e", {**about, **times, "metadata": {"uid": "e1"}})
    with pytest.raises(PlatformError, match="in vain"):
        wait(grace=0.5, timeout=3)
    api.fail("POST", "/pods", 403, "exceeded quota: q", times=1)
    with pytest.raises(PlatformError, match="pods cannot be made: exceeded quota: q"):
        wait(grace=0.5, timeout=5)
    api.events["events"] = [[event({**old, "lastTimestamp": "2026-01-01T00:01:20Z"})]]
    with pytest.raises(PlatformError, match="pods cannot be made: failed calling webhook"):
        wait(grace=0.5, timeout=5)


def test_failed_job(api, wait):
    job = {
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {
            "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]
        },
    }
    api.put("/apis/batch/v1/namespaces/shop/jobs/schema", job)
    api.put(POD, pod())
    api.put("/api/v1/namespaces/shop/pods/web-2", pod(name="web-2", created="2026-01-02T00:00:00Z"))
    api.logs["web-2", "", ""] = "ERROR: relation exists"
    with pytest.raises(PlatformError) as e:
        wait({"kind": "Job", "name": "schema", "namespace": "shop"})
    assert "Job shop/schema: BackoffLimitExceeded: m" in str(e.value) and "ERROR: relation exists" in str(e.value)
    assert "which replaces the Job" in str(e.value)


def test_a_job_that_tries_again(api, wait):
    """A pod of it has failed, the next one does not: as long as the Job has not failed, it goes on."""
    job = {"spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"active": 1, "failed": 1}}
    path = "/apis/batch/v1/namespaces/shop/jobs/schema"
    live = api.put(path, job)
    api.put(POD, pod({"terminated": {"exitCode": 1, "reason": "Error"}}, phase="Failed"))
    api.put("/api/v1/namespaces/shop/pods/web-2", pod({"running": {}}, name="web-2"))
    done = {**live, "status": {"succeeded": 1, "failed": 1, "conditions": [{"type": "Complete", "status": "True"}]}}
    api.events["jobs"] = [[event(done)]]
    assert wait({"kind": "Job", "name": "schema", "namespace": "shop"}, grace=0)["objects"][0]["met"]


def test_vault_agent_that_cannot_log_in(api, pointless):
    api.logs["web-1", "vault-agent-init", ""] = LOGIN.format(code=400, text='invalid role name "web"')
    text = pointless(pod({"running": {}}, container="vault-agent-init"), grace=0.2)
    assert "Pod shop/web-1, container vault-agent-init: Vault has no such role." in text
    assert 'invalid role name "web"' in text and "Fix: Create the role in Vault" in text
    query = next(query for _method, path, query, *_rest in api.requests if path.endswith("/log"))
    assert int(query["sinceSeconds"]) <= 3, "lines of before the wait do not count"


def test_pods_of_an_older_version_do_not_count(api, pointless):
    old = waiting("ErrImagePull", "not found", name="web-0")
    old["metadata"]["labels"]["pod-template-hash"] = "1"
    new = pod({"running": {}}, created="2026-01-02T00:00:00Z")
    new["metadata"]["labels"]["pod-template-hash"] = "2"
    api.put("/api/v1/namespaces/shop/pods/web-0", old)
    assert "in vain" in pointless(new, at_once=True, timeout=0.3, grace=0.1)


def test_pods_of_others_do_not_count(api, pointless):
    other = waiting("ErrImagePull", "not found")
    other["metadata"]["labels"] = {"app": "other"}
    assert "in vain" in pointless(other, timeout=0.3, grace=0.1)


# in vain


def test_time_out_names_state_pods_and_warnings(api, pointless):
    warning = {"type": "Warning", "reason": "Unhealthy", "involvedObject": {"name": "web-1"}, "message": "probe failed"}
    api.put("/api/v1/namespaces/shop/events/e", {**warning, "lastTimestamp": "2026-01-01T00:00:02Z"})
    api.put(
        "/api/v1/namespaces/shop/events/d", {**warning, "lastTimestamp": "2026-01-01T00:00:01Z", "message": "older"}
    )
    api.put("/api/v1/namespaces/shop/events/f", {**warning, "involvedObject": {"name": "other"}, "reason": "Other"})
    text = pointless(pod({"running": {}}), at_once=True, timeout=0.2)
    assert text == (
        "Waited 0 s in vain for Deployment shop/web to be available: 0 of 1 pods available.\n"
        "  Pod web-1: web running (not ready)\n"
        "  Unhealthy: probe failed\n"
        "Fix: 'kubectl describe deployment web -n shop' tells more; raise timeout if it only needs longer."
    )


def test_time_out_of_what_has_no_namespace(api, wait):
    with pytest.raises(PlatformError, match="in vain for Node n to be ready: does not exist"):
        wait({"kind": "Node", "name": "n"}, timeout=0.1)


def test_refusals_are_errors(api, wait):
    api.put(DEPLOYMENT, deployment())
    api.fail("GET", "/pods", 403, "pods is forbidden", reason="Forbidden")
    with pytest.raises(PlatformError, match="refused to list pods: pods is forbidden"):
        wait()
    api.failures.clear()
    original = api.answer
    forbidden = 403, {"message": "watch is forbidden"}
    api.answer = lambda *request: forbidden if request[2].get("watch") else original(*request)
    with pytest.raises(PlatformError, match="watch is forbidden"):
        wait()


# check mode and input


def test_check_mode_does_not_wait(api, wait, absent):
    api.put(DEPLOYMENT, deployment())
    result = wait(check=True)
    assert (result["changed"], result["cluster"], result["plan"]) == (
        False,
        "present",
        ["wait for Deployment shop/web to be available"],
    )
    result = wait(check=True, kubeconfig=absent)
    assert (result["changed"], result["cluster"]) == (False, "absent")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"kind": "", "name": "x"}, "Item 1 of the option for has no kind"),
        ({"kind": "Widget", "name": "x"}, "Item 1 of the option for, Widget, needs api_version"),
    ],
)
def test_items_that_cannot_be_right(wait, item, message):
    with pytest.raises(PlatformError, match=message):
        wait(item)


def test_the_module(api, run_module, kubeconfig):
    api.put(DEPLOYMENT, deployment(ready=1))
    assert run_module("k8s_rollout", kubeconfig=kubeconfig, **{"for": [WEB]})["objects"][0]["met"]
    assert (
        "missing required arguments: kind found in for"
        in run_module("k8s_rollout", kubeconfig=kubeconfig, **{"for": [{"name": "x"}]})["msg"]
    )


# progress


def obj(spec=None, generation=1, **status):
    return {"metadata": {"generation": generation}, "spec": spec or {}, "status": status}


SET = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
DAEMONS = {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}


@pytest.mark.parametrize(
    ("kind", "condition", "what", "done", "text"),
    [
        ("Deployment", "available", obj({"replicas": 0}, observedGeneration=1), True, "0 of 0 pods available"),
        ("Deployment", "Ready", {**deployment(1, replicas=2)}, False, "1 of 1 pods available"),
        ("Deployment", "available", obj({"replicas": 1}, 2, **deployment(1)["status"]), False, "1 of 1 pods available"),
        ("Deployment", "available", deployment(1, updatedReplicas=0), False, "1 of 1 pods available, 0 up to date"),
        ("StatefulSet", "ready", obj({"replicas": 2}, **SET), True, "2 of 2 pods ready"),
        ("StatefulSet", "available", obj({"replicas": 2}, **{**SET, "readyReplicas": 1}), False, "1 of 2 pods ready"),
        ("DaemonSet", "ready", obj(**DAEMONS), True, "2 of 2 pods ready"),
        ("DaemonSet", "ready", obj(**{**DAEMONS, "updatedNumberScheduled": 1}), False, "2 of 2 pods ready"),
        ("DaemonSet", "ready", obj(generation=2, **DAEMONS), False, "2 of 2 pods ready"),
        (
            "Job",
            "complete",
            obj(succeeded=1, conditions=[{"type": "Complete", "status": "True"}]),
            True,
            "1 of 1 completed",
        ),
        ("Job", "complete", obj({"completions": 3}), False, "0 of 3 completed"),
        ("Pod", "complete", obj(phase="Succeeded"), True, "phase Succeeded"),
        ("PersistentVolumeClaim", "bound", obj(phase="Pending"), False, "phase Pending"),
        ("Namespace", "active", obj(phase="Active"), True, "phase Active"),
        ("Service", "ready", {"endpoints": None}, False, "has no ready endpoint"),
        ("Service", "ready", {"endpoints": [{"conditions": {}}]}, True, "has a ready endpoint"),
        ("Node", "ready", obj(), False, "has no condition ready yet"),
        (
            "Node",
            "ready",
            obj(conditions=[{"type": "Ready", "status": "False", "reason": "NotReady", "message": "no CNI"}]),
            False,
            "Ready is False (NotReady: no CNI)",
        ),
        ("Widget", "exists", obj(), True, "exists"),
        ("Widget", "absent", obj(), False, "still exists"),
        ("Widget", "absent", None, True, "does not exist"),
        ("Widget", "ready", None, False, "does not exist"),
    ],
)
def test_progress(kind, condition, what, done, text):
    assert progress(kind, condition, what) == (done, text)


# the agent's log

LOGIN = """2026-01-01T00:00:00Z [INFO]  agent.auth.handler: authenticating
2026-01-01T00:00:00Z [ERROR] agent.auth.handler: error authenticating:
  error=
  | Error making API request.
  |
  | URL: PUT http://vault:8200/v1/auth/kubernetes/login
  | Code: {code}. Errors:
  |
  | * {text}
   backoff=1s
"""
READ = """2026-01-01T00:00:01Z [INFO]  agent.auth.handler: authentication successful, sending token to sinks
2026-01-01T00:00:02Z [WARN]  agent: (view) vault.read(secret/data/app): {text} (retry attempt 1 after "250ms")
"""


@pytest.mark.parametrize(
    ("log", "meaning"),
    [
        (LOGIN.format(code=400, text='invalid role name "x"'), "Vault has no such role"),
        (LOGIN.format(code=403, text="service account name not authorized"), "not bound to the pod's service account"),
        (LOGIN.format(code=403, text="namespace not authorized"), "not bound to the pod's namespace"),
        (
            LOGIN.format(code=403, text="invalid audience (aud) claim: audience claim does not match"),
            "demands an audience",
        ),
        (LOGIN.format(code=403, text="invalid issuer (iss) claim"), "issuer check"),
        (LOGIN.format(code=500, text="could not load backend configuration"), "mounted but not configured"),
        (LOGIN.format(code=503, text="Vault is sealed"), "Vault is sealed"),
        (LOGIN.format(code=403, text="permission denied"), "Vault refuses the login"),
        (LOGIN.format(code=0, text="dial tcp 10.0.0.1:8200: connect: connection refused"), "does not reach Vault"),
        (LOGIN.format(code=0, text="x509: certificate signed by unknown authority"), "do not agree on TLS"),
        (READ.format(text="Error making API request. Code: 403. Errors: * permission denied"), "a policy does not let"),
        (READ.format(text="no secret exists at secret/data/app"), "no such secret"),
        ("[ERROR] agent: runtime error encountered: odd", "cannot fetch its secrets"),
    ],
)
def test_agent_log(log, meaning):
    trouble = agent_trouble(pod(), log, grace=30)
    assert meaning in trouble.cause and trouble.fix
    patient = "reach" in meaning or "sealed" in meaning
    assert trouble.grace == (30 if patient else 3)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "2026-01-01T00:00:00Z [INFO]  agent.auth.handler: authenticating",
        LOGIN.format(code=403, text="permission denied") + READ.partition("\n")[0],
    ],
)
def test_agent_log_without_trouble(log):
    assert agent_trouble(pod(), log, grace=30) is None


def test_summary():
    ready = pod({"running": {}}, conditions=[{"type": "Ready", "status": "True"}])
    ready["status"]["containerStatuses"][0]["ready"] = True
    assert summary(ready) == ""
    assert (
        summary(pod({"terminated": {"exitCode": 0}}, container="vault-agent-init", phase="Pending"))
        == "Pod web-1: Pending"
    )
    assert summary(pod({"terminated": {"exitCode": 1, "reason": "Error"}})) == "Pod web-1: web terminated (Error)"


# the watch itself


def test_a_secret_in_a_log_is_not_shown(api, pointless):
    api.logs["web-1", "web", "previous"] = "cannot connect to postgresql://shop:Geheim1@postgres/shop"
    text = pointless(
        waiting("CrashLoopBackOff", restarts=1, last=ENDED), waiting("CrashLoopBackOff", restarts=2, last=ENDED)
    )
    assert "Geheim1" not in text and "postgresql://shop:********@postgres/shop" in text


def test_the_failure_as_data(api, wait):
    api.put(DEPLOYMENT, deployment())
    api.events["pods"] = [[event(waiting("ErrImagePull", "not found"))]]
    with pytest.raises(PlatformError) as e:
        wait()
    trouble = e.value.facts["trouble"]
    assert (trouble["rule"], trouble["workload"]) == ("image", "Deployment shop/web")
    assert (trouble["object"], trouble["container"]) == ("Pod shop/web-1", "web")
    assert "not found" in trouble["cause"] and trouble["fix"]


def test_probes_that_get_a_final_answer(api, pointless):
    about = {"kind": "Pod", "name": "web-1", "fieldPath": "spec.containers{web}"}
    said = "Readiness probe failed: HTTP probe failed with statuscode: 404"
    meta = {"name": "web-1.x", "namespace": "shop", "resourceVersion": "202"}
    unhealthy = {"metadata": meta, "reason": "Unhealthy", "type": "Warning", "message": said, "involvedObject": about}
    api.events["events"] = [[event({**unhealthy, "lastTimestamp": "2026-01-01T00:00:09Z"}, "ADDED")]]
    text = pointless(pod({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), grace=0.2)
    assert f"Evidence: {said}" in text and "runs, but its probe fails" in text


def test_events_that_nobody_may_see_are_missed_only(api, wait):
    api.put(DEPLOYMENT, deployment())
    api.fail("GET", "/events", 403, "events is forbidden")
    api.events["deployments"] = [[event(deployment(ready=1))]]
    assert wait()["objects"][0]["met"]


def test_a_claim_without_its_class(api, wait):
    item = {"kind": "PersistentVolumeClaim", "name": "data", "namespace": "shop"}
    path = "/api/v1/namespaces/shop/persistentvolumeclaims/data"
    api.put(path, {"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}})
    with pytest.raises(PlatformError, match="wants the storage class fast, which does not exist"):
        wait(item, grace=0.1)
    api.put("/apis/storage.k8s.io/v1/storageclasses/fast", {})
    with pytest.raises(PlatformError, match="in vain"):  # it waits for its first pod
        wait(item, grace=0.1, timeout=0.5)


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}


def test_a_version_that_is_no_longer_kept_is_read_anew(api, wait):
    api.put(DEPLOYMENT, deployment())

    def forget():
        yield GONE
        api.put(DEPLOYMENT, deployment(ready=1))  # seen by the list that follows, by no event

    api.events["deployments"] = [forget()]
    assert wait()["objects"][0]["met"]


def test_a_refusal_of_an_old_version_too(api, wait):
    api.put(DEPLOYMENT, deployment())
    original, refused = api.answer, []

    def answer(method, path, query, body):
        if query.get("watch") and path.endswith("deployments") and not refused:
            refused.append(query["resourceVersion"])
            api.put(DEPLOYMENT, deployment(ready=1))
            return 410, {"message": "too old resource version", "reason": "Expired"}
        return original(method, path, query, body)

    api.answer = answer
    assert wait()["objects"][0]["met"] and refused


def test_a_watch_that_is_cut_goes_on_from_where_it_was(api, wait):
    api.put(DEPLOYMENT, deployment())
    api.events["deployments"] = [[event(deployment())], [event(deployment(ready=1))]]
    assert wait()["objects"][0]["met"]
    versions = [q["resourceVersion"] for _m, p, q, *_r in api.requests if q.get("watch") and p.endswith("deployments")]
    assert versions[1] == "200", "the version of the last event"


def test_the_api_server_restarts_in_the_middle(api, write_kubeconfig):
    """The very same server, on the same port: connections break, then are refused, then it is there again."""
    api.put(DEPLOYMENT, deployment())
    server = Server(("127.0.0.1", 0), handler(api))
    port = server.server_port

    def serve(one):
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()

    serve(server)
    path = write_kubeconfig(f"http://127.0.0.1:{port}")
    came_back = []

    def restart():
        while not any(q.get("watch") for _m, _p, q, *_r in api.requests):
            time.sleep(0.01)
        server.shutdown()
        server.server_close()
        api.over.set()  # breaks the watches
        time.sleep(0.3)
        api.over.clear()
        api.put(DEPLOYMENT, deployment(ready=1))
        api.events["deployments"] = [[event(deployment(ready=1))]]
        came_back.append(Server(("127.0.0.1", port), handler(api)))
        serve(came_back[0])

    threading.Thread(target=restart, daemon=True).start()
    result = k8s_rollout({"kubeconfig": path, "context": None, "timeout": 20, "grace": 10, "for": [WEB]}, False)
    assert result["objects"][0]["met"] and came_back
    api.over.set()
    came_back[0].shutdown()
    came_back[0].server_close()


def many(count, ready):
    for n in range(count):
        labels = {"app": f"app-{n % 50}"}
        state = {"running": {}} if ready else {"waiting": {"reason": "ContainerCreating"}}
        item = pod(state, name=f"p-{n}")
        item["metadata"]["labels"] = labels
        item["status"]["containerStatuses"][0]["ready"] = ready
        yield item


def test_fifty_workloads_of_five_hundred_pods(api, wait):
    names = [f"app-{n}" for n in range(50)]

    def workload(name, ready):
        spec = {"replicas": 10, "selector": {"matchLabels": {"app": name}}}
        status = {
            "observedGeneration": 1,
            "replicas": 10,
            "updatedReplicas": 10,
            "availableReplicas": 10 if ready else 0,
        }
        meta = {"name": name, "namespace": "shop", "generation": 1, "resourceVersion": "900"}
        return {"metadata": meta, "spec": spec, "status": status}

    for name in names:
        api.put(f"/apis/apps/v1/namespaces/shop/deployments/{name}", workload(name, ready=False))
    for item in many(500, ready=False):
        api.put(f"/api/v1/namespaces/shop/pods/{item['metadata']['name']}", item)
    api.events["pods"] = [[event(item) for item in many(500, ready=True)]]
    api.events["deployments"] = [[event(workload(name, ready=True)) for name in names]]
    started = time.monotonic()
    result = wait(*({**WEB, "name": name} for name in names), timeout=60)
    assert all(o["met"] for o in result["objects"]) and len(result["objects"]) == 50
    assert time.monotonic() - started < 10
    watches = [p for _m, p, q, *_r in api.requests if q.get("watch")]
    assert len([p for p in watches if p.endswith("/pods")]) <= 2, "one watch for all pods"
