# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_diagnose_info: each rule alone, and what it makes of many troubles with one cause."""

from __future__ import annotations

import re
import subprocess
import time
from datetime import datetime, timezone

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils import diagnose
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.groups import Group
from ansible_collections.cloudcartops.platform.plugins.module_utils.site import Broken
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.injector_check import Problem

NS = "/api/v1/namespaces/shop"
VAULT = "vault.hashicorp.com/"
ASKS = {f"{VAULT}agent-inject": "true", f"{VAULT}role": "web", f"{VAULT}agent-inject-secret-db": "kv/data/db"}
INJECTED = {**ASKS, f"{VAULT}agent-inject-status": "injected"}
READY = [{"type": "Ready", "status": "True"}]
DENIED = """[ERROR] agent.auth.handler: error authenticating:
  | Code: 403. Errors:
  | * permission denied
"""


class Shop:
    """A healthy namespace in the stand-in for the API server, and what the parts answer that it does not speak."""

    def __init__(self, api) -> None:
        self.api, self.problem, self.files, self.broken = api, None, "", {}
        self.sealed, self.fingerprints, self.login, self.stats = False, {}, None, {"pods": []}
        self.group = Group(1)
        api.put("/api/v1/nodes/vm-1", {"spec": {}, "status": {"conditions": READY}})
        labels = {"metadata": {"labels": {"kubernetes.io/service-name": "kube-dns"}}}
        ready = {"endpoints": [{"conditions": {"ready": True}}]}
        api.put("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/dns", {**labels, **ready})
        original = api.answer

        def answer(method, path, query, body):
            if path.endswith("/seal-status"):
                return 200, {"sealed": self.sealed, "initialized": True, "t": 3}
            if path.endswith("/stats/summary"):
                return (200, self.stats) if self.stats else (403, {"message": "forbidden"})
            return original(method, path, query, body)

        api.answer = answer

    def pod(self, name="web-1", app="web", state=None, container=None, notes=None, init=(), **status):
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        item = {"name": container or app, "ready": state is None, "restartCount": 0, "state": state or running}
        field = "initContainerStatuses" if container else "containerStatuses"
        spec = {"nodeName": "vm-1", "containers": [{"name": app, "image": f"{app}:1"}], "serviceAccountName": app}
        spec |= {"initContainers": list(init)} if init else {}
        meta = {"labels": {"app": app}, "annotations": notes or {}, "creationTimestamp": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", field: [item], **status}
        self.api.put(f"{NS}/pods/{name}", {"kind": "Pod", "metadata": meta, "spec": spec, "status": status})

    def workload(self, name="web", component="apps", init=(), kind="deployments", **status):
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}}
        spec["template"] = {"spec": {"initContainers": list(init)}}
        meta = {"labels": {"app.kubernetes.io/component": component}, "managedFields": []}
        path = f"/apis/apps/v1/namespaces/shop/{kind}/{name}"
        self.api.put(path, {"metadata": meta, "spec": spec, "status": {"replicas": 1, **status}})


@pytest.fixture
def shop(api, monkeypatch):
    shop = Shop(api)

    class Health:
        def __init__(self, *_arguments) -> None:
            pass

        def checks(self):
            return [(name, self._check, name) for name in ("Nodes", "Redis", "web", "Ingress")]

        def talk(self, app, port, talk):
            assert (app, port) == ("kafka", 29092)
            return talk("connection")

        def _check(self, name):
            if name in shop.broken:
                raise Broken(*shop.broken[name])
            return "fine"

    monkeypatch.setattr(diagnose.health, "Health", Health)
    monkeypatch.setattr(diagnose.injector_check, "attempt", lambda *_arguments: (None, shop.problem))
    monkeypatch.setattr(diagnose, "run_in_container", lambda *_arguments: (0, shop.files, ""))
    monkeypatch.setattr(diagnose, "vault_kv2_fingerprint_info", lambda *_arguments: {"fingerprints": shop.fingerprints})

    def login(params, _check_mode):
        shop.asked = params["logins"]
        if isinstance(shop.login, Exception):
            raise shop.login
        told = {"ok": not shop.login, "msg": shop.login}
        return {"logins": [{**told, "role": o["role"], "msg": told["msg"].format(o["role"])} for o in shop.asked]}

    monkeypatch.setattr(diagnose, "vault_login_check", login)
    monkeypatch.setattr(diagnose, "Broker", str)

    def group(_broker, *asked):
        shop.asked = asked
        if isinstance(shop.group, Exception):
            raise shop.group
        return shop.group

    monkeypatch.setattr(diagnose, "read_group", group)
    return shop


