# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command in a container, against a small server that speaks the API server's exec protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import exec as pod_exec
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.kubeconfig import Access

SUCCESS = (3, {"status": "Success"})
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class ApiServer(ThreadingHTTPServer):
    """Answers one exec request with `messages` (channel, bytes or a Status), or with an HTTP error."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages, self.error, self.close = [], None, True
        self.request_line, self.headers_seen = None, {}
        self.done = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        if self.path == "/version":
            return self.answer(200, {"gitVersion": "v1.34.4"})
        server.request_line, server.headers_seen = urlsplit(self.path), self.headers
        if server.error:
            return self.answer(*server.error)
        key = self.headers["Sec-WebSocket-Key"] + GUID
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"])
        self.end_headers()
        for channel, data in server.messages:
            data = bytes([channel]) + (json.dumps(data).encode() if isinstance(data, dict) else data)
            self.wfile.write(bytes([0x82, 126]) + len(data).to_bytes(2, "big") + data)
        if server.close:
            self.wfile.write(bytes([0x88, 0]))
        else:
            server.done.wait()
        self.close_connection = True

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def api():
    server = ApiServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()


def execute(api, *command, **options):
    client = Client(Access(server=api.url, authorization=lambda: "Bearer abc"))
    return pod_exec.run_in_container(client, "shop", "postgres-0", list(command), **options)


def test_output_and_exit_code(api):
    api.messages = [(1, b"a "), (2, b"careful"), (1, b"line\n"), SUCCESS]
    assert execute(api, "psql", "-c", "SELECT 1 & 2", container="postgres") == (0, "a line\n", "careful")
    assert api.request_line.path == "/api/v1/namespaces/shop/pods/postgres-0/exec"
    assert parse_qsl(api.request_line.query) == [
        ("command", "psql"),
        ("command", "-c"),
        ("command", "SELECT 1 & 2"),
        ("stdout", "true"),
        ("stderr", "true"),
        ("container", "postgres"),
    ]
    assert api.headers_seen["Authorization"] == "Bearer abc"
    assert api.headers_seen["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"


def test_a_command_that_fails(api):
    causes = [{"reason": "ExitCode", "message": "2"}]
    api.messages = [(2, b"no such table"), (3, {"status": "Failure", "details": {"causes": causes}})]
    assert execute(api, "psql") == (2, "", "no such table")


def test_a_command_that_cannot_start(api):
    api.messages = [(3, {"status": "Failure", "message": 'exec: "psql": executable file not found'})]
    assert execute(api, "psql") == (None, "", 'exec: "psql": executable file not found')


def test_a_connection_that_ends_early(api):
    api.messages = [(1, b"half")]
    assert execute(api, "psql") == (None, "half", "The connection ended before the command did.")


def test_a_command_that_does_not_end(api):
    api.close = False
    with pytest.raises(PlatformError, match=r"Pod shop/postgres-0 did not end within 0.1 s"):
        execute(api, "psql", timeout=0.1)


def test_a_refusal_names_the_pod_and_the_reason(api):
    api.error = 404, {"reason": "NotFound", "message": 'pods "postgres-0" not found'}
    with pytest.raises(ApiError, match=r'in Pod shop/postgres-0: pods "postgres-0" not found') as caught:
        execute(api, "psql")
    assert caught.value.status == 404


def module(api, tmp_path, check_mode=False):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": api.url}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    params = {"kubeconfig": str(kubeconfig), "context": None, "namespace": "shop", "pod": "postgres-0"}
    params |= {"container": None, "command": ["psql"], "timeout": 5}
    return pod_exec.k8s_exec_info(params, check_mode)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_module_asks_in_check_mode_too(api, tmp_path, check_mode):
    api.messages = [(1, b"7\n"), SUCCESS]
    result = {"changed": False, "cluster": "present", "exit_code": 0, "stdout": "7", "stderr": ""}
    assert module(api, tmp_path, check_mode) == result


def test_a_missing_pod_is_a_result(api, tmp_path):
    api.error = 404, {"reason": "NotFound", "message": 'pods "postgres-0" not found'}
    result = module(api, tmp_path)
    assert result["exit_code"] is None
    assert "not found" in result["stderr"]


def test_missing_rights_are_a_failure(api, tmp_path):
    api.error = 403, {"reason": "Forbidden", "message": "pods is forbidden"}
    with pytest.raises(ApiError, match="lacks this right"):
        module(api, tmp_path)


def test_without_a_cluster_check_mode_has_nothing_to_ask(api, tmp_path):
    api.shutdown()
    api.server_close()
    result = {"changed": False, "cluster": "absent", "exit_code": None, "stdout": "", "stderr": ""}
    assert module(api, tmp_path, check_mode=True) == result
    with pytest.raises(PlatformError, match="refused"):
        module(api, tmp_path)
