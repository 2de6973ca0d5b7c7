# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_configuration removes what it created and a spec does not have any more: that, and nothing else."""

from __future__ import annotations

import copy
import json
import threading

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import configuration, removal
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.spec import ITEMS, OPTIONS

POLICY = 'path "x" { capabilities = ["read"] }'
RECORD = "cloudcartops/ownership"


@pytest.fixture
def spec(names):
    policies = [f"{name}-{names.suffix}" for name in ("one", "two")]
    return {
        "mounts": [{"path": names.kv, "options": {"version": "2"}}],
        "auth_methods": [{"path": names.auth}],
        "policies": [{"name": name, "policy": POLICY} for name in policies],
        "roles": [
            {
                "name": name,
                "mount": names.auth,
                "fields": {
                    "bound_service_account_names": [name],
                    "bound_service_account_namespaces": ["shop"],
                    "token_policies": [name],
                },
            }
            for name in policies
        ],
        "secrets": [{"mount": names.kv, "path": name, "generate": {"key": {}}} for name in ("one", "two")],
    }


@pytest.fixture
def owned(run, names):
    """Run with a record, in the engine that the spec has."""

    def run_owned(spec, purge=True, **options):
        return run(spec, ownership={"mount": names.kv}, purge=purge, **options)

    return run_owned


def deletes(result):
    return [f"{item['kind']} {item['name']}" for item in result["plan"] if item["action"] == "delete"]


def record(openbao, names):
    return openbao("GET", f"{names.kv}/data/{RECORD}")["data"]["created"]


def without_the_second(spec):
    return {key: items[:1] if key in ("policies", "roles", "secrets") else items for key, items in spec.items()}


def test_what_left_the_spec_goes(owned, spec, openbao, names):
    made = owned(spec)
    kinds = [item["kind"] for item in made["plan"]]
    assert kinds[:2] == ["mount", "record"], "recorded before it is created, but for the engine of the record"
    n = names.suffix
    assert record(openbao, names) == {
        "mount": [names.kv],
        "auth_method": [names.auth],
        "policy": [f"one-{n}", f"two-{n}"],
        "role": [[names.auth, f"one-{n}"], [names.auth, f"two-{n}"]],
        "secret": [[names.kv, "one"], [names.kv, "two"]],
    }
    assert owned(spec)["changed"] is False
    key = openbao("GET", f"{names.kv}/data/two")["data"]["key"]
    assert key not in json.dumps(record(openbao, names))

    less = without_the_second(spec)
    expected = [f"role {names.auth}/two-{n}", f"policy two-{n}", f"secret {names.kv}/two"]
    assert owned(less, purge=False)["changed"] is False
    planned = owned(less, check=True)
    assert deletes(planned) == expected
    assert planned["diff"]["before"]["policy"][f"two-{n}"] == POLICY
    assert key not in planned["output"]
    openbao("GET", f"auth/{names.auth}/role/two-{n}")
    assert deletes(owned(less)) == expected
    for path in (f"auth/{names.auth}/role/two-{n}", f"sys/policies/acl/two-{n}", f"{names.kv}/data/two"):
        openbao("GET", path, expect=(404,))
    openbao("GET", f"auth/{names.auth}/role/one-{n}")
    assert owned(less)["changed"] is False
    assert record(openbao, names)["policy"] == [f"one-{n}"]

    # Back in the spec, the secret has the value it had; out of it again, it goes again.
    assert "undelete" in [item["action"] for item in owned(spec)["plan"]]
    assert openbao("GET", f"{names.kv}/data/two")["data"]["key"] == key
    assert deletes(owned(less)) == expected


def test_parts_that_are_not_purged_stay_known(owned, spec, openbao, names):
    owned(spec)
    less = {"mounts": spec["mounts"]} | {part: spec[part][:1] for part in ("auth_methods", "policies", "roles")}
    roles_only = [f"role {names.auth}/two-{names.suffix}", f"policy two-{names.suffix}"]
    assert deletes(owned(less, purge_parts=["roles", "policies"])) == roles_only
    assert owned(less, purge_parts=["roles", "policies"])["changed"] is False
    for path in ("one", "two"):
        openbao("GET", f"{names.kv}/data/{path}")
    assert deletes(owned(less)) == [f"secret {names.kv}/{path}" for path in ("one", "two")]