@pytest.fixture
def ask(kubeconfig):
    def run(**over):
        params = {"kubeconfig": kubeconfig, "context": None, "namespace": "shop", "services": {}, "topics": []}
        params |= {"jobs": [], "vault_mount": "kv", "token_secret": None, "login": None, "address": None}
        result = diagnose.k8s_diagnose_info({**params, **over}, False)
        assert result["healthy"] == (not result["findings"]) and result["cluster"] == "present"
        return result["findings"]

    return run


def test_a_healthy_namespace(shop, ask):
    shop.pod(notes=INJECTED)
    shop.workload()
    assert ask() == []


def test_no_cluster(absent):
    params = {"kubeconfig": absent, "context": None}
    assert diagnose.k8s_diagnose_info(params, True)["cluster"] == "absent"
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        diagnose.k8s_diagnose_info(params, False)


def test_one_missing_injector_is_one_finding(shop, ask):
    shop.problem = Problem("There is no MutatingWebhookConfiguration x.", "Run the role vault again.")
    for n in range(15):
        shop.pod(f"web-{n}", app=f"web{n}", state={"waiting": {"reason": "PodInitializing"}}, notes=ASKS)
    shop.broken = {"Ingress": ("no route", "Run the play cloudcartops.platform.ingress.")}
    findings = ask()
    assert [f["rule"] for f in findings] == ["injector", "check"]  # the ingress shows none of these
    assert findings[0]["command"] == "ansible-playbook cloudcartops.platform.install_vault_injector"
    (missed,) = findings[0]["consequences"]
    assert len(missed["objects"]) == 15 and missed["command"].count("delete pod") == 15


def test_the_injector_with_the_wrong_certificate_is_restarted(shop, ask):
    shop.problem = Problem("It serves a certificate of another CA.", "Therefore restart the injector.")
    assert ask()[0]["command"] == "kubectl -n shop rollout restart deployment/vault-agent-injector"


def test_a_node_takes_its_pods_with_it(shop, ask):
    conditions = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "stopped posting"}]
    shop.api.put("/api/v1/nodes/vm-1", {"spec": {}, "status": {"conditions": conditions}})
    shop.pod(state={"waiting": {"reason": "ErrImagePull", "message": "i/o timeout"}})
    (found,) = ask()
    assert (found["rule"], found["evidence"]) == ("node", "NodeStatusUnknown: stopped posting")
    assert [c["rule"] for c in found["consequences"]] == ["image"]


def test_a_kubelet_that_does_not_answer_is_not_asked(shop, ask):
    conditions = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "stopped posting"}]
    shop.api.put("/api/v1/nodes/vm-1", {"spec": {}, "status": {"conditions": conditions}})
    shop.pod("web-1", state={"terminated": {"exitCode": 1}})
    shop.pod("web-2", notes=INJECTED)
    shop.files = "no-value config"
    (found,) = ask()
    assert found["rule"] == "node" and found["consequences"] == []
    assert [path for _m, path, *_rest in shop.api.requests if path.endswith(("/log", "/stats/summary"))] == []


def test_records_of_evicted_pods_are_no_trouble(shop, ask):
    ended = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
    shop.pod(state=ended, phase="Failed", reason="Evicted")
    shop.api.logs["web-1", "web", ""] = "exec /app: exec format error"
    assert ask() == []
    shop.pod(state=ended)
    assert [f["rule"] for f in ask()] == ["platform"]


