# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule with what it must name, and beside it what looks alike and is healthy."""

from __future__ import annotations

from math import inf

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import diagnosis
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import Events
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.looks import Looks

GRACE = 30
ASKS = {diagnosis.INJECT: "true"}
T1, T2, T3 = (f"2026-01-01T00:00:0{n}Z" for n in (1, 2, 3))


def pod(state=None, container="web", restarts=0, last=None, notes=None, spec=None, **status):
    item = {"name": container, "ready": False, "restartCount": restarts, "state": state or {}, "lastState": last or {}}
    spec = {
        "containers": [{"name": "web", "image": "shop/web:1", "resources": {"requests": {"cpu": "2"}}}],
        **(spec or {}),
    }
    meta = {"name": "web-1", "namespace": "shop", "uid": "u", "annotations": notes or {}, "labels": {"app": "web"}}
    meta["creationTimestamp"] = T1
    return {"metadata": meta, "spec": spec, "status": {"containerStatuses": [item], **status}}


def waiting(reason, message="", **more):
    return pod({"waiting": {"reason": reason, "message": message}}, **more)


def warning(reason, message, kind="Pod", name="web-1", at=T2, **about):
    event = {"metadata": {"name": f"{name}.{reason}", "namespace": "shop"}, "reason": reason, "message": message}
    return {**event, "lastTimestamp": at, "involvedObject": {"kind": kind, "name": name, **about}}


def found(pod_, *events, first=None, grace=GRACE):
    return list(diagnosis.troubles(pod_, first or {}, grace, Events(events)))


def one(*arguments, **options):
    (trouble,) = found(*arguments, **options)
    assert trouble.fix and trouble.subject == "Pod shop/web-1"
    return trouble


RUNS = {"running": {"startedAt": T1}}
CRASH = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": T1}}
KILLED = {"terminated": {"exitCode": 137, "reason": "Error", "startedAt": T1}}
LOOP = {"reason": "CrashLoopBackOff"}


# images


@pytest.mark.parametrize(
    ("message", "rule", "grace"),
    [
        ("shop/web:1: not found", "image", 0),
        ("no match for platform in manifest: not found", "platform", 0),
        ("dial tcp: i/o timeout", "image", GRACE),
    ],
)
def test_images(message, rule, grace):
    trouble = one(waiting("ErrImagePull", message))
    assert (trouble.rule, trouble.grace, trouble.container) == (rule, grace, "web")
    assert "shop/web:1" in trouble.cause and message in trouble.cause


def test_an_image_that_is_being_pulled():
    assert found(waiting("ContainerCreating")) == []


# containers that end


def test_a_program_for_another_platform_says_so_at_its_start():
    last = {"terminated": {"exitCode": 128, "reason": "StartError", "message": 'exec: "/app": exec format error'}}
    assert one(waiting("CrashLoopBackOff", restarts=1, last=last)).rule == "platform"


@pytest.mark.parametrize(
    ("log", "rule"),
    [
        ("exec /app/main: exec format error", "platform"),
        ("/bin/sh: .: line 1: can't open '/vault/secrets/database': No such file or directory", "secret-file"),
        ("sh: 1: .: cannot open /vault/secrets/database: No such file", "secret-file"),
        ("Error: ENOENT: no such file or directory, open '/vault/secrets/jwt'", "secret-file"),
        ("/vault/secrets/database: No such file or directory", "secret-file"),
    ],
)
def test_a_log_that_leaves_no_doubt(log, rule):
    trouble = diagnosis.crash_trouble(pod(CRASH), "web", 0, f"starting\n{log}\n")
    assert (trouble.rule, trouble.grace, trouble.evidence) == (rule, 0, log)


@pytest.mark.parametrize(
    "log", ["", "connection to redis refused", "read /vault/secrets/database", "/etc/app.conf: No such file"]
)
def test_a_log_that_tells_nothing_for_sure(log):
    assert diagnosis.crash_trouble(pod(CRASH), "web", 0, log) is None


def test_a_file_that_an_agent_beside_the_container_writes_may_come_later():
    beside = pod(CRASH, spec={"containers": [{"name": "web"}, {"name": "vault-agent"}]})
    assert diagnosis.crash_trouble(beside, "web", 0, "/vault/secrets/x: No such file or directory") is None


