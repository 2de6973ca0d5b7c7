# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_configuration against a real OpenBao: every state, check mode, drift, races, and what it must refuse."""

from __future__ import annotations

import copy
import json
import re
import threading

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import configuration
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.server import Server
from ansible_collections.cloudcartops.platform.plugins.modules import vault_configuration

CONFIG = {
    "kubernetes_host": "https://kubernetes.default.svc",
    "kubernetes_ca_cert": "a certificate\n",
    "disable_local_ca_jwt": True,
}
OTHER = {"policy": 'path "y" { capabilities = ["read"] }'}
POLICY = 'path "x/data/database" { capabilities = ["read"] }'


@pytest.fixture
def spec(names):
    """A whole spec, of names only this test uses."""
    return {
        "mounts": [{"path": names.kv, "options": {"version": "2"}, "description": "shop"}],
        "auth_methods": [{"path": names.auth}],
        "kubernetes_auth_config": [{"mount": names.auth, "fields": CONFIG}],
        "policies": [{"name": f"Database-{names.suffix}", "policy": POLICY}],
        "roles": [
            {
                "name": "postgres",
                "mount": names.auth,
                "fields": {
                    "bound_service_account_names": "postgres",
                    "bound_service_account_namespaces": ["cloudcart"],
                    "policies": [f"database-{names.suffix}"],
                    "ttl": "24h",
                },
            }
        ],
        "secrets": [
            {
                "mount": names.kv,
                "path": "app/database",
                "data": {"user": "shop", "port": 5432},
                "generate": {"password": {"length": 40}},
                "derive": {"url": "postgresql://{user}:{password}@db:{port}/shop"},
            }
        ],
    }


def plan(result):
    return [f"{item['action']} {item['kind']}" for item in result["plan"]]


ALL = [f"create {kind}" for kind in ("mount", "auth_method", "kubernetes_auth_config", "policy", "role", "secret")]


def test_check_mode_plans_everything_and_writes_nothing(run, spec, openbao, names):
    result = run(spec, check=True)
    assert result["changed"] and plan(result) == ALL
    assert result["diff"]["after"]["secret"][f"{names.kv}/app/database"]["password"] == "generated"
    assert f"{names.kv}/" not in openbao("GET", "sys/mounts")


def test_create_then_nothing(run, spec, openbao, names, monkeypatch):
    said = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: said.append(text))
    result = run(spec)
    assert result["changed"] and plan(result) == ALL
    assert len(said) == 1 and "runs in dev mode" in said[0]
    secret = openbao("GET", f"{names.kv}/data/app/database")
    password = secret["data"]["password"]
    assert len(password) == 40 and password.isalnum()
    assert secret["data"] == {
        "user": "shop",
        "port": "5432",
        "password": password,
        "url": f"postgresql://shop:{password}@db:5432/shop",
    }
    role = openbao("GET", f"auth/{names.auth}/role/postgres")
    assert (role["token_ttl"], role["token_policies"]) == (86400, [f"database-{names.suffix}"])
    assert openbao("GET", f"auth/{names.auth}/config")["token_reviewer_jwt_set"] is False
    for check in (True, False):
        again = run(spec, check=check)
        assert again["changed"] is False and again["plan"] == []
    assert openbao("GET", f"{names.kv}/data/app/database")["metadata"]["version"] == 1


