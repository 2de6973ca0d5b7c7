# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module says when Vault fails it, while it reads and while it writes. A stand-in for Vault that fails."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

SECRET = "marker-value"
INFO = "vault_kv2_fingerprint_info"  # it has nothing to write
READY = {
    "sys/seal-status": {"initialized": True, "sealed": False, "storage_type": "raft", "t": 3},
    "auth/token/lookup-self": {"data": {}},
    "sys/mounts": {"data": {"kv/": {"type": "kv", "options": {"version": "2"}}}},
    "sys/auth": {"data": {"k8s/": {"type": "kubernetes"}}},
    "sys/policies/acl": {"data": {"keys": ["default"]}},
    "kv/data/there": {"data": {"data": {"x": SECRET}, "metadata": {"version": 1}}},
}
MODULES = {
    "vault_mount": {"path": "new"},
    "vault_auth_method": {"path": "new"},
    "vault_policy": {"name": "new", "policy": 'path "x" { capabilities = ["read"] }'},
    "vault_kubernetes_auth_role": {
        "name": "new",
        "mount": "k8s",
        "fields": {"bound_service_account_names": "a", "bound_service_account_namespaces": "b"},
    },
    "vault_kubernetes_auth_config": {"mount": "k8s", "fields": {"kubernetes_host": "https://x"}},
    "vault_kv2_secret": {"mount": "kv", "path": "new", "sensitive_data": {"x": SECRET}},
    "vault_configuration": {"spec": {"policies": [{"name": "new", "policy": 'path "x" { capabilities = ["read"] }'}]}},
    INFO: {"secrets": [{"mount": "kv", "path": "there"}]},
}
ERRORS = [
    (400, {"errors": ["invalid request"]}, "HTTP 400: invalid request"),
    (403, {"errors": ["permission denied"]}, "permission denied. The token from the option token is valid, but no"),
    (404, {"errors": ["no handler for route"]}, "knows no path"),
    (412, {"errors": ["required index state not present"]}, "HTTP 412: required index state not present"),
    (429, {"errors": ["rate limit quota exceeded"]}, "too many requests"),
    (429, {}, "this is a standby server"),
    (472, {}, "this is a standby server"),
    (473, {}, "this is a standby server"),
    (500, {"errors": ["internal error"]}, "HTTP 500: internal error"),
    (503, {"errors": ["Vault is sealed"]}, "Vault is sealed. Unseal it"),
    (200, "<html>Please log in</html>", "which is not Vault's JSON"),
    (502, "<html>Bad gateway</html>", "not available (502 <html>Bad gateway</html>)"),
]


class FailingVault(http.server.BaseHTTPRequestHandler):
    """Answers as a Vault that is ready, until ``server.fails`` says of a method and path that it does not."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].removeprefix("/v1/")
        self.server.seen.append((self.command, path))
        if self.server.fails(self.command, path):
            if self.server.answer is None:
                self.server.over.wait(20)  # no answer, until the test has ended
                return
            status, body = self.server.answer
        elif self.command == "GET":
            status, body = (200, READY[path]) if path in READY else (404, {"errors": []})
        else:
            status, body = 204, ""
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def vault():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FailingVault)
    server.seen, server.over, server.url = [], threading.Event(), f"http://127.0.0.1:{server.server_address[1]}"
    server.fails = lambda method, path: False
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def reading(method, path):
    return method == "GET" and path in ("sys/mounts", "sys/policies/acl", "kv/data/there")


def writing(method, path):
    return method != "GET"


def fails(run_module, vault, module, check=False):
    options = {**MODULES[module], "url": vault.url, "token": "s3cret-token", "timeout": 1}
    result = run_module(module, options, check, expect_failure=True)
    for secret in (SECRET, "s3cret-token"):
        assert secret not in result["output"]
    assert "defect" not in result["msg"] and "exception" not in result
    return result["msg"]


@pytest.mark.parametrize("module", [name for name in MODULES if name != INFO])
@pytest.mark.parametrize(("status", "body", "message"), ERRORS)
def test_a_write_that_fails(run_module, vault, module, status, body, message):
    vault.fails, vault.answer = writing, (status, body)
    if status == 404 and module == "vault_configuration":
        message = "knows no path sys/policies/acl/new"
    assert message in fails(run_module, vault, module)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("status", "body", "message"), [error for error in ERRORS if error[0] != 404])
def test_a_read_that_fails(run_module, vault, module, status, body, message, check):
    vault.fails, vault.answer = reading, (status, body)
    assert message in fails(run_module, vault, module, check)
    assert [method for method, _path in vault.seen if method != "GET"] == []


@pytest.mark.parametrize("module", ["vault_policy", "vault_kv2_secret"])
def test_no_answer_in_time(run_module, vault, module):
    vault.fails, vault.answer = writing, None
    assert "did not answer in time" in fails(run_module, vault, module)


@pytest.mark.parametrize("module", MODULES)
def test_plain_http_where_tls_is_expected(run_module, vault, module):
    vault.url = vault.url.replace("http:", "https:")
    for check in (True, False):
        assert "The TLS connection to Vault" in fails(run_module, vault, module, check)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_listens(run_module, vault, module):
    vault.shutdown()
    vault.server_close()
    assert "cannot be reached" in fails(run_module, vault, module)
    planned = run_module(module, {**MODULES[module], "url": vault.url}, check=True)
    assert planned["vault"] == "absent"


def test_a_delete_that_finds_nothing_is_done(run_module, vault, monkeypatch):
    """Somebody else was faster: what shall not be there is not there."""
    monkeypatch.setitem(READY, "sys/policies/acl", {"data": {"keys": ["new"]}})
    monkeypatch.setitem(READY, "sys/policies/acl/new", {"data": {"policy": "x"}})
    vault.fails, vault.answer = writing, (404, {"errors": []})
    assert run_module("vault_policy", {"name": "new", "state": "absent", "url": vault.url})["changed"] is True