def test_which_logs_are_worth_a_look():
    assert list(diagnosis.crashed(pod(CRASH))) == [("web", 0, False)]
    assert list(diagnosis.crashed(pod(RUNS, last=CRASH, restarts=1))) == [("web", 1, True)]
    assert list(diagnosis.crashed(pod({"terminated": {"exitCode": 0}}))) == []


def test_one_lost_race_is_no_crash_loop():
    assert found(waiting("CrashLoopBackOff", restarts=1, last=CRASH)) == []
    assert one(waiting("CrashLoopBackOff", restarts=2, last=CRASH)).rule == "crash"


def test_a_report_names_it_at_once_and_between_two_ends():
    assert one(waiting("CrashLoopBackOff", restarts=1, last=CRASH), grace=0).rule == "crash"
    assert one(pod(RUNS, restarts=2, last=CRASH), grace=0).rule == "crash"
    assert found(pod(RUNS, restarts=1, last=CRASH), grace=0) == []
    assert found(pod(RUNS, restarts=2, last=CRASH)) == [], "a wait gives it the chance"


@pytest.mark.parametrize(
    ("ended", "rule", "enough"),
    [
        ({"exitCode": 137, "reason": "OOMKilled"}, "memory", 2),
        ({"exitCode": 128, "reason": "StartError", "message": 'exec: "/no/such": no such file'}, "command", 1),
    ],
)
def test_out_of_memory_and_without_a_command(ended, rule, enough):
    last = {"terminated": ended}
    assert one(waiting("CrashLoopBackOff", restarts=enough, last=last)).rule == rule
    assert found(waiting("CrashLoopBackOff", restarts=enough - 1, last=last)) == []
    assert found(pod(RUNS, restarts=enough, last=last)) == [], "it runs now"


def test_killed_by_its_probe():
    said = "Liveness probe failed: HTTP probe failed with statuscode: 500"
    trouble = one(waiting("CrashLoopBackOff", restarts=2, last=KILLED), warning("Unhealthy", said))
    assert (trouble.rule, trouble.evidence) == ("probe", said)
    old = warning("Unhealthy", said, at="2025-12-31T00:00:00Z")
    assert one(waiting("CrashLoopBackOff", restarts=2, last=KILLED), old).rule == "crash"


def test_created_wrongly():
    trouble = one(waiting("CreateContainerConfigError", 'secret "s" not found'))
    assert (trouble.rule, trouble.grace) == ("config", diagnosis.SOON)
    assert found(waiting("PodInitializing")) == []


# probes


@pytest.mark.parametrize(
    ("said", "grace"),
    [
        ("Readiness probe failed: HTTP probe failed with statuscode: 404", diagnosis.SOON),
        ('Startup probe failed: exec: "curl": executable file not found in $PATH', diagnosis.SOON),
        ("Readiness probe failed: HTTP probe failed with statuscode: 503", inf),
        ("Startup probe failed: dial tcp 10.42.0.9:3000: connect: connection refused", inf),
    ],
)
def test_probes(said, grace):
    trouble = one(pod(RUNS), warning("Unhealthy", said, fieldPath="spec.containers{web}"))
    assert (trouble.rule, trouble.grace, trouble.evidence) == ("probe", grace, said)


def test_probes_of_others_and_of_before():
    assert found(pod(RUNS), warning("Unhealthy", "statuscode: 404", at="2025-01-01T00:00:00Z")) == []
    assert found(pod(RUNS), warning("Unhealthy", "statuscode: 404", name="web-2")) == []
    assert found(pod(RUNS), warning("Unhealthy", "statuscode: 404", fieldPath="spec.containers{sidecar}")) == []
    ready = pod(RUNS)
    ready["status"]["containerStatuses"][0]["ready"] = True
    assert found(ready, warning("Unhealthy", "statuscode: 404")) == []


# volumes


def test_a_volume_that_cannot_be_mounted():
    creating = waiting("ContainerCreating", spec={"nodeName": "n"})
    said = 'MountVolume.SetUp failed for volume "c" : configmap "c" not found'
    trouble = one(creating, warning("FailedMount", said))
    assert (trouble.rule, trouble.grace, trouble.evidence) == ("mount", diagnosis.SOON, said)
    assert one(creating, warning("FailedCreatePodSandBox", "cni: timeout")).grace == GRACE
    assert found(pod(RUNS, spec={"nodeName": "n"}), warning("FailedMount", said)) == [], "it has been mounted since"


