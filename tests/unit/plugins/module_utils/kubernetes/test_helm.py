# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""helm_release, with a stand-in for the helm program that records what it was asked and stores a revision."""

from __future__ import annotations

import base64
import fcntl
import gzip
import io
import json
import sys
import tarfile

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import helm
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.helm import helm_release

SECRETS = "/api/v1/namespaces/shop/secrets/"
ACCOUNT = "/api/v1/namespaces/shop/serviceaccounts/injector"
WEBHOOK = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/injector-cfg"
FILES = {
    "Chart.yaml": "name: vault\nversion: 0.34.1\n",
    "values.yaml": "replicas: 1\n",
    "templates/a.yaml": "kind: ServiceAccount\n",
    "templates/tests/t.yaml": "kind: Pod\n",
    "charts/sub/templates/b.yaml": "kind: Secret\n",
}
MANIFEST = """---
# Source: vault/templates/a.yaml
apiVersion: v1
kind: ServiceAccount
metadata: {name: injector, annotations: {left-open: ""}}
automountServiceAccountToken: true
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: injector-cfg}
---
"""
HELM = """#!{python}
import json, os, sys, urllib.request
here = os.path.dirname(os.path.abspath(__file__))
plan = json.load(open(here + "/plan.json"))
stdin = sys.stdin.read()
call = {{"argv": sys.argv[1:], "stdin": stdin, "env": dict(os.environ)}}
open(here + "/calls.jsonl", "a").write(json.dumps(call) + "\\n")
if plan.get("stderr"):
    sys.exit(plan["stderr"])
server = json.load(open(os.environ["KUBECONFIG"]))["clusters"][0]["cluster"]["server"]
url = server + "/api/v1/namespaces/shop/secrets"
if sys.argv[1] == "uninstall":
    for secret in json.load(urllib.request.urlopen(url + "?labelSelector=owner=helm,name=" + sys.argv[2]))["items"]:
        urllib.request.urlopen(urllib.request.Request(url + "/" + secret["metadata"]["name"], method="DELETE"))
for secret in plan["stores"].get(sys.argv[1], []):
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(secret).encode(), method="POST"))
"""


def revision(number, status="deployed", values=None, files=None, manifest=MANIFEST, compressed=True):
    """The Secret of a revision, as helm writes it."""
    files = {**FILES, **(files or {})}
    templates = [
        {"name": name, "data": base64.b64encode(text.encode()).decode()}
        for name, text in files.items()
        if name.startswith("templates/")
    ]
    chart = {
        "metadata": yaml.safe_load(files["Chart.yaml"]),
        "templates": templates,
        "values": yaml.safe_load(files["values.yaml"]),
    }
    release = {"name": "vault", "version": number, "info": {"status": status}, "chart": chart, "manifest": manifest}
    release |= {"config": values} if values else {}
    data = json.dumps(release).encode()
    data = base64.b64encode(base64.b64encode(gzip.compress(data) if compressed else data)).decode()
    labels = {"owner": "helm", "name": "vault", "status": status, "version": str(number)}
    meta = {"name": f"sh.helm.release.v1.vault.v{number}", "namespace": "shop", "labels": labels}
    return {"metadata": meta, "type": "helm.sh/release.v1", "data": {"release": data}}


@pytest.fixture
def chart(tmp_path):
    path = tmp_path / "vault.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"vault/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return str(path)


