# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_service_account_token, with a stand-in for the API server that makes tokens and reviews them."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[5]
TOKENS = "/api/v1/namespaces/shop/serviceaccounts/vault/token"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


def jwt(lifetime=3600, age=0, account="shop:vault", audiences=("api",), **bound):
    issued = int(time.time()) - age
    claims = {"aud": list(audiences), "iat": issued, "exp": issued + lifetime, "kubernetes.io": bound}
    claims["sub"] = f"system:serviceaccount:{account}"
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{body}.marker-signature"


class Tokens:
    """What the tests set up and look at."""

    def __init__(self):
        self.longest, self.valid, self.made, self.status = 10**9, True, [], 201


@pytest.fixture
def tokens(api, monkeypatch):
    """TokenRequest and TokenReview, in front of the stand-in for the API server."""
    state, answer = Tokens(), api.answer

    def with_tokens(method, path, query, body):
        if path == REVIEWS:
            if state.status != 201:
                return state.status, {"kind": "Status", "message": "not for you", "reason": "Forbidden"}
            return 201, {"status": {"authenticated": state.valid}}
        if path == TOKENS:
            spec = body["spec"]
            lifetime = min(spec["expirationSeconds"], state.longest)
            bound = spec.get("boundObjectRef", {})
            kind = {bound["kind"].lower(): {"name": bound["name"], "uid": bound.get("uid", "u1")}} if bound else {}
            token = jwt(lifetime, audiences=spec.get("audiences", ["api"]), **kind)
            state.made.append(spec)
            ends = datetime.fromtimestamp(time.time() + lifetime, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            return 201, {"status": {"token": token, "expirationTimestamp": ends}}
        return answer(method, path, query, body)

    monkeypatch.setattr(api, "answer", with_tokens)
    return state


@pytest.fixture
def token(run_module, kubeconfig, tokens, tmp_path):
    def run(check=False, **options):
        options = {"kubeconfig": kubeconfig, "namespace": "shop", "service_account": "vault", **options}
        options.setdefault("path", str(tmp_path / "made" / "token"))
        result = run_module("k8s_service_account_token", check=check, **{k: v for k, v in options.items() if v})
        assert "marker-signature" not in json.dumps(result)
        assert "defect" not in result.get("msg", "")
        return result

    run.path = tmp_path / "made" / "token"
    return run


def test_makes_one_and_keeps_it(token, tokens):
    plan = token(check=True)
    assert plan["changed"] and plan["plan"] == ["a new token of shop/vault: there is none yet"]
    assert not token.path.exists() and tokens.made == []
    first = token()
    assert first["changed"] and (first["lifetime"], first["shortened"]) == (3600, False)
    assert first["subject"] == "system:serviceaccount:shop:vault" and first["audiences"] == ["api"]
    assert stat.S_IMODE(token.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.path.parent.stat().st_mode) == 0o700
    assert [p.name for p in token.path.parent.iterdir()] == ["token"]
    second = token()
    assert not second["changed"] and second["reason"] == "" and second["expires"] == first["expires"]
    assert len(tokens.made) == 1
    assert not token(check=True)["changed"]


@pytest.mark.parametrize(
    ("stored", "options", "reason"),
    [
        (jwt(account="shop:other"), {}, "the stored one is of another account"),
        (jwt(), {"audiences": ["vault"]}, "the stored one has other audiences"),
        (jwt(age=3600), {}, "the stored one has expired"),
        (jwt(age=3000), {}, "the stored one expires in"),
        (jwt(age=1000), {"renew_before": "45m"}, "the stored one expires in"),
        (jwt(pod={"name": "p", "uid": "u"}), {}, "the stored one is bound to Pod p"),
        (jwt(), {"bound_object": {"kind": "Secret", "name": "s"}}, "the stored one has no Secret"),
        (
            jwt(secret={"name": "s", "uid": "u"}),
            {"bound_object": {"kind": "Secret", "name": "s", "uid": "v"}},
            "bound to",
        ),
        ("garbage", {}, "the file holds no token"),
        ("a.b.c", {}, "the file holds no token"),
        ("", {}, "there is none yet"),
    ],
)
def test_replaces_what_will_not_do(token, tokens, stored, options, reason):
    token.path.parent.mkdir()
    token.path.write_text(stored)
    token.path.chmod(0o600)
    planned, done = token(check=True, **options), token(**options)
    for result in planned, done:
        assert result["changed"] and reason in result["reason"]
        assert reason in result["diff"]["after"]
    assert token.path.read_text() != stored
    assert not token(**options)["changed"]


@pytest.mark.parametrize(
    "bound", [{}, {"pod": {"name": "p", "uid": "u1"}, "node": {"name": "n"}}, {"secret": {"name": "p", "uid": "u1"}}]
)
def test_keeps_what_will_do(token, tokens, bound):
    token.path.parent.mkdir()
    token.path.write_text(jwt(audiences=["b", "a"], age=2000, **bound) + "\n")
    token.path.chmod(0o600)
    kind = next(iter(bound), "").capitalize()
    options = {"bound_object": {"kind": kind, "name": "p", "uid": "u1"}} if kind else {}
    assert not token(audiences=["a", "b"], **options)["changed"]
    assert tokens.made == []


def test_what_the_api_server_does_not_accept_is_replaced(token, tokens):
    token()
    tokens.valid = False
    assert token()["reason"] == "the API server does not accept the stored one any more"
    tokens.status = 403  # may not ask: what the token says has to do
    assert not token()["changed"]
    tokens.status = 500
    assert token()["failed"]


def test_a_shortened_token_is_told(token, tokens):
    tokens.longest = 1000
    result = token(expiration="24h")
    assert (result["lifetime"], result["shortened"]) == (1000, True)
    assert "granted the token of shop/vault 1000 s instead of 86400 s" in str(result["warnings"])
    assert not token(expiration="24h")["changed"]  # a fifth of what was granted is left to it
    token.path.unlink()
    failed = token(expiration="24h", renew_before="1000")
    assert failed["failed"] and "every run would renew it" in failed["msg"] and not token.path.exists()


def test_returned_only_where_it_is_not_shown(run_module, kubeconfig, tokens):
    options = {"kubeconfig": kubeconfig, "namespace": "shop", "service_account": "vault", "audiences": ["vault"]}
    refused = run_module("k8s_service_account_token", **options)
    assert refused["failed"] and "Add 'no_log: true'" in refused["msg"] and tokens.made == []
    result = run_module("k8s_service_account_token", **options, _ansible_no_log=True)
    assert result["token"].endswith("marker-signature") and not result["changed"]
    assert tokens.made == [{"expirationSeconds": 3600, "audiences": ["vault"]}]
    assert "token" not in run_module("k8s_service_account_token", check=True, **options, _ansible_no_log=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expiration": "5m"}, "expiration is 300 s. Kubernetes grants at least 600 s."),
        ({"expiration": "soon"}, "which is no duration"),
        ({"renew_before": "2h"}, "Choose a smaller renew_before"),
        ({"expiration": "24h", "bound_object": {"kind": "Pod", "name": "p"}}, "it ends with that pod"),
        ({"service_account": "ghost"}, "The ServiceAccount shop/ghost does not exist. Create it"),
        ({"service_account": "ghost", "bound_object": {"kind": "Secret", "name": "s"}}, "and the Secret first"),
        ({"service_account": ""}, "service_account"),
        ({"path": "/proc/none/token"}, "/proc/none/token cannot be written"),
        ({"path": "/"}, "/ cannot be read: Is a directory"),
    ],
)
def test_refusals(token, options, message):
    result = token(**options)
    assert result["failed"] and message in result["msg"], result


