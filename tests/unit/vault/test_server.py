# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each failure of Vault, of the way to it, or of the API server before it is called."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
import requests
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import (
    VaultAbsent,
    VaultConflict,
    VaultError,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.server import Server

STATUS = {"kind": "Status", "status": "Failure"}


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the test has put into ``server.answers`` (the last one again and again)."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        answers = self.server.answers
        status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def fake():
    """An HTTP server that answers what it is told; a stand-in for a Vault that fails."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.seen = []
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def connect(fake, *answers, proxied=False):
    fake.answers = [(status, body, headers[0] if headers else {}) for status, body, *headers in answers]
    url = f"http://127.0.0.1:{fake.server_address[1]}"
    return Server(url, "s3cret-token", address="Vault at X", token_source="the Secret a/b", timeout=2, proxied=proxied)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, {"errors": ["bad\nthing"]}, VaultError, "POST a/b: HTTP 400: bad thing."),
        (400, {"errors": ["check-and-set parameter did not match the current version"]}, VaultConflict, "run again"),
        (400, {"errors": ["path is already in use at x/"]}, VaultConflict, "run again"),
        (
            403,
            {"errors": ["permission denied"]},
            VaultError,
            "permission denied. The token from the Secret a/b is valid, ",
        ),
        (
            404,
            {"errors": ["no handler for route"]},
            VaultError,
            "knows no path a/b: no handler for route. Check the mount",
        ),
        (405, {"errors": []}, VaultError, "HTTP 405: no reason given"),
        (412, {"errors": ["required index state not present"]}, VaultError, "HTTP 412: required index state"),
        (429, {"errors": ["rate limit quota exceeded"]}, VaultError, "too many requests (rate limit quota exceeded)"),
        (429, {}, VaultError, "this is a standby server"),
        (472, {}, VaultError, "this is a standby server"),
        (473, {}, VaultError, "this is a standby server"),
        (500, {"errors": ["internal error"]}, VaultError, "HTTP 500: internal error"),
        (503, {"errors": ["Vault is sealed"]}, VaultError, "Vault is sealed. Unseal it"),
        (502, "<html>Bad gateway</html>", VaultAbsent, "not available (502 <html>Bad gateway</html>)"),
        (200, "<html>Please log in</html>", VaultError, "which is not Vault's JSON. Check the address"),
        (200, [1], VaultError, "which is not Vault's JSON"),
    ],
)
def test_refusals(fake, status, body, kind, message):
    with pytest.raises(VaultError) as error:
        connect(fake, (status, body)).write("a/b", {"x": "marker-value"})
    assert type(error.value) is kind
    assert message in str(error.value)
    assert "s3cret" not in str(error.value) and "marker-value" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, {**STATUS, "message": 'services "vault" not found'}, VaultAbsent, "does not exist: services"),
        (
            403,
            {**STATUS, "message": "services is forbidden"},
            VaultError,
            "Allow it get, create, update and delete on serv",
        ),
        (401, {**STATUS, "message": "Unauthorized"}, VaultError, "does not let this kubeconfig reach"),
        (
            503,
            {**STATUS, "message": "no endpoints available"},
            VaultAbsent,
            "No ready pod answers for Vault at X: no endp",
        ),
        (
            503,
            "error trying to reach service: dial tcp 10.0.0.1: connect: refused",
            VaultAbsent,
            "No ready pod answers",
        ),
        (400, {**STATUS, "message": "bad"}, VaultError, "The Kubernetes API server refused the request"),
        (503, {"errors": ["Vault is sealed"]}, VaultError, "Vault is sealed. Unseal it"),
    ],
)
def test_refusals_of_the_api_server(fake, status, body, kind, message):
    with pytest.raises(VaultError) as error:
        connect(fake, (status, body), proxied=True).read("a/b")
    assert type(error.value) is kind
    assert message in str(error.value)


GOOD = {"initialized": True, "sealed": False, "storage_type": "inmem", "t": 3}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(200, {**GOOD, "initialized": False})], "Vault at X is not initialised. Initialise it"),
        ([(200, {**GOOD, "sealed": True})], "Vault at X is sealed. Unseal it with 3 of its key shares"),
        ([(200, GOOD), (403, {"errors": ["permission denied"]})], "does not accept the token from the Secret a/b"),
    ],
)
def test_a_server_that_cannot_be_used(fake, answers, message):
    with pytest.raises(VaultError) as error:
        connect(fake, *answers).check()
    assert message in str(error.value)


def test_a_server_that_can_be_used(fake):
    assert connect(fake, (200, GOOD), (200, {"data": {}})).check() == GOOD


def test_nothing_listens(fake):
    server = connect(fake, (200, {}))
    fake.shutdown()
    fake.server_close()
    with pytest.raises(VaultAbsent, match="Vault at X cannot be reached: .*refused"):
        server.read("a")


def test_plain_http_where_tls_is_expected(fake):
    url = f"https://127.0.0.1:{fake.server_address[1]}"
    server = Server(url, "t", address="Vault at X", token_source="y", timeout=2)
    with pytest.raises(VaultError, match="The TLS connection to Vault at X failed.*ca_cert"):
        server.read("a")


def test_a_redirect_does_not_get_the_token(fake):
    with pytest.raises(VaultError, match="redirects to http://elsewhere.example"):
        connect(fake, (307, {}, {"Location": "http://elsewhere.example/"})).read("a")
    assert len(fake.seen) == 1


def test_an_engine_that_still_starts_is_tried_again(fake):
    starting = (400, {"errors": ["Upgrading from non-versioned to versioned data. This backend will be unavailable"]})
    assert connect(fake, starting, starting, (200, {"data": {"a": 1}})).read("kv/data/x") == {"a": 1}
    assert len(fake.seen) == 3


def test_list_is_asked_for_in_a_way_that_passes_the_proxy(fake):
    assert connect(fake, (200, {"data": {"keys": ["a"]}})).list("sys/policies/acl") == ["a"]
    assert fake.seen[0][:2] == ("GET", "/v1/sys/policies/acl?list=true")


def test_reading_nothing(fake):
    server = connect(fake, (404, {"errors": []}))
    assert server.read("a") is None and server.list("a") == []


def test_a_request_has_nothing_of_the_one_before(fake):
    server = connect(fake, (200, {"data": {"a": 1}}))
    server.write("kv/data/a b", {"data": {}})
    server.delete("kv/data/x")
    server.read("kv/data/x")
    (post, path, sent), (delete, _path, nothing), (get, other, asked) = fake.seen
    assert (post, path, delete, get, other) == ("POST", "/v1/kv/data/a%20b", "DELETE", "GET", "/v1/kv/data/x")
    assert (sent["Content-Type"], sent["Content-Length"]) == ("application/json", "12")
    assert "Content-Type" not in nothing and nothing["Content-Length"] == "0"
    assert not {"Content-Type", "Content-Length"} & set(asked)
    assert {headers["X-Vault-Token"] for _method, _path, headers in fake.seen} == {"s3cret-token"}


def test_a_load_balancer_gets_its_cookie_back(fake):
    server = connect(fake, (200, {"data": {"a": 1}}, {"Set-Cookie": "node=two; Path=/"}))
    server.read("a"), server.read("a")
    assert [headers.get("Cookie") for _method, _path, headers in fake.seen] == [None, "node=two"]


def test_a_load_balancer_may_change_the_cookie_of_a_shared_session(fake):
    session = requests.Session()
    session.cookies.set("node", "one", domain="127.0.0.1", path="/")
    fake.answers = [(200, {"data": {"a": 1}}, {"Set-Cookie": "node=two; Path=/"})]
    url = f"http://127.0.0.1:{fake.server_address[1]}"
    server = Server(url, "t", address="Vault at X", token_source="y", session=session, proxied=True)
    server.read("a"), server.read("a")
    assert [headers.get("Cookie") for _method, _path, headers in fake.seen] == ["node=one", "node=two"]


def test_the_environment_names_a_proxy(fake, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{fake.server_address[1]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    fake.answers = [(200, {"data": {"a": 1}}, {})]
    server = Server("http://vault.example:8200", "t", address="Vault at X", token_source="y", timeout=2)
    assert server.read("a") == server.read("a") == {"a": 1}
    assert [path for _method, path, _headers in fake.seen] == ["http://vault.example:8200/v1/a"] * 2


def test_the_way_through_kubernetes_may_get_a_new_token(fake):
    session, tokens = requests.Session(), iter("abc")
    session.auth = lambda request: request.headers.update(Authorization=next(tokens)) or request
    fake.answers = [(200, {"data": {"a": 1}}, {})]
    url = f"http://127.0.0.1:{fake.server_address[1]}"
    server = Server(url, "t", address="Vault at X", token_source="y", session=session, proxied=True)
    server.read("a"), server.read("a")
    first, second = (headers["Authorization"] for _method, _path, headers in fake.seen)
    assert first < second


def test_a_token_that_cannot_be_sent_is_not_shown(fake):
    server = Server("http://127.0.0.1:1", "bad\nt0ken", address="Vault at X", token_source="the option token")
    with pytest.raises(VaultError, match="The token from the option token has characters") as error:
        server.read("a")
    assert "t0ken" not in str(error.value)