def test_what_others_made_stays(owned, spec, openbao, names):
    n = names.suffix
    openbao("POST", f"sys/policies/acl/two-{n}", {"policy": POLICY})
    openbao("POST", f"sys/mounts/{names.kv}", {"type": "kv", "options": {"version": "2"}})
    owned(spec)
    openbao("POST", f"auth/{names.auth}/role/by-hand", spec["roles"][0]["fields"])
    openbao("POST", f"{names.kv}/data/by-hand", {"data": {"a": "b"}})
    assert "mount" not in record(openbao, names) and record(openbao, names)["policy"] == [f"one-{n}"]
    assert deletes(owned(without_the_second(spec))) == [f"role {names.auth}/two-{n}", f"secret {names.kv}/two"]
    for path in (f"auth/{names.auth}/role/by-hand", f"{names.kv}/data/by-hand", f"sys/policies/acl/two-{n}"):
        openbao("GET", path)


def test_an_auth_method_goes_with_its_roles_but_not_with_those_of_others(owned, spec, openbao, names):
    owned(spec)
    openbao("POST", f"auth/{names.auth}/role/by-hand", spec["roles"][0]["fields"])
    less = {"mounts": spec["mounts"], "policies": spec["policies"], "secrets": spec["secrets"]}
    result = owned(less, expect_failure=True)
    assert f"The auth method {names.auth} holds by-hand: all of it would be lost" in result["msg"]
    openbao("GET", f"auth/{names.auth}/role/one-{names.suffix}")
    openbao("DELETE", f"auth/{names.auth}/role/by-hand")
    assert deletes(owned(less))[-1] == f"auth_method {names.auth}"
    assert f"{names.auth}/" not in openbao("GET", "sys/auth")


def test_a_mount_with_something_in_it_is_not_purged(run, owned, spec, openbao, names):
    other = f"{names.kv}-other"
    spec["mounts"].append({"path": other, "options": {"version": "2"}})
    spec["secrets"].append({"mount": other, "path": "a", "data": {"b": "c"}})
    owned(spec)
    less = {**spec, "mounts": spec["mounts"][:1], "secrets": spec["secrets"][:2]}
    result = owned(less, expect_failure=True)
    assert f"The mount {other} holds a: all of it would be lost" in result["msg"]
    openbao("GET", f"{other}/data/a")
    less["mounts"].append({"path": other, "state": "absent", "force": True})
    assert deletes(owned(less)) == [f"secret {other}/a", f"mount {other}"]
    assert f"{other}/" not in openbao("GET", "sys/mounts")
    assert owned(less)["changed"] is False
    assert other not in json.dumps(record(openbao, names))


def test_the_engine_of_the_record_stays(owned, spec, openbao, names):
    owned({"mounts": spec["mounts"]})
    assert owned({})["changed"] is False
    openbao("GET", f"sys/mounts/{names.kv}")


def test_built_in_names_in_a_record_are_not_believed(owned, spec, openbao, names):
    owned({"mounts": spec["mounts"]})
    bad = {"mount": ["sys", "identity", "cubbyhole"], "auth_method": ["token"], "policy": ["default", "root"]}
    openbao("POST", f"{names.kv}/data/{RECORD}", {"data": {"created": bad}})
    assert deletes(owned({"mounts": spec["mounts"]})) == []


@pytest.mark.parametrize(
    "bad", [{"created": "x"}, {"created": {"role": [1]}}, {"created": {"role": 1}}, {"created": []}]
)
def test_what_is_no_record_is_refused(owned, spec, openbao, names, bad):
    owned({"mounts": spec["mounts"]})
    openbao("POST", f"{names.kv}/data/{RECORD}", {"data": bad})
    assert "is no record of what was created here" in owned(spec, expect_failure=True)["msg"]


def test_more_than_the_limit_needs_consent(owned, spec, openbao, names):
    owned(spec)
    less = without_the_second(spec)
    result = owned(less, purge_limit=2, expect_failure=True)
    assert "The purge would remove 3 objects, more than the 2 that purge_limit allows: role " in result["msg"]
    assert "set purge_limit to 3" in result["msg"]
    openbao("GET", f"{names.kv}/data/two")
    planned = owned(less, purge_limit=2, check=True)
    assert len(deletes(planned)) == 3
    assert "The purge would remove 3 objects" in json.dumps(planned["warnings"])
    assert len(deletes(owned(less, purge_limit=3))) == 3