def test_disk_pressure(shop, ask):
    pressure = {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}
    shop.api.put("/api/v1/nodes/vm-1", {"spec": {}, "status": {"conditions": [*READY, pressure]}})
    (found,) = ask()
    assert found["rule"] == "pressure" and "Node vm-1 has DiskPressure" in found["cause"]
    shop.api.put(
        "/api/v1/nodes/vm-1", {"spec": {}, "status": {"conditions": [*READY, {**pressure, "status": "False"}]}}
    )
    assert ask() == [], "as every healthy node says"


def test_a_cordoned_node_matters_when_a_pod_finds_no_place(shop, ask):
    shop.api.put("/api/v1/nodes/vm-1", {"spec": {"unschedulable": True}, "status": {"conditions": READY}})
    assert ask() == []
    nowhere = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}
    shop.pod(conditions=[nowhere], phase="Pending")
    (found,) = ask()
    assert (found["rule"], found["command"]) == ("cordoned", "kubectl uncordon vm-1")
    assert [c["rule"] for c in found["consequences"]] == ["unschedulable"]


def test_dns(shop, ask):
    path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/dns"
    ready, not_ready = ({"conditions": {"ready": ready}} for ready in (True, False))
    shop.api.objects[path]["endpoints"] = [not_ready, ready]
    assert ask() == [], "one pod is restarted, the other answers"
    shop.api.objects[path]["endpoints"] = [not_ready]
    assert [f["rule"] for f in ask()] == ["dns"]
    del shop.api.objects[path]
    assert [f["rule"] for f in ask()] == ["dns"]


