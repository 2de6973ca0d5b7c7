# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API server: objects in memory, merged as server-side apply does, failures on request."""

from __future__ import annotations

import copy
import importlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from ansible.module_utils.testing import patch_module_args

PREFIX = "ansible_collections.cloudcartops.platform.plugins.modules."
PLURALS = re.compile(r"^(/apis?/(?:[^/]+/)?v\w+)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?$")


class Api:
    """What the tests set up and look at."""

    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}  # by path
        self.failures: list[tuple] = []  # (method, part of the path, times, status, Status object)
        self.requests: list[tuple] = []  # (method, path, query, body, headers)
        self.events: dict[str, list] = {}  # by plural: rounds of events; each watch takes one round
        self.logs: dict[tuple, str] = {}  # by (pod, container, "previous" or "")
        self.resources: dict[str, list] = {}  # discovery, by apiVersion
        self.version = 100
        self.ahead: dict[str, float] = {}  # by part of the path: seconds that the clock of who answers is ahead
        self.over = threading.Event()  # ends watches that nothing happens in

    # what tests call

    def put(self, path: str, obj: dict) -> dict:
        """Store an object as if it had been there before."""
        self.version += 1
        name = path.rpartition("/")[2]
        namespace = PLURALS.match(path)[2]
        meta = {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(self.version),
            "managedFields": [self.version],
        }
        meta |= {"namespace": namespace} if namespace else {}
        self.objects[path] = merged(obj, {"metadata": merged(meta, obj.get("metadata", {}))})
        return self.objects[path]

    def namespace(self, name: str) -> None:
        self.put(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace"})

    def fail(self, method: str, part: str, status: int, message: str = "", times: int = 99, **more) -> None:
        self.failures.append([method, part, times, status, {"kind": "Status", "message": message, **more}])

    def sent(self, *methods: str) -> list[str]:
        """The requests of these methods, "PATCH /api/… dry" and so on."""
        return [
            f"{method} {path}" + (" dry" if self._is_dry(method, query, body) else "")
            for method, path, query, body, _headers in self.requests
            if method in methods
        ]

    @staticmethod
    def _is_dry(method: str, query: dict, body: dict | None) -> bool:
        """The API takes the options of a deletion from the body, if there is one, and then not from the query."""
        return "dryRun" in (body if method == "DELETE" and body else query)

    # the server's side

    def answer(self, method: str, path: str, query: dict, body: dict | None):
        for failure in self.failures:
            if failure[0] == method and failure[1] in path and failure[2] > 0:
                failure[2] -= 1
                return failure[3], failure[4]
        if path == "/version":
            return 200, {"gitVersion": "v1.34.4"}
        if path.endswith("/log"):
            key = (path.split("/")[-2], query.get("container", ""), "previous" if query.get("previous") else "")
            return (200, self.logs[key]) if key in self.logs else (400, {"message": "container is waiting to start"})
        if "/proxy/" in path:
            return 200, {"proxied": path, "query": query}
        for version, resources in self.resources.items():
            if path == f"/apis/{version}":
                return 200, {"resources": resources}
        found = PLURALS.match(path)
        if not found:
            return 404, {"message": "the server could not find the requested resource"}
        _root, namespace, plural, name = found.groups()
        if plural == "namespaces" and name is None and namespace:  # /api/v1/namespaces/x
            plural, name, namespace = "namespaces", namespace, None
        if method in ("POST", "PATCH") and namespace and f"/api/v1/namespaces/{namespace}" not in self.objects:
            message = f'namespaces "{namespace}" not found'
            return 404, {"message": message, "reason": "NotFound", "details": {"kind": "namespaces", "name": namespace}}
        return getattr(self, f"_{method.lower()}")(path, query, body, name)

    def _get(self, path, query, _body, name):
        if name:
            return (200, self.objects[path]) if path in self.objects else self._not_found(name)
        if query.get("watch"):
            rounds = self.events.get(path.rpartition("/")[2], [])
            return 200, iter(rounds.pop(0)) if rounds else self._silence(int(query["timeoutSeconds"]))
        root, _slash, plural = path.rpartition("/")
        inside = [o for p, o in self.objects.items() if re.fullmatch(f"{root}(/namespaces/[^/]+)?/{plural}/[^/]+", p)]
        selectors = ("labelSelector", query.get("labelSelector")), ("fieldSelector", query.get("fieldSelector"))
        for kind, selector in selectors:
            for term in filter(None, (selector or "").split(",")):
                key, _equals, value = term.partition("=")
                inside = [o for o in inside if self._matches(o, kind, key, value)]
        items = [{k: v for k, v in o.items() if k not in ("apiVersion", "kind")} for o in inside]
        return 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items}

    def _silence(self, seconds):
        self.over.wait(seconds)
        yield from ()

    @staticmethod
    def _matches(obj, selector, key, value):
        if selector == "labelSelector":
            return obj["metadata"].get("labels", {}).get(key) == value
        for part in key.split("."):
            obj = obj.get(part, {})
        return obj == value

    def _post(self, path, query, body, _name):
        meta = body["metadata"]
        target = f"{path}/{meta['name'] if 'name' in meta else meta['generateName'] + 'x7b2k'}"
        if target in self.objects:
            return 409, {"message": "already exists", "reason": "AlreadyExists"}
        return 201, copy.deepcopy(body) if "dryRun" in query else self.put(target, body)

    def _patch(self, path, query, body, name):
        live = self.objects.get(path)
        version = body["metadata"].get("resourceVersion")
        if live and version and version != live["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified", "reason": "Conflict"}
        if not live and "force" not in query:
            return self._not_found(name)
        after = merged(live or {}, body)
        if "dryRun" in query:
            after["metadata"] |= {"managedFields": ["dry"], "generation": 99}
            return 200, after
        return 200, after if live == after else self.put(path, after)

    def _delete(self, path, query, body, name):
        if path not in self.objects:
            return self._not_found(name)
        wanted = (body or {}).get("preconditions", {}).get("resourceVersion")
        if wanted and wanted != self.objects[path]["metadata"]["resourceVersion"]:
            return 409, {"message": "precondition failed", "reason": "Conflict"}
        if not self._is_dry("DELETE", query, body):
            del self.objects[path]
        return 200, {"kind": "Status", "status": "Success"}

    @staticmethod
    def _not_found(name):
        return 404, {"message": f'"{name}" not found', "reason": "NotFound", "details": {"name": name}}


