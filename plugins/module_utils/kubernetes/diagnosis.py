# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload does not become ready: pure rules over what the API and logs say of it.

How long each trouble may last before it counts as one that does not pass is a property of the rule. docs/diagnosis.md
lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import fix_of
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import condition_of, holds
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

AGENT_INIT = "vault-agent-init"
INJECT, INJECTED = "vault.hashicorp.com/agent-inject", "vault.hashicorp.com/agent-inject-status"
SECRETS = "/vault/secrets/"

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
_CREATE = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_FINAL = re.compile(
    r"not found|manifest unknown|denied|unauthorized|no basic auth|invalid reference|NeverPull|no match for platform|"
    r"no matching manifest",
    re.I,
)
_PLATFORM = re.compile(r"exec format error|no match for platform|no matching manifest", re.I)
_NEVER_RAN = {"StartError", "ContainerCannotRun"}
RESTARTS = 2  # a container may lose one race with what it depends on
SOON = 10  # seconds for what hardly ever passes, unless somebody corrects it at this moment
# Answers of a program that is up and will not answer otherwise later, and commands that do not exist.
_FINAL_PROBE = re.compile(r"statuscode: (?:401|403|404|405)\b|executable file not found|no such file", re.I)
_NO_SECRET_FILE = re.compile(
    rf"{SECRETS}[^\s:'\"]*[:'\"]*\s*(?:No such file|not found)|"
    rf"(?:can't open|cannot open|ENOENT|No such file)[^\n]*{SECRETS}",
    re.I,
)


@dataclass
class Trouble:
    """Something wrong, that makes success impossible once it has lasted for ``grace`` seconds (inf: never by itself).

    ``subject`` is the object that has it. Equal ``group`` means the same cause in several pods.
    """

    key: tuple  # the same trouble has the same key
    grace: float
    rule: str
    subject: str
    cause: str
    fix: str
    container: str = ""
    evidence: str = ""
    log: tuple[str, bool] | None = None  # container, and whether its previous run, whose log shows more
    group: str = ""
    command: str = ""  # does what fix says, where one can


class Events:
    """The warnings of a namespace, for looking up the latest about an object.

    ``before``: when those happened last, by uid, that were there when a wait began.
    """

    def __init__(self, events: Iterable[dict] = (), before: dict[str, str] | None = None) -> None:
        self._latest: dict[tuple, dict] = {}
        self._before = before or {}
        for event in sorted(events, key=seen_at):
            about = event.get("involvedObject") or {}
            self._latest[about.get("kind"), about.get("name"), event.get("reason")] = event

    def latest(self, kind: str, name: str, *reasons: str) -> dict | None:
        found = [e for reason in reasons if (e := self._latest.get((kind, name, reason)))]
        return max(found, key=seen_at, default=None)

    def of_its_parts(self, kind: str, name: str, reason: str) -> dict | None:
        """The latest about objects of that kind that were made for the one called ``name``."""
        found = [e for (of, part, why), e in self._latest.items() if (of, why) == (kind, reason)
                 and part.rpartition("-")[0] == name]  # fmt: skip
        return max(found, key=seen_at, default=None)

    def is_old(self, event: dict) -> bool:
        """Whether it has not happened again since the wait began."""
        return self._before.get(event["metadata"].get("uid")) == seen_at(event)


def seen_at(event: dict) -> str:
    """When an event happened last, as the API writes it."""
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return last or event["metadata"].get("creationTimestamp") or ""


def troubles(pod: dict, first: dict, grace: float, events: Events | None = None) -> Iterator[Trouble]:
    """What is wrong with ``pod``, as far as its status and the events show. With ``grace`` 0 also what may soon pass.

    ``first`` is the same pod when the wait began, or {}: old trouble is given time to heal.
    """
    meta, events = pod["metadata"], events or Events()
    if "deletionTimestamp" in meta:  # whatever it is, it goes
        return
    name, uid = ref("Pod", meta["name"], meta.get("namespace")), meta["uid"]
    delete = f"kubectl -n {meta.get('namespace')} delete pod {meta['name']}"
    if not_injected(pod):
        yield Trouble(
            (uid, "not injected"),
            grace if first else min(grace, 3),
            "not-injected",
            name,
            f"{name} asks for secrets from Vault, but the injector was not there when the pod was made.",
            "The play cloudcartops.platform.vault sees to the injector and has the pod made anew. When the "
            f"injector works, '{delete}' does it too.",
            group="not-injected",
            command=delete,
        )
        return  # all else comes of it
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        yield Trouble(
            (uid, "Unschedulable"),
            min(grace, SOON),
            "unschedulable",
            name,
            f"{name} fits on no node: {scheduled.get('message', '')}",
            "Lower what it requests, free room, or add a node.",
        )
    images = {c["name"]: c for c in _containers(pod["spec"])}
    before = {s["name"]: s for s in _statuses(first)}
    for status in _statuses(pod):
        yield from _container_troubles(
            pod, status, before.get(status["name"], {}), images.get(status["name"], {}), grace, events
        )
    if mount := _not_mounted(pod, events):
        yield Trouble(
            (uid, "mount"),
            min(grace, SOON) if _FINAL.search(mount) else grace,
            "mount",
            name,
            f"{name} does not get a volume.",
            "Create what the message names, or correct the name.",
            evidence=mount,
        )


