# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page "Vault as code" is true: its specification, plans, apply and purge, run against a real OpenBao."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import login_check
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.catalogue import vault_spec

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/vault_as_code.md").read_text(encoding="utf-8")
SPEC, PLAY, FINGERPRINT, CHECK, OVERRIDE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
PLAN, DRIFT, PURGE = (block.split("\n")[:-1] for block in re.findall(r"```\n(\w+ \w+ .*?)```", PAGE, re.DOTALL))


@pytest.fixture
def spec():
    """The page's, for a server that is not in a pod, where it would find the CA by itself."""
    found = yaml.safe_load(SPEC)
    found["kubernetes_auth_config"][0]["fields"] |= {"disable_local_ca_jwt": True, "kubernetes_ca_cert": "x"}
    return found


@pytest.fixture
def playbook(openbao, spec, tmp_path):
    (tmp_path / "spec.yml").write_text(yaml.safe_dump(spec))
    (tmp_path / "vault.yml").write_text(PLAY)

    def run(*arguments):
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "vault.yml", *arguments]
        command += ["-c", "local", "-e", f"vault_url={openbao.url}"]
        command += ["-e", f"ansible_python_interpreter={sys.executable}"]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "NO_COLOR": "1",
            "VAULT_TOKEN": openbao.token,
        }
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(re.search(r'"msg": (\[.*?\])\n}', done.stdout, re.DOTALL)[1])

    yield run
    policies = [f"sys/policies/acl/{name}-policy" for name in ("orders", "mail")]
    for path in ("sys/mounts/shop", "sys/auth/kubernetes", *policies):
        openbao("DELETE", path)


def test_plan_apply_drift_purge(playbook, openbao, spec, tmp_path, run_module):
    assert playbook("--check") == PLAN
    openbao("GET", "shop/data/orders", expect=(403, 404))
    assert playbook() == PLAN
    made = openbao("GET", "shop/data/orders")["data"]
    assert len(made["password"]) == 40
    assert made["database_url"] == f"postgresql://orders:{made['password']}@db.shop.svc:5432/orders"
    assert playbook() == []
    (task,) = yaml.safe_load(FINGERPRINT)[0]["tasks"]
    (name,) = (key for key in task if "." in key)
    options = {key: value for key, value in task[name].items() if "{{" not in value}
    assert run_module(name.rpartition(".")[2], options)["fingerprints"]["orders"]

    openbao("POST", "sys/policies/acl/orders-policy", {"policy": 'path "shop/*" { capabilities = ["read"] }'})
    assert playbook() == DRIFT

    for part in ("policies", "roles", "secrets"):
        spec[part] = spec[part][:1]
    (tmp_path / "spec.yml").write_text(yaml.safe_dump(spec))
    assert playbook() == PURGE
    assert openbao("GET", "auth/kubernetes/role?list=true")["keys"] == ["orders"]
    assert openbao("GET", "shop/data/orders")["data"] == made


def test_the_login_check_has_the_options_that_the_page_uses():
    (task,) = yaml.safe_load(CHECK)[0]["tasks"]
    options = task["cloudcartops.platform.vault_login_check"]
    assert set(options) <= {*login_check.OPTIONS, "url", "token"}
    assert set(options["logins"][0]) <= set(login_check.OPTIONS["logins"]["options"])


def test_the_override_makes_the_roles_it_says():
    services = yaml.safe_load(OVERRIDE)["cloudcartops_services_override"]
    roles = vault_spec({"database": {}, "jwt": {}}, services, "cloudcart", "cloudcart", "", "24h")["roles"]
    assert {role["name"]: role["fields"]["token_policies"] for role in roles} == {
        "reports": ["database-policy"],
        "api-gateway": ["jwt-policy"],
    }
