# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_login_check against a real OpenBao, with a stand-in for the two Kubernetes APIs that a login needs."""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
import time

import pytest
import requests
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import login_check, server
from ansible_collections.cloudcartops.platform.plugins.modules import vault_login_check


def token_of(account):
    """A token as Kubernetes makes them, but for the signature, which only the (stood-in) API server would verify."""
    claims = {
        "iss": "kubernetes",
        "aud": ["kubernetes"],
        "iat": int(time.time()) - 1,
        "nbf": int(time.time()) - 1,
        "exp": int(time.time()) + 600,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": account, "uid": "uid"}},
        "sub": f"system:serviceaccount:shop:{account}",
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + ".c2ln"


class Reviews(http.server.BaseHTTPRequestHandler):
    """TokenReview: authenticated as the account the token names, or refused with ``server.status``."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        claims = body["spec"]["token"].split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
        user = {"username": subject, "uid": "uid", "groups": ["system:serviceaccounts"]}
        status = {"authenticated": True, "user": user, "audiences": body["spec"].get("audiences") or ["kubernetes"]}
        answer = json.dumps(
            {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}
        ).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments):
        pass


class Answer:
    def __init__(self, body):
        self.body = body

    def json(self):
        return self.body


@pytest.fixture
def kubernetes(cluster, monkeypatch):
    """The FakeCluster with TokenRequest and SubjectAccessReview, and a server for Vault's TokenReview."""
    reviews = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reviews)
    reviews.status = 201
    threading.Thread(target=reviews.serve_forever, args=[0.01], daemon=True).start()
    cluster.reviews, cluster.may_review, cluster.no_tokens, cluster.objects = reviews, True, False, {}
    secret = cluster.get
    monkeypatch.setattr(
        cluster,
        "get",
        lambda kind, name, namespace: (
            secret(kind, name, namespace) if kind == "Secret" else cluster.objects.get((kind, name))
        ),
    )
    monkeypatch.setattr(cluster, "list", lambda *_arguments, **_more: cluster.objects.get("pods", []), raising=False)
    monkeypatch.setattr(cluster, "server", "https://cluster", raising=False)
    jwks = Answer({"keys": [{"n": base64.urlsafe_b64encode(b"the modulus").decode()}]})
    monkeypatch.setattr(cluster, "proxy", lambda *_arguments, **_more: jwks, raising=False)

    def call(method, path, *, doing, body=None):
        if path == "/.well-known/openid-configuration":
            return Answer({"issuer": "https://cluster"})
        assert method == "POST"
        if path.endswith("/subjectaccessreviews"):
            return Answer({"status": {"allowed": cluster.may_review}})
        account = path.split("/")[-2]
        if account == "nobody":
            raise ApiError(404, "NotFound", "not found")
        if cluster.no_tokens:
            raise ApiError(403, "Forbidden", "The cluster refused to make a token.", "The user lacks this right.")
        return Answer({"status": {"token": token_of(account)}})

    monkeypatch.setattr(cluster, "call", call, raising=False)
    yield cluster
    reviews.shutdown()
    reviews.server_close()


@pytest.fixture
def vault(openbao, kubernetes, names):
    """A server in which the account `app` may read one secret, and not the other."""
    host = f"http://127.0.0.1:{kubernetes.reviews.server_address[1]}"
    openbao("POST", f"sys/mounts/{names.kv}", {"type": "kv", "options": {"version": "2"}})
    openbao("POST", f"sys/auth/{names.auth}", {"type": "kubernetes"})
    config = {"kubernetes_host": host, "disable_local_ca_jwt": True, "kubernetes_ca_cert": "x"}
    openbao("POST", f"auth/{names.auth}/config", {**config, "token_reviewer_jwt": token_of("vault")})
    for path in ("one", "two"):
        openbao("POST", f"{names.kv}/data/{path}", {"data": {"a": "marker-value"}})
    policy = f'path "{names.kv}/data/one" {{ capabilities = ["read"] }}'
    openbao("POST", f"sys/policies/acl/app{names.suffix}", {"policy": policy})
    role = {"bound_service_account_names": ["app"], "bound_service_account_namespaces": ["shop"]}
    openbao("POST", f"auth/{names.auth}/role/app", {**role, "token_policies": [f"app{names.suffix}"]})
    names.config, names.role = config, role
    return openbao


