# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_login_check names each cause of a refused login, made for real: Vault itself says "permission denied"."""

from __future__ import annotations

import base64
import importlib
import json
import re
import time

import pytest

MODULE_UTILS = "ansible_collections.cloudcartops.platform.plugins.module_utils"
MOUNT = "causes"  # an auth method of our own, so that the platform's stays as it is
HOST = "kubernetes_host=https://kubernetes.default.svc"
BOUND = "bound_service_account_names=postgres bound_service_account_namespaces=cloudcart"
DATABASE = "cloudcart/data/database"


pytestmark = pytest.mark.alike


@pytest.fixture(scope="module")
def check(platform):
    """A function: the problem that vault_login_check tells of one login; empty when there is none."""
    logic = importlib.import_module(f"{MODULE_UTILS}.vault.login_check")
    errors = importlib.import_module(f"{MODULE_UTILS}._errors")

    def run(**login) -> str:
        login = {"role": "app", "mount": MOUNT, "service_account": "postgres", "namespace": "cloudcart", **login}
        options = {
            "kubeconfig": platform.kubeconfig,
            "service": {"namespace": "cloudcart", "name": "vault", "port": 8200, "scheme": "http"},
            "token_secret": {"name": "vault-root-token", "namespace": "cloudcart", "key": "token"},
            "timeout": 30,
            "logins": [{"reads": [DATABASE], "denied": [], "audiences": [], **login}],
            "reviewer": None,
            "absent_accounts": "fail",
            "required": True,
        }
        try:
            logic.vault_login_check(options, False)
        except errors.PlatformError as e:
            assert "eyJ" not in str(e) + str(e.facts)  # what a JWT begins with
            return str(e)
        return ""

    return run


@pytest.fixture(scope="module")
def method(platform):
    platform.vault(f"auth enable -path={MOUNT} kubernetes")


@pytest.fixture
def vault(platform, method):
    """The Vault program, and an auth method in which the account postgres may read its secret."""
    fill(platform)
    return platform.vault


def fill(platform):
    rule = f'path \\"{DATABASE}\\" {{ capabilities = [\\"read\\"] }}'
    platform.vault(
        f"write auth/{MOUNT}/config {HOST} >/dev/null & "  # which replaces all that was configured
        f'bao write auth/{MOUNT}/role/app {BOUND} token_policies=causes audience="" token_ttl=1m >/dev/null & '
        f'bao write sys/policies/acl/causes policy="{rule}" >/dev/null & wait'
    )


def token(platform, account: str, bound: str = "") -> str:
    return platform.ssh(f"kubectl -n cloudcart create token {account} {bound}").strip()


def expired_token(platform) -> str:
    """A token that expired an hour ago, signed with the cluster's key as the API server signs its own."""
    header, claims, _signature = token(platform, "vault").split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    times = {name: decoded[name] - 7200 for name in ("iat", "nbf", "exp")}
    body = base64.urlsafe_b64encode(json.dumps(decoded | times).encode()).decode().rstrip("=")
    key = "/var/lib/rancher/k3s/server/tls/service.key"
    sign = f"openssl dgst -sha256 -sign {key} | base64 -w0 | tr '+/' '-_' | tr -d ="
    return f"{header}.{body}.{platform.ssh(sign, text=f'{header}.{body}').strip()}"


def test_a_good_login(vault, check):
    assert check(denied=["cloudcart/data/other", "sys/mounts"]) == ""


