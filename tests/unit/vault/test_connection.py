# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to a server: tokens, proxies, and what is absent."""

from __future__ import annotations

import json
import types

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.server import Server
from ansible_collections.cloudcartops.platform.plugins.modules import vault_configuration

THROUGH = {
    "url": None,
    "token": None,
    "kubeconfig": "unused",
    "service": {"namespace": "cloudcart"},
    "token_secret": {"name": "vault-root-token", "namespace": "cloudcart"},
}
SPEC = {"policies": [{"name": "p", "policy": 'path "x" { capabilities = ["read"] }'}]}


def test_through_the_cluster(run, cluster, openbao):
    run({**SPEC}, **THROUGH)
    assert openbao("GET", "sys/policies/acl/p")
    openbao("DELETE", "sys/policies/acl/p")


def test_no_cluster_yet(run, monkeypatch):
    monkeypatch.setattr(connection, "connect", lambda *_arguments: None)
    result = run(SPEC, check=True, **THROUGH)
    assert (result["changed"], result["cluster"], result["vault"]) == (True, "absent", "absent")
    assert result["plan"] == [{"kind": "policy", "name": "p", "action": "create"}]


@pytest.mark.parametrize("missing", ["token", "server"])
def test_no_vault_yet(run, cluster, missing):
    if missing == "token":
        cluster.secrets.clear()
    else:
        cluster.vault_url = "http://127.0.0.1:1"
    result = run(SPEC, check=True, **THROUGH)
    assert (result["changed"], result["cluster"], result["vault"]) == (True, "present", "absent")
    failure = run(SPEC, expect_failure=True, **THROUGH)
    assert "vault-root-token does not exist" in failure["msg"] or "cannot be reached" in failure["msg"]


def test_another_token(run, cluster):
    cluster.put("cloudcart", "vault-root-token", {"token": "another-token"})
    for check in (True, False):
        failure = run(SPEC, check=check, expect_failure=True, **THROUGH)
        assert "does not accept the token from the Secret cloudcart/vault-root-token" in failure["msg"]
        assert "another-token" not in failure["output"]


@pytest.mark.parametrize("token", ["Marker\nToken", "Marker Token\r\nX-Vault-Namespace: other"])
def test_a_token_that_is_none(run, cluster, token):
    cluster.put("cloudcart", "vault-root-token", {"token": token})
    failure = run(SPEC, expect_failure=True, **THROUGH)
    assert "from the Secret cloudcart/vault-root-token has characters that no token has" in failure["msg"]
    assert "Marker" not in failure["output"]


def test_a_secret_without_the_key(run, cluster):
    cluster.put("cloudcart", "vault-root-token", {"tokn": "x"})
    failure = run(SPEC, expect_failure=True, **THROUGH)
    assert "has no key token. Name the right key in token_secret; the Secret has tokn." in failure["msg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": "some-token"}, "one of the following is required: url, service"),
        ({"url": "http://x"}, "one of the following is required: token, token_secret"),
        ({"url": "http://x", "service": {"namespace": "x"}, "token": "some-token"}, "mutually exclusive: url|service"),
        (
            {"service": {"namespace": "x"}, "token": "some-token"},
            "missing parameter(s) required by 'service': kubeconfig",
        ),
    ],
)
def test_options_that_do_not_go_together(capsys, options, message):
    with patch_module_args({"spec": SPEC, **options}), pytest.raises(SystemExit):
        vault_configuration.main()
    assert message in json.loads(capsys.readouterr().out)["msg"]


class Tokens:
    """A stand-in for the part of the cluster that makes tokens of service accounts."""

    def __init__(self, status=201):
        self.status, self.asked = status, []

    def call(self, method, path, *, doing, body):
        self.asked.append((method, path, body["spec"]))
        if self.status != 201:
            raise ApiError(self.status, "X", f"The cluster refused to {doing}.")
        return types.SimpleNamespace(json=lambda: {"status": {"token": "Marker.Jwt.x"}})


LOGIN = {**THROUGH, "token_secret": None, "login": {"role": "operator", "namespace": "cloudcart"}}


@pytest.fixture
def tokens(cluster):
    made = Tokens()
    cluster.call = made.call
    return made


@pytest.fixture
def operator_login(monkeypatch, openbao):
    """The answers of Vault's login, which needs a real Kubernetes to succeed; the rest of Vault is real."""
    answers = {"status": (200, "", {"auth": {"client_token": openbao.token}})}
    real = Server.exchange

    def exchange(server, method, path, data=None):
        if not path.endswith("/login"):
            return real(server, method, path, data)
        answers["asked"] = (path, data)
        return answers["status"]

    monkeypatch.setattr(Server, "exchange", exchange)
    return answers


def test_log_in_as_a_service_account(run, openbao, tokens, operator_login):
    output = run({**SPEC}, **LOGIN)["output"]
    assert openbao("GET", "sys/policies/acl/p")
    openbao("DELETE", "sys/policies/acl/p")
    path = "/api/v1/namespaces/cloudcart/serviceaccounts/operator/token"
    assert tokens.asked == [("POST", path, {"expirationSeconds": 600})]
    assert operator_login["asked"] == ("auth/kubernetes/login", {"role": "operator", "jwt": "Marker.Jwt.x"})
    assert "Marker" not in output and openbao.token not in output


@pytest.mark.parametrize(
    ("account", "answer", "message", "planned"),
    [
        (404, None, "The ServiceAccount cloudcart/operator does not exist", True),
        (403, None, "The cluster refused to make a token of cloudcart/operator", False),
        (201, (400, 'invalid role name "operator"', {}), "as the role operator of auth/kubernetes: invalid role", True),
        (201, (403, "permission denied", {}), "permission denied (HTTP 403). The role vault_init makes what", False),
        (201, (500, "", {}), "no reason given (HTTP 500)", False),
    ],
)
def test_a_login_that_fails(run, tokens, operator_login, account, answer, message, planned):
    tokens.status, operator_login["status"] = account, answer
    failure = run(SPEC, expect_failure=True, **LOGIN)
    assert message in failure["msg"] and "Marker" not in failure["output"]
    if planned:  # the operator is still to come
        assert run(SPEC, check=True, **LOGIN)["vault"] == "absent"
    else:
        assert message in run(SPEC, check=True, expect_failure=True, **LOGIN)["msg"]


def test_the_root_token_of_a_keys_file(run, openbao, tmp_path):
    path = tmp_path / "keys"
    options = {"token": None, "keys_file": str(path)}
    assert run(SPEC, check=True, **options)["vault"] == "absent"
    assert f"{path} does not exist. Initialise Vault first" in run(SPEC, expect_failure=True, **options)["msg"]
    content = {"pgp": False, "root_pgp": False, "answer": {"keys_base64": ["Marker"], "root_token": openbao.token}}
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    output = run(SPEC, **options)["output"]
    assert "Marker" not in output and openbao.token not in output
    openbao("DELETE", "sys/policies/acl/p")
    for change in ({"root_pgp": True}, {"answer": {"keys_base64": ["Marker"]}}):
        path.write_text(json.dumps(content | change))
        assert "There is no usable root token in" in run(SPEC, expect_failure=True, **options)["msg"]
