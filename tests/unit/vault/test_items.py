# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules for single objects: each state, in and out of check mode, from each state of a real OpenBao."""

from __future__ import annotations

import json

import pytest

POLICY = 'path "x/data/y" { capabilities = ["read", "list"] }'
ROLE = {
    "bound_service_account_names": ["shop"],
    "bound_service_account_namespaces": ["shop"],
    "audience": "vault",
    "alias_name_source": "serviceaccount_name",
    "token_policies": ["default"],
    "token_ttl": "24h",
}
CONFIG = {"kubernetes_host": "https://x", "kubernetes_ca_cert": "a", "disable_local_ca_jwt": True}
KV = {"type": "kv", "options": {"version": "2"}}
# Per module: its options, and how the object comes to be there in each way. Each way: writes, then what the module does
# with state present, and with state absent ("refuse": an error).
CASES = {
    "vault_mount": (
        {"path": "{kv}", "options": {"version": "2"}, "description": "shop", "config": {"max_lease_ttl": "48h"}},
        "sys/mounts/{kv}",
        {
            "absent": ([], "create", None),
            "same": (
                [("sys/mounts/{kv}", {**KV, "description": "shop", "config": {"max_lease_ttl": "172800"}})],
                None,
                "delete",
            ),
            "differs": ([("sys/mounts/{kv}", {**KV, "description": "x"})], "update", "delete"),
            "unmanaged": (
                [
                    ("sys/mounts/{kv}", {**KV, "description": "shop", "config": {"max_lease_ttl": "48h"}}),
                    ("{kv}/data/a/b", {"data": {"by": "hand"}}),
                ],
                None,
                "refuse",
            ),
        },
    ),
    "vault_auth_method": (
        {"path": "{auth}", "description": "shop", "config": {"default_lease_ttl": "1h"}},
        "sys/auth/{auth}",
        {
            "absent": ([], "create", None),
            "same": (
                [
                    (
                        "sys/auth/{auth}",
                        {"type": "kubernetes", "description": "shop", "config": {"default_lease_ttl": "1h"}},
                    )
                ],
                None,
                "delete",
            ),
            "differs": ([("sys/auth/{auth}", {"type": "kubernetes"})], "update", "delete"),
            "unmanaged": (
                [("sys/auth/{auth}", {"type": "kubernetes"}), ("auth/{auth}/role/by-hand", ROLE)],
                "update",
                "refuse",
            ),
        },
    ),
    "vault_policy": (
        {"name": "Item-{n}", "policy": POLICY},
        "sys/policies/acl/item-{n}",
        {
            "absent": ([], "create", None),
            "same": ([("sys/policies/acl/item-{n}", {"policy": POLICY})], None, "delete"),
            "differs": (
                [("sys/policies/acl/item-{n}", {"policy": POLICY.replace("list", "update")})],
                "update",
                "delete",
            ),
            "unmanaged": (
                [
                    (
                        "sys/policies/acl/item-{n}",
                        {"policy": json.dumps({"path": {"x/data/y": {"capabilities": ["list", "read"]}}})},
                    )
                ],
                None,
                "delete",
            ),
        },
    ),
    "vault_kubernetes_auth_role": (
        {"name": "shop", "mount": "{auth}", "fields": ROLE},
        "auth/{auth}/role/shop",
        {
            "absent": ([("sys/auth/{auth}", {"type": "kubernetes"})], "create", None),
            "same": ([("sys/auth/{auth}", {"type": "kubernetes"}), ("auth/{auth}/role/shop", ROLE)], None, "delete"),
            "differs": (
                [("sys/auth/{auth}", {"type": "kubernetes"}), ("auth/{auth}/role/shop", {**ROLE, "audience": "x"})],
                "update",
                "delete",
            ),
            "unmanaged": (
                [("sys/auth/{auth}", {"type": "kubernetes"}), ("auth/{auth}/role/shop", {**ROLE, "token_num_uses": 3})],
                "update",
                "delete",
            ),
        },
    ),
    "vault_kubernetes_auth_config": (
        {"mount": "{auth}", "fields": CONFIG},
        "auth/{auth}/config",
        {
            "absent": ([("sys/auth/{auth}", {"type": "kubernetes"})], "create", "impossible"),
            "same": ([("sys/auth/{auth}", {"type": "kubernetes"}), ("auth/{auth}/config", CONFIG)], None, "impossible"),
            "differs": (
                [
                    ("sys/auth/{auth}", {"type": "kubernetes"}),
                    ("auth/{auth}/config", {**CONFIG, "kubernetes_host": "https://y"}),
                ],
                "update",
                "impossible",
            ),
            "unmanaged": (
                [
                    ("sys/auth/{auth}", {"type": "kubernetes"}),
                    ("auth/{auth}/config", {**CONFIG, "issuer": "https://y"}),
                ],
                "update",
                "impossible",
            ),
        },
    ),
    "vault_kv2_secret": (
        {"mount": "{kv}", "path": "a/b", "data": {"user": "shop", "port": 5432}},
        "{kv}/data/a/b",
        {
            "absent": ([("sys/mounts/{kv}", KV)], "create", None),
            "same": (
                [("sys/mounts/{kv}", KV), ("{kv}/data/a/b", {"data": {"user": "shop", "port": "5432"}})],
                None,
                "delete",
            ),
            "differs": ([("sys/mounts/{kv}", KV), ("{kv}/data/a/b", {"data": {"user": "x"}})], "update", "delete"),
            "unmanaged": (
                [("sys/mounts/{kv}", KV), ("{kv}/data/a/b", {"data": {"user": "shop", "port": "5432", "by": "hand"}})],
                None,
                "delete",
            ),
        },
    ),
}
MATRIX = [
    (module, way, state)
    for module, (_options, _path, ways) in CASES.items()
    for way, (_writes, _present, absent) in ways.items()
    for state in ("present", "absent")
    if (state, absent) != ("absent", "impossible")
]