@pytest.fixture
def check(capsys, vault, names):
    def run_module(expect_failure=False, check=False, options=None, **login):
        login = {"role": "app", "mount": names.auth, "namespace": "shop", "reads": [f"{names.kv}/data/one"], **login}
        options = {
            "kubeconfig": "unused",
            "url": vault.url,
            "token_secret": {"name": "vault-root-token", "namespace": "cloudcart"},
            "logins": [login],
            **(options or {}),
        }
        options = {key: value for key, value in options.items() if value is not None}
        with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit) as stop:
            vault_login_check.main()
        output = capsys.readouterr().out
        assert "marker-value" not in output and token_of("app")[:200] not in output
        result = json.loads(output)
        assert bool(stop.value.code) == expect_failure, output
        assert "defect" not in result.get("msg", "")
        return result

    return run_module


def explained(check, cause, **more):
    """The login fails, the message names the cause, and without ``required`` it is in the result."""
    result = check(expect_failure=True, **more)
    assert re.search(cause, result["msg"]), (cause, result["msg"])
    options = (more.pop("options", None) or {}) | {"required": False}
    soft = check(options=options, **more)
    assert not soft["ok"] and re.search(cause, soft["logins"][0]["msg"])


def test_a_good_login_leaves_no_token(check, vault, names):
    before = vault("GET", "auth/token/accessors?list=true")["keys"]
    result = check(denied=[f"{names.kv}/data/two"], audiences=["kubernetes"])
    assert result["ok"] and not result["changed"]
    assert result["logins"][0] == {
        "role": "app",
        "mount": names.auth,
        "service_account": "shop/app",
        "ok": True,
        "skipped": False,
        "msg": "",
    }
    assert vault("GET", "auth/token/accessors?list=true")["keys"] == before


def test_what_the_answer_says(check, vault, names, kubernetes):
    role = f"auth/{names.auth}/role/app"
    explained(check, "ServiceAccount shop/nobody does not exist", service_account="nobody")
    explained(check, "There is no such role", role="nobody", service_account="app")
    explained(check, "not for this account: its bound_service_account_names has app", service_account="other")
    explained(check, "There is no auth method at auth/nowhere", mount="nowhere")
    explained(check, "is of type token, not kubernetes", mount="token")
    explained(check, "must not be able to read", denied=[f"{names.kv}/data/one"])
    vault("POST", role, {"bound_service_account_namespaces": ["x"]})
    explained(check, "not for this namespace: bound_service_account_namespaces has x")
    vault("POST", role, names.role | {"audience": "x"})
    explained(check, "asks for the audience x, which the token does not have")
    kubernetes.no_tokens = True
    explained(check, "refused to make a token. The user lacks this right")


def test_what_a_role_may_read(check, vault, names):
    role, policy = f"auth/{names.auth}/role/app", f"sys/policies/acl/app{names.suffix}"
    explained(
        check,
        f"KV version 2 engine, .*: read {names.kv}/data/one",
        reads=[f"{names.kv}/one"],
    )
    explained(check, "no secrets engine that the path could belong to", reads=["none/data/one"])
    explained(check, f"None of its policies .app{names.suffix}. has that path", reads=[f"{names.kv}/data/two"])
    for text, cause in (
        (f'path "{names.kv}/one" {{ capabilities = ["read"] }}', "write data/ after the mount in the policy"),
        (f'path "{names.kv}/data/*" {{ capabilities = ["list"] }}', "with list: it needs read"),
        (f'path "{names.kv}/data/*" {{ policy = "deny" }}', "with nothing: it needs read"),
    ):
        vault("POST", policy, {"policy": text})
        explained(check, cause)
    vault("POST", policy, {"policy": f'path "{names.kv}/data/*" {{ capabilities = ["read"] }}'})
    explained(check, "may read .*/data/none, but there is nothing", reads=[f"{names.kv}/data/none"])
    vault("POST", role, names.role | {"token_policies": ["gone"]})
    explained(check, "policy gone does not exist")
    vault("POST", role, names.role | {"token_policies": []})
    explained(check, "The role has no policy")