def _container_troubles(
    pod: dict, status: dict, old: dict, spec: dict, grace: float, events: Events
) -> Iterator[Trouble]:
    meta, container = pod["metadata"], status["name"]
    name, uid = ref("Pod", meta["name"], meta.get("namespace")), meta["uid"]
    who = f"{name}, container {container}"
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    known = reason and reason == ((old.get("state") or {}).get("waiting") or {}).get("reason")
    key = (uid, container)
    if reason in _IMAGE:
        image = spec.get("image")
        wrong = _PLATFORM.search(message)
        yield Trouble(
            (*key, "image"),
            0 if _FINAL.search(reason + message) and not known else grace,
            "platform" if wrong else "image",
            name,
            f"{who}: the image {image} "
            + ("is not for this node's platform" if wrong else "cannot be used")
            + f" ({reason}): {message}",
            "Use an image that was built for the node's architecture."
            if wrong
            else "Correct the image's name and tag, see that the node reaches its registry and may read it, or put the "
            f"image into the bundle; then run again. 'kubectl delete pod -n {meta.get('namespace')} "
            f"{meta['name']}' makes it try again at once.",
            container,
            group=f"image {image}",
        )
    elif reason in _CREATE:
        yield Trouble(
            (*key, reason),
            min(grace, SOON),
            "config",
            name,
            f"{who}: {reason}: {message}",
            "Create or correct what it names.",
            container,
            group=message,
        )
    elif reason == "CrashLoopBackOff" or (not grace and _keeps_ending(status)):
        ended = (status.get("lastState") or {}).get("terminated") or {}
        enough = 1 if ended.get("reason") in _NEVER_RAN or not grace else RESTARTS
        restarts = status.get("restartCount", 0)
        # Its next end is waited for, when it was like this before
        if restarts >= enough and restarts > old.get("restartCount", 0):
            yield _crash(pod, container, restarts, ended, events)
    elif "running" in (status.get("state") or {}) and not status.get("ready"):
        yield from _probe_trouble(pod, status, grace, events)


def _keeps_ending(status: dict) -> bool:
    """Whether a container that runs at the moment, or ended a moment ago, is in a loop all the same."""
    ended = (status.get("lastState") or {}).get("terminated") or {}
    return ended.get("exitCode", 0) != 0 and not status.get("ready") and status.get("restartCount", 0) >= RESTARTS


def _crash(pod: dict, container: str, restarts: int, ended: dict, events: Events) -> Trouble:
    name = ref("Pod", pod["metadata"]["name"], pod["metadata"].get("namespace"))
    who, key = f"{name}, container {container}", (pod["metadata"]["uid"], container, restarts)
    said = str(ended.get("message") or "")
    if ended.get("reason") in _NEVER_RAN:
        if _PLATFORM.search(said):
            return _wrong_platform(key, name, container, said)
        return Trouble(
            key, 0, "command", name, f"{who} cannot start: {said}", "Correct its command or its image.", container
        )
    cause = f"{who} ends again and again (exit code {ended.get('exitCode')}, {ended.get('reason')})."
    if ended.get("reason") == "OOMKilled":
        return Trouble(key, 0, "memory", name, cause, "Raise its memory limit.", container)
    probe = events.latest("Pod", pod["metadata"]["name"], "Unhealthy")
    if ended.get("exitCode") in (137, 143) and probe and seen_at(probe) >= (ended.get("startedAt") or ""):
        return Trouble(
            key,
            0,
            "probe",
            name,
            f"{who} is killed again and again, because its probe fails.",
            "Correct the probe, or what keeps the program from answering; its log may say.",
            container,
            evidence=probe.get("message", ""),
            log=(container, True),
        )
    fix = "Its log says why; correct that and run again."
    return Trouble(key, 0, "crash", name, cause, fix, container, log=(container, True))