def fill(value, names):
    if isinstance(value, dict):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, str) and value.startswith(("{kv}", "{auth}", "sys/", "auth/", "item", "Item")):
        return value.format(kv=names.kv, auth=names.auth, n=names.suffix)
    return value


def live(openbao, path):
    return openbao("GET", path, expect=(200, 400, 404))


@pytest.mark.parametrize(("module", "way", "state"), MATRIX)
def test_each_state_from_each_state(run_module, openbao, names, module, way, state):
    options, path, ways = CASES[module]
    writes, present, absent = ways[way]
    action = present if state == "present" else absent
    options, path = fill(options, names), fill(path, names)
    for where, data in writes:
        openbao("POST", fill(where, names), data, expect=(200, 204))
    if state == "absent":
        options["state"] = "absent"
    before = live(openbao, path)

    if action == "refuse":
        for check in (True, False):
            result = run_module(module, options, check, expect_failure=True)
            assert "would be lost for ever" in result["msg"] and "force: true" in result["msg"]
            assert live(openbao, path) == before
        options["force"], action = True, "delete"

    planned = run_module(module, options, check=True)
    assert [item["action"] for item in planned["plan"]] == ([action] if action else [])
    assert planned["changed"] is bool(action)
    assert live(openbao, path) == before  # check mode wrote nothing
    result = run_module(module, options)
    assert (result["plan"], result["diff"]) == (planned["plan"], planned["diff"])
    assert run_module(module, options)["changed"] is False
    if action is None:
        assert live(openbao, path) == before
    if action == "update":
        assert result["plan"][0]["fields"]
    if action == "delete":
        found = live(openbao, path)
        assert not found or found.get("data") is None
    elif module == "vault_kv2_secret" and state == "present":
        by_hand = {"by": "hand"} if way == "unmanaged" else {}
        assert live(openbao, path)["data"] == {"user": "shop", "port": "5432", **by_hand}
    if way == "unmanaged" and state == "present" and module in ("vault_mount", "vault_auth_method"):
        inside = f"{names.kv}/data/a/b" if module == "vault_mount" else f"auth/{names.auth}/role/by-hand"
        assert live(openbao, inside), "what others put into it stays"


def test_a_removed_secret_comes_back_with_the_same_values(run_module, openbao, names):
    openbao("POST", f"sys/mounts/{names.kv}", KV)
    secret = {
        "mount": names.kv,
        "path": "app",
        "generate": {"key": {"length": 48, "alphabet": "hex"}, "word": {}},
        "derive": {"both": "{key}:{word}"},
    }
    run_module("vault_kv2_secret", secret)
    made = openbao("GET", f"{names.kv}/data/app")["data"]
    assert len(made["key"]) == 48 and int(made["key"], 16) and made["both"] == f"{made['key']}:{made['word']}"
    run_module("vault_kv2_secret", {"mount": names.kv, "path": "app", "state": "absent"})
    assert [item["action"] for item in run_module("vault_kv2_secret", secret)["plan"]] == ["undelete"]
    assert openbao("GET", f"{names.kv}/data/app")["data"] == made

    forced = {"mount": names.kv, "path": "app", "state": "absent", "force": True}
    run_module("vault_kv2_secret", forced)
    assert run_module("vault_kv2_secret", forced)["changed"] is False
    run_module("vault_kv2_secret", secret)
    assert openbao("GET", f"{names.kv}/data/app")["data"]["key"] != made["key"]


