# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that changed reaches its readers and only them; a service comes and goes with its entry in the catalogue."""

from __future__ import annotations

import json
import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBECTL = "kubectl -n cloudcart"
APPLY = "cloudcartops.platform.apps : Apps | Apply accounts, services and deployments"


def defaults(role: str) -> dict:
    return yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8"))


def readers(secret: str) -> set[str]:
    services = defaults("catalog")["cloudcartops_services"]
    return {name for name, entry in services.items() if "image" in entry and secret in (entry.get("secrets") or {})}


def pods(machine) -> dict[str, str]:
    """The app of each pod that is to stay, by its uid."""
    found = [item["metadata"] for item in json.loads(machine.ssh(f"{KUBECTL} get pods -l app -o json"))["items"]]
    return {meta["uid"]: meta["labels"]["app"] for meta in found if "deletionTimestamp" not in meta}


@pytest.mark.parametrize(
    ("secret", "key"), [("jwt", "secret"), pytest.param("kafka", "bootstrap_servers", marks=pytest.mark.soak)]
)
def test_a_changed_secret_rolls_its_readers(platform, secret, key):
    before = pods(platform)
    value = "kafka:29092" if secret == "kafka" else "a-key-of-at-least-32-bytes-that-somebody-put-there"
    platform.vault(f"kv patch -mount=cloudcart {secret} {key}={value} note=nobody-reads-this")
    run = platform.site(playbook="apps")
    assert run.status == 0 and run.changed == [APPLY], run.text[-6000:]
    after = pods(platform)
    assert {app for uid, app in before.items() if uid not in after} == readers(secret)
    assert sorted(after.values()) == sorted(before.values())
    platform.vault(f"kv patch -mount=cloudcart {secret} note=still-not")
    assert platform.site(playbook="apps").changed == []
    platform.complete()
    assert platform.complete().changed == []


@pytest.mark.soak
def test_a_service_comes_and_goes(platform, tmp_path):
    """What somebody else made in Vault stays, and so does what a secret holds."""
    entry = {**defaults("catalog")["cloudcartops_services"]["notification-worker"]}
    entry["environment"] = {"KAFKA_GROUP_ID": "reports"}  # else it would take the messages that the worker has to count
    entry["secrets"] = {**entry["secrets"], "reports": {"REPORTS_KEY": "key"}}
    more = {
        "cloudcartops_services_override": {"reports": entry},
        "vault_init_secrets": {**defaults("vault_init")["vault_init_secrets"], "reports": {"generate": {"key": {}}}},
    }
    (tmp_path / "more.json").write_text(json.dumps(more), encoding="utf-8")
    account = "bound_service_account_names=default bound_service_account_namespaces=cloudcart"
    platform.vault(f"write auth/kubernetes/role/by-hand {account} token_policies=default")
    before = pods(platform)

    run = platform.site("-e", f"@{tmp_path}/more.json")
    assert run.status == 0, run.text[-6000:]
    assert platform.site("-e", f"@{tmp_path}/more.json").changed == []
    after = pods(platform)
    assert {app for uid, app in before.items() if uid not in after} == {"prometheus"}, "which has one more to ask"
    assert sorted(app for uid, app in after.items() if uid not in before) == ["prometheus", "reports"]
    assert "REPORTS_KEY" in platform.ssh(f"{KUBECTL} exec deploy/reports -c reports -- cat /vault/secrets/reports")
    secret = platform.vault("kv get -mount=cloudcart -field=key reports")

    planned = platform.site("--check")
    assert planned.status == 0 and "action: delete" in planned.text
    platform.vault("read auth/kubernetes/role/reports")
    platform.complete()
    roles = json.loads(platform.vault("list -format=json auth/kubernetes/role"))
    assert "by-hand" in roles and "reports" not in roles
    assert "reports-policy" not in platform.vault("policy list")
    assert platform.vault("kv get -mount=cloudcart -field=key reports") == secret
    assert "/reports" not in platform.ssh(f"{KUBECTL} get deployments,services,serviceaccounts -o name")
    assert "reports" not in pods(platform).values()
    assert platform.complete().changed == []