def _wrong_platform(key: tuple, name: str, container: str, said: str) -> Trouble:
    return Trouble(
        key,
        0,
        "platform",
        name,
        f"{name}, container {container}: its program was built for another platform than the node's.",
        "Use an image that was built for the node's architecture ('kubectl get nodes -L kubernetes.io/arch').",
        container,
        evidence=said,
    )


def crashed(pod: dict) -> Iterator[tuple[str, int, bool]]:
    """Containers that have failed: name, how often they were started again, whether the log is of the previous run."""
    for status in _statuses(pod):
        for state, previous in (("state", False), ("lastState", True)):
            ended = (status.get(state) or {}).get("terminated") or {}
            if ended and ended.get("exitCode") != 0 and not status.get("ready"):
                yield status["name"], status.get("restartCount", 0), previous
                break


def crash_trouble(pod: dict, container: str, restarts: int, log: str) -> Trouble | None:
    """What the log of a container that failed once tells for sure, so that it need not fail again; else None."""
    name, key = (
        ref("Pod", pod["metadata"]["name"], pod["metadata"].get("namespace")),
        (pod["metadata"]["uid"], container),
    )
    for line in reversed(log.splitlines()):
        if "exec format error" in line:
            return _wrong_platform((*key, "platform"), name, container, line)
        if SECRETS in line and _NO_SECRET_FILE.search(line) and not (_comes_later(pod) or not_injected(pod)):
            asks = (pod["metadata"].get("annotations") or {}).get(INJECT) == "true"
            return Trouble(
                (*key, "secret file"),
                0,
                "secret-file",
                name,
                f"{name}, container {container} ends because a file that Vault's injector should write is missing.",
                "Correct the annotations vault.hashicorp.com/agent-inject-secret-… of the pod: one for each file that "
                "the container reads."
                if asks
                else f"Annotate the pod with {INJECT}: 'true' and its secrets.",
                container,
                evidence=line,
            )
    return None


def _comes_later(pod: dict) -> bool:
    """Whether only an agent beside the containers writes the files, so that they may be there at the next start."""
    names = {c["name"] for c in _containers(pod["spec"])}
    return "vault-agent" in names and AGENT_INIT not in names


def _probe_trouble(pod: dict, status: dict, grace: float, events: Events) -> Iterator[Trouble]:
    """A probe that fails may pass later, unless the program itself answers that it never will."""
    event = events.latest("Pod", pod["metadata"]["name"], "Unhealthy")
    if not event or seen_at(event) < (status["state"]["running"].get("startedAt") or ""):
        return
    path = (event.get("involvedObject") or {}).get("fieldPath", "")
    if path and f"{{{status['name']}}}" not in path:
        return
    said = event.get("message", "")
    name = ref("Pod", pod["metadata"]["name"], pod["metadata"].get("namespace"))
    final = _FINAL_PROBE.search(said)
    yield Trouble(
        (pod["metadata"]["uid"], status["name"], "probe"),
        min(grace, SOON) if final else inf,
        "probe",
        name,
        f"{name}, container {status['name']} runs, but its probe fails.",
        "Correct the probe: the program answers, but not as the probe wants it."
        if final
        else "See what its log says, and whether the probe asks at the right port and path.",
        status["name"],
        evidence=said,
        log=(status["name"], False),
    )


def _not_mounted(pod: dict, events: Events) -> str:
    """The message of a mount or sandbox that fails, of a pod of which no container has started."""
    if any(not (s.get("state") or {}).get("waiting") for s in _statuses(pod)) or not pod["spec"].get("nodeName"):
        return ""
    event = events.latest("Pod", pod["metadata"]["name"], "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")
    return event.get("message", "") if event else ""


def is_injected(pod: dict) -> bool:
    """Whether Vault's injector has worked on the pod."""
    return (pod["metadata"].get("annotations") or {}).get(INJECTED) == "injected"


def not_injected(pod: dict) -> bool:
    """Whether the pod asks for the Vault agent and was made without it."""
    return (pod["metadata"].get("annotations") or {}).get(INJECT) == "true" and not is_injected(pod)


# Why pods cannot be made: a phrase of the API server's refusal, and the rule.
REFUSALS = (
    ("exceeded quota", "quota"),
    ("failed calling webhook", "webhook"),
    ("denied the request", "refused"),
    ("violates PodSecurity", "refused"),
    ("serviceaccount", "account"),
)