def test_no_value_is_shown(run_module, openbao, names):
    openbao("POST", f"sys/mounts/{names.kv}", KV)
    options = {
        "mount": names.kv,
        "path": "app",
        "data": {"user": "marker-user"},
        "sensitive_data": {"key": "marker-key"},
        "generate": {"password": {}},
        "derive": {"url": "{user}:{password}"},
    }
    shown = (
        run_module("vault_kv2_secret", options, check=True)["output"]
        + run_module("vault_kv2_secret", options)["output"]
    )
    shown += run_module("vault_kv2_secret", {**options, "data": {"user": "marker-other"}})["output"]
    shown += run_module("vault_kv2_secret", {**options, "derive": {"url": "{no"}}, expect_failure=True)["output"]
    shown += run_module("vault_kv2_secret", {**options, "state": "absent"})["output"]
    data = openbao("GET", f"{names.kv}/data/app", expect=(404,))["data"]
    assert data is None
    openbao("POST", f"{names.kv}/undelete/app", {"versions": [2]})
    live_values = openbao("GET", f"{names.kv}/data/app")["data"]
    assert live_values["user"] == "marker-other"
    for value in ("marker-", live_values["password"], live_values["url"]):
        assert value not in shown


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("vault_mount", {"path": "sys", "state": "absent"}, "mount sys is built in"),
        ("vault_mount", {"path": "{kv}", "force": True}, "force without state: absent"),
        ("vault_mount", {"path": "{kv}", "config": {"max_lease": "1h"}}, "Did you mean max_lease_ttl"),
        ("vault_mount", {"path": "{kv}", "config": {"max_lease_ttl": "long"}}, "which is no duration"),
        ("vault_auth_method", {"path": "token/", "state": "absent"}, "auth method token is built in"),
        ("vault_policy", {"name": "Default", "state": "absent"}, "policy default is built in"),
        ("vault_policy", {"name": "x"}, "state is present but all of the following are missing: policy"),
        ("vault_kubernetes_auth_role", {"name": "x"}, "state is present but all of the following are missing: fields"),
        ("vault_kubernetes_auth_role", {"name": "x", "mount": "{auth}", "fields": {}}, "which Vault does not have"),
        ("vault_kubernetes_auth_config", {"mount": "{auth}", "fields": {}}, "which Vault does not have"),
        ("vault_kv2_secret", {"mount": "{kv}", "path": "a"}, "which Vault does not have"),
        ("vault_kv2_secret", {"mount": "{kv}", "path": "a", "force": True}, "force without state: absent"),
        (
            "vault_kv2_secret",
            {"mount": "{kv}", "path": "a", "generate": {"x": {"alphabet": "greek"}}},
            "A one of alphanumeric, hex",
        ),
    ],
)
def test_refusals(run_module, names, module, options, message):
    result = run_module(module, fill(options, names), expect_failure=True)
    assert message in result["msg"]
    assert "defect" not in result["msg"]


def test_a_policy_of_a_role_must_exist(run_module, openbao, names):
    openbao("POST", f"sys/auth/{names.auth}", {"type": "kubernetes"})
    options = {"name": "x", "mount": names.auth, "fields": {**ROLE, "token_policies": ["nobody"]}}
    result = run_module("vault_kubernetes_auth_role", options, expect_failure=True)
    assert "policy nobody, which is neither" in result["msg"]


def test_a_kv_engine_without_versions_is_refused(run_module, openbao, names):
    openbao("POST", f"sys/mounts/{names.kv}", {"type": "kv"})
    openbao("POST", f"{names.kv}/a", {"by": "hand"})
    result = run_module("vault_kv2_secret", {"mount": names.kv, "path": "a", "data": {"x": "y"}}, expect_failure=True)
    assert "is no KV engine of version 2" in result["msg"]
    result = run_module("vault_mount", {"path": names.kv, "state": "absent"}, expect_failure=True)
    assert "holds a: all of it would be lost" in result["msg"]


def test_an_engine_that_cannot_be_asked_needs_consent(run_module, openbao, names):
    openbao("POST", f"sys/mounts/{names.kv}", {"type": "transit"})
    result = run_module("vault_mount", {"path": names.kv, "state": "absent"}, expect_failure=True)
    assert "may hold data: all of it would be lost" in result["msg"]


def test_namespaces_of_vault(run_module, openbao, names):
    """The same policy in a namespace of OpenBao, and not outside of it."""
    space = f"team{names.suffix}"
    openbao("POST", f"sys/namespaces/{space}")
    run_module("vault_policy", {"name": f"in-{space}", "policy": POLICY, "namespace": space})
    assert openbao("GET", f"{space}/sys/policies/acl/in-{space}")["policy"] == POLICY
    openbao("GET", f"sys/policies/acl/in-{space}", expect=(404,))
