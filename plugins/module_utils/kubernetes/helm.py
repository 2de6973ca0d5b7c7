# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Helm release: what the cluster holds of it, what it lacks, and the helm program for the change.

Helm 3 keeps each revision in a Secret: https://helm.sh/docs/topics/advanced/#storage-backends
"""

from __future__ import annotations

import base64
import fcntl
import gzip
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import THREADS, comparable
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import (
    Client,
    UnknownKind,
    connect,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

HISTORY = 5  # revisions that are kept
MARGIN = 60  # seconds that helm gets to end after its own timeout


@dataclass
class Chart:
    """A chart: of a file, or as a release remembers it."""

    name: str
    version: str
    templates: dict[str, bytes] = field(default_factory=dict)
    defaults: dict = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass
class Revision:
    """One revision of a release, as its Secret tells it."""

    number: int
    status: str
    chart: Chart
    values: dict
    manifest: str
    secret: str
    resource_version: str

    @property
    def pending(self) -> bool:
        return self.status.startswith("pending-")


def helm_release(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    if params["state"] == "absent":
        return _uninstall(params, check_mode)
    chart = read_chart(params["chart"], may_lack=check_mode)
    client = connect(params["kubeconfig"], params["context"], check_mode)
    if client is None:
        plan = [f"install the release {params['namespace']}/{params['name']} of the chart {chart or params['chart']}"]
        return {"changed": True, "cluster": "absent", "plan": plan, "reasons": ["there is no cluster yet"]}
    if check_mode:
        return _result(params, chart, history(client, params), check_mode=True, client=client)
    with _alone(params["kubeconfig"], params["timeout"]) as lock:
        helm = Helm(params, lock)
        known = history(client, params)
        recovered = _recover(client, helm, params, known)
        if recovered:
            known = history(client, params)
        result = _result(params, chart, known, check_mode=False, client=client)
        if result["changed"]:
            helm.upgrade(params["chart"], params["values"])
            latest = history(client, params)[-1]
            result |= {"status": latest.status, "revision": latest.number}
        if recovered:
            result |= {"changed": True, "reasons": [recovered, *result["reasons"]]}
        for pod, reason in _void_pods(client, history(client, params), params["namespace"]):
            client.delete("Pod", pod, params["namespace"])
            result |= {"changed": True, "reasons": [*result["reasons"], reason]}
        return result


def _uninstall(params: dict, check_mode: bool) -> dict:
    client = connect(params["kubeconfig"], params["context"], check_mode)
    known = history(client, params) if client else []
    if known and not check_mode:
        with _alone(params["kubeconfig"], params["timeout"]) as lock:
            known = history(client, params)  # another run may have come first
            if known:
                Helm(params, lock).uninstall()
    name = f"{params['namespace']}/{params['name']}"
    result = {"changed": bool(known), "reasons": ["it is not wanted any more"] if known else []}
    if known:
        result["diff"] = _diff(name, {"chart": str(known[-1].chart), "values": known[-1].values}, {})
    if check_mode:
        plan = [f"uninstall the release {name}"] if known else []
        result |= {"cluster": "present" if client else "absent", "plan": plan}
    return result


def _diff(name: str, before: dict, after: dict) -> dict:
    header = {"before_header": f"release {name}", "after_header": f"release {name}"}
    return {**header, "before": before, "after": after}


def _result(params: dict, chart: Chart | None, known: list[Revision], check_mode: bool, client: Client) -> dict:
    name = f"{params['namespace']}/{params['name']}"
    latest = known[-1] if known else None
    reasons = differences(client, latest, chart, params)
    void = list(_void_pods(client, known, params["namespace"])) if check_mode else []
    result = {"changed": bool(reasons or void), "reasons": reasons + [reason for _pod, reason in void]}
    if latest:
        result |= {"status": latest.status, "revision": latest.number}
    if reasons:
        before = {"chart": str(latest.chart), "values": latest.values} if latest else {}
        after = {"chart": str(chart or params["chart"]), "values": params["values"]}
        result["diff"] = _diff(name, before, after)
    if check_mode:
        verb = "upgrade" if latest else "install"
        plan = [f"{verb} the release {name}: {r}" for r in reasons] + [f"delete the {r}" for _pod, r in void]
        result |= {"cluster": "present", "plan": plan}
    return result


def read_chart(path: str, may_lack: bool = False) -> Chart | None:
    """Read a chart archive. With ``may_lack``, a file that is not there (yet) is None.

    :raises PlatformError: it is not there, or no chart.
    """
    yaml = require("yaml")
    try:
        with tarfile.open(path) as archive:
            files = {
                member.name.partition("/")[2]: archive.extractfile(member).read()
                for member in archive.getmembers()
                if member.isfile()
            }
        meta = yaml.safe_load(files["Chart.yaml"])
        templates = {name: data for name, data in files.items() if name.startswith("templates/")}
        return Chart(meta["name"], meta["version"], templates, yaml.safe_load(files.get("values.yaml", b"")) or {})
    except FileNotFoundError:
        if may_lack:
            return None
        raise PlatformError(f"There is no chart {path}.", "Fetch it first, or correct the option chart.") from None
    except (OSError, tarfile.TarError, yaml.YAMLError, KeyError, TypeError) as e:
        raise PlatformError(f"{path} is not a Helm chart ({type(e).__name__}).", "Fetch the chart's .tgz again.") from e


def history(client: Client, params: dict) -> list[Revision]:
    """All revisions of the release that the cluster remembers, oldest first."""
    secrets = client.list("Secret", params["namespace"], labels=f"owner=helm,name={params['name']}")
    return sorted(map(_revision, secrets), key=lambda revision: revision.number)


def _revision(secret: dict) -> Revision:
    data = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    release = json.loads(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    chart = release["chart"]
    templates = {t["name"]: base64.b64decode(t["data"] or "") for t in chart.get("templates") or []}
    return Revision(
        number=release["version"],
        status=release["info"]["status"],
        chart=Chart(chart["metadata"]["name"], chart["metadata"]["version"], templates, chart.get("values") or {}),
        values=release.get("config") or {},
        manifest=release.get("manifest") or "",
        secret=secret["metadata"]["name"],
        resource_version=secret["metadata"]["resourceVersion"],
    )


def differences(client: Client, latest: Revision | None, chart: Chart | None, params: dict) -> list[str]:
    """Why the release must be installed or upgraded; empty when all is as wanted."""
    if latest is None:
        return ["it does not exist"]
    if latest.status != "deployed":
        return [f"its last revision is {latest.status}"]
    reasons = []
    if chart is None:
        reasons.append("the chart's file is not there yet, so its version cannot be compared")
    elif str(chart) != str(latest.chart):
        reasons.append(f"the chart {latest.chart} becomes {chart}")
    elif (chart.templates, chart.defaults) != (latest.chart.templates, latest.chart.defaults):
        reasons.append(f"the chart {chart} has other contents than the one installed")
    if params["values"] != latest.values:
        reasons.append("the values differ")
    return reasons + _drift(client, latest, params["namespace"])


def _objects(revision: Revision) -> Iterator[dict]:
    """The objects of a revision's manifest."""
    yaml = require("yaml")
    for obj in yaml.load_all(revision.manifest, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        yield from obj.get("items", [obj]) if obj else []


def _drift(client: Client, revision: Revision, namespace: str) -> list[str]:
    """The objects of a revision's manifest that the cluster lacks, or has with other values than those it sets."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda item: _changed(client, item, namespace), _objects(revision))
        return [change for change in found if change]


def _changed(client: Client, item: dict, namespace: str) -> str:
    kind, meta = item["kind"], item["metadata"]
    where = meta.get("namespace", namespace)
    try:
        namespaced = client.resource(item["apiVersion"], kind).namespaced
        live = client.get(kind, meta["name"], where, item["apiVersion"])
    except UnknownKind:
        namespaced, live = True, None
    what = ref(kind, meta["name"], where if namespaced else None)
    if live is None:
        return f"{what} is gone"
    known = comparable(live)
    wanted = _overlaid(known, item)
    # The API knows which values mean the same.
    if wanted != known and comparable(client.patch_apply(wanted, dry_run=True)) != known:
        return f"{what} was changed"
    return ""


def _overlaid(known, wanted):
    """What is known, with the values that are wanted. What is set to nothing is left open for others to fill in.

    Items of a list that have names are told apart by them, and those of others stay.
    """
    if isinstance(wanted, dict) and isinstance(known, dict):
        return known | {k: _overlaid(known.get(k), v) for k, v in wanted.items() if v not in (None, "", {}, [])}
    if isinstance(wanted, list) and isinstance(known, list) and all(map(_is_named, [*wanted, *known])):
        ours = {item["name"]: item for item in wanted}
        there = [_overlaid(item, ours.pop(item["name"], {})) for item in known]
        return there + list(ours.values())
    return wanted


def _is_named(item) -> bool:
    return isinstance(item, dict) and "name" in item


def _void_pods(client: Client, known: list[Revision], namespace: str) -> Iterator[tuple[str, str]]:
    """Pods that are older than their ServiceAccount, when that is the release's: the API refuses their tokens.

    Yields each pod's name and the matter in words.
    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
    """
    objects = _objects(known[-1]) if known else ()
    names = {item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount"}
    accounts = {name: client.get("ServiceAccount", name, namespace) for name in names}
    made = {name: account["metadata"]["creationTimestamp"] for name, account in accounts.items() if account}
    for pod in client.list("Pod", namespace) if made else []:
        meta, account = pod["metadata"], pod["spec"].get("serviceAccountName", "")
        if meta["creationTimestamp"] < made.get(account, "") and not meta.get("deletionTimestamp"):
            yield meta["name"], f"Pod {meta['name']}, whose token is void: ServiceAccount {account} was made anew"


def _recover(client: Client, helm: Helm, params: dict, known: list[Revision]) -> str:
    """Free a release that a killed helm left pending, which helm itself refuses to touch; returns what was found."""
    if not known or not known[-1].pending:
        return ""
    latest = known[-1]
    deployed = [revision for revision in known if revision.status == "deployed"]
    if deployed:
        helm.rollback(deployed[-1].number)
    else:  # nothing to go back to: forget the attempt; its objects are helm's still, and are adopted by the next
        client.delete("Secret", latest.secret, params["namespace"], resource_version=latest.resource_version)
    return f"a killed run had left revision {latest.number} {latest.status}"


@contextmanager
def _alone(kubeconfig: str, seconds: float) -> Iterator[int]:
    """Hold a lock for as long as helm runs; helm inherits it, so a helm that outlives a killed run is waited for."""
    with open(kubeconfig, "rb") as f:
        waiter = threading.Thread(target=fcntl.flock, args=(f.fileno(), fcntl.LOCK_EX), daemon=True)
        waiter.start()
        waiter.join(seconds)
        if waiter.is_alive():
            raise PlatformError(
                f"A helm that an earlier run started has worked on the cluster of {kubeconfig} for {seconds} s.",
                "Wait for it ('pgrep -a helm' shows it), or end it; then run again.",
            )
        yield f.fileno()


class Helm:
    """The helm program, for one release. Nothing secret is on its command line."""

    def __init__(self, params: dict, lock: int) -> None:
        self.params, self.lock = params, lock

    def upgrade(self, chart: str, values: dict) -> None:
        options = ["--install", "--reset-values", "--values", "-", "--history-max", str(HISTORY)]
        self._run("upgrade", self.params["name"], chart, *options, stdin=json.dumps(values))

    def rollback(self, revision: int) -> None:
        self._run("rollback", self.params["name"], str(revision), "--history-max", str(HISTORY))

    def uninstall(self) -> None:
        self._run("uninstall", self.params["name"])

    def _run(self, *words: str, stdin: str = "") -> None:
        params = self.params
        command = [
            params["helm_binary"],
            *words,
            "--namespace",
            params["namespace"],
            "--timeout",
            f"{params['timeout']}s",
        ]
        if params["context"]:
            command += ["--kube-context", params["context"]]
        env = {k: v for k, v in os.environ.items() if not k.startswith("HELM_")}
        env |= {"KUBECONFIG": params["kubeconfig"], "HELM_DRIVER": "secret"}
        try:
            done = subprocess.run(
                command,
                input=stdin,
                env=env,
                capture_output=True,
                text=True,
                check=False,
                pass_fds=(self.lock,),
                timeout=params["timeout"] + MARGIN,
            )
        except OSError as e:
            raise PlatformError(
                f"helm cannot be run as {params['helm_binary']}: {e.strerror}.",
                "Correct the option helm_binary, or install Helm 3.",
            ) from e
        except subprocess.TimeoutExpired as e:
            raise PlatformError(
                f"helm {words[0]} did not end within {e.timeout:.0f} s and was ended.", "Run again."
            ) from e
        if done.returncode:
            release = f"{params['namespace']}/{params['name']}"
            message = done.stderr.strip().removeprefix("Error: ") or f"exit code {done.returncode}"
            raise PlatformError(f"helm {words[0]} of the release {release} failed: {message}.", _fix(message))


_FIXES = {
    "invalid ownership metadata": "That object is not helm's: delete it, or make the chart name its own otherwise.",
    "not found": "Create the namespace first.",
    "is in progress": "Another helm works on the release just now: run again when it is done.",
    "meet the specifications of the schema": "Correct the option values.",
    "failed calling webhook": "An admission webhook does not answer: look at the pods behind it.",
    "execution error at": "The chart refuses its values: correct the option values.",
    "cluster unreachable": "See whether the API server still answers; then run again.",
    "unknown flag": "helm_binary must be a Helm 3 of at least 3.8.",
    "orbidden": "The kubeconfig's user lacks this right.",
}


def _fix(message: str) -> str:
    return next((fix for phrase, fix in _FIXES.items() if phrase in message), "")