def refusal(key: tuple, subject: str, message: str, grace: float) -> Trouble:
    """Pods of ``subject`` cannot be made, with the API server's message."""
    rule = next((rule for phrase, rule in REFUSALS if phrase in message), "create")
    fix = "Create the ServiceAccount, or correct serviceAccountName." if rule == "account" else fix_of(403, message, [])
    if rule == "create":
        fix = "Correct what the message names."
    cause = f"{subject}: pods cannot be made: {message}"
    hook = re.search(r'webhook "([^"]+)"', message)
    return Trouble(key, grace, rule, subject, cause, fix, group=f"webhook {hook[1]}" if hook else "")


def lacking(kind: str, obj: dict) -> bool:
    """Whether fewer pods of a workload exist than it is to have."""
    spec, status = obj["spec"], obj.get("status", {})
    if kind == "DaemonSet":
        return status.get("currentNumberScheduled", 0) < status.get("desiredNumberScheduled", 0)
    if kind == "Job":
        return not (status.get("active") or status.get("succeeded") or status.get("failed"))
    return status.get("replicas", 0) < spec.get("replicas", 1)


def workload_troubles(
    kind: str, obj: dict, first: dict, grace: float, events: Events, ask: Callable[[], str | None] = lambda: None
) -> Iterator[Trouble]:
    """What is wrong with a workload itself. ``first`` is as it was when the wait began, or {}.

    ``ask``: why its pods cannot be made just now; "" if they can, None if that is not to be told.
    """
    meta = obj["metadata"]
    name, uid = ref(kind, meta["name"], meta.get("namespace")), meta.get("uid", meta["name"])
    failed = condition_of(obj, "ReplicaFailure") if holds(obj, "ReplicaFailure") else {}
    event = events.latest(kind, meta["name"], "FailedCreate") if lacking(kind, obj) else None
    if failed:
        event = events.of_its_parts("ReplicaSet", meta["name"], "FailedCreate")
    if failed or event:
        # Controllers try again after growing pauses: until then what they say is of before the wait.
        old = events.is_old(event) if event else holds(first, "ReplicaFailure")
        now = ask() if old else None
        if now != "":
            message = now or (failed or event).get("message", "")
            yield refusal((uid, "create"), name, message, grace if old and now is None else min(grace, SOON))
    late = condition_of(obj, "Progressing")
    if late.get("reason") == "ProgressDeadlineExceeded" and obj.get("status", {}).get(
        "observedGeneration", 0
    ) >= meta.get("generation", 0):
        yield Trouble(
            (uid, "deadline"),
            grace if condition_of(first, "Progressing").get("reason") == late["reason"] else 0,
            "deadline",
            name,
            f"{name} made no progress within its progressDeadlineSeconds: {late.get('message')}",
            "See what its pods say, or raise progressDeadlineSeconds if they only need longer.",
        )


def claim_trouble(
    claim: dict | None, namespace: str, name: str, classes: list[dict], events: Events
) -> tuple[str, str]:
    """Why a volume claim is not bound, and what to do. That it waits for its first pod is no trouble: then ("", "")."""
    what = ref("PersistentVolumeClaim", name, namespace)
    if claim is None:
        return f"{what} does not exist.", "Create it (the play that makes the workload does), or correct its name."
    if claim.get("status", {}).get("phase") == "Bound":
        return "", ""
    wanted = claim["spec"].get("storageClassName")
    names = {c["metadata"]["name"]: c for c in classes}
    if wanted and wanted not in names:
        return (
            f"{what} wants the storage class {wanted}, which does not exist; there is {', '.join(names) or 'none'}.",
            "Correct the class (a claim cannot be changed: delete it, and let it be made anew), or create the class.",
        )
    default = [n for n, c in names.items() if _is_default(c)]
    if wanted is None and not default:
        return f"{what} names no storage class, and there is no default one.", "Name one, or make one the default."
    event = events.latest("PersistentVolumeClaim", name, "ProvisioningFailed", "FailedBinding")
    if event:
        return f"{what} is not bound: {event.get('message', '')}", "Correct what the message names."
    return "", ""


def _is_default(item: dict) -> bool:
    notes = item["metadata"].get("annotations") or {}
    return notes.get("storageclass.kubernetes.io/is-default-class") == "true"


def claims(pod: dict) -> list[str]:
    """The names of the volume claims that a pod uses."""
    volumes = pod["spec"].get("volumes") or []
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]


def agent_is_waiting(pod: dict) -> bool:
    """Whether the pod waits for the Vault agent's init container, which never ends by itself when it cannot log in."""
    return any(s["name"] == AGENT_INIT and "running" in (s.get("state") or {}) for s in _statuses(pod))