def klass(name, default=False):
    notes = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": notes}}


def claim(klass_=None, phase="Pending"):
    return {"metadata": {"name": "c"}, "spec": {"storageClassName": klass_}, "status": {"phase": phase}}


LOCAL = [klass("local-path", default=True)]


@pytest.mark.parametrize(
    ("it", "classes", "says"),
    [
        (None, LOCAL, "does not exist"),
        (claim("fast"), LOCAL, "wants the storage class fast, which does not exist; there is local-path"),
        (claim(), [klass("local-path")], "there is no default one"),
        (claim("local-path"), LOCAL, ""),  # WaitForFirstConsumer
        (claim(), LOCAL, ""),
        (claim("gone", "Bound"), LOCAL, ""),
    ],
)
def test_claims(it, classes, says):
    cause, fix = diagnosis.claim_trouble(it, "shop", "c", classes, Events())
    assert (says in cause) if says else (cause, fix) == ("", "")


def test_a_claim_whose_volume_is_not_made():
    event = warning("ProvisioningFailed", "no space left", "PersistentVolumeClaim", "c")
    assert "no space left" in diagnosis.claim_trouble(claim(), "shop", "c", LOCAL, Events([event]))[0]


# the injector


def test_a_pod_that_the_injector_missed():
    trouble = one(waiting("PodInitializing", notes=ASKS))
    assert (trouble.rule, trouble.grace, trouble.command) == ("not-injected", 3, "kubectl -n shop delete pod web-1")
    crash = {"reason": "CrashLoopBackOff", "message": "back-off"}
    assert one(waiting(**crash, notes=ASKS)).rule == "not-injected", "that is why it ends"
    missed = pod(notes=ASKS)
    assert one(missed, first=missed).grace == GRACE, "somebody may just be about to make it anew"
    assert found(pod(notes={**ASKS, diagnosis.INJECTED: "injected"})) == []
    assert found(pod(notes={diagnosis.INJECT: "false"})) == []


def test_what_goes_is_no_trouble():
    going = waiting("ErrImagePull", "not found", notes=ASKS)
    going["metadata"]["deletionTimestamp"] = T1
    assert found(going) == []


# workloads


def deployment(kind="Deployment", generation=2, **status):
    meta = {"name": "web", "namespace": "shop", "uid": "d", "generation": generation}
    status = {"observedGeneration": 2, "replicas": 1, **status}
    return {"metadata": meta, "spec": {"replicas": 1}, "status": status}


def late(**more):
    return deployment(
        conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}], **more
    )


def workload(obj, *events, kind="Deployment", first=None):
    return list(diagnosis.workload_troubles(kind, obj, first or {}, GRACE, Events(events)))


def test_a_deadline_that_ends_the_wait_and_one_of_before():
    (trouble,) = workload(late())
    assert (trouble.rule, trouble.grace) == ("deadline", 0)
    assert workload(late(), first=late())[0].grace == GRACE
    assert workload(late(generation=3)) == [], "the condition is of the version before"
    progressing = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
    assert workload(deployment(conditions=[progressing])) == []


@pytest.mark.parametrize(
    ("message", "rule", "fix", "group"),
    [
        ('pods "web-0" is forbidden: exceeded quota: q, requested: cpu=2', "quota", "Raise the ResourceQuota", ""),
        (
            'Internal error occurred: failed calling webhook "vault.hashicorp.com": connection refused',
            "webhook",
            "does not answer",
            "webhook vault.hashicorp.com",
        ),
        ('admission webhook "guard" denied the request: no', "refused", "change what it objects to", "webhook guard"),
        ('pods "w" is forbidden: violates PodSecurity "restricted:latest"', "refused", "", ""),
        ('error looking up service account shop/w: serviceaccount "w" not found', "account", "Create the Serv", ""),
        ("something else", "create", "Correct what the message names", ""),
    ],
)
def test_pods_that_cannot_be_made(message, rule, fix, group):
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    (trouble,) = workload(deployment(conditions=[condition]))
    assert (trouble.rule, trouble.grace, trouble.group) == (rule, diagnosis.SOON, group)
    assert message in trouble.cause and fix in trouble.fix
    assert workload(deployment(conditions=[{**condition, "status": "False"}])) == []
    event = warning("FailedCreate", message, "Deployment", "web")
    assert workload(deployment(), event) == [], "they have been made since"