def test_a_file_that_others_could_read(token):
    token()
    token.path.chmod(0o644)
    assert token(check=True)["plan"] == ["mode 0600"] and stat.S_IMODE(token.path.stat().st_mode) == 0o644
    result = token()
    assert result["changed"] and result["reason"] == "others could read the file"
    assert stat.S_IMODE(token.path.stat().st_mode) == 0o600
    assert not token()["changed"]


def test_a_link_stays_a_link(token, tmp_path):
    token.path.parent.mkdir()
    token.path.symlink_to(tmp_path / "target")
    token()
    assert token.path.is_symlink() and (tmp_path / "target").read_text()


def test_absent(token, tokens):
    assert not token(state="absent")["changed"]
    token()
    assert token(state="absent", check=True)["plan"] == [f"remove {token.path}"] and token.path.exists()
    assert token(state="absent", service_account="", namespace="")["changed"] and not token.path.exists()
    assert not token(state="absent")["changed"]


def test_no_cluster_yet(run_module, absent, tmp_path):
    options = {"kubeconfig": absent, "namespace": "shop", "service_account": "vault", "path": str(tmp_path / "token")}
    plan = run_module("k8s_service_account_token", check=True, **options)
    assert plan["changed"] and plan["cluster"] == "absent" and "does not exist yet" in plan["plan"][0]
    assert "There is no kubeconfig" in run_module("k8s_service_account_token", **options)["msg"]