def test_a_sealed_vault_explains_its_pod_and_the_agents(shop, ask):
    shop.sealed = True
    shop.api.put(f"{NS}/services/vault", {"spec": {"selector": {"app": "vault"}}})
    shop.pod("vault-0", app="vault", state={"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    about = {"kind": "Pod", "name": "vault-0"}
    unhealthy = {
        "type": "Warning",
        "reason": "Unhealthy",
        "involvedObject": about,
        "lastTimestamp": "2026-01-01T00:00:01Z",
    }
    shop.api.put(f"{NS}/events/e", {**unhealthy, "message": "Readiness probe failed: statuscode: 503"})
    shop.pod(state={"running": {}}, container="vault-agent-init", notes=INJECTED)
    shop.api.logs["web-1", "vault-agent-init", ""] = DENIED.replace("403", "503").replace(
        "permission denied", "Vault is sealed"
    )
    (found,) = ask()
    assert found["rule"] == "vault" and "Vault in the pod vault-0 is sealed" in found["cause"]
    assert sorted(c["rule"] for c in found["consequences"]) == ["probe", "vault"]


def test_why_vault_refuses_is_asked_of_vault_where_that_is_allowed(shop, ask):
    for n in (1, 2):
        notes = {**INJECTED, f"{VAULT}role": f"web{n}"}
        shop.pod(f"web-{n}", f"web{n}", state={"running": {}}, container="vault-agent-init", notes=notes)
        shop.api.logs[f"web-{n}", "vault-agent-init", ""] = DENIED
    (found,) = ask()
    assert found["rule"] == "vault" and len(found["objects"]) == 2 and "Vault refuses the login" in found["cause"]
    shop.login = "{} cannot log in: the token of Vault's pod is void."
    token = {"name": "t", "namespace": "shop", "key": "token"}
    (found,) = ask(token_secret=token)
    assert (found["rule"], found["objects"]) == ("login", ["Vault role web1", "Vault role web2"])
    assert "is void" in found["cause"] and [c["rule"] for c in found["consequences"]] == ["vault"]
    wanted = {"role": "web1", "service_account": "web1", "mount": "kubernetes", "reads": ["kv/data/db"]}
    assert wanted.items() <= shop.asked[0].items()
    for not_known in (PlatformError("The token is not valid."), ""):  # "": they may log in by now
        shop.login = not_known
        assert [f["rule"] for f in ask(token_secret=token)] == ["vault"]


WAIT = {"name": "wait", "command": ["/bin/sh", "-c", "…", "wait"], "args": ["redis:6379"]}


def test_who_waits_for_redis_follows_from_redis(shop, ask):
    shop.pod(state={"running": {}}, container="wait", init=[WAIT])
    shop.workload(init=[WAIT])
    shop.broken = {
        "Redis": ("redis is scaled to 0.", "Run the play cloudcartops.platform.data."),
        "web": ("0 of 1", "x"),
    }
    (found,) = ask()
    assert (found["objects"], found["command"]) == (["Redis"], "ansible-playbook cloudcartops.platform.data")
    assert sorted(c["rule"] for c in found["consequences"]) == ["check", "waits"]


def test_a_pod_whose_wait_is_about_to_end_is_healthy(shop, ask):
    labels = {"metadata": {"labels": {"kubernetes.io/service-name": "redis"}}}
    path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/redis"
    shop.api.put(path, {**labels, "endpoints": [{"conditions": {"ready": True}}]})
    shop.pod(state={"running": {}}, container="wait", init=[WAIT])
    assert ask() == []


def test_a_crash_loop_shows_its_log_without_secrets(shop, ask):
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    shop.pod(state={"waiting": {"reason": "CrashLoopBackOff"}})
    item = shop.api.objects[f"{NS}/pods/web-1"]["status"]["containerStatuses"][0]
    item |= {"restartCount": 1, "lastState": ended}
    shop.workload()
    shop.api.logs["web-1", "web", "previous"] = "FATAL: redis://:Geheim1@redis refused"
    (found,) = ask()
    assert (found["rule"], found["evidence"]) == ("crash", "FATAL: redis://:********@redis refused")
    assert found["command"] == "ansible-playbook cloudcartops.platform.apps"


LATE = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}


def test_a_rollout_that_is_late_says_more_than_a_part_that_does_not_answer(shop, ask):
    shop.pod()
    shop.workload(conditions=[LATE])
    shop.broken = {"web": ("0 of 1 pods of web are ready.", "Look.")}
    (found,) = ask()
    assert found["rule"] == "deadline" and [f["rule"] for f in found["consequences"]] == ["check"]


def test_a_crash_loop_says_more_than_a_rollout_that_is_late(shop, ask):
    shop.pod(state={"waiting": {"reason": "CrashLoopBackOff"}})
    item = shop.api.objects[f"{NS}/pods/web-1"]["status"]["containerStatuses"][0]
    item |= {"restartCount": 2, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    shop.workload(conditions=[LATE])
    shop.broken = {"web": ("0 of 1 pods of web are ready.", "Look.")}
    (found,) = ask()
    assert found["rule"] == "crash" and {f["rule"] for f in found["consequences"]} == {"deadline", "check"}


def test_pods_that_the_webhook_does_not_let_through(shop, ask):
    shop.problem = Problem("No pod of the injector is ready.", "Look.")
    message = 'Internal error occurred: failed calling webhook "vault.hashicorp.com": no endpoints'
    failed = {"type": "ReplicaFailure", "status": "True", "message": message}
    for name in ("a", "b"):
        shop.workload(name, conditions=[failed])
    (found,) = ask()
    assert found["rule"] == "injector" and len(found["consequences"][0]["objects"]) == 2


def test_volumes(shop, ask):
    shop.api.put(f"{NS}/persistentvolumeclaims/redis-data", {"spec": {"storageClassName": "gone"}, "status": {}})
    volume = {
        "pvcRef": {"name": "postgres-data", "namespace": "shop"},
        "capacityBytes": 1 << 30,
        "usedBytes": (1 << 30) - 9,
    }
    shop.stats = {"pods": [{"volume": [volume, {"name": "tmp"}]}]}
    causes = [f["cause"] for f in ask()]
    assert "wants the storage class gone" in causes[0] and "postgres-data is full (99 % of 1024 Mi)" in causes[1]
    volume["usedBytes"] = 1 << 29
    assert len(ask()) == 1


@pytest.mark.parametrize("seconds", [100, -100])
def test_the_clock_of_a_node(shop, ask, seconds):
    shop.api.put("/api/v1/nodes/vm-2", {"spec": {}, "status": {"conditions": READY}})
    shop.api.ahead = {"/nodes/vm-2/proxy": seconds}
    (found,) = ask()
    assert (found["rule"], found["objects"], found["command"]) == ("clock", ["Node vm-2"], "")
    way = "ahead of" if seconds > 0 else "behind"
    assert re.fullmatch(rf"The clock of Node vm-2 is (98|99|100) s {way} the API server's\.", found["cause"])


@pytest.mark.parametrize("ahead", [{"/nodes/vm-1/proxy": 25}, {"/nodes/vm-1/proxy": -25}, {"/": 25}])
def test_clocks_that_differ_a_little(shop, ask, ahead):
    shop.api.ahead = ahead
    assert ask() == []


@pytest.mark.parametrize(("seconds", "way"), [(100, "behind"), (-100, "ahead of")])
def test_the_clock_of_the_control_node(shop, ask, seconds, way):
    """The nodes agree with the API server."""
    shop.api.ahead = {"/": seconds}
    (found,) = ask()
    assert (found["rule"], found["objects"]) == ("clock", ["control node"])
    assert f"{way} the API server's" in found["cause"]


def test_a_clock_that_nobody_may_read(shop, ask):
    shop.api.ahead = {"/nodes/vm-1/proxy": 100}
    shop.stats = None
    assert ask() == []


WORKER = {"notification-worker": {"image": "worker"}}
LONG_READY = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]


def test_a_worker_that_is_not_in_its_group(shop, ask):
    shop.pod("notification-worker-1", "notification-worker", conditions=LONG_READY)
    shop.workload("notification-worker")
    shop.broken = {"web": ("0 of 1", "x")}
    shop.group = Group(0, {"stock.low": 2, "order.created": 3})
    web, found = sorted(ask(services=WORKER, topics=["order.created", "product.created"]), key=lambda f: f["rule"])
    assert (found["rule"], found["objects"]) == ("consumer", ["Pod shop/notification-worker-1"])
    assert "its consumer group notification-worker-group has no member" in found["cause"]
    assert found["evidence"] == "3 unread of order.created, 2 unread of stock.low"
    assert found["command"] == "kubectl -n shop rollout restart deployment/notification-worker"
    assert shop.asked[:2] == ("notification-worker-group", ["order.created"])
    assert 50 < time.time() - shop.asked[2] / 1000 < 70 and web["rule"] == "check"


def test_a_worker_in_its_group_that_does_not_read(shop, ask):
    shop.pod("notification-worker-1", "notification-worker", conditions=LONG_READY)
    shop.group = Group(2, {"order.created": 1})
    entry = {"image": "worker", "environment": {"KAFKA_GROUP_ID": "mine"}}
    (found,) = ask(services={"notification-worker": entry})
    assert "is in its consumer group mine, but has left events unread for more than 60 s" in found["cause"]


def test_workers_that_are_well(shop, ask):
    """One that reads; none; one that may still join; a broker that does not tell; a catalogue without a worker."""
    assert ask(services=WORKER) == []
    shop.pod("notification-worker-1", "notification-worker", conditions=LONG_READY)
    assert ask(services=WORKER) == []
    shop.group = Group(0)
    assert ask() == [] and len(ask(services=WORKER)) == 1
    shop.group = PlatformError("Kafka refused to describe the group.")
    assert ask(services=WORKER) == []
    shop.group = Group(0)
    just = datetime.fromtimestamp(time.time() - 10, timezone.utc).isoformat(timespec="seconds")
    shop.pod("notification-worker-1", "notification-worker", conditions=[{**LONG_READY[0], "lastTransitionTime": just}])
    assert ask(services=WORKER) == []
    shop.pod("notification-worker-1", "notification-worker", conditions=[{**LONG_READY[0], "status": "False"}])
    assert ask(services=WORKER) == []


def test_files_of_the_injector(shop, ask):
    shop.pod(notes=INJECTED)
    shop.files = "no-value db\nplaceholder jwt\n"
    assert [(f["rule"], f["cause"].split(" ")[0]) for f in ask()] == [
        ("no-value", "/vault/secrets/db"), ("placeholder", "/vault/secrets/jwt"),
    ]  # fmt: skip


def test_which_files_of_the_injector_are_bad(tmp_path):
    """As a pod's shell finds them: two bad ones among healthy ones that look alike."""
    files = {
        "db": "export PGHOST=<no value>\n",
        "jwt": 'export A="x"\nexport JWT_SECRET="placeholder"\n',
        "well": "export A=placeholder-7f3a\nexport B=no value\nexport C=\n# change-me\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    script = diagnose._BAD_FILES.replace("/vault/secrets", str(tmp_path))
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == ["no-value db", "placeholder jwt"]


def test_pods_older_than_their_secret(shop, ask):
    shop.pod(notes={**INJECTED, f"{diagnose.FINGERPRINT}db": "old"})
    shop.pod("web-2", notes={**INJECTED, f"{diagnose.FINGERPRINT}db": "new"})
    shop.fingerprints = {"db": "new"}
    services = {"web": {"image": "web", "secrets": {"db": {"A": "a"}}}}
    assert ask(services=services) == [], "nobody may look into Vault"
    (found,) = ask(services=services, login={"role": "r", "namespace": "shop"})
    assert (found["rule"], found["objects"]) == ("stale", ["Pod shop/web-1"])
    shop.fingerprints = {"db": ""}
    assert ask(services=services, login={"role": "r", "namespace": "shop"}) == []


def test_routes(shop, ask):
    shop.api.put(f"{NS}/services/web", {"spec": {"ports": [{"name": "http", "port": 80}]}})
    backends = [{"name": "web", "port": {"number": 80}}, {"name": "web", "port": {"name": "http"}}]
    backends += [{"name": "web", "port": {"number": 81}}, {"name": "gone", "port": {"number": 80}}]
    paths = [{"path": f"/{n}", "backend": {"service": b}} for n, b in enumerate(backends)]
    rules = [{"host": "shop.local", "http": {"paths": paths}}]
    shop.api.put("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/shop", {"spec": {"rules": rules}})
    shop.broken = {"Ingress": ("404", "x")}
    assert [f["cause"] for f in ask()] == [
        "shop.local/2 leads to the Service web, which has no port 81.",
        "shop.local/3 leads to the Service gone, which does not exist.",
    ]


def test_the_module(shop, run_module, kubeconfig):
    result = run_module("k8s_diagnose_info", kubeconfig=kubeconfig, namespace="shop")
    assert (result["healthy"], result["findings"], result["changed"]) == (True, [], False)


def by(manager, at="2026-01-01T00:01:00Z", **template):
    return {"manager": manager, "time": at, "fieldsV1": {"f:spec": {"f:template": template}}}


NOTES = {"f:metadata": {"f:annotations": {".": {}, diagnose.RESTARTED: {}}}}
SPEC = {"f:spec": {}}
UNDO, AGAIN = "kubectl -n shop rollout undo deployment/web", "ansible-playbook cloudcartops.platform.apps"


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        (by("kubectl-patch", **SPEC), UNDO),
        (by("kubectl-edit", **{"f:metadata": {"f:annotations": {"f:x": {}}}}), UNDO),
        (by("kubectl-rollout", **NOTES), AGAIN),
        (by("cloudcartops", **SPEC), AGAIN),
        (by("kubectl", at="2026-01-01T00:09:00Z", **SPEC), AGAIN),  # it went back to a version that was there
    ],
)
def test_what_another_hand_has_changed_is_taken_back(shop, ask, fields, command):
    shop.pod(state={"waiting": {"reason": "ErrImageNeverPull"}})
    shop.workload()
    workload = shop.api.objects["/apis/apps/v1/namespaces/shop/deployments/web"]
    workload["metadata"]["managedFields"] = [{"manager": "kube-controller-manager", "fieldsV1": {}}, fields]
    assert ask()[0]["command"] == AGAIN, "there is nothing to go back to"
    for number, made in (("2", "2026-01-01T00:00:58Z"), ("1", "2026-01-01T00:00:00Z")):
        meta = {"annotations": {diagnose.REVISION: number}, "creationTimestamp": made}
        meta["ownerReferences"] = [{"uid": workload["metadata"]["uid"]}]
        shop.api.put(f"/apis/apps/v1/namespaces/shop/replicasets/web-{number}", {"metadata": meta})
    (found,) = ask()
    assert found["command"] == command
    assert ("has changed Deployment shop/web" in found["fix"]) == (command == UNDO)