@pytest.mark.parametrize(
    ("kind", "short", "enough"),
    [
        ("StatefulSet", {"replicas": 0}, {"replicas": 1}),
        ("DaemonSet", {"desiredNumberScheduled": 2, "currentNumberScheduled": 1}, {"desiredNumberScheduled": 0}),
        ("Job", {}, {"active": 1}),
    ],
)
def test_what_has_no_condition_has_an_event(kind, short, enough):
    event = warning("FailedCreate", "exceeded quota", kind, "web")
    assert workload(deployment(kind, **short), event, kind=kind)[0].rule == "quota"
    assert workload(deployment(kind, **enough), event, kind=kind) == [], "the event is of before"


@pytest.mark.parametrize(
    ("kind", "obj", "about"),
    [
        ("StatefulSet", deployment("StatefulSet", replicas=0), ("StatefulSet", "web")),
        (
            "Deployment",
            deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "failed calling webhook"}]),
            ("ReplicaSet", "web-5d576ff48"),
        ),
    ],
)
def test_a_refusal_of_before_the_wait(kind, obj, about):
    """The controller pauses: what it was refused then may be allowed by now, and it will ask again."""
    event = warning("FailedCreate", "failed calling webhook", *about)
    event["metadata"]["uid"] = "e1"
    event["lastTimestamp"] = "2026-01-01T00:00:40Z"
    old = {"e1": "2026-01-01T00:00:40Z"}

    def troubles(before, now=None):
        found = diagnosis.workload_troubles(kind, obj, {}, GRACE, Events([event], before), lambda: now)
        return [(trouble.rule, trouble.grace) for trouble in found]

    assert troubles({}) == [("webhook", diagnosis.SOON)]
    assert troubles({}, "") == [("webhook", diagnosis.SOON)], "only what is of before is asked again"
    assert troubles({"e1": "2026-01-01T00:00:30Z"}, "") == [("webhook", diagnosis.SOON)], "it was refused again since"
    assert troubles(old) == [("webhook", GRACE)], "nobody can tell"
    assert troubles(old, "") == [], "now they can be made"
    assert troubles(old, "exceeded quota: x") == [("quota", diagnosis.SOON)]


def test_a_refusal_of_before_the_wait_without_an_event():
    condition = {"type": "ReplicaFailure", "status": "True", "message": "failed calling webhook"}
    other = warning("FailedCreate", "exceeded quota", "ReplicaSet", "website-5d576ff48")
    assert workload(deployment(conditions=[condition]), other)[0].grace == diagnosis.SOON
    assert workload(deployment(conditions=[condition]), first=deployment(conditions=[condition]))[0].grace == GRACE
    assert workload(deployment(conditions=[condition]), first=deployment())[0].grace == diagnosis.SOON


# what is looked for only then


@pytest.fixture
def looks(client):
    return Looks(client)


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (0, "", []),
        (403, 'pods "web-" is forbidden: exceeded quota: q', ["exceeded quota: q"]),
        (500, 'Internal error occurred: failed calling webhook "w": refused', ['failed calling webhook "w": refused']),
        (403, 'pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods"', None),
        (400, 'admission webhook "w" does not support dry run', None),
        (429, "too many requests", None),
    ],
)
def test_the_api_server_is_asked_whether_a_pod_may_be_made_now(api, looks, status, message, said):
    """``said``: what the trouble names; None: it is as old as it was."""
    claims = [{"metadata": {"name": "data"}}]
    obj = deployment("StatefulSet", replicas=0)
    obj["metadata"] |= {"namespace": "shop", "uid": "u"}
    mounts = [{"name": "conf", "configMap": {"name": "c"}}]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [], "volumes": mounts}}
    obj["spec"] |= {"template": template, "volumeClaimTemplates": claims}
    api.namespace("shop")
    if status:
        api.fail("POST", "/pods", status, message)
    event = warning("FailedCreate", "of before", "StatefulSet", "web")
    event["metadata"]["uid"] = "e1"
    events = Events([event], {"e1": diagnosis.seen_at(event)})
    found = list(looks.workload("StatefulSet", obj, {}, GRACE, events))
    assert list(looks.workload("StatefulSet", obj, {}, GRACE, events)) == found, "the answer counts for a moment"
    assert api.sent("POST") == ["POST /api/v1/namespaces/shop/pods dry"] and looks.again_in < 10
    if said is None:
        assert [(t.cause.rpartition(": ")[2], t.grace) for t in found] == [("of before", GRACE)]
    else:
        assert len(found) == len(said)
        assert all(text in t.cause and t.grace == diagnosis.SOON for t, text in zip(found, said))
    (body,) = (body for method, _path, _query, body, _headers in api.requests if method == "POST")
    assert body["metadata"] == {"labels": {"app": "web"}, "generateName": "web-", "namespace": "shop"}
    assert [volume["name"] for volume in body["spec"]["volumes"]] == ["conf", "data"]


