# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault catalogue: what breaks on a platform is named, with its cause, and what the finding says mends it."""

from __future__ import annotations

import contextlib
import importlib
import json
import pathlib
import random
import re
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import recording  # noqa: E402

UTILS = "ansible_collections.cloudcartops.platform.plugins.module_utils"
KUBECTL = "kubectl -n cloudcart"
IN_TIME = 15  # seconds from when the API shows it
HEALED = 150  # seconds; Prometheus looks every 15, and agents try again after a minute
PLAY = "ansible-playbook cloudcartops.platform."
PAGE = ROOT / "bench/faults.md"
HEAD = """# Fault catalogue

Written by `pytest tests/live/test_faults.py --record`. Each fault was made on a healthy platform of one machine. Times
are from when the API showed it; a crash loop, for example, from its second restart. Then it was done what the finding
said, and the platform was healthy again.

| fault | rule | `k8s_diagnose_info` | `k8s_rollout` | what it says |
| --- | --- | ---: | ---: | --- |"""


@dataclass
class Fault:
    """``how`` is done, and when ``seen`` holds on the machine, ``rule`` must name ``says``.

    ``waited``: the Deployment whose rollout must fail of it as well; ``fails``: by which rule, if not the same.
    ``by_hand``: what somebody does who follows a fix that no command can do for him. ``after``: what is put in order
    when it is mended.
    """

    title: str
    how: str
    rule: str
    says: str
    seen: str = "true"
    waited: str = ""
    fails: str = ""
    by_hand: str = ""
    after: str = ""


def change(name: str, container: dict | None = None, annotations: dict | None = None, **pod) -> str:
    """Change the pods of a Deployment, as a careless hand would."""
    pod |= {"containers": [{"name": name, **container}]} if container else {}
    template = {"spec": pod, "metadata": {"annotations": annotations or {}}}
    return f"{KUBECTL} patch deployment {name} -p {shlex.quote(json.dumps({'spec': {'template': template}}))}"


def waits(name: str, reason: str) -> str:
    return f"{KUBECTL} get pods -l app={name} -o jsonpath='{{..state.waiting.reason}}' | grep -q {reason}"


def event(reason: str, text: str = "") -> str:
    return f"{KUBECTL} get events --field-selector reason={reason} -o jsonpath='{{..message}}' | grep -q '{text}'"


def anew(*names: str) -> str:
    return f"{KUBECTL} rollout restart {' '.join(f'deployment/{name}' for name in names)}"


LOOPS = (
    f"{waits('frontend', 'CrashLoopBackOff')} && "
    f"{KUBECTL} get pods -l app=frontend -o jsonpath='{{..restartCount}}' | grep -q [2-9]"
)
HOOK = "mutatingwebhookconfiguration vault-agent-injector-cfg"
ASKING = f"{KUBECTL} logs -l app=%s -c vault-agent-init --tail=20 | grep -q 'ERROR\\|vault.read'"
MISSED = (
    f'{KUBECTL} get pods -l app=order-service -o json | python3 -c "import json, sys; sys.exit(not all('
    "'vault.hashicorp.com/agent-inject-status' not in p['metadata']['annotations'] and "
    "'deletionTimestamp' not in p['metadata'] for p in json.load(sys.stdin)['items'] if p['status'].get('phase') in "
    "('Pending', 'Running')))\""
)
SCRIPT = (
    "kind: ConfigMap\napiVersion: v1\nmetadata: {name: fault, namespace: cloudcart}\ndata: {program: not-a-program}\n"
)
PROGRAM = {"volumes": [{"name": "fault", "configMap": {"name": "fault", "defaultMode": 0o755}}]}
DATABASE = "cloudcart/data/database"
INJECT = "vault.hashicorp.com/agent-inject"
EXTRA = {
    f"{INJECT}-secret-extra": DATABASE,
    f"{INJECT}-template-extra": f'{{{{ with secret "{DATABASE}" }}}}{{{{ .Data.data.x }}}}{{{{ end }}}}',
}
NO_IMAGE = "lab.cloudcart.local/none:1"
HUGE = {"requests": {"cpu": "64"}, "limits": {"cpu": "64"}}
TOPICS = f"{KUBECTL} exec kafka-0 -- kafka-topics --bootstrap-server kafka:29092"
GROUPS = f"{KUBECTL} exec kafka-0 -- kafka-consumer-groups --bootstrap-server kafka:29092"
DNS = "kubectl -n kube-system get endpointslices -l kubernetes.io/service-name=kube-dns -o yaml"
QUOTA = f"{KUBECTL} create quota fault --hard=pods=1"
LATE = {"progressDeadlineSeconds": 4, "template": {"spec": {"initContainers": [
    {"name": "late", "image": "lab.cloudcart.local/busybox:1.35", "command": ["sleep", "infinity"]}]}}}  # fmt: skip
