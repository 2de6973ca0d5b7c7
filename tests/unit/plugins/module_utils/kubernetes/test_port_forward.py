# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a port of a pod, against a small server that speaks the API server's portforward protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.kubeconfig import Access
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.port_forward import (
    Disconnected,
    PortForward,
)

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
PORT = struct.pack("<H", 29092)
INTRODUCTION = [b"\0" + PORT, b"\1" + PORT]  # the first message on each channel


class ApiServer(ThreadingHTTPServer):
    """Answers one portforward request with `messages`, then hangs up, or waits when `close` is off."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages, self.error, self.close, self.path, self.received = [], None, True, "", b""
        self.done = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        self.server.path = self.path
        if self.server.error:
            status, message = self.server.error
            body = json.dumps({"message": message}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        key = self.headers["Sec-WebSocket-Key"] + GUID
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"])
        self.end_headers()
        for message in INTRODUCTION:
            self.frame(message)
        self.server.received = self.read_frame()
        for message in self.server.messages:
            self.frame(message)
        if self.server.close:
            self.wfile.write(bytes([0x88, 0]))
        else:
            self.server.done.wait()

    def frame(self, data):
        self.wfile.write(bytes([0x82, len(data)]) + data)

    def read_frame(self):
        _opcode, length = self.rfile.read(2)
        mask, data = self.rfile.read(4), self.rfile.read(length & 0x7F)
        return bytes(b ^ mask[n % 4] for n, b in enumerate(data))

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


def forward(api):
    client = Client(Access(server=f"http://127.0.0.1:{api.server_port}"))
    return closing(PortForward(client, "shop", "kafka-0", 29092))


def test_bytes_go_both_ways(api):
    api.messages = [b"\0pi", b"\0", b"\0ng"]
    with forward(api) as connection:
        connection.send(b"ping")
        assert connection.receive(5) + connection.receive(5) == b"ping"
        with pytest.raises(Disconnected, match=r"Port 29092 of Pod shop/kafka-0 closed the connection"):
            connection.receive(5)
    assert api.path == "/api/v1/namespaces/shop/pods/kafka-0/portforward?ports=29092"
    assert api.received == b"\0ping"


def test_a_port_that_nobody_listens_on(api):
    api.messages = [b"\1connect: connection refused"]
    with forward(api) as connection:
        connection.send(b"ping")
        with pytest.raises(Disconnected, match=r"cannot be reached: connect: connection refused"):
            connection.receive(5)


def test_a_pod_that_does_not_answer(api):
    api.close = False
    with forward(api) as connection:
        connection.send(b"ping")
        with pytest.raises(Disconnected, match=r"did not answer within 0.1 s"):
            connection.receive(0.1)
        api.done.set()


def test_a_refusal_names_the_pod_and_the_reason(api):
    api.error = 404, 'pods "kafka-0" not found'
    with pytest.raises(ApiError, match=r'reach port 29092 of Pod shop/kafka-0: pods "kafka-0" not found') as caught:
        forward(api)
    assert caught.value.status == 404