def test_what_the_spec_itself_removes_does_not_count(run, spec, openbao, names):
    run(spec)
    n = names.suffix
    gone = {
        "auth_methods": [{"path": names.auth, "state": "absent"}],
        "policies": [{"name": f"{name}-{n}", "state": "absent"} for name in ("one", "two")],
        "roles": [{"name": f"{name}-{n}", "mount": names.auth, "state": "absent"} for name in ("one", "two")],
        "secrets": [{"mount": names.kv, "path": name, "state": "absent", "force": True} for name in ("one", "two")],
        "mounts": [{"path": names.kv, "state": "absent", "force": True}],
    }
    assert [item["action"] for item in run(gone, check=True)["plan"]] == ["delete"] * 8
    assert len(deletes(run(gone, purge_limit=0))) == 8
    assert run(gone)["changed"] is False


def test_a_policy_that_a_role_still_has_is_not_removed(owned, spec):
    owned(spec)
    spec["policies"].pop()
    assert "which is neither in the spec nor in Vault" in owned(spec, expect_failure=True)["msg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ownership": {"mount": "nowhere"}}, "The spec uses the mount nowhere"),
        ({"ownership": None}, "purge is True but all of the following are missing: ownership"),
        ({"ownership": {"mount": "{kv}", "path": "one"}}, "ownership names a secret of the spec"),
    ],
)
def test_a_record_needs_a_place(run, spec, names, options, message):
    where = options["ownership"] and {key: value.format(kv=names.kv) for key, value in options["ownership"].items()}
    assert message in run(spec, purge=True, ownership=where, expect_failure=True)["msg"]


def test_a_run_killed_before_it_created_still_knows_what_is_its_own(owned, spec, names, openbao, monkeypatch):
    owned({"mounts": spec["mounts"]})
    apply = configuration._apply

    def die_at_the_second_policy(server, cluster, change):
        if (change.kind, change.name) == ("policy", f"two-{names.suffix}"):
            raise VaultError("killed")
        apply(server, cluster, change)

    monkeypatch.setattr(configuration, "_apply", die_at_the_second_policy)
    owned(spec, expect_failure=True)
    monkeypatch.undo()
    assert f"policy one-{names.suffix}" in deletes(owned({"mounts": spec["mounts"]}))
    assert "policy" not in record(openbao, names)


def test_many_runs_at_once(openbao, spec, names):
    """Each has another spec and another field of one secret: nothing is lost, doubled or half-written."""
    errors, start, count = [], threading.Barrier(5), 5

    def one(number):
        mine = copy.deepcopy(spec)
        for part in ("policies", "roles"):
            mine[part][1]["name"] += f"-{number}"
        mine["roles"][1]["fields"]["token_policies"] = [mine["policies"][1]["name"]]
        mine["secrets"][1]["generate"] = {f"key{number}": {}}
        items = {part: [complete(part, item) for item in mine.get(part, [])] for part in ITEMS}
        options = {name: rule.get("default") for name, rule in OPTIONS.items()} | {"spec": items}
        options |= {"ownership": {"mount": names.kv, "path": RECORD}, "url": openbao.url, "token": openbao.token}
        start.wait()
        try:
            configuration.configure({"timeout": 30, "validate_certs": True, **options}, check_mode=False)
        except Exception as e:  # reported by the assertion below
            errors.append(e)

    threads = [threading.Thread(target=one, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    n = names.suffix
    found = record(openbao, names)
    assert set(found["policy"]) == {f"one-{n}", *(f"two-{n}-{number}" for number in range(count))}
    assert len(found["role"]) == count + 1
    one_key = openbao("GET", f"{names.kv}/data/one")
    assert one_key["metadata"]["version"] == 1, "written by one run"
    two = openbao("GET", f"{names.kv}/data/two")
    assert set(two["data"]) == {f"key{number}" for number in range(count)} and all(two["data"].values())
    assert two["metadata"]["version"] == count, "each run wrote once, over what it had read"
    for version in range(1, count):
        earlier = openbao("GET", f"{names.kv}/data/two?version={version}")["data"]
        assert earlier.items() <= two["data"].items(), "no value was made twice"


def complete(part, item):
    return {name: copy.deepcopy(rule.get("default")) for name, rule in ITEMS[part].items()} | item


def test_format_and_parse_agree():
    owned = {kind: set() for kind in removal.PARTS} | {"role": {("a/b", "c")}, "policy": {"p"}}
    assert removal.parse_record(json.loads(json.dumps(removal.format_record(owned))), "x") == owned