def test_the_examples_run(run_module, kubeconfig, tokens, tmp_path):
    plugins = "ansible_collections.cloudcartops.platform.plugins"
    module = importlib.import_module(f"{plugins}.modules.k8s_service_account_token")
    keep, login, remove = yaml.safe_load(module.EXAMPLES)
    path = str(tmp_path / "cloudcart-reviewer.jwt")
    for task, expected in ((keep, True), (keep, False), (login, False), (remove, True), (remove, False)):
        options = {**task["cloudcartops.platform.k8s_service_account_token"], "kubeconfig": kubeconfig}
        options |= {"namespace": "shop", "service_account": "vault"} if task is not remove else {}
        options |= {"path": path} if "path" in options else {}
        result = run_module("k8s_service_account_token", **options, _ansible_no_log=task.get("no_log", False))
        assert (result["failed"], result["changed"]) == (False, expected), result


def test_nothing_is_shown(kubeconfig, tokens, tmp_path):
    """Not at -vvvv, in a diff, in a registered result, in the fact cache, in `ps`, or in other files."""
    options = {"kubeconfig": kubeconfig, "namespace": "shop", "service_account": "vault"}
    name = "cloudcartops.platform.k8s_service_account_token"
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {name: {**options, "path": str(tmp_path / "token")}, "register": "kept"},
            {name: options, "register": "returned", "no_log": True},
            {"ansible.builtin.set_fact": {"facts": "{{ kept }}", "cacheable": True}},
            {"ansible.builtin.debug": {"var": "kept"}},
            {"ansible.builtin.assert": {"that": ["returned.token is search('marker')", "kept.token is not defined"]}},
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "home"),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-vvvv", "--diff"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml")]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = set()
    with subprocess.Popen(command, env=environment, **pipe) as process:
        watching = threading.Thread(target=watch, args=(process, processes))
        watching.start()
        output = process.communicate(timeout=120)[0]
        watching.join()
    assert process.returncode == 0, output
    assert "a new token, because there is none yet" in output and any(b"playbook" in line for line in processes)
    assert "marker-signature" in (tmp_path / "token").read_text() and list((tmp_path / "cache").iterdir())
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [path.name for path, content in files.items() if b"marker-signature" in content] == ["token"]
    assert "marker-signature" not in output
    assert [line for line in processes if b"marker-signature" in line] == []


def watch(process, shown):
    """Collect what `ps` shows of every process on the machine while ``process`` runs."""
    while process.returncode is None:
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                shown.add(path.read_bytes())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