class Program:
    def __init__(self, folder):
        self.folder, self.path = folder, folder / "helm"
        self.path.write_text(HELM.format(python=sys.executable))
        self.path.chmod(0o755)
        self.will()

    def will(self, stderr="", **stores):
        (self.folder / "plan.json").write_text(json.dumps({"stderr": stderr, "stores": stores}))

    @property
    def calls(self):
        log = self.folder / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def program(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    return Program(folder)


@pytest.fixture
def release(kubeconfig, chart, program):
    def call(check=False, **options):
        params = {
            "kubeconfig": kubeconfig,
            "context": None,
            "name": "vault",
            "namespace": "shop",
            "state": "present",
            "chart": chart,
            "values": {},
            "helm_binary": str(program.path),
            "timeout": 20,
        }
        return helm_release({**params, **options}, check)

    return call


@pytest.fixture
def live(api):
    """The cluster with the objects of the manifest, and these revisions."""
    api.namespace("shop")
    meta = {"creationTimestamp": "2026-01-02T10:00:00Z", "annotations": {"left-open": "filled in"}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": True, "metadata": meta}
    api.put(ACCOUNT, account)
    webhook = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    api.put(WEBHOOK, webhook)

    def put(*revisions):
        for secret in revisions:
            api.put(SECRETS + secret["metadata"]["name"], secret)

    return put


def test_install(api, live, release, program, monkeypatch, kubeconfig):
    monkeypatch.setenv("HELM_KUBETOKEN", "of another cluster")
    live()
    program.will(upgrade=[revision(1, values={"injector": {"token": "in-the-values"}})])
    result = release(values={"injector": {"token": "in-the-values"}}, context="test")
    assert (result["changed"], result["reasons"], result["status"], result["revision"]) == (
        True,
        ["it does not exist"],
        "deployed",
        1,
    )
    (call,) = program.calls
    assert call["argv"][:2] == ["upgrade", "vault"] and "--install" in call["argv"] and "--reset-values" in call["argv"]
    assert call["argv"][-2:] == ["--kube-context", "test"]
    assert "in-the-values" not in " ".join(call["argv"])
    assert json.loads(call["stdin"]) == {"injector": {"token": "in-the-values"}}
    assert call["env"]["KUBECONFIG"] == kubeconfig and "HELM_KUBETOKEN" not in call["env"]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_second_run_starts_no_helm(live, release, program, compressed):
    live(revision(9, "superseded"), revision(10, values={"a": 1}, compressed=compressed))
    result = release(values={"a": 1})
    assert result == {"changed": False, "reasons": [], "status": "deployed", "revision": 10}
    assert program.calls == []


@pytest.mark.parametrize(
    ("existing", "reason"),
    [
        (revision(1, values={"a": 1}), "the values differ"),
        (
            revision(1, files={"Chart.yaml": "name: vault\nversion: 0.30.0\n"}),
            "the chart vault 0.30.0 becomes vault 0.34.1",
        ),
        (
            revision(1, files={"templates/a.yaml": "x"}),
            "the chart vault 0.34.1 has other contents than the one installed",
        ),
        (revision(1, files={"values.yaml": "replicas: 2\n"}), "the chart vault 0.34.1 has other contents"),
        (revision(1, "failed"), "its last revision is failed"),
    ],
)
def test_differences(live, release, program, existing, reason):
    live(existing)
    planned = release(check=True)
    assert planned["changed"] and planned["plan"][0].startswith(f"upgrade the release shop/vault: {reason}")
    assert program.calls == []
    program.will(upgrade=[revision(2)])
    result = release()
    assert result["reasons"][0].startswith(reason) and result["revision"] == 2
    assert result["diff"]["after"] == {"chart": "vault 0.34.1", "values": {}}
    assert release()["changed"] is False


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        (ACCOUNT, "ServiceAccount shop/injector is gone"),
        (WEBHOOK, "MutatingWebhookConfiguration injector-cfg is gone"),
    ],
)
def test_a_deleted_object_is_brought_back(api, live, release, program, path, gone):
    live(revision(1))
    del api.objects[path]
    program.will(upgrade=[revision(2)])
    assert release()["reasons"] == [gone] and len(program.calls) == 1


def test_a_changed_object_is_corrected(api, live, release, program):
    live(revision(1))
    api.objects[ACCOUNT]["automountServiceAccountToken"] = False
    program.will(upgrade=[revision(2)])
    planned = release(check=True)
    assert planned["reasons"] == ["ServiceAccount shop/injector was changed"] and program.calls == []
    assert release()["reasons"] == planned["reasons"] and len(program.calls) == 1
    assert all(sent.endswith(" dry") for sent in api.sent("PATCH")), "helm alone changes what is helm's"


def test_what_the_chart_does_not_set_may_have_any_value(api, live, release, program):
    live(revision(1))
    api.objects[ACCOUNT]["imagePullSecrets"] = [{"name": "mine"}]
    assert release()["changed"] is False and program.calls == []


HOOK = {"name": "a", "failurePolicy": "Fail", "clientConfig": {"service": {"name": "s"}, "caBundle": ""}}
STORED = {**HOOK, "matchPolicy": "Exact", "clientConfig": {"service": {"name": "s", "port": 443}, "caBundle": "filled"}}


@pytest.mark.parametrize(
    ("stored", "changed"),
    [
        ([STORED], False),
        ([{"name": "of somebody else"}, STORED], False),
        ([{**STORED, "failurePolicy": "Ignore"}], True),
        ([{"name": "of somebody else"}], True),
        ([], True),
    ],
)
def test_lists_are_compared_by_names(api, live, release, program, stored, changed):
    meta = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    item = {**meta, "metadata": {"name": "injector-cfg"}, "webhooks": [HOOK]}
    live(revision(1, manifest=json.dumps(item)))
    api.objects[WEBHOOK]["webhooks"] = stored
    assert release(check=True)["changed"] is changed