# A phrase in the agent's log, what it means, what to do. The first match counts.
_AGENT = (
    (
        r"invalid role name",
        "Vault has no such role",
        "Create the role in Vault (the play cloudcartops.platform.vault does).",
    ),
    (
        r"service account name not authorized",
        "the Vault role is not bound to the pod's service account",
        "Correct the role's bound service accounts, or the pod's serviceAccountName.",
    ),
    (
        r"namespace not authorized",
        "the Vault role is not bound to the pod's namespace",
        "Correct the role's bound namespaces.",
    ),
    (
        r"invalid audience|claim: audience",
        "the Vault role demands an audience that the pod's token lacks",
        "Remove the role's audience, or give the pod a token with it.",
    ),
    (r"invalid issuer", "Vault's issuer check refuses the token", "Set disable_iss_validation on the auth method."),
    (
        r"could not load backend configuration",
        "the auth method is mounted but not configured",
        "Configure the kubernetes auth method (the play cloudcartops.platform.vault does).",
    ),
    (r"Vault is sealed", "Vault is sealed", "Unseal it."),
    (r"no secret exists at|no secret exists", "Vault has no such secret", "Write the secret to Vault."),
    (
        r"map has no entry for key|parse: template|not defined",
        "the agent's template is wrong",
        "Correct the annotation.",
    ),
    (
        r"connection refused|no such host|i/o timeout|deadline exceeded",
        "the agent does not reach Vault",
        "See that Vault's pod is ready and that its Service has the name that the injector was given.",
    ),
    (
        r"x509|HTTP response to HTTPS|HTTP request to an HTTPS|Error loading CA",
        "the agent and Vault do not agree on TLS",
        "Make the injector's external address (http or https) and CA match Vault's listener.",
    ),
    (
        r"vault\.read\(.*permission denied",
        "a policy does not let the role read the secret",
        "Give the role a policy that may read this path.",
    ),
    (
        r"permission denied",
        "Vault refuses the login",
        "See that the mount's path is right, that Vault's service account has system:auth-delegator, and that the auth "
        "method's kubernetes_host is right; Vault's own log at debug level names the reason.",
    ),
)

_TRANSIENT = ("Vault is sealed", "the agent does not reach Vault")


def agent_trouble(pod: dict, log: str, grace: float) -> Trouble | None:
    """What the log of ``vault-agent-init`` says is wrong; None when it says nothing, or the agent got further since.

    Vault that does not answer gets ``grace`` seconds, anything else time for a second try.

    Log lines: https://developer.hashicorp.com/vault/docs/agent-and-proxy/autoauth
    """
    recent = log
    for success in ("authentication successful", "renewed auth token"):
        recent = recent.rpartition(success)[2]
    text = "\n".join(line for line in recent.splitlines() if not re.search(r"\[(INFO|DEBUG|TRACE)\]", line))
    if not re.search(r"\[ERROR\]|vault\.read", text):
        return None
    unknown = "the Vault agent cannot fetch its secrets", "Its log says why; correct that and run again."
    meaning, fix = next((row[1:] for row in _AGENT if re.search(row[0], text, re.S)), unknown)
    name = ref("Pod", pod["metadata"]["name"], pod["metadata"].get("namespace"))
    key = (pod["metadata"]["uid"], AGENT_INIT, meaning)
    patience = grace if meaning in _TRANSIENT else min(grace, 3)
    cause = f"{name}, container {AGENT_INIT}: {meaning}."
    return Trouble(key, patience, "vault", name, cause, fix, AGENT_INIT, log=(AGENT_INIT, False), group=meaning)


def _containers(spec: dict) -> list[dict]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _statuses(pod: dict) -> list[dict]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def summary(pod: dict) -> str:
    """One line about a pod that is not ready; empty for one that is."""
    parts = []
    for status in _statuses(pod):
        state, detail = next(iter((status.get("state") or {}).items()), ("waiting", {}))
        ended_well = state == "terminated" and detail.get("exitCode") == 0
        if not status.get("ready") and not ended_well:
            reason = detail.get("reason") or ("not ready" if state == "running" else "")
            parts.append(f"{status['name']} {state}" + (f" ({reason})" if reason else ""))
    if not parts and holds(pod, "Ready"):
        return ""
    phase = pod.get("status", {}).get("phase", "unknown")
    return f"Pod {pod['metadata']['name']}: {', '.join(parts) or phase}"