def test_permission_denied_with_a_reviewer(check, vault, names, kubernetes):
    config, mount = f"auth/{names.auth}/config", f"sys/auth/{names.auth}/tune"
    kubernetes.reviews.status = 401
    explained(check, r"token_reviewer_jwt .* is not valid \(any more\).*shop:vault may")
    vault("POST", mount, {"options": {"token_reviewer_jwt_expires": str(int(time.time()) - 60)}})
    explained(check, "token_reviewer_jwt .* expired at 20")
    vault("POST", mount, {"options": {"token_reviewer_jwt_expires": str(int(time.time()) + 60)}})
    kubernetes.may_review = False
    explained(check, "shop:vault, as which Vault reviews tokens, may not do that: bind it to the ClusterRole")
    vault("POST", config, names.config)  # without: each token reviews itself
    explained(check, "shop:app, as which Vault reviews tokens, may not do that")
    kubernetes.may_review = True
    kubernetes.objects["ServiceAccount", "app"] = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    explained(check, "its pod probably cannot reach http://127")


IN_CLUSTER = {"url": None, "service": {"namespace": "cloudcart"}, "reviewer": "vault"}
POD = {
    "metadata": {"name": "vault-0", "creationTimestamp": "2026-01-02T00:00:00Z"},
    "spec": {"serviceAccountName": "bao"},
}
SERVICE = {"spec": {"selector": {"app": "vault"}, "ports": [{"port": 443}], "clusterIPs": ["10.0.0.1"]}}


@pytest.fixture
def config(vault, names, monkeypatch):
    """A function that sets what Vault answers about the configuration, whatever it really does."""
    real = server.Server.read
    answer = {"kubernetes_host": "https://kubernetes.default.svc"}

    def read(self, path):
        return answer if path == f"auth/{names.auth}/config" else real(self, path)

    monkeypatch.setattr(server.Server, "read", read)
    return answer.update


def test_permission_denied_in_the_cluster(check, vault, names, kubernetes, config):
    objects, options = kubernetes.objects, IN_CLUSTER | {"reviewer": None}
    kubernetes.reviews.status = 401
    objects["Service", "kubernetes"] = objects["Service", "vault"] = SERVICE
    objects["pods"] = [POD]
    explained(check, "vault-0, .* is void, because the ServiceAccount cloudcart/bao is gone", options=options)
    objects["ServiceAccount", "bao"] = {"metadata": {"creationTimestamp": "2026-01-03T00:00:00Z"}}
    explained(check, "cloudcart/bao was made anew after that pod had started", options=options)
    objects["ServiceAccount", "bao"] = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    explained(check, "probably cannot reach https://kubernetes.default.svc: look for a NetworkPolicy", options=options)
    for host in ("http://kubernetes.default.svc", "https://kubernetes.default.svc:6443", "https://10.0.0.1:1"):
        config({"kubernetes_host": host})
        explained(check, f"cannot reach the Kubernetes API at the kubernetes_host '{host}'", options=options)
    for host in ("https://localhost", "https://127.0.0.1:6443", "https://api.other.svc", "kubernetes.default.svc"):
        config({"kubernetes_host": host})
        explained(check, f"cannot reach the Kubernetes API at the kubernetes_host '{host}'", options=options)
    config({"kubernetes_host": "https://kubernetes.default.svc", "kubernetes_ca_cert": pem(b"other")})
    objects["ConfigMap", "kube-root-ca.crt"] = {"data": {"ca.crt": pem(b"cluster")}}
    explained(check, "kubernetes_ca_cert is not the CA of this cluster", options=options)
    config({"kubernetes_ca_cert": "", "disable_local_ca_jwt": True})
    explained(check, "there is no kubernetes_ca_cert", options=options)
    config({"kubernetes_ca_cert": pem(b"other") + pem(b"cluster")})
    explained(check, "probably cannot reach", options=options)
    config({"pem_keys": [pem(b"another key")]})
    explained(check, "pem_keys .* hold none of the cluster's keys", options=options)
    config({"pem_keys": [pem(b"x the modulus x")]})
    explained(check, "probably cannot reach", options=options)


def pem(content):
    return f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(content).decode()}\n-----END CERTIFICATE-----\n"