# what somebody does by hand -> what the next run does
@pytest.mark.parametrize(
    ("method", "path", "data", "repair"),
    [
        ("DELETE", "sys/auth/{auth}", None, ["create auth_method", "create kubernetes_auth_config", "create role"]),
        ("DELETE", "sys/policies/acl/database-{n}", None, ["create policy"]),
        ("POST", "sys/policies/acl/database-{n}", OTHER, ["update policy"]),
        ("DELETE", "auth/{auth}/role/postgres", None, ["create role"]),
        ("POST", "auth/{auth}/role/postgres", {"token_ttl": 60}, ["update role"]),
        ("POST", "auth/{auth}/role/postgres", {"bound_service_account_names": ["postgres", "evil"]}, ["update role"]),
        ("POST", "auth/{auth}/role/postgres", {"token_bound_cidrs": ["10.0.0.0/8"]}, ["update role"]),
        ("POST", "auth/{auth}/role/postgres", {"alias_name_source": "serviceaccount_name"}, ["update role"]),
        ("POST", "auth/{auth}/config", {**CONFIG, "kubernetes_host": "https://x"}, ["update kubernetes_auth_config"]),
        ("POST", "auth/{auth}/config", {**CONFIG, "issuer": "https://x"}, ["update kubernetes_auth_config"]),
        ("POST", "auth/{auth}/config", {**CONFIG, "token_reviewer_jwt": "a.b.c"}, ["update kubernetes_auth_config"]),
        ("POST", "sys/mounts/{kv}/tune", {"description": "other"}, ["update mount"]),
        ("DELETE", "{kv}/data/app/database", None, ["undelete secret"]),
        ("POST", "sys/policies/acl/database-{n}", {"policy": "# a comment\n" + POLICY + "\n\n"}, []),
    ],
)
def test_repair(run, spec, openbao, names, method, path, data, repair):
    run(spec)
    password = openbao("GET", f"{names.kv}/data/app/database")["data"]["password"]
    openbao(method, path.format(kv=names.kv, auth=names.auth, n=names.suffix), data)
    assert plan(run(spec, check=True)) == repair
    assert plan(run(spec)) == repair
    assert run(spec)["changed"] is False
    assert openbao("GET", f"{names.kv}/data/app/database")["data"]["password"] == password


def test_undelete_and_update_in_one_run(run, spec, openbao, names):
    run(spec)
    password = openbao("GET", f"{names.kv}/data/app/database")["data"]["password"]
    openbao("DELETE", f"{names.kv}/data/app/database")
    spec["secrets"][0]["data"]["user"] = "other"
    spec["policies"].append({"name": f"other-{names.suffix}", "policy": POLICY})
    assert plan(run(spec, check=True)) == ["undelete secret", "create policy"]
    assert plan(run(spec)) == ["undelete secret", "create policy", "update secret"]
    assert (
        openbao("GET", f"{names.kv}/data/app/database")["data"]["url"] == f"postgresql://other:{password}@db:5432/shop"
    )


def test_a_destroyed_secret_is_not_made_up_anew(run, spec, openbao, names):
    run(spec)
    openbao("POST", f"{names.kv}/destroy/app/database", {"versions": [1]})
    result = run(spec, expect_failure=True)
    assert "was destroyed, and with it password" in result["msg"]
    openbao("DELETE", f"{names.kv}/metadata/app/database")
    assert plan(run(spec)) == ["create secret"]


def test_foreign_fields_and_names_are_kept(run, spec, openbao, names):
    run(spec)
    live = openbao("GET", f"{names.kv}/data/app/database")["data"]
    openbao("POST", f"{names.kv}/data/app/database", {"data": {**live, "by_hand": "1", "user": "x"}})
    openbao("POST", f"{names.kv}/data/app/other", {"data": {"a": "b"}})
    assert plan(run(spec)) == ["update secret"]
    assert openbao("GET", f"{names.kv}/data/app/database")["data"] == {**live, "by_hand": "1"}
    assert openbao("GET", f"{names.kv}/data/app/other")["data"] == {"a": "b"}