@pytest.mark.parametrize(
    ("login", "cause"),
    [
        ({"role": "nobody"}, "no such role: run the role vault_init"),
        ({"service_account": "default"}, "not for this account: its bound_service_account_names has postgres"),
        ({"service_account": "default", "namespace": "default"}, "not for this (account|namespace)"),
        ({"service_account": "ghost"}, "ServiceAccount cloudcart/ghost does not exist"),
        ({"mount": "nowhere"}, "no auth method at auth/nowhere .*there is causes, kubernetes"),
        ({"mount": "token"}, "auth/token is of type token, not kubernetes"),
        ({"reads": ["cloudcart/database"]}, "KV version 2 engine.* read cloudcart/data/database"),
        ({"reads": ["nowhere/data/database"]}, "no secrets engine that the path could belong to"),
        ({"reads": ["cloudcart/data/none"]}, r"None of its policies \(causes\) has that path"),
        ({"denied": [DATABASE]}, "must not be able to read cloudcart/data/database"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_the_login_says(vault, check, login, cause):
    assert re.search(cause, check(**login)), check(**login)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("write auth/causes/role/app bound_service_account_namespaces=other", "namespaces has other"),
        ("write auth/causes/role/app audience=vault", "asks for the audience vault, which the token does not have"),
        (f"write auth/causes/config {HOST} disable_iss_validation=false issuer=x", "issuer is https?://.* expects x"),
        (f"write auth/causes/config {HOST} token_reviewer_jwt=garbage", r"jwt .* is not valid \(any more\)"),
        ("write auth/causes/config kubernetes_host=https://kubernetes.default.svc:1", "cannot reach.*svc:1'"),
        ("write auth/causes/config kubernetes_host=https://kubernetes.other.svc", "cannot reach.*other.svc'"),
        ("write auth/causes/config kubernetes_host=https://127.0.0.1:1", "cannot reach.*127.0.0.1:1'"),
        ("write auth/causes/config kubernetes_host=http://kubernetes.default.svc", "cannot reach"),
        ("write auth/causes/role/app token_policies=gone", "policy gone does not exist"),
        ("write auth/causes/role/app token_policies=", "The role has no policy"),
        ("policy delete causes", "policy causes does not exist"),
        (
            r"""write sys/policies/acl/causes policy="path \"cloudcart/database\" { capabilities = [\"read\"] }" """,
            r'causes allows "cloudcart/database", but .* write data/ after the mount',
        ),
        (
            r"""write sys/policies/acl/causes policy="path \"cloudcart/data/*\" { capabilities = [\"list\"] }" """,
            r'causes has "cloudcart/data/\*" with list: it needs read',
        ),
    ],
)
def test_what_vault_holds(vault, check, change, cause):
    vault(change)
    assert re.search(cause, check()), check()


def test_audience(vault, check):
    vault(f"write auth/{MOUNT}/role/app audience=vault")
    assert check(audiences=["vault"]) == ""


def test_nothing_there(vault, check):
    rule = r"path \"cloudcart/data/none\" { capabilities = [\"read\"] }"
    vault(f'write sys/policies/acl/causes policy="{rule}"')
    assert "may read cloudcart/data/none, but there is nothing" in check(reads=["cloudcart/data/none"])


def test_no_configuration(platform, vault, check):
    vault("auth enable -path=empty kubernetes")
    vault(f"write auth/empty/role/app {BOUND}")
    assert "The auth method has no configuration" in check(mount="empty")
    vault("auth disable empty")


def test_an_address_that_nothing_listens_at(platform, vault, check):
    address = platform.ssh("hostname -I").split()[0]
    vault(f"write auth/{MOUNT}/config kubernetes_host=https://{address}:1")
    assert f"its pod probably cannot reach https://{address}:1" in check()


def test_ca(platform, vault, check):
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout /dev/null 2>/dev/null"
    other = platform.ssh(make).strip()
    vault(f"auth disable {MOUNT}")  # and with it a connection to the API that is verified already
    vault(f"auth enable -path={MOUNT} kubernetes")
    fill(platform)
    vault(f"write auth/{MOUNT}/config {HOST} kubernetes_ca_cert='{other}'")
    assert "kubernetes_ca_cert is not the CA of this cluster" in check()
    right = platform.ssh("kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}'").strip()
    vault(f"write auth/{MOUNT}/config {HOST} kubernetes_ca_cert='{right}'")
    assert check() == ""


def test_keys(platform, vault, check):
    make = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null | openssl pkey -pubout"
    vault(f"write auth/{MOUNT}/config {HOST} pem_keys='{platform.ssh(make).strip()}'")
    assert "pem_keys in the auth method's configuration hold none of the cluster's keys" in check()
    own = platform.ssh("openssl pkey -in /var/lib/rancher/k3s/server/tls/service.key -pubout").strip()
    vault(f"write auth/{MOUNT}/config {HOST} pem_keys='{own}'")
    assert check() == ""


def test_reviewer_tokens(platform, vault, check):
    def given(jwt):
        vault(f"write auth/{MOUNT}/config {HOST} token_reviewer_jwt={jwt}")
        return check()

    assert given(token(platform, "vault")) == ""
    assert "or is of an account that may not review tokens" in given(token(platform, "default"))
    platform.ssh("kubectl -n cloudcart create secret generic causes")
    jwt = token(platform, "vault", "--bound-object-kind Secret --bound-object-name causes")
    assert given(jwt) == ""
    platform.ssh("kubectl -n cloudcart delete secret causes")
    wait_for(check, r"jwt .* is not valid \(any more\)")
    vault(f"write sys/auth/{MOUNT}/tune options=token_reviewer_jwt_expires={int(time.time()) - 3600}")
    assert re.search(r"expired at 20\d\d-.*Z: renew it", given(expired_token(platform)))
    vault(f"write sys/auth/{MOUNT}/tune options=token_reviewer_jwt_expires=")


def wait_for(check, cause):
    """The API server remembers for ten seconds which tokens it accepted."""
    end = time.monotonic() + 30
    while not re.search(cause, found := check()) and time.monotonic() < end:
        assert found == ""
    assert re.search(cause, found), found


def test_delegator(platform, vault, check):
    binding = "clusterrolebinding vault-cloudcart-auth-delegator"
    kept = platform.ssh(f"kubectl get {binding} -o json")
    platform.ssh(f"kubectl delete {binding}")
    wait_for(check, "cloudcart:vault, as which Vault reviews tokens, may not do that: bind it to .*auth-delegator")
    platform.ssh("kubectl create -f -", text=kept)


def test_own_token_of_vault_is_void(platform, check):
    platform.ssh("kubectl -n cloudcart delete serviceaccount vault && kubectl -n cloudcart create serviceaccount vault")
    wait_for(lambda: check(role="postgres", mount="kubernetes"), "Vault's pod vault-0, .* is void.*was made anew")
    platform.complete()
    assert check(role="postgres", mount="kubernetes") == ""


def test_sealed(platform, check):
    platform.vault("operator seal")
    assert re.search("sealed.* Unseal it", check(role="postgres", mount="kubernetes"))
    platform.ssh("kubectl -n cloudcart wait --for=condition=Ready=false pod/vault-0 --timeout=60s")
    assert re.search("Vault in the pod vault-0 is sealed", check(role="postgres", mount="kubernetes"))
    platform.ssh("kubectl -n cloudcart delete pod vault-0")
    platform.complete()
    assert check(role="postgres", mount="kubernetes") == ""


def test_unreachable(platform, check):
    platform.ssh("kubectl -n cloudcart scale statefulset vault --replicas=0")
    platform.ssh("kubectl -n cloudcart wait --for=delete pod/vault-0 --timeout=60s")
    assert "There is no pod behind the Service cloudcart/vault" in check(role="postgres", mount="kubernetes")
    platform.complete()
    assert check(role="postgres", mount="kubernetes") == ""


def test_a_reviewer_token_by_option(platform, check):
    """vault_init gives Vault a token to review with, keeps it, replaces it when it is void, and takes it away again."""
    option = ("--limit", "cluster", "--extra-vars", "vault_init_reviewer=token")
    tasks = ["Vault init | Keep the reviewer's token where one is wanted", "Vault init | Configure secrets"]

    def changed(*arguments):
        run = platform.site(*arguments)
        assert run.status == 0, run.text[-6000:]
        return [task.rpartition(" : ")[2] for task in run.changed]

    def given():
        return "true" in platform.vault("read -field=token_reviewer_jwt_set auth/kubernetes/config")

    first = changed(*option)
    assert len(first) == 2 and all(task.startswith(start) for task, start in zip(first, tasks)) and given()
    assert changed(*option) == []
    platform.ssh("kubectl -n cloudcart delete serviceaccount vault && kubectl -n cloudcart create serviceaccount vault")
    # until the API server forgets that it accepted the old one
    wait_for(lambda: check(role="postgres", mount="kubernetes"), r"jwt .* is not valid \(any more\)")
    assert set(first) <= set(changed(*option))
    assert check(role="postgres", mount="kubernetes") == ""
    assert platform.complete().changed != [] and not given()
    assert check(role="postgres", mount="kubernetes") == ""
