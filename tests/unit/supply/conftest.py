# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the sources of artifacts: a server with files, and a registry that gives manifests for a token."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
import urllib.parse

import pytest

INDEX = "application/vnd.oci.image.index.v1+json"
AMD64, ARM64 = (f"sha256:{letter * 64}" for letter in "12")


def index_of(*platforms: tuple[str, str, str]) -> dict:
    entries = [{"digest": d, "platform": {"os": system, "architecture": a}} for system, a, d in platforms]
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}


BOTH = index_of(("linux", "amd64", AMD64), ("linux", "arm64", ARM64), ("unknown", "unknown", f"sha256:{'3' * 64}"))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and below /v2/ manifests: {"name:tag": (body, media type, more headers)}."""

    manifests: dict = {}
    asked: list = []
    challenge = 'Bearer realm="{url}/token",service="stand-in"'

    def log_message(self, *_arguments):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        url = f"http://{self.headers['Host']}"
        path = urllib.parse.urlsplit(self.path)
        if path.path == "/token":
            scope = urllib.parse.parse_qs(path.query)["scope"][0]
            return self.answer(200, {"token": f"for {scope}"})
        if not path.path.startswith("/v2/"):
            return super().do_GET()
        name, _slash, tag = path.path.removeprefix("/v2/").replace("/manifests/", ":").rpartition(":")
        if self.headers.get("Authorization") != f"Bearer for repository:{name}:pull":
            return self.answer(401, {}, {"WWW-Authenticate": self.challenge.format(url=url)})
        if f"{name}:{tag}" not in self.manifests:
            return self.answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})
        body, kind, headers = self.manifests[f"{name}:{tag}"]
        return self.answer(200, body, {"Content-Type": kind, **headers})

    def answer(self, status, body, headers=()):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        given = {"Docker-Content-Digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", **dict(headers)}
        for name, value in {**given, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


class Sources:
    """``folder`` is what is published, ``manifests`` what the registry has, ``asked`` the paths that were asked for."""

    def __init__(self, folder, server):
        self.folder, self.host = folder, f"127.0.0.1:{server.server_port}"
        self.url = f"http://{self.host}"
        self.handler = server.RequestHandlerClass.func
        self.manifests, self.asked = self.handler.manifests, self.handler.asked

    def image(self, name: str, body=BOTH, kind: str = INDEX, **headers) -> str:
        self.manifests[name] = (body, kind, headers)
        return f"{self.host}/{name}"


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    handler = type("OfOneTest", (Handler,), {"manifests": {}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    with server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Sources(folder, server)
        server.shutdown()