GREEDY = {"command": ["tail", "-c", "200m", "/dev/zero"], "resources": {
    "requests": {"memory": "32Mi"}, "limits": {"memory": "32Mi"}}}  # fmt: skip
REFUSE = f"kubectl patch {HOOK} --type=json -p " + shlex.quote(
    '[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]'
)
NO_CA = (
    f"kubectl delete clusterrolebinding vault-agent-injector-binding && kubectl patch {HOOK} --type=json -p "
) + shlex.quote('[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]')
NODE = "kubectl get nodes -o jsonpath='{.items[0].status.conditions[?(@.type==\"%s\")].status}' | grep -q %s"
# Soft, with a long time until anything is evicted.
PRESSURE = "kubelet-arg+: [eviction-soft=nodefs.available<99%, eviction-soft-grace-period=nodefs.available=1h]"
SETTING = "/etc/rancher/k3s/config.yaml.d/fault.yaml"
FULL = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: fault}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  claimRef: {name: fault, namespace: cloudcart}
  local: {path: /srv/fault}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: Exists}]}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: fault, namespace: cloudcart}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: fault, namespace: cloudcart}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: lab.cloudcart.local/busybox:1.35
      command: [sleep, infinity]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: fault}}]
"""
USED = (
    "kubectl get --raw /api/v1/nodes/$(kubectl get nodes -o jsonpath='{.items[0].metadata.name}')/proxy/stats/summary"
    " | python3 -c \"import json, sys; sys.exit(not any(v['usedBytes'] %s for p in json.load(sys.stdin)['pods']"
    " for v in p.get('volume', []) if v.get('pvcRef', {}).get('name') == 'fault'))\""
)
WITHOUT = [
    {"op": "remove", "path": f"/spec/template/metadata/annotations/vault.hashicorp.com~1agent-inject-{part}-kafka"}
    for part in ("secret", "template")
]

FAULTS = [
    # images and programs
    Fault("an image that does not exist", change("frontend", {"image": NO_IMAGE, "imagePullPolicy": "Never"}),
          "image", f"{NO_IMAGE} cannot be used", waits("frontend", "ErrImage"), "frontend"),
    Fault("a program for another platform",
          f"printf '{SCRIPT}' | kubectl apply -f - && " + change("frontend", {"command": ["/fault/program"],
          "volumeMounts": [{"name": "fault", "mountPath": "/fault"}]}, **PROGRAM),
          "platform", "another platform", waits("frontend", "CrashLoopBackOff"), "frontend",
          after=f"{KUBECTL} delete configmap fault"),
    Fault("a program that ends", change("frontend", {"command": ["/bin/sh", "-c", "echo FATAL no such table; exit 3"]}),
          "crash", "ends again and again .exit code 3", LOOPS, "frontend"),
    Fault("too little memory", change("frontend", GREEDY),
          "memory", "OOMKilled", LOOPS, "frontend"),
    Fault("a rollout that is late", f"{KUBECTL} patch deployment frontend -p {shlex.quote(json.dumps({'spec': LATE}))}",
          "deadline", "made no progress within its progressDeadlineSeconds",
          f"{KUBECTL} get deployment frontend -o yaml | grep -q ProgressDeadlineExceeded", "frontend",
          after=f"{KUBECTL} patch deployment frontend -p '{{\"spec\": {{\"progressDeadlineSeconds\": 600}}}}'"),
    Fault("a command that does not exist", change("frontend", {"command": ["/no/such/program"]}),
          "command", "/no/such/program", waits("frontend", "'CrashLoopBackOff\\|RunContainerError'"), "frontend"),
    Fault("a Secret that does not exist",
          change("frontend", {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no-such", "key": "a"}}}]}),
          "config", 'secret "no-such" not found', waits("frontend", "CreateContainerConfigError"), "frontend"),
    Fault("a ConfigMap that does not exist",
          change("frontend", {"volumeMounts": [{"name": "none", "mountPath": "/none"}]},
                 volumes=[{"name": "none", "configMap": {"name": "no-such"}}]),
          "mount", "does not get a volume", event("FailedMount", "no-such"), "frontend"),
    Fault("a probe of the wrong path", change("order-service", {"readinessProbe": {"httpGet": {"path": "/no-such"}}}),
          "probe", "order-service runs, but its probe fails", event("Unhealthy", "statuscode: 404"), "order-service"),
    # room
    Fault("more CPU than there is", change("frontend", {"resources": HUGE}),
          "unschedulable", "fits on no node", event("FailedScheduling", "Insufficient cpu"), "frontend"),
    Fault("a node that takes no pods", f"kubectl cordon $(kubectl get nodes -o name) && {anew('frontend')}",
          "cordoned", "takes no new pods", event("FailedScheduling", "unschedulable")),
    Fault("a quota", f"{QUOTA} && {anew('frontend')}", "quota", "exceeded quota: fault",
          event("FailedCreate", "exceeded quota"), "frontend", by_hand=f"{KUBECTL} delete quota fault"),
    Fault("a volume claim that does not exist",
          change("redis", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "no-such"}}]),
          "volume", "PersistentVolumeClaim cloudcart/no-such does not exist", event("FailedScheduling", "no-such")),
    Fault("a full volume", "mkdir -p /srv/fault && mount -t tmpfs -o size=1m none /srv/fault && "
          f"head -c 1020k /dev/zero >/srv/fault/file && printf '%s' {shlex.quote(FULL)} | kubectl apply -f -",
          "full", "PersistentVolumeClaim cloudcart/fault is full", USED % "> 1000000",
          by_hand="rm /srv/fault/file && timeout 120 sh -c " + shlex.quote(f"until {USED % '< 1000'}; do :; done"),
          after=f"{KUBECTL} delete pod/fault pvc/fault pv/fault && umount /srv/fault"),
    Fault("a disk that is nearly full", f"mkdir -p $(dirname {SETTING}) && echo '{PRESSURE}' >{SETTING} && "
          "systemctl restart k3s", "pressure", "has DiskPressure", NODE % ("DiskPressure", "True"),
          by_hand=f"rm {SETTING} && systemctl restart k3s",
          # Its kubelet may have evicted pods when it was started: a Vault in development mode forgets.
          after=f"{PLAY}vault && {PLAY}apps"),
    # A kubelet that hangs; it has to go on before K3s can end it.
    Fault("a node that is not ready", "pkill -STOP -x kubelet", "node", "is not ready", NODE % ("Ready", "Unknown"),
          by_hand="pkill -CONT -x kubelet && systemctl restart k3s"),
    # the injector
    Fault("no injector", f"kubectl delete {HOOK} && {anew('order-service', 'user-service', 'product-service')}",
          "injector", "There is no MutatingWebhookConfiguration", MISSED),
    Fault("no pod of the injector", f"{KUBECTL} delete deployment vault-agent-injector", "injector",
          "No pod of the injector is ready", f"! {KUBECTL} get pods -o name | grep -q injector"),
    Fault("a webhook that must answer, and does not", f"{REFUSE} && {KUBECTL} scale deployment vault-agent-injector "
          f"--replicas=0 && {KUBECTL} wait --for=delete pod -l component=webhook --timeout=60s"
          f" && {anew('order-service')}", "injector", "No pod of the injector is ready",
          event("FailedCreate", "failed calling webhook"), "order-service", "webhook"),
    Fault("an injector that may not write its CA", NO_CA, "injector", "caBundle is empty"),
    Fault("a file that no annotation asks for",
          f"{KUBECTL} patch deployment user-service --type=json -p {shlex.quote(json.dumps(WITHOUT))}", "secret-file",
          "a file that Vault's injector should write is missing", waits("user-service", "CrashLoop"), "user-service"),
    Fault("a key that the secret does not have", change("user-service", annotations=EXTRA),
          "no-value", "/vault/secrets/extra .* holds '<no value>'",
          f"{KUBECTL} rollout status deployment/user-service"),
    # Vault
    Fault("no role in Vault", f"VAULT delete auth/kubernetes/role/order-service; {anew('order-service')}",
          "login", "There is no such role", ASKING % "order-service", "order-service", "vault"),
    Fault("no policy in Vault", f"VAULT policy delete database-policy; {anew('order-service')}",
          "login", "may not read cloudcart/data/database", ASKING % "order-service", "order-service", "vault"),
    Fault("no secret in Vault", f"VAULT kv metadata delete -mount=cloudcart database; {anew('order-service')}",
          "login", "there is nothing", ASKING % "order-service", "order-service", "vault"),
    Fault("no way to log in", f"VAULT auth disable kubernetes; {anew('order-service', 'user-service')}",
          "login", "There is no auth method at auth/kubernetes", ASKING % "order-service", "order-service", "vault"),
    Fault("a sealed Vault", "VAULT operator seal", "vault", "Vault in the pod vault-0 is sealed",
          f"{KUBECTL} wait --for=condition=Ready=false pod/vault-0 --timeout=60s"),
    Fault("no Vault", f"{KUBECTL} scale statefulset vault --replicas=0", "vault", "no pod behind the Service",
          f"! {KUBECTL} get pod vault-0"),
    Fault("a placeholder", f"VAULT kv put -mount=cloudcart jwt secret=placeholder; {anew('api-gateway')}",
          "placeholder", "holds a placeholder", f"{KUBECTL} rollout status deployment/api-gateway",
          by_hand=f"VAULT kv metadata delete -mount=cloudcart jwt; {PLAY}vault; {PLAY}apps; {anew('api-gateway')}"),
    Fault("a secret that was changed", "VAULT kv put -mount=cloudcart jwt secret=a-key-that-somebody-made-up-by-hand",
          "stale", "started with other values of the secret jwt",
          after=f"VAULT kv metadata delete -mount=cloudcart jwt; {PLAY}vault; {PLAY}apps"),
    # what is in them, and the way to them
    Fault("no Redis", f"{KUBECTL} scale deployment redis --replicas=0 && {anew('api-gateway')}", "check",
          "redis is scaled to 0", f"{KUBECTL} get pods -l app=api-gateway -o jsonpath='{{..state}}' | grep -q running"),
    Fault("no topic", f"{TOPICS} --delete --topic stock.low", "check", "no topic stock.low"),
    # Stopped, so that its port stays open and its probe content. The brackets keep the shell out of what is found.
    Fault("a worker that hangs", "pkill -STOP -f '[p]ython worker.py'", "consumer", "consumer group .* has no member",
          f"{GROUPS} --describe --group notification-worker-group 2>&1 | grep -q 'no active members'"),
    Fault("no table", "SQL ALTER TABLE products RENAME TO hidden", "check", 'relation "products" does not exist',
          after="SQL DROP TABLE products; ALTER TABLE hidden RENAME TO products"),
    Fault("no route", f"{KUBECTL} delete ingress --all", "check", "the ingress has no such route"),
    Fault("a Service is gone", f"{KUBECTL} delete service api-gateway", "route",
          "leads to the Service api-gateway, which does not exist"),
    Fault("no DNS", "kubectl -n kube-system scale deployment coredns --replicas=0", "dns",
          "DNS has no pod that is ready", f"! {DNS} | grep -q 'ready: true'"),
]  # fmt: skip


def some(cases: list, pytestconfig) -> list:
    """All of them, those that --faults names, or with --sample one by chance."""
    if names := pytestconfig.getoption("faults"):
        return [case for case in cases if re.search(names, case.title)]
    if pytestconfig.getoption("sample") is None:
        return cases
    return [random.Random(pytestconfig.getoption("seed")).choice(cases)]


def do(platform, text: str) -> None:
    """Run what a fault or a finding says: shell on the machine, VAULT, SQL, and plays."""
    if text.startswith("SQL "):
        platform.psql(text.removeprefix("SQL "))
        return
    for part in filter(None, text.split("; ") if "VAULT" in text else text.split(" && ") if PLAY in text else [text]):
        if part.startswith("VAULT "):
            platform.vault(part.removeprefix("VAULT "))
        elif part.startswith(PLAY):
            run = platform.site(playbook=part.removeprefix(PLAY))
            assert run.status == 0, run.text[-6000:]
        elif part:
            platform.ssh(part)


@pytest.fixture(scope="module")
def diagnose(platform):
    """A function: the findings, with the settings of the site."""
    logic = importlib.import_module(f"{UTILS}.diagnose")
    catalogue = importlib.import_module(f"{UTILS}.catalogue.services")
    catalog = yaml.safe_load((ROOT / "roles/catalog/defaults/main.yml").read_text(encoding="utf-8"))
    topics = yaml.safe_load((ROOT / "roles/verify/defaults/main.yml").read_text(encoding="utf-8"))["verify_topics"]
    services = catalogue.merged(catalog["cloudcartops_services"], {})
    jobs = [name for name, entry in services.items() if "metrics" in entry] + ["prometheus"]
    options = {name: option.get("default") for name, option in logic.OPTIONS.items()}
    options |= {"kubeconfig": platform.kubeconfig, "context": None, "namespace": "cloudcart"}
    options |= {"token_secret": {"namespace": "cloudcart", "name": "vault-root-token", "key": "token"}}
    options |= {"services": services, "topics": topics, "jobs": jobs}
    return lambda: logic.k8s_diagnose_info(options, False)["findings"]


def healthy(diagnose) -> None:
    end = time.monotonic() + HEALED
    while found := diagnose():
        assert time.monotonic() < end, found
        time.sleep(1)


def named(diagnose, fault: Fault) -> dict:
    """The finding that names the fault, which has to come in time."""
    end = time.monotonic() + IN_TIME
    while True:
        found = diagnose()
        for item in found:
            if item["rule"] == fault.rule and re.search(fault.says, item["cause"]):
                return item
        assert time.monotonic() < end, found


def test_faults_are_named_and_mended(platform, diagnose, rollout, subtests, pytestconfig):
    healthy(diagnose)
    record = pytestconfig.getoption("record")
    recorder = recording.Recorder(platform.kubeconfig, "cloudcart")
    for fault in some(FAULTS, pytestconfig):
        print(time.strftime("%T"), fault.title, flush=True)
        with subtests.test(fault.title):
            found = {"command": ""}
            try:
                do(platform, fault.how)
                with ThreadPoolExecutor(1) as pool:
                    waiting = pool.submit(rollout, fault.waited) if fault.waited else None
                    platform.until(fault.seen)
                    started = time.monotonic()
                    found = named(diagnose, fault)
                    seconds = time.monotonic() - started
                    assert seconds < IN_TIME, f"it was named after {seconds:.1f} s"
                    trouble, ended = waiting.result() if waiting else (None, 0)
                waited = max(ended - started, 0)
                if fault.waited:
                    assert trouble and trouble["rule"] == (fault.fails or fault.rule), trouble
                    assert waited < IN_TIME, f"the rollout failed after {waited:.1f} s: {trouble}"
                rules = [trouble["rule"]] if trouble else [f["rule"] for f in (found, *found["consequences"])]
                asked = record and fault.rule != "node"  # where no kubelet gives logs
                sick = next(filter(None, map(recorder.sick, rules if asked else [])), None)
                part = recorder.sick_part(fault.rule) if record else None
                do(platform, fault.by_hand or found["command"])
                do(platform, fault.after)
                healthy(diagnose)
                if record:
                    keep(fault.title, found, seconds, trouble, waited)
                if sick:
                    recorder.write(fault.title, sick, recorder.well(sick))
                if part:
                    recorder.write(fault.title, part, recorder.well_part(part))
            except BaseException as e:
                print(f"  {type(e).__name__}: {e}"[:3000], flush=True)
                with contextlib.suppress(AssertionError):
                    do(platform, fault.by_hand or found["command"])
                    do(platform, fault.after)
                platform.complete()
                raise


def keep(title: str, found: dict, seconds: float, trouble: dict | None, waited: float) -> None:
    """Put a row into the table of the documentation, in place of the one of before."""
    says = " ".join(found["cause"].replace("|", "/").split())
    says = says if len(says) < 160 else says[:160].rpartition(" ")[0] + " …"
    rolled = ""
    if trouble:
        rolled = f"{waited:.1f} s" + ("" if trouble["rule"] == found["rule"] else f" ({trouble['rule']})")
    known = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in known}
    rows[title] = f"| {title} | `{found['rule']}` | {seconds:.1f} s | {rolled} | {says} |"
    lines = [rows[fault.title] for fault in FAULTS if fault.title in rows]
    PAGE.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