NOWHERE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}


def put_node(api, cpu, ready="True"):
    status = {
        "conditions": [{"type": "Ready", "status": ready}],
        "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "9"},
    }
    api.put("/api/v1/nodes/vm-1", {"status": status})


def test_where_a_pod_does_not_fit_in_numbers(api, looks):
    put_node(api, "1500m")
    other = {"spec": {"nodeName": "vm-1", "containers": [{"resources": {"requests": {"cpu": "1"}}}]}}
    api.put("/api/v1/namespaces/x/pods/other", other)
    (trouble,) = looks.troubles(pod(conditions=[NOWHERE]), {}, GRACE, Events())
    assert trouble.evidence == ("it asks for 2000m CPU and 0Mi memory; node vm-1 has 500m CPU and 1024Mi memory free")
    assert trouble.grace == diagnosis.SOON


def test_a_pod_that_fits_as_soon_as_others_have_ended(api, looks):
    put_node(api, "2")
    meta = {"deletionTimestamp": T1}
    old = {"metadata": meta, "spec": {"nodeName": "vm-1", "containers": [{"resources": {"requests": {"cpu": "2"}}}]}}
    api.put("/api/v1/namespaces/shop/pods/web-0", old)
    (trouble,) = looks.troubles(pod(conditions=[NOWHERE]), {}, GRACE, Events())
    assert trouble.grace == inf


def test_a_node_may_become_ready(api, looks):
    put_node(api, "4", ready="False")
    (trouble,) = looks.troubles(pod(conditions=[NOWHERE]), {}, GRACE, Events())
    assert trouble.grace == GRACE and "node vm-1 is not Ready" in trouble.evidence


def test_a_pod_that_waits_for_its_volume(api, looks):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]
    (trouble,) = looks.troubles(pod(conditions=[NOWHERE], spec={"volumes": volumes}), {}, GRACE, Events())
    assert trouble.rule == "volume" and "PersistentVolumeClaim shop/c does not exist" in trouble.cause


def test_who_may_not_look_at_nodes_gets_the_message(api, looks):
    api.fail("GET", "/nodes", 403, "nodes is forbidden")
    (trouble,) = looks.troubles(pod(conditions=[NOWHERE]), {}, GRACE, Events())
    assert "0/1 nodes are available" in trouble.cause and trouble.evidence == ""


def test_the_log_of_an_end_is_read_once(api, looks):
    api.logs["web-1", "web", ""] = "exec /app: exec format error"
    for _round in range(3):
        assert [t.rule for t in looks.troubles(pod(CRASH), {}, GRACE, Events())] == ["platform"]
    assert len([path for _m, path, *_rest in api.requests if path.endswith("/log")]) == 1
    assert list(looks.troubles(pod(CRASH), pod(CRASH), GRACE, Events())) == [], "it ended before the wait began"


def test_a_log_that_the_kubelet_has_no_more(api, looks):
    api.logs["web-1", "web", "previous"] = "unable to retrieve container logs for containerd://01"
    assert looks.log(pod(), "web", previous=True) == ""
    api.logs["web-1", "web", ""] = "FATAL"
    assert looks.log(pod(), "web", previous=True) == "FATAL"