def merged(old: dict, new: dict) -> dict:
    result = copy.deepcopy(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def handler(api: Api):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def _serve(self):
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query))
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            api.requests.append((self.command, url.path, query, body, dict(self.headers)))
            status, answer = api.answer(self.command, url.path, query, body)
            if hasattr(answer, "__next__"):  # a watch: one JSON document a line, then the end
                self.send_response(status)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.flush()
                for event in answer:
                    self.wfile.write(json.dumps(event).encode() + b"\n")
                    self.wfile.flush()
                self.close_connection = True
                return
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = do_LIST = _serve

        def date_time_string(self, timestamp=None):
            ahead = sum(seconds for part, seconds in api.ahead.items() if part in self.path)
            return super().date_time_string((timestamp or time.time()) + ahead)

        def log_message(self, *_args):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def serve(api):
    """Serve ``api`` on loopback, with TLS if given a context; returns the URL."""
    servers = []

    def start(tls=None) -> str:
        server = Server(("127.0.0.1", 0), handler(api))
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"

    yield start
    api.over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def write_kubeconfig(tmp_path):
    def write(server: str, user: dict | None = None, **cluster) -> str:
        path = tmp_path / "kubeconfig.yaml"
        config = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": user if user is not None else {"token": "the-token"}}],
        }
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return str(path)

    return write


@pytest.fixture
def kubeconfig(serve, write_kubeconfig):
    return write_kubeconfig(serve())


@pytest.fixture
def absent(tmp_path):
    """Path of a kubeconfig that does not exist."""
    return str(tmp_path / "absent.yaml")


@pytest.fixture
def client(kubeconfig):
    name = "ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client"
    return importlib.import_module(name).connect(kubeconfig)


@pytest.fixture
def run_module(capsys, warnings_in_results):
    """Run a module's main() as Ansible does; returns its result, with ``failed``."""

    def run(module_name: str, /, check: bool = False, **args) -> dict:
        module = importlib.import_module(PREFIX + module_name)
        with (
            patch_module_args({**args, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            module.main()
        result = json.loads(capsys.readouterr().out)
        return {"failed": False, **result}

    return run