def test_the_api_tells_which_values_mean_the_same(api, live, release, program):
    item = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "injector"}, "cpu": "1000m"}
    live(revision(1, manifest=json.dumps(item)))
    api.objects[ACCOUNT]["cpu"] = "1"
    answer = api.answer

    def normalised(method, path, query, body):
        return answer(method, path, query, {**body, "cpu": "1"} if method == "PATCH" else body)

    api.answer = normalised
    assert release(check=True)["changed"] is False and api.sent("PATCH") == [f"PATCH {ACCOUNT} dry"]


def test_objects_of_lists_and_of_unknown_kinds(live, release):
    manifest = (
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: else}}]\n"
        "---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"
    )
    live(revision(1, manifest=manifest))
    assert release(check=True)["reasons"] == ["Secret else/s is gone", "Widget shop/w is gone"]


def test_a_killed_install_is_forgotten_and_done_again(api, live, release, program):
    live(revision(1, "pending-install"))
    assert release(check=True)["plan"] == ["upgrade the release shop/vault: its last revision is pending-install"]
    assert api.sent("DELETE") == [] and program.calls == []
    program.will(upgrade=[revision(1)])
    result = release()
    assert result["reasons"] == ["a killed run had left revision 1 pending-install", "it does not exist"]
    assert api.sent("DELETE") == [f"DELETE {SECRETS}sh.helm.release.v1.vault.v1"]
    assert [call["argv"][0] for call in program.calls] == ["upgrade"] and result["status"] == "deployed"


@pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback"])
def test_a_killed_upgrade_goes_back_to_what_is_deployed(api, live, release, program, status):
    live(revision(3), revision(4, status))
    program.will(rollback=[revision(5)])
    result = release()
    assert [call["argv"][:3] for call in program.calls] == [["rollback", "vault", "3"]]
    assert result["changed"] and result["reasons"] == [f"a killed run had left revision 4 {status}"]
    assert api.sent("DELETE") == [], "no record of a revision is deleted when one is deployed"


def test_an_attempt_that_goes_on_elsewhere_is_not_forgotten(api, live, release, program):
    live(revision(1, "pending-install"))
    original = api.answer

    def done_meanwhile(method, path, *rest):
        if method == "DELETE":
            live(revision(1))  # now deployed
        return original(method, path, *rest)

    api.answer = done_meanwhile
    with pytest.raises(PlatformError, match="precondition failed.*run again"):
        release()
    assert SECRETS + "sh.helm.release.v1.vault.v1" in api.objects and program.calls == []


def test_another_helm_is_waited_for(live, release, kubeconfig, program):
    live(revision(1, "pending-install"))
    with open(kubeconfig) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        with pytest.raises(PlatformError, match="A helm that an earlier run started"):
            release(timeout=0.2)
    assert program.calls == []


def test_without_a_cluster(release, absent, program):
    result = release(check=True, kubeconfig=absent)
    assert (result["changed"], result["cluster"]) == (True, "absent")
    assert result["plan"] == ["install the release shop/vault of the chart vault 0.34.1"]
    assert release(check=True, kubeconfig=absent, chart="/none.tgz")["plan"][0].endswith("of the chart /none.tgz")
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        release(kubeconfig=absent)
    assert program.calls == []


def test_chart_that_is_not_there_yet(live, release):
    live(revision(1))
    assert release(check=True, chart="/none.tgz")["reasons"] == [
        "the chart's file is not there yet, so its version cannot be compared"
    ]
    with pytest.raises(PlatformError, match="There is no chart /none.tgz"):
        release(chart="/none.tgz")


def test_file_that_is_no_chart(release, tmp_path):
    (tmp_path / "x.tgz").write_text("x")
    with pytest.raises(PlatformError, match=r"x.tgz is not a Helm chart \(ReadError\)"):
        release(chart=str(tmp_path / "x.tgz"))
    with tarfile.open(tmp_path / "y.tgz", "w:gz"):
        pass
    with pytest.raises(PlatformError, match=r"y.tgz is not a Helm chart \(KeyError\)"):
        release(chart=str(tmp_path / "y.tgz"))


@pytest.mark.parametrize(
    ("stderr", "fix"),
    [
        ("Error: INSTALL FAILED: Unable to continue: invalid ownership metadata; label", "That object is not helm's"),
        ('Error: create: failed to create: namespaces "shop" not found', "Create the namespace first"),
        (
            "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
            "run again when it is done",
        ),
        ("Error: values don't meet the specifications of the schema(s)", "Correct the option values"),
        ('Error: Internal error occurred: failed calling webhook "w"', "does not answer"),
        ("Error: execution error at (vault/templates/x.yaml): no", "The chart refuses its values"),
        ("Error: Kubernetes cluster unreachable", "whether the API server still answers"),
        ("Error: unknown flag: --history-max", "Helm 3"),
        ('Error: secrets is forbidden: User "u"', "lacks this right"),
        ("Error: something new", ""),
    ],
)
def test_helm_fails(live, release, program, stderr, fix):
    live()
    program.will(stderr=stderr)
    with pytest.raises(PlatformError) as e:
        release()
    assert str(e.value).startswith(f"helm upgrade of the release shop/vault failed: {stderr.removeprefix('Error: ')}.")
    assert fix in e.value.fix


