# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the platform as it is now: root causes first, each with what follows from it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime

from ansible_collections.cloudcartops.platform.plugins.module_utils import health
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils._scrub import scrub
from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue.manifests import (
    FINGERPRINT,
    secrets_read,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.findings import Finding, ranked
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.broker import Broker
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.groups import read_group
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import diagnosis
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import (
    FIELD_MANAGER,
    Client,
    connect,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import Events, Trouble
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.exec import run_in_container
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.looks import Looks
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import condition_of, holds
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref
from ansible_collections.cloudcartops.platform.plugins.module_utils.site import Broken, row
from ansible_collections.cloudcartops.platform.plugins.module_utils.smoke import KNOWN_KEYS, WORKER
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import (
    connection,
    injector_check,
    login_causes,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultAbsent
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.fingerprints import (
    vault_kv2_fingerprint_info,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.login_check import vault_login_check

OPTIONS = {
    **{name: option for name, option in health.OPTIONS.items() if name != "timeout"},
    "vault_mount": {"type": "str", "default": "cloudcart"},
    "token_secret": connection.OPTIONS["token_secret"],
    "login": connection.OPTIONS["login"],
}
PLAY = "ansible-playbook cloudcartops.platform."
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")
OURS = (FIELD_MANAGER, "helm", "kube-controller-manager", "k3s")
REVISION = "deployment.kubernetes.io/revision"
AT_ONCE = 5  # seconds within which a change is followed by its ReplicaSet
RESTARTED = "f:kubectl.kubernetes.io/restartedAt"
FULL = 0.95  # of a volume
SKEW = 30  # seconds between two clocks
GROUP = "notification-worker-group"  # the worker's own default
UNREAD_TOPICS = ("product.created",)  # no service reads them
JOINING = 20  # seconds from the start of a worker until it has to be in its group
UNREAD = 60  # seconds that an event may wait for a worker
ADDRESS = re.compile(r"([a-z0-9-]+)(?:\.[a-z0-9.-]+)?:\d+\Z")
# The part of the platform that a row of the health check is about
_PARTS = {"PostgreSQL": "postgres", "Redis": "redis", "Kafka": "kafka", "Prometheus": "prometheus"}
_SHOWN = ("frontend", "api-gateway", "product-service", "postgres")  # what the ingress is asked for
# Prints names of files, never what is in them
_BAD_FILES = (
    "cd /vault/secrets 2>/dev/null || exit 0; grep -lF '<no value>' * | sed 's/^/no-value /'; "
    f"grep -lE '=\"?({'|'.join(KNOWN_KEYS)}|change-?me)\"?$' * | sed 's/^/placeholder /'; true"
)

_BAD = {
    "no-value": (
        "'<no value>': its template names a key that the secret does not have.",
        "Write the key to the secret in Vault, or correct the template's annotation; then let the pod be made anew. "
        "error-on-missing-key keeps such a pod from starting.",
    ),
    "placeholder": (
        "a placeholder in place of a secret.",
        "Delete the placeholder from Vault and run the play cloudcartops.platform.vault, which makes a secret; then "
        "cloudcartops.platform.apps, which restarts who reads it.",
    ),
}


def k8s_diagnose_info(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    client = connect(params["kubeconfig"], params["context"], check_mode)
    result = {"changed": False, "cluster": "absent" if client is None else "present", "findings": []}
    if client is not None:
        result["findings"] = ranked(Diagnosis(client, params).findings())
    return {**result, "healthy": not result["findings"]}


class Diagnosis:
    """The state of a namespace and of what it stands on, read once, and the rules over it."""

    def __init__(self, client: Client, params: dict) -> None:
        self.client, self.params, self.namespace = client, params, params["namespace"]
        self.looks = Looks(client)
        kinds = ("Pod", "Service", "EndpointSlice", "Ingress", "PersistentVolumeClaim", "ReplicaSet", *WORKLOADS)
        with ThreadPoolExecutor(8) as pool:
            listed = [pool.submit(client.list, kind, self.namespace) for kind in kinds]
            nodes, classes = pool.submit(client.list, "Node"), pool.submit(client.list, "StorageClass")
            warnings = pool.submit(client.list, "Event", self.namespace, fields="type=Warning")
            self.objects = {kind: found.result() for kind, found in zip(kinds, listed)}
            self.nodes, self.classes, self.events = nodes.result(), classes.result(), Events(warnings.result())
        self.parts = health.Health(client, {**params, "timeout": 0}, 0)
        sent = time.time()
        self.server_ahead = _ahead(client.call("GET", "/version", doing="tell the time"), sent)
        self.pods = [p for p in self.objects["Pod"] if "deletionTimestamp" not in p["metadata"] and not _evicted(p)]
        self.looks.silent = {n["metadata"]["name"] for n in self.nodes if not holds(n, "Ready")}

    def findings(self) -> list[Finding]:
        """All that is wrong, in any order."""
        rules = (
            self.node_state, self.control_node, self.kubelets, self.dns, self.injector, self.vault, self.pod_state,
            self.workload_state, self.volumes, self.secret_files, self.stale_secrets, self.routes, self.consumer,
            self.health,
        )  # fmt: skip
        with ThreadPoolExecutor(len(rules)) as pool:
            found = [f for part in pool.map(lambda rule: list(rule()), rules) for f in part]
        return found + list(self.logins(found))

    # what everything stands on

    def node_state(self) -> Iterator[Finding]:
        homeless = any(condition_of(p, "PodScheduled").get("reason") == "Unschedulable" for p in self.pods)
        for node in self.nodes:
            name, what = node["metadata"]["name"], ref("Node", node["metadata"]["name"])
            ready = condition_of(node, "Ready")
            if ready.get("status") != "True":
                yield Finding(
                    "node",
                    [what],
                    f"{what} is not ready.",
                    fix="On the machine, 'journalctl -u k3s -n 50' says why (k3s-agent on an agent). If it is down, "
                    "start it; then 'systemctl restart k3s'.",
                    evidence=f"{ready.get('reason')}: {ready.get('message')}",
                    names={f"node/{name}"},
                )
            for kind in PRESSURES:
                if holds(node, kind):
                    yield Finding(
                        "pressure",
                        [what],
                        f"{what} has {kind}: it takes no pods and evicts those it has.",
                        fix="Free some on the machine ('df -h', 'k3s crictl rmi --prune' for images), or give it more.",
                        evidence=condition_of(node, kind).get("message", ""),
                        names={f"node/{name}"},
                    )
            if homeless and node["spec"].get("unschedulable"):
                yield Finding(
                    "cordoned",
                    [what],
                    f"{what} takes no new pods, because somebody has cordoned it.",
                    fix="Let it take pods again.",
                    command=f"kubectl uncordon {name}",
                    names={f"node/{name}"},
                )

    def control_node(self) -> Iterator[Finding]:
        """The clock of the machine that this runs on."""
        yield from self._clock("control node", "the control node", -self.server_ahead)

    def kubelets(self) -> Iterator[Finding]:
        """What only the kubelets know: what their clock says, and volumes that have hardly any room left."""
        for node in self.nodes:
            name = node["metadata"]["name"]
            if not holds(node, "Ready"):
                continue
            sent, path = time.time(), f"/api/v1/nodes/{name}/proxy/stats/summary"
            try:
                answer = self.client.call("GET", path, doing=f"tell how full the volumes of {name} are", timeout=10)
            except PlatformError:  # no right to ask the kubelet: nothing can be said
                continue
            what = ref("Node", name)
            yield from self._clock(what, what, _ahead(answer, sent) - self.server_ahead)  # the kubelet's header
            yield from self._full_volumes(answer.json())

    @staticmethod
    def _clock(what: str, whose: str, ahead: float) -> Iterator[Finding]:
        if abs(ahead) > SKEW:
            yield Finding(
                "clock",
                [what],
                f"The clock of {whose} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the API server's.",
                fix="Certificates and tokens may be refused as not valid yet, or as expired. Let both machines follow "
                "a time server: 'timedatectl set-ntp true', and see 'timedatectl timesync-status'.",
            )

    def _full_volumes(self, stats: dict) -> Iterator[Finding]:
        volumes = (v for pod in stats.get("pods") or [] for v in pod.get("volume") or [] if "pvcRef" in v)
        for volume in volumes:
            claim, size = volume["pvcRef"], volume.get("capacityBytes") or 0
            if claim["namespace"] == self.namespace and size and volume.get("usedBytes", 0) > FULL * size:
                what = ref("PersistentVolumeClaim", claim["name"], self.namespace)
                used = volume["usedBytes"] * 100 // size
                yield Finding(
                    "full",
                    [what],
                    f"{what} is full ({used} % of {size >> 20} Mi).",
                    fix="Delete what is not needed in it, or make it larger.",
                    names={f"claim/{claim['name']}", f"workload/{claim['name'].removesuffix('-data')}"},
                )

    def dns(self) -> Iterator[Finding]:
        labels = "kubernetes.io/service-name=kube-dns"
        if not _any_ready(self.client.list("EndpointSlice", "kube-system", labels=labels)):
            yield Finding(
                "dns",
                ["Service kube-system/kube-dns"],
                "The cluster's DNS has no pod that is ready, so pods do not find each other.",
                fix="See why: 'kubectl -n kube-system describe pods -l k8s-app=kube-dns'.",
                command="kubectl -n kube-system scale deployment coredns --replicas=1",
                names={"dns"},
                because=self._all_nodes,
            )

    def injector(self) -> Iterator[Finding]:
        options = {"namespace": self.namespace, "webhook": "vault-agent-injector-cfg", "service_account": "default"}
        _pod, problem = injector_check.attempt(self.client, options)
        if problem:
            restart = f"kubectl -n {self.namespace} rollout restart deployment/vault-agent-injector"
            yield Finding(
                "injector",
                ["MutatingWebhookConfiguration vault-agent-injector-cfg"],
                problem.what,
                fix=problem.fix,
                command=restart if "restart the injector" in problem.fix else f"{PLAY}install_vault_injector",
                names={"injector"},
                because={"workload/vault-agent-injector", *self._all_nodes},
            )

    def vault(self) -> Iterator[Finding]:
        service = {"namespace": self.namespace, "name": "vault", "port": 8200, "scheme": "http"}
        url = self.client.service_proxy_url(self.namespace, "http", "vault", 8200)
        answer = self.client.proxy(url, "/v1/sys/seal-status", timeout=health.ANSWER_TIMEOUT)
        if answer.status_code == 200 and not answer.json().get("sealed") and answer.json().get("initialized"):
            return
        absent = VaultAbsent("Vault does not answer.", "See what its pod says: kubectl logs vault-0.")
        why = login_causes.why_absent({"service": service}, self.client, absent)
        sealed = " is sealed" in why.what
        # In development mode nobody keeps a key, and the play writes everything back into an empty server.
        anew = f"kubectl -n {self.namespace} delete pod vault-0 && " if sealed and self.params["token_secret"] else ""
        yield Finding(
            "vault",
            [ref("Service", "vault", self.namespace)],
            why.what,
            fix=f"{why.fix} The play cloudcartops.platform.vault does it where it has the keys.",
            command=f"{anew}{PLAY}vault",
            names={"vault", *(["sealed"] if sealed else [])},
            because=set() if sealed else {"workload/vault", *self._all_nodes},
        )

    # pods and workloads

    def pod_state(self) -> Iterator[Finding]:
        for pod in self.pods:
            told = False
            for trouble in self.looks.troubles(pod, {}, 0, self.events):
                told = True
                yield self._finding(trouble, pod)
            if not told and (address := self._awaited(pod)):
                what = ref("Pod", pod["metadata"]["name"], self.namespace)
                yield Finding(
                    "waits",
                    [what],
                    f"{what} waits for {address}, where no pod is ready.",
                    fix=f"Bring {address.partition(':')[0]} up.",
                    names={self._workload(pod)},
                    because=self._needs(pod),
                )

    def _finding(self, trouble: Trouble, pod: dict) -> Finding:
        meta, logs = pod["metadata"], ""
        if trouble.log:
            logs = self.looks.log(pod, trouble.log[0], previous=trouble.log[1], tail=15)
        because, names = self._needs(pod), {self._workload(pod)}
        missed = f"missed/{meta['name']}"
        if trouble.rule == "not-injected":
            because, names = {"injector"}, {*names, missed}
        elif diagnosis.not_injected(pod):
            because |= {missed}
        if trouble.rule == "unschedulable":
            because |= self._all_nodes
        elif trouble.rule == "vault":
            role = (meta.get("annotations") or {}).get("vault.hashicorp.com/role", "")
            because |= {"vault", "dns", "workload/vault", f"login/{role}"}
        elif trouble.rule == "volume":
            because |= {f"claim/{name}" for name in diagnosis.claims(pod)}
        elif trouble.rule == "probe" and self._workload(pod) == "workload/vault":
            because |= {"sealed"}
        evidence = "\n".join(filter(None, (trouble.evidence, logs)))
        command, said = self._mending(self._owner(pod))
        return Finding(
            trouble.rule,
            [trouble.subject],
            trouble.cause,
            fix=trouble.fix + said,
            evidence=scrub(evidence),
            command=trouble.command or command,
            names=names,
            because=because,
            group=trouble.group or self._workload(pod),
        )

    def workload_state(self) -> Iterator[Finding]:
        for kind in WORKLOADS:
            for obj in self.objects[kind]:
                name = f"workload/{obj['metadata']['name']}"
                for trouble in diagnosis.workload_troubles(kind, obj, {}, 0, self.events):
                    because = {name} if trouble.rule == "deadline" else set()
                    because |= {"injector"} if "vault" in trouble.group else set()
                    command, said = self._mending(obj)
                    yield Finding(
                        trouble.rule,
                        [trouble.subject],
                        scrub(trouble.cause),
                        fix=trouble.fix + said,
                        command=command,
                        names={name},
                        because=because,
                        group=trouble.group,
                    )

    # what they keep and read

    def volumes(self) -> Iterator[Finding]:
        for claim in self.objects["PersistentVolumeClaim"]:
            name = claim["metadata"]["name"]
            cause, fix = diagnosis.claim_trouble(claim, self.namespace, name, self.classes, self.events)
            if cause:
                what = ref("PersistentVolumeClaim", name, self.namespace)
                yield Finding("volume", [what], cause, fix=fix, names={f"claim/{name}"})

    def secret_files(self) -> Iterator[Finding]:
        """Files of the injector with a placeholder in them."""
        running = [p for p in self.pods if diagnosis.is_injected(p) and p.get("status", {}).get("phase") == "Running"]
        running = [p for p in running if p["spec"].get("nodeName") not in self.looks.silent]
        with ThreadPoolExecutor(8) as pool:
            for pod, output in zip(running, pool.map(self._bad_files, running)):
                for line in output.splitlines():
                    rule, _space, file = line.partition(" ")
                    what = ref("Pod", pod["metadata"]["name"], self.namespace)
                    path = f"{diagnosis.SECRETS}{file}"
                    command, said = self._mending(self._owner(pod))
                    cause, fix = _BAD[rule]
                    yield Finding(
                        rule,
                        [what],
                        f"{path} of {what} holds {cause}",
                        fix=fix + said,
                        command=command if rule == "no-value" else "",  # which secret is right is for people to say
                        names={self._workload(pod)},
                    )

    def _bad_files(self, pod: dict) -> str:
        command = ["/bin/sh", "-c", _BAD_FILES]
        container = pod["spec"]["containers"][0]["name"]
        try:
            return run_in_container(self.client, self.namespace, pod["metadata"]["name"], command, container, 10)[1]
        except PlatformError:  # it has no shell, or ends just now
            return ""

    def stale_secrets(self) -> Iterator[Finding]:
        """Pods that were started with values that Vault no longer has, by the fingerprints in their annotations."""
        secrets = secrets_read(self.params["services"], self.params["vault_mount"])
        if not secrets or not self._vault_options:
            return
        try:
            now = vault_kv2_fingerprint_info({**self._vault_options, "secrets": secrets}, True)["fingerprints"]
        except PlatformError:  # the rule for Vault says why
            return
        for pod in self.pods:
            notes = pod["metadata"].get("annotations") or {}
            for secret, fingerprint in now.items():
                kept = notes.get(FINGERPRINT + secret.replace("/", "-"))
                if fingerprint and kept and kept != fingerprint:
                    what = ref("Pod", pod["metadata"]["name"], self.namespace)
                    yield Finding(
                        "stale",
                        [what],
                        f"{what} was started with other values of the secret {secret} than Vault has now.",
                        fix="Let the play restart it.",
                        command=f"{PLAY}apps",
                        names={self._workload(pod)},
                        group=f"stale {secret}",
                    )

    def logins(self, found: list[Finding]) -> Iterator[Finding]:
        """Why Vault refuses those that wait for it; the agents' logs do not tell."""
        stuck = {name for f in found if f.rule == "vault" for name in f.because if name.startswith("login/")}
        pods = {(p["metadata"].get("annotations") or {}).get("vault.hashicorp.com/role"): p for p in self.pods}
        logins = [
            {
                "role": name.removeprefix("login/"),
                "mount": pods[name.removeprefix("login/")]["metadata"]["annotations"]
                .get("vault.hashicorp.com/auth-path", "auth/kubernetes")
                .removeprefix("auth/"),
                "service_account": pods[name.removeprefix("login/")]["spec"].get("serviceAccountName", "default"),
                "namespace": self.namespace,
                "audiences": [],
                "reads": _secret_paths(pods[name.removeprefix("login/")]),
                "denied": [],
            }
            for name in sorted(stuck)
        ]
        if not logins or not self._vault_options or any("vault" in f.names for f in found):
            return
        options = {"logins": logins, "reviewer": None, "absent_accounts": "fail", "required": False}
        try:
            checked = vault_login_check({**self._vault_options, **options}, False)["logins"]
        except PlatformError:
            return
        for login in checked:
            if not login["ok"]:
                role = login["role"]
                yield Finding(
                    "login",
                    [f"Vault role {role}"],
                    login["msg"],
                    fix="Correct what is named; the play puts back what the inventory declares.",
                    command=f"{PLAY}vault",
                    names={f"login/{role}"},
                    because={"vault"},
                    group=re.sub(rf"\b{re.escape(role)}\b", "*", login["msg"]),
                )

    @property
    def _vault_options(self) -> dict:
        """How Vault is reached; empty where nobody said who may look into it."""
        given = {key: self.params.get(key) for key in ("token_secret", "login") if self.params.get(key)}
        if not given:
            return {}
        where = {"namespace": self.namespace, "name": "vault", "port": 8200, "scheme": "http"}
        base = {"kubeconfig": self.params["kubeconfig"], "context": self.params["context"], "timeout": 10}
        return {**base, "namespace": None, "validate_certs": True, "service": where, **given}

    # what is asked from outside

    def routes(self) -> Iterator[Finding]:
        ports = {
            s["metadata"]["name"]: {
                p for port in s["spec"].get("ports") or [] for p in (port.get("name"), port["port"])
            }
            for s in self.objects["Service"]
        }
        for ingress in self.objects["Ingress"]:
            for rule in ingress["spec"].get("rules") or []:
                for path in (rule.get("http") or {}).get("paths") or []:
                    service = path["backend"].get("service") or {}
                    port = service.get("port") or {}
                    name, wanted = service.get("name"), port.get("name") or port.get("number")
                    if name and wanted not in ports.get(name, ()):
                        url = f"{rule.get('host', '*')}{path.get('path', '/')}"
                        lacks = f"has no port {wanted}" if name in ports else "does not exist"
                        yield Finding(
                            "route",
                            [ref("Ingress", ingress["metadata"]["name"], self.namespace)],
                            f"{url} leads to the Service {name}, which {lacks}.",
                            fix="Run the play that makes the Service, or correct the Ingress.",
                            command=f"{PLAY}apps",
                            names={"route", f"workload/{name}"},
                            group=f"route {name}",
                        )

    def consumer(self) -> Iterator[Finding]:
        """A worker that runs, and does not read what it should. Its probe sees only that a port is open."""
        now = time.time() + self.server_ahead
        pods = [p for p in self.pods if self._workload(p) == f"workload/{WORKER}" and _ready_for(p, now) > JOINING]
        entry = self.params["services"].get(WORKER)
        if not pods or not entry:
            return
        group = (entry.get("environment") or {}).get("KAFKA_GROUP_ID", GROUP)
        topics = [t for t in self.params["topics"] if t not in UNREAD_TOPICS]
        older = int((now - UNREAD) * 1000)
        try:
            found = self.parts.talk(
                "kafka", health.KAFKA_PORT, lambda pod: read_group(Broker(pod), group, topics, older)
            )
        except (Broken, PlatformError):  # the check of Kafka says why
            return
        if found.members and not found.unread:
            return
        cause = f"runs, but reads no events: its consumer group {group} has no member."
        if found.members:
            cause = f"is in its consumer group {group}, but has left events unread for more than {UNREAD} s."
        command, changed = self._mending(self._owner(pods[0]))
        restart = f"kubectl -n {self.namespace} rollout restart deployment/{WORKER}"
        logs = f"kubectl -n {self.namespace} logs deployment/{WORKER}"
        yield Finding(
            "consumer",
            [ref("Pod", p["metadata"]["name"], self.namespace) for p in pods],
            f"{WORKER} {cause}",
            fix=f"See what it says ({logs}), and restart it: it goes on where it ended.{changed}",
            evidence=", ".join(f"{n} unread of {topic}" for topic, n in sorted(found.unread.items())),
            command=command if changed else restart,
            names={f"workload/{WORKER}"},
            because={"workload/kafka", "dns"}.union(*(self._needs(p) for p in pods)),
        )

    def health(self) -> Iterator[Finding]:
        """Parts that do not answer as they should, though their pods may run."""
        checks = [check for check in self.parts.checks() if check[0] not in ("Nodes", "Vault injector")]
        with ThreadPoolExecutor(8) as pool:
            rows = list(pool.map(lambda check: row(*check), checks))
        for item in rows:
            if item["ok"]:
                continue
            name = _PARTS.get(item["name"], item["name"])
            play = re.search(r"cloudcartops\.platform\.(\w+)", item["fix"])
            kubectl = re.search(r"kubectl -n \S+ delete job -l \S+?(?=,)", item["fix"])
            needs = {f"workload/{name}", "dns"} | self._needs_of(name)
            needs |= {f"workload/{part}" for part in _SHOWN} | {"route"} if name == "Ingress" else set()
            needs |= {f"workload/{job}" for job in self.params["jobs"]} if name == "prometheus" else set()
            needs |= {"workload/zookeeper"} if name == "kafka" else set()
            yield Finding(
                "check",
                [item["name"]],
                scrub(item["detail"]),
                fix=item["fix"],
                command=" && ".join(filter(None, (kubectl and kubectl[0], play and PLAY + play[1]))),
                names={f"workload/{name}"},
                because=needs,
            )

    # relations

    @property
    def _all_nodes(self) -> set[str]:
        return {f"node/{n['metadata']['name']}" for n in self.nodes}

    def _workload(self, pod: dict) -> str:
        labels = pod["metadata"].get("labels") or {}
        return f"workload/{labels.get('app') or labels.get('app.kubernetes.io/name') or pod['metadata']['name']}"

    def _needs(self, pod: dict) -> set[str]:
        """What a pod stands on: its node, and what it waits for before it starts."""
        node = pod["spec"].get("nodeName")
        return _hosts(pod["spec"]) | ({f"node/{node}"} if node else set())

    def _needs_of(self, name: str) -> set[str]:
        for kind in WORKLOADS:
            for obj in self.objects[kind]:
                if obj["metadata"]["name"] == name:
                    return _hosts(obj["spec"]["template"]["spec"])
        return set()

    def _awaited(self, pod: dict) -> str:
        """The address that an init container waits for and nobody serves; empty when there is none."""
        states = {s["name"]: s.get("state") or {} for s in pod.get("status", {}).get("initContainerStatuses") or []}
        for container in pod["spec"].get("initContainers") or []:
            if "running" in states.get(container["name"], {}):
                for word in [*(container.get("command") or []), *(container.get("args") or [])]:
                    if (found := ADDRESS.match(word)) and not self._served(found[1]):
                        return word
        return ""

    def _served(self, service: str) -> bool:
        label = "kubernetes.io/service-name"
        return _any_ready(s for s in self.objects["EndpointSlice"] if s["metadata"]["labels"].get(label) == service)

    def _owner(self, pod: dict) -> dict | None:
        name = self._workload(pod).removeprefix("workload/")
        return next((o for kind in WORKLOADS for o in self.objects[kind] if o["metadata"]["name"] == name), None)

    def _mending(self, obj: dict | None) -> tuple[str, str]:
        """A command that makes a workload what it was, and what is to be said about it."""
        if obj is None:
            return "", ""
        who = self._foreign_hand(obj) if obj["kind"] == "Deployment" else ""
        if who:
            name = f"deployment/{obj['metadata']['name']}"
            what = ref(obj["kind"], obj["metadata"]["name"], self.namespace)
            said = f" {who} has changed {what}, and a run of the play leaves alone what it did not set: take that back."
            return f"kubectl -n {self.namespace} rollout undo {name}", said
        component = (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/component", "")
        play = {"postgresql": "data", "kafka": "data", "redis": "data", "server": "vault", "webhook": "vault"}
        play |= dict.fromkeys(("apps", "monitoring", "ingress"), component)
        return PLAY + play[component] if component in play else "", ""

    def _foreign_hand(self, deployment: dict) -> str:
        """Who made the present version of a Deployment's pods, and when, if that was no run of ours.

        A version that was taken back to is older than the change that did it, and so is the one before a restart.
        """
        uid = deployment["metadata"].get("uid")
        versions = [
            (int(s["metadata"].get("annotations", {}).get(REVISION, 0)), s["metadata"]["creationTimestamp"])
            for s in self.objects["ReplicaSet"]
            if any(o["uid"] == uid for o in s["metadata"].get("ownerReferences") or [])
        ]
        if len(versions) < 2:  # nothing to go back to
            return ""
        made = datetime.fromisoformat(max(versions)[1])
        for entry in deployment["metadata"].get("managedFields") or []:
            template = (entry.get("fieldsV1") or {}).get("f:spec", {}).get("f:template", {})
            notes = template.get("f:metadata", {}).get("f:annotations", {}).keys() - {".", RESTARTED}
            if entry.get("manager") in OURS or not (notes or "f:spec" in template):
                continue
            if abs((datetime.fromisoformat(entry["time"]) - made).total_seconds()) < AT_ONCE:
                return f"{entry['manager']} (at {entry['time']})"
        return ""


def _hosts(spec: dict) -> set[str]:
    """The workloads behind the addresses that the init containers of a pod wait for."""
    words = (
        word for c in spec.get("initContainers") or [] for word in [*(c.get("command") or []), *(c.get("args") or [])]
    )
    return {f"workload/{found[1]}" for word in words if (found := ADDRESS.match(word))}


def _secret_paths(pod: dict) -> list[str]:
    prefix = "vault.hashicorp.com/agent-inject-secret-"
    return sorted(value for key, value in pod["metadata"]["annotations"].items() if key.startswith(prefix))


def _evicted(pod: dict) -> bool:
    """Whether a pod is the record of one that its node has put out, in whose place there is another."""
    ended = pod.get("status", {}).get("phase") == "Failed"
    return ended and pod["spec"].get("restartPolicy", "Always") == "Always"


def _ready_for(pod: dict, now: float) -> float:
    """For how many seconds a pod has been ready; -1 when it is not."""
    ready = condition_of(pod, "Ready")
    if ready.get("status") != "True":
        return -1
    return now - datetime.fromisoformat(ready["lastTransitionTime"]).timestamp()


def _ahead(answer, sent: float) -> float:
    """By how many seconds the clock that stamped an answer is ahead of ours at least; negative when it is behind.

    The header Date is in whole seconds (https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1), and the answer was made
    at any time since the request was sent.
    """
    received = time.time()
    try:
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return 0
    return max(date - received, 0) + min(date + 1 - sent, 0)


def _any_ready(slices: Iterable[dict]) -> bool:
    return any((e.get("conditions") or {}).get("ready", True) for s in slices for e in s.get("endpoints") or [])