def test_issuer(check, vault, names):
    vault(
        "POST",
        f"auth/{names.auth}/config",
        {**names.config, "token_reviewer_jwt": token_of("vault"), "disable_iss_validation": False, "issuer": "other"},
    )
    explained(check, "The cluster's issuer is https://cluster, .* expects other: set disable_iss_validation")


def test_no_configuration(check, vault, names):
    vault("DELETE", f"sys/auth/{names.auth}")
    vault("POST", f"sys/auth/{names.auth}", {"type": "kubernetes"})
    vault("POST", f"auth/{names.auth}/role/app", names.role)
    explained(check, "The auth method has no configuration: run the role vault_init again")


def test_a_token_that_may_not_look_says_so(check, vault, names, kubernetes):
    kubernetes.reviews.status = 401
    vault("POST", f"auth/{names.auth}/role/app", names.role | {"token_policies": ["default"]})
    token = requests.post(
        f"{vault.url}/v1/auth/token/create",
        json={"policies": ["default"]},
        headers={"X-Vault-Token": vault.token},
        timeout=10,
    ).json()["auth"]["client_token"]
    kubernetes.put("cloudcart", "limited", {"token": token})
    options = {"token_secret": {"name": "limited", "namespace": "cloudcart"}}
    explained(check, "The cause cannot be looked for: .*sys/auth: permission denied", options=options)
    kubernetes.reviews.status = 201
    explained(check, "may not read .* Why it has none cannot be looked for", options=options)


def test_accounts_that_are_still_to_come(check, kubernetes):
    options = {"absent_accounts": "skip"}
    result = check(options=options)
    assert result["ok"] and result["logins"][0]["skipped"]
    kubernetes.objects["ServiceAccount", "app"] = {"metadata": {}}
    result = check(options=options)
    assert result["ok"] and not result["logins"][0]["skipped"]


def test_check_mode(check):
    assert check(check=True, service_account="nobody")["ok"] is False


@pytest.mark.parametrize(
    ("pods", "status", "cause"),
    [
        ([POD], {"initialized": True, "sealed": True, "t": 3}, "pod vault-0 is sealed.* Unseal it with 3"),
        ([POD], {"initialized": False, "sealed": True}, "pod vault-0 is not initialised"),
        ([POD], {"initialized": True, "sealed": False}, "cannot be reached"),
        ([POD], None, "cannot be reached"),
        ([], None, "There is no pod behind the Service cloudcart/vault"),
    ],
)
def test_a_service_without_a_server(check, kubernetes, monkeypatch, pods, status, cause):
    kubernetes.objects["pods"], kubernetes.objects["Service", "vault"] = pods, SERVICE
    kubernetes.vault_url = "http://127.0.0.1:1"
    monkeypatch.setattr(kubernetes, "pod_proxy_url", lambda *_arguments: "", raising=False)
    monkeypatch.setattr(kubernetes, "proxy", lambda *_arguments, **_more: Answer(status))
    monkeypatch.setattr(login_check, "connect", lambda *_arguments: kubernetes)
    result = check(expect_failure=True, options=IN_CLUSTER)
    assert re.search(cause, result["msg"]), result["msg"]
    assert check(options=IN_CLUSTER | {"required": False})["vault"] == "absent"


def test_a_server_that_is_not_there(check):
    options = {"url": "http://127.0.0.1:1"}
    assert "cannot be reached" in check(expect_failure=True, options=options)["msg"]


def test_the_example_runs(check, vault, kubernetes, names):
    """As documented, but for the names of what this test made."""
    (task,) = yaml.safe_load(vault_login_check.EXAMPLES)
    (login,) = task["cloudcartops.platform.vault_login_check"].pop("logins")
    renamed = {"role": "app", "mount": names.auth, "namespace": "shop"}
    paths = {"reads": [f"{names.kv}/data/one"], "denied": [f"{names.kv}/data/two"]}
    assert {*renamed, *paths} - {"mount"} == set(login)
    options = task["cloudcartops.platform.vault_login_check"]
    assert options["service"]["namespace"] == options["token_secret"]["namespace"] == "cloudcart"
    assert check(options={"url": None, **options}, **renamed, **paths)["ok"]