def test_helm_cannot_be_run_or_does_not_end(live, release, tmp_path, monkeypatch):
    live()
    with pytest.raises(PlatformError, match="helm cannot be run as /none: No such file"):
        release(helm_binary="/none")
    (tmp_path / "slow").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "slow").chmod(0o755)
    monkeypatch.setattr(helm, "MARGIN", -19.8)
    with pytest.raises(PlatformError, match="helm upgrade did not end within 0 s"):
        release(helm_binary=str(tmp_path / "slow"))


def test_the_module(live, run_module, kubeconfig, chart):
    live(revision(1))
    result = run_module("helm_release", kubeconfig=kubeconfig, name="vault", namespace="shop", chart=chart)
    assert (result["failed"], result["changed"], result["status"]) == (False, False, "deployed")


def test_pods_of_an_account_that_was_made_anew_are_replaced(api, live, release, program):
    """Their tokens are void: https://kubernetes.io/docs/concepts/security/service-accounts/"""
    live(revision(1))
    pods = "/api/v1/namespaces/shop/pods/"
    ages = {"older": "2026-01-02T09:59:59Z", "newer": "2026-01-02T10:00:00Z", "ending": "2026-01-01T00:00:00Z"}
    for name, made in ages.items():
        meta = {"creationTimestamp": made} | ({"deletionTimestamp": made} if name == "ending" else {})
        api.put(pods + name, {"metadata": meta, "spec": {"serviceAccountName": "injector"}})
    api.put(pods + "other", {"metadata": {"creationTimestamp": ages["older"]}, "spec": {"serviceAccountName": "x"}})
    planned = release(check=True)
    assert planned["plan"] == ["delete the Pod older, whose token is void: ServiceAccount injector was made anew"]
    result = release()
    assert result["changed"] and result["reasons"] == [
        "Pod older, whose token is void: ServiceAccount injector was made anew"
    ]
    assert [name for name in (*ages, "other") if pods + name in api.objects] == ["newer", "ending", "other"]
    assert program.calls == [] and release()["changed"] is False


@pytest.mark.parametrize("status", ["deployed", "failed", "pending-install", "uninstalling"])
def test_uninstall(api, live, release, program, status):
    live(revision(1, "superseded"), revision(2, status, values={"a": 1}))
    planned = release(check=True, state="absent", chart=None)
    assert (planned["changed"], planned["plan"]) == (True, ["uninstall the release shop/vault"])
    assert planned["cluster"] == "present" and program.calls == []
    result = release(state="absent", chart=None)
    assert result["changed"] and result["diff"]["after"] == {}
    assert result["diff"]["before"] == {"chart": "vault 0.34.1", "values": {"a": 1}}
    (call,) = program.calls
    assert call["argv"] == ["uninstall", "vault", "--namespace", "shop", "--timeout", "20s"]
    for check in (False, True):
        again = release(check, state="absent", chart=None)
        assert (again["changed"], again["reasons"]) == (False, []) and "diff" not in again
    assert again["plan"] == [] and len(program.calls) == 1


def test_uninstall_that_another_run_did_meanwhile(release, program, monkeypatch):
    rounds = iter([["a revision"], []])
    monkeypatch.setattr(helm, "history", lambda client, params: next(rounds))
    assert release(state="absent", chart=None)["changed"] is False and program.calls == []


def test_uninstall_without_a_cluster(release, absent, program):
    result = release(check=True, kubeconfig=absent, state="absent", chart=None)
    assert result == {"changed": False, "reasons": [], "cluster": "absent", "plan": []}
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        release(kubeconfig=absent, state="absent", chart=None)


def test_uninstall_fails(live, release, program):
    live(revision(1))
    program.will(stderr='Error: secrets is forbidden: User "u"')
    with pytest.raises(PlatformError, match="helm uninstall of the release shop/vault failed.*lacks this right"):
        release(state="absent", chart=None)


def test_the_module_needs_a_chart_only_to_install(live, run_module, kubeconfig):
    live()
    options = {"kubeconfig": kubeconfig, "name": "vault", "namespace": "shop"}
    assert run_module("helm_release", state="absent", **options)["changed"] is False
    assert "chart" in run_module("helm_release", **options)["msg"]
