# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reviewer's JWT: what is no JWT is refused, a changed or removed one is noticed, and it is never shown."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.reviewer import inspect

NOW = 1_800_000_000


def part(value):
    return base64.urlsafe_b64encode(value.encode() if isinstance(value, str) else json.dumps(value).encode()).decode()


def jwt(header=None, signature="c2ln", **claims):
    header = {"alg": "RS256"} if header is None else header
    return ".".join(text.rstrip("=") for text in (part(header), part(claims), signature))


def test_what_is_known_of_a_token():
    token = jwt(iat=NOW - 10, exp=NOW + 10, sub="system:serviceaccount:vault:reviewer")
    found = inspect("It", token, NOW)
    assert (found.issued, found.expires) == (NOW - 10, NOW + 10)
    assert found.sha256 == hashlib.sha256(token.encode()).hexdigest()
    assert inspect("It", jwt(sub="x"), NOW).expires is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "hvs.CAESIJ",
        jwt() + ".x",
        jwt().rpartition(".")[0],
        jwt(signature=""),
        jwt(header={"typ": "JWT"}),
        jwt(header=["alg"]),
        jwt(exp="soon"),
        jwt().replace(".", ".\n", 1),
        "Bearer " + jwt(),
        "é" + jwt(),
        f"{part({'alg': 'x'})}.{part('text')}.c2ln",
    ],
)
def test_what_is_no_token(token):
    with pytest.raises(VaultError, match="^It has a token_reviewer_jwt that is no JSON Web Token") as error:
        inspect("It", token, NOW)
    assert token not in str(error.value) or token == "x"


def test_an_expired_token():
    with pytest.raises(VaultError, match="expired at 2027-01-15T08:00:00Z"):
        inspect("It", jwt(exp=NOW), NOW)


@pytest.mark.parametrize(
    ("life", "left", "warned"),
    [(365 * 86400, 86401, False), (365 * 86400, 86399, True), (3600, 361, False), (3600, 359, True)],
)
def test_a_token_that_expires_soon(life, left, warned):
    found = inspect("It", jwt(iat=NOW + left - life, exp=NOW + left), NOW)
    assert bool(found.warning("k8s", NOW)) is warned
    assert inspect("It", jwt(), NOW).warning("k8s", NOW) is None


# -- with a server -----------------------------------------------------------------------------------------------------


@pytest.fixture
def config(run_module, openbao, names):
    openbao("POST", f"sys/auth/{names.auth}", {"type": "kubernetes"})

    def configure(token=None, check=False, expect_failure=False):
        fields = {"kubernetes_host": "https://x", "kubernetes_ca_cert": "a"}
        options = {"mount": names.auth, "fields": fields, "token_reviewer_jwt": token}
        result = run_module("vault_kubernetes_auth_config", options, check, expect_failure)
        assert not token or token not in result["output"]
        return result

    return configure


def actions(result):
    return [item["action"] for item in result["plan"]]


def test_life_of_a_reviewer(config, openbao, names):
    soon = int(time.time())
    first, second = jwt(exp=soon + 864000, iat=soon), jwt(exp=soon + 864001, iat=soon)
    assert actions(config()) == ["create"]
    assert actions(config(first, check=True)) == actions(config(first)) == ["update"]
    assert config(first)["changed"] is False
    options = openbao("GET", f"sys/auth/{names.auth}")["options"]
    assert options == {
        "token_reviewer_jwt_sha256": hashlib.sha256(first.encode()).hexdigest(),
        "token_reviewer_jwt_expires": str(soon + 864000),
    }
    changed = config(second)
    assert changed["plan"][0]["fields"] == ["token_reviewer_jwt_expires", "token_reviewer_jwt_sha256"]
    assert config(second)["changed"] is False
    # Removed by hand: noticed, though what is remembered says otherwise.
    openbao("POST", f"auth/{names.auth}/config", {"kubernetes_host": "https://x", "kubernetes_ca_cert": "a"})
    assert config(second)["plan"][0]["fields"] == ["token_reviewer_jwt_set"]
    # Back to the token of Vault's own pod: nothing is remembered.
    assert actions(config()) == ["update"]
    assert openbao("GET", f"auth/{names.auth}/config")["token_reviewer_jwt_set"] is False
    assert not openbao("GET", f"sys/auth/{names.auth}")["options"]
    assert config()["changed"] is False


def test_a_run_killed_between_the_two_writes_is_made_good(config, openbao, names):
    token = jwt(exp=int(time.time()) + 864000)
    config(token)
    openbao("POST", f"sys/auth/{names.auth}/tune", {"options": {"token_reviewer_jwt_sha256": ""}})
    assert actions(config(token)) == ["update"]
    assert config(token)["changed"] is False


def test_what_is_refused_writes_nothing(config, openbao, names):
    assert "no JSON Web Token" in config("not-a-jwt", expect_failure=True)["msg"]
    assert "expired at" in config(jwt(exp=1), expect_failure=True)["msg"]
    openbao("GET", f"auth/{names.auth}/config", expect=(404,))


def test_a_warning_before_it_expires(config):
    now = int(time.time())
    assert "Give a new one before that" in json.dumps(config(jwt(iat=now - 3500, exp=now + 100))["warnings"])


def test_a_jwt_among_the_fields_is_refused_and_not_shown(run, names):
    token = jwt(exp=1)
    spec = {"kubernetes_auth_config": [{"mount": names.auth, "fields": {"token_reviewer_jwt": token}}]}
    result = run(spec, expect_failure=True)
    assert "among its fields, where it would be shown" in result["msg"]
    assert token not in result["output"]