def test_partial_specs(run, openbao, names):
    assert run({})["plan"] == []
    policy = f"p{names.suffix}"
    assert plan(run({"policies": [{"name": policy, "policy": POLICY}]})) == ["create policy"]
    assert openbao("GET", f"sys/policies/acl/{policy}")["policy"] == POLICY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"roles": {"fields": {"policy": ["x"], "policies": None}}},
            "field policy, which Vault does not know.*Did you mean policies",
        ),
        ({"roles": {"fields": {"bound_audiences": "x"}}}, "field bound_audiences, which Vault does not know"),
        ({"roles": {"fields": {"policies": ["nobody"]}}}, "policy nobody, which is neither in the spec nor"),
        ({"roles": {"fields": {"ttl": "1 day"}}}, "ttl is '1 day', which is no duration"),
        ({"roles": {"mount": "nowhere"}}, "auth method nowhere, which it does not declare"),
        (
            {"roles": {"fields": {"bound_service_account_names": "*", "bound_service_account_namespaces": "*"}}},
            "every service account of every namespace",
        ),
        ({"kubernetes_auth_config": {"fields": {"kubernetes_hosts": "x"}}}, "Did you mean kubernetes_host"),
        ({"kubernetes_auth_config": {"fields": {"token_reviewer_jwt": "x"}}}, "token_reviewer_jwt among its fields"),
        ({"policies": {"name": "root"}}, "The policy root is built in"),
        ({"policies": {"policy": 'path "x" { capabilitie = ["read"] }'}}, "HTTP 400: failed to parse policy"),
        ({"secrets": {"mount": "nowhere"}}, "mount nowhere, which it does not declare"),
        ({"secrets": {"generate": {"password": {"length": 8}}}}, "N of at least 32"),
        ({"secrets": {"generate": {"password": {"size": 40}}}}, "N of at least 32"),
        ({"secrets": {"generate": {"password": "long"}}}, "N of at least 32"),
        ({"secrets": {"generate": {"user": {}}}}, "declares user in more than one way"),
        ({"secrets": {"derive": {"url": "{nobody}"}}}, r"refers to \{nobody\}, which the same secret does not declare"),
        ({"secrets": {"data": {"user": ["a"]}}}, "user is not a text or a number"),
        ({"secrets": {"data": {"user": None}}}, "user is not a text or a number"),
        ({"auth_methods": {"type": "no-such-method"}}, "HTTP 400"),
    ],
)
def test_refusals(run, spec, change, message):
    for part, override in change.items():
        item = spec[part][0]
        for key, value in override.items():
            item[key] = {**item[key], **value} if key == "fields" else value
    failure = run(spec, expect_failure=True)["msg"]
    assert re.search(message, failure), failure
    assert "defect" not in failure


def test_what_is_declared_twice(run, spec):
    spec["policies"].append({"name": spec["policies"][0]["name"].lower(), "policy": POLICY})
    assert "policies name database-" in run(spec, expect_failure=True)["msg"]


def test_the_server_itself_says_which_fields_it_knows(run, spec, names):
    """A field of the built-in list that this server does not have is refused as well."""
    spec["roles"][0]["fields"]["alias_metadata"] = {"a": "b"}
    assert "create auth_method" in plan(run(spec, check=True))  # not mounted yet: the built-in list is all there is
    del spec["roles"][0]["fields"]["alias_metadata"]
    run(spec)
    spec["roles"][0]["fields"]["alias_metadata"] = {"a": "b"}
    assert "alias_metadata, which Vault does not know" in run(spec, check=True, expect_failure=True)["msg"]


@pytest.mark.parametrize(
    ("part", "live", "message"),
    [
        ("mounts", {"type": "kv", "options": {"version": "1"}}, "has the options {'version': '1'}, the spec says"),
        ("mounts", {"type": "transit"}, "has the type 'transit', the spec says 'kv'"),
    ],
)
def test_a_mount_of_another_kind_is_left_alone(run, spec, openbao, names, part, live, message):
    openbao("POST", f"sys/mounts/{names.kv}", live)
    result = run({"mounts": spec["mounts"]}, expect_failure=True)
    assert message in result["msg"] and "losing what is in it" in result["msg"]


def test_sensitive_data(run, spec, openbao, names):
    secret = spec["secrets"][0]
    secret["sensitive_data"] = {"password": "Marker/Value@1"}
    secret["generate"] = {}
    result = run(spec)
    assert "Marker/Value@1" not in result["output"]
    assert openbao("GET", f"{names.kv}/data/app/database")["data"]["url"] == (
        "postgresql://shop:Marker%2FValue%401@db:5432/shop"
    )


# -- the seed ----------------------------------------------------------------------------------------------------------

SEEDED = {"seed_secret": {"name": "seed", "namespace": "cloudcart"}, "kubeconfig": "unused"}
PROXIED = {
    "url": None,
    "token": None,
    "service": {"namespace": "cloudcart"},
    "token_secret": {"name": "vault-root-token", "namespace": "cloudcart"},
    **SEEDED,
}


