# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of secrets in a real OpenBao: what changes them, what does not, and what they do not tell."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import requests
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection, fingerprints

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODULE = "vault_kv2_fingerprint_info"
VALUES = {"user": "Marker-User", "password": "Marker-Password"}


@pytest.fixture
def kv(openbao, names):
    openbao("POST", f"sys/mounts/{names.kv}", {"type": "kv", "options": {"version": "2"}})
    write(openbao, names.kv, VALUES)
    return names.kv


def write(openbao, mount, values, path="db"):
    """Write a secret as often as the engine, which becomes ready a moment after it was mounted, asks for."""
    end = time.monotonic() + 15
    while openbao("POST", f"{mount}/data/{path}", {"data": values}, expect=(200, 400)) is None:
        assert time.monotonic() < end


@pytest.fixture
def tell(run_module, kv):
    """The fingerprint of the secret db."""

    def run(check=False, **item):
        result = run_module(MODULE, {"secrets": [{"mount": kv, "path": "db", **item}]}, check)
        assert result["changed"] is False and "Marker" not in result["output"]
        return result["fingerprints"][item.get("path", "db")]

    return run


def test_it_changes_with_a_value_and_with_nothing_else(openbao, kv, tell):
    all_keys, one_key = tell(), tell(keys=["password"])
    assert re.fullmatch("[0-9a-f]{32}", all_keys) and all_keys != one_key
    assert tell(check=True) == all_keys == tell(keys=["password", "user"])
    write(openbao, kv, dict(reversed(VALUES.items())))  # a new version of the same
    assert (tell(), tell(keys=["password"])) == (all_keys, one_key)
    write(openbao, kv, VALUES | {"user": "other"})
    assert tell() != all_keys and tell(keys=["password"]) == one_key
    write(openbao, kv, VALUES | {"more": ""})
    assert tell() != all_keys and tell(keys=["password", "user"]) == all_keys
    write(openbao, kv, VALUES | {"password": "other"})
    assert tell(keys=["password"]) != one_key
    openbao("DELETE", f"sys/mounts/{kv}")  # what a restart does in dev mode
    openbao("POST", f"sys/mounts/{kv}", {"type": "kv", "options": {"version": "2"}})
    write(openbao, kv, VALUES)
    assert tell() == all_keys


def test_equal_values_at_two_paths_do_not_show(openbao, kv, run_module):
    write(openbao, kv, VALUES, "other/db")
    secrets = [{"mount": f"/{kv}/", "path": path} for path in ("db", "/other/db/")]
    found = run_module(MODULE, {"secrets": secrets})["fingerprints"]
    assert set(found) == {"db", "other/db"} and len(set(found.values())) == 2


def test_a_key_cannot_be_taken_for_a_value():
    one, other = {"a": "1", "b": "2"}, {"a": '1","b":"2'}
    assert fingerprints.fingerprint("kv/db", one) != fingerprints.fingerprint("kv/db", other)


def test_a_guess_costs_what_it_should():
    """A fast hash would let a weak value be found by trying many."""
    started = time.process_time()
    fingerprints.fingerprint("kv/db", VALUES)
    assert time.process_time() - started > 0.01


def test_what_is_not_there(openbao, kv, run_module):
    write(openbao, kv, VALUES, "deleted")
    openbao("DELETE", f"{kv}/data/deleted")
    secrets = [{"mount": kv, "path": "none"}, {"mount": kv, "path": "deleted"}, {"mount": "nowhere", "path": "x"}]
    secrets.append({"mount": kv, "path": "/db", "keys": ["user", "a", "b"]})
    planned = run_module(MODULE, {"secrets": secrets}, check=True)
    assert planned["fingerprints"] == {"none": "", "deleted": "", "x": "", "db": ""}
    failed = run_module(MODULE, {"secrets": secrets}, expect_failure=True)
    vault = f"Vault at {openbao.url}"
    assert failed["msg"] == (
        f"{vault} has no secret {kv}/none. {vault} has no secret {kv}/deleted. {vault} has no secret nowhere/x. "
        f"The secret {kv}/db of {vault} has no key a, b. "
        "Run the playbook vault, which writes what the inventory declares."
    )


def test_a_path_named_twice(run_module):
    secrets = [{"mount": "a", "path": "db"}, {"mount": "b", "path": "/db"}]
    assert "names the path db twice" in run_module(MODULE, {"secrets": secrets}, expect_failure=True)["msg"]


THROUGH = {"url": None, "token": None, "kubeconfig": "unused", "service": {"namespace": "cloudcart"}}
THROUGH["token_secret"] = {"name": "vault-root-token", "namespace": "cloudcart"}


def test_through_the_cluster(cluster, kv, run_module, tell):
    secrets = {"secrets": [{"mount": kv, "path": "db"}]}
    assert run_module(MODULE, secrets | THROUGH)["fingerprints"] == {"db": tell()}


@pytest.mark.parametrize("missing", ["cluster", "token", "server"])
def test_nobody_to_ask_yet(cluster, monkeypatch, run_module, missing):
    if missing == "cluster":
        monkeypatch.setattr(connection, "connect", lambda *_arguments: None)
    elif missing == "token":
        cluster.secrets.clear()
    else:
        cluster.vault_url = "http://127.0.0.1:1"
    secrets = {"secrets": [{"mount": "cloudcart", "path": "db"}]}
    planned = run_module(MODULE, secrets | THROUGH, check=True)
    assert (planned["fingerprints"], planned["vault"]) == ({"db": ""}, "absent")
    if missing != "cluster":  # connect() itself says so of a cluster
        assert run_module(MODULE, secrets | THROUGH, expect_failure=True)["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_a_token_that_may_not_read_it(openbao, kv, run_module, check):
    token = openbao_token(openbao)
    failed = run_module(MODULE, {"token": token, "secrets": [{"mount": kv, "path": "db"}]}, check, expect_failure=True)
    assert f"GET {kv}/data/db: permission denied. The token from the option token is valid" in failed["msg"]
    assert token not in failed["output"]


def openbao_token(openbao):
    """A token without a policy of its own."""
    made = requests.post(
        f"{openbao.url}/v1/auth/token/create",
        json={"policies": ["default"], "ttl": "5m"},
        headers={"X-Vault-Token": openbao.token},
        timeout=10,
    )
    return made.json()["auth"]["client_token"]


def test_nothing_is_shown_by_ansible(openbao, kv, tmp_path):
    """Not at -vvvv with --diff, in the registered result, nor when it fails."""
    where = {"url": openbao.url, "token": "{{ lookup('env', 'TEST_VAULT_TOKEN') }}"}
    secrets = [{"mount": kv, "path": "db"}, {"mount": kv, "path": "none"}]
    name = f"cloudcartops.platform.{MODULE}"
    example = {name: where | {"secrets": secrets[:1]}, "register": "shop"}
    failing = {name: where | {"secrets": secrets}, "ignore_errors": True}
    tasks = [failing, example, {"ansible.builtin.debug": {"var": "shop"}}]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "TEST_VAULT_TOKEN": openbao.token,
    }
    environment |= {"ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-vvvv", "--diff"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    shown = done.stdout + done.stderr
    assert done.returncode == 0 and "has no secret" in shown, shown
    assert fingerprints.fingerprint(f"{kv}/db", VALUES) in shown  # it is the output we think it is
    for secret in (*VALUES.values(), openbao.token):
        assert secret not in shown