def test_seed_life(run, spec, openbao, names, cluster):
    name = f"{names.kv}/app/database"
    assert "create seed" in plan(run(spec, check=True, **PROXIED))
    assert cluster.writes == []
    assert plan(run(spec, **PROXIED)) == [*ALL[:-1], "create seed", "create secret"]
    password = openbao("GET", f"{names.kv}/data/app/database")["data"]["password"]
    assert cluster.seed() == {name: {"password": password}}
    assert run(spec, **PROXIED)["changed"] is False

    openbao("DELETE", f"sys/mounts/{names.kv}")  # what a restart in dev mode does
    assert plan(run(spec, **PROXIED)) == ["create mount", "create secret"]
    assert openbao("GET", f"{names.kv}/data/app/database")["data"]["password"] == password

    del cluster.secrets["cloudcart", "seed"]  # filled again from Vault
    assert plan(run(spec, **PROXIED)) == ["create seed"]
    assert cluster.seed() == {name: {"password": password}}

    live = openbao("GET", f"{names.kv}/data/app/database")["data"]  # rotated by hand: Vault is right
    openbao("POST", f"{names.kv}/data/app/database", {"data": {**live, "password": "rotated"}})
    assert plan(run(spec, **PROXIED)) == ["update seed", "update secret"]
    assert cluster.seed() == {name: {"password": "rotated"}}
    assert openbao("GET", f"{names.kv}/data/app/database")["data"]["url"] == "postgresql://shop:rotated@db:5432/shop"


def test_the_seed_is_written_before_vault(run, spec, openbao, names, cluster):
    """A run killed between the two writes loses nothing."""
    name = f"{names.kv}/app/database"
    run({key: spec[key] for key in ("mounts",)})
    cluster.put(
        "cloudcart", "seed", {"values.json": json.dumps({name: {"password": "earlier"}, "other/x": {"y": "z"}})}
    )
    run(spec, **PROXIED)
    assert openbao("GET", f"{names.kv}/data/app/database")["data"]["password"] == "earlier"
    assert cluster.seed()["other/x"] == {"y": "z"}


def test_a_destroyed_secret_comes_back_from_the_seed(run, spec, openbao, names, cluster):
    run(spec, **PROXIED)
    password = openbao("GET", f"{names.kv}/data/app/database")["data"]["password"]
    openbao("POST", f"{names.kv}/destroy/app/database", {"versions": [1]})
    assert plan(run(spec, **PROXIED)) == ["update secret"]
    assert openbao("GET", f"{names.kv}/data/app/database")["data"]["password"] == password


def test_a_broken_seed_is_refused_without_being_shown(run, spec, cluster):
    cluster.put("cloudcart", "seed", {"values.json": '{"a": "MARKER"'})
    result = run(spec, expect_failure=True, **PROXIED)
    assert "Secret cloudcart/seed does not hold a JSON object" in result["msg"]
    assert "MARKER" not in result["output"]


def test_a_server_that_keeps_its_data_refuses_a_seed(run, spec, cluster, monkeypatch):
    monkeypatch.setattr(configuration.Absent.__mro__[0], "unused", None, raising=False)
    monkeypatch.setattr(Server, "check", lambda self: {"storage_type": "raft"})
    result = run(spec, expect_failure=True, **PROXIED)
    assert "would keep secrets outside of Vault" in result["msg"] and "storage raft" in result["msg"]


def test_seed_needs_a_kubeconfig(run, spec):
    result = run(spec, expect_failure=True, seed_secret=SEEDED["seed_secret"])
    assert "there is no kubeconfig" in result["msg"]


# -- two at once -------------------------------------------------------------------------------------------------------


def test_two_runs_at_once_agree(openbao, spec, names, cluster, monkeypatch):
    """Check-and-set in Vault and resourceVersion in Kubernetes: every run succeeds and one value remains."""
    prepared = []
    monkeypatch.setattr(vault_configuration, "configure", lambda params, check_mode: prepared.append(params) or {})
    with patch_module_args({"spec": spec, **{k: v for k, v in PROXIED.items() if v}}), pytest.raises(SystemExit):
        vault_configuration.main()
    errors, start = [], threading.Barrier(4)

    def one():
        start.wait()
        try:
            configuration.configure(copy.deepcopy(prepared[0]), check_mode=False)
        except Exception as e:  # reported by the assertion below
            errors.append(e)

    threads = [threading.Thread(target=one) for _unused in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    live = openbao("GET", f"{names.kv}/data/app/database")
    assert live["metadata"]["version"] == 1
    assert cluster.seed() == {f"{names.kv}/app/database": {"password": live["data"]["password"]}}
