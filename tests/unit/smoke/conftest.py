# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A double of the platform in one small server: the shop behind its ingress, two workers, Prometheus, and the API
server that leads to the last two. Each name in ``broken`` takes something away, or makes it wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.site import Site

JOBS = ["api-gateway", "notification-worker", "prometheus"]
PATHS = "/api/v1/namespaces/shop"
HTML = "<!doctype html><html><body>CloudCart</body></html>"
WORKLOADS = {
    "deployments": ["redis", "api-gateway", "notification-worker", "frontend"],
    "statefulsets": ["postgres", "kafka", "zookeeper", "prometheus"],
}
WAYS = {"awaiting_payment": ["confirmed"], "confirmed": ["shipped"], "shipped": ["delivered"]}


def item(name: str, **status) -> dict:
    return {"metadata": {"name": name}, "status": status}


def listed(items: list[dict]) -> dict:
    return {"metadata": {"resourceVersion": "1"}, "items": items}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Shop:
    """State of the double. ``calls`` are the requests that came through the ingress."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.calls: list[tuple[str, str, str]] = []  # host, method, path
        self.users, self.orders = {}, []
        self.products = [{"id": n, "name": f"Product {n}", "price": n + 0.99, "stock": 10 + n} for n in range(1, 8)]
        self.consumed = [{"user.created": 4}, {}]  # by worker: one of them has all partitions
        self.lock, self.validations, self.refused = threading.Lock(), 0, 0

    def event(self, topic: str) -> None:
        if f"no {topic}" not in self.broken:
            worker = self.consumed[0 if "one worker" in self.broken else 1]
            worker[topic] = worker.get(topic, 0) + 1

    def key(self) -> str:
        return "placeholder" if "known key" in self.broken else "right key"

    def token(self, user: dict) -> str:
        signed = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, user))
        return f"{signed}.{base64url(hmac.new(self.key().encode(), signed.encode(), hashlib.sha256).digest())}"

    def user_of(self, token: str) -> dict | None:
        if not token:
            return None
        payload = token.split(".")[1]
        user = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        genuine = hmac.compare_digest(self.token(user), token) or "no signature check" in self.broken
        return user if genuine else None

    # the ingress: (status, body), a str for a page

    def ask(self, host: str, method: str, path: str, token: str, body: dict):
        with self.lock:
            self.calls.append((host, method, path))
        if host != "cloudcart.local" or "no route" in self.broken:
            return 404, "404 page not found\n"
        if "rate limit" in self.broken and path.startswith("/api/"):
            self.refused += 1
            self.broken -= {"rate limit"} if "for ever" not in self.broken else set()
            return 429, {"error": "Too many requests"}
        if not path.startswith("/api") or "api route leads to frontend" in self.broken:
            return (200, {"api": "only"}) if "no page" in self.broken else (200, HTML)
        for pattern, answer in self.ROUTES:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return answer(self, token, body or {}, *match.groups())
        return 404, HTML

    def register(self, _token, body):
        if body["username"] in self.users and "doubles" not in self.broken:
            return 400, {"detail": "Username already registered"}
        if not body["email"].endswith("@example.com"):
            return 422, {"detail": "bad e-mail"}
        user = {"id": len(self.users) + 1, "username": body["username"]}
        self.users[body["username"]] = body["password"]
        self.event("user.created")
        token = {} if "no token" in self.broken else {"token": self.token(user)}
        return 201, {"message": "welcome", "user": user, **token}

    def login(self, _token, body):
        if self.users.get(body["username"]) != body["password"] and "any password" not in self.broken:
            return 401, {"error": "Invalid credentials"}
        if "no login" in self.broken:
            return 500, {"error": "getaddrinfo ENOTFOUND user-service", "seen": self.token({"id": 1})}
        return 200, {"token": self.token({"id": 1, "username": body["username"]})}

    def validate(self, token, _body):
        self.validations += 1
        other_gateway = "two keys" in self.broken and self.validations % 2 == 0
        if not self.user_of(token) or other_gateway:
            return 401, {"valid": False, "error": "Invalid token"}
        return 200, {"valid": "not valid" not in self.broken, "user": {}}

    def list_products(self, _token, _body):
        return (500, {"error": "connect ECONNREFUSED"}) if "no product-service" in self.broken else (200, self.products)

    def show_product(self, _token, _body, number):
        return 200, next(p for p in self.products if p["id"] == int(number))

    def create_order(self, token, body):
        if not self.user_of(token):
            return 403, {"error": "Invalid or expired token"}
        (item,) = body["items"]
        product = next(p for p in self.products if p["id"] == item["product_id"])
        order = {
            "id": len(self.orders) + 1,
            "status": "pending" if "pending" in self.broken else "awaiting_payment",
            "total_amount": item["price"] * item["quantity"] + (1 if "wrong total" in self.broken else 0),
            "items": [{**item, "product_name": "" if "no product name" in self.broken else product["name"]}],
        }
        if "order lost" not in self.broken:
            self.orders.append(order)
        self.event("order.created")
        return 201, order

    def my_orders(self, token, _body):
        if not token and "open orders" not in self.broken:
            return 401, {"error": "Access token required"}
        if token and not self.user_of(token):
            return 403, {"error": "Invalid or expired token"}
        return 200, self.orders

    def show_order(self, _token, _body, number):
        found = [o for o in self.orders if o["id"] == int(number)]
        return (200, found[0]) if found else (404, "Order not found\n")

    def pay(self, _token, _body, number):
        order = next((o for o in self.orders if o["id"] == int(number)), None) or {"status": "?", "items": []}
        if order["status"] != "awaiting_payment" and "pay twice" not in self.broken:
            return 400, "order is not awaiting payment\n"
        if "stock stays" not in self.broken:
            for item in order["items"]:
                self.show_product("", {}, item["product_id"])[1]["stock"] -= item["quantity"]
        for topic in ("order.payment_confirmed", "order.status_changed"):
            self.event(topic)
        return 200, self.to(order, "awaiting_payment" if "unpaid" in self.broken else "confirmed")

    def set_status(self, _token, body, number):
        order = self.show_order("", {}, number)[1]
        if body["status"] not in WAYS.get(order["status"], []) and "any status" not in self.broken:
            return 400, "invalid transition\n"
        return 200, order if "status stays" in self.broken else self.to(order, body["status"])

    @staticmethod
    def to(order: dict, status: str) -> dict:
        order["status"] = status
        return order

    def latency(self, _token, _body):
        if "no latency" not in self.broken:
            time.sleep(0.1)
        self.event("chaos.injected")
        return 200, {"chaos_type": "error" if "other chaos" in self.broken else "latency"}

    def error(self, _token, _body):
        return (200, {}) if "no error" in self.broken else (500, {"error": "Request failed with status code 500"})

    ROUTES = [
        ("POST /api/auth/register", register),
        ("POST /api/auth/login", login),
        ("GET /api/auth/validate", validate),
        ("GET /api/products", list_products),
        (r"GET /api/products/(\d+)", show_product),
        ("POST /api/orders", create_order),
        ("GET /api/orders/my-orders", my_orders),
        (r"GET /api/orders/(\d+)", show_order),
        (r"POST /api/orders/(\d+)/pay", pay),
        (r"PATCH /api/orders/(\d+)/status", set_status),
        ("POST /api/chaos/inject/latency", latency),
        ("POST /api/chaos/inject/error", error),
    ]

    # the API server

    def kubernetes(self, path: str):
        if path == "/version":
            return 200, {"gitVersion": "v1.34.4"}
        if path == "/api/v1/nodes":
            state = [("vm-1", "True"), ("vm-2", "False" if "node down" in self.broken else "True")]
            return 200, listed([item(n, conditions=[{"type": "Ready", "status": ready}]) for n, ready in state])
        if match := re.fullmatch(r"/apis/apps/v1/namespaces/shop/(\w+)", path):
            return 200, listed([self.workload(name) for name in WORKLOADS[match[1]] if f"no {name}" not in self.broken])
        if match := re.fullmatch(rf"{PATHS}/services/http:([a-z-]+):\d+/proxy/health", path):
            name = "frontend" if "wrong service" in self.broken else match[1]
            return (503, {}) if f"{name} ill" in self.broken else (200, {"status": "healthy", "service": name})
        if path == f"{PATHS}/pods":
            names = [] if "no worker" in self.broken else ["worker-0", "worker-1"]
            ready = [{"type": "Ready", "status": "True"}]
            old = item("worker-old", phase="Running")
            old["metadata"]["deletionTimestamp"] = "now"
            return 200, listed([*(item(name, phase="Running", conditions=ready) for name in names), old])
        if match := re.fullmatch(rf"{PATHS}/pods/http:worker-(\d):8005/proxy/metrics", path):
            if "no metrics" in self.broken:
                return 503, {"kind": "Status", "message": "dial tcp: connection refused"}
            counters = self.consumed[int(match[1])].items()
            return 200, "".join(f'notification_messages_consumed_total{{topic="{t}"}} {v}.0\n' for t, v in counters)
        if path.startswith(f"{PATHS}/services/http:prometheus:9090/proxy/api/v1/targets"):
            return self.prometheus()
        return 404, {"kind": "Status", "message": "not found"}

    def workload(self, name: str) -> dict:
        found = item(name, readyReplicas=1 if f"{name} crashes" in self.broken else 2)
        return {**found, "spec": {"replicas": 0 if f"{name} stopped" in self.broken else 2}}

    def prometheus(self):
        if "no prometheus" in self.broken:
            return 503, {"kind": "Status", "message": "no endpoints available for service"}
        jobs = JOBS[:-1] if "target missing" in self.broken else JOBS
        state = {"health": "up", "lastError": ""}
        down = {"health": "down", "lastError": "connection refused"} if "target down" in self.broken else state
        found = [{"labels": {"job": job}, **(down if job == "notification-worker" else state)} for job in jobs]
        return 200, {"status": "success", "data": {"activeTargets": found}}


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def address(shop):
    """Serves the double; its host:port."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            host, path = self.headers["Host"], urlsplit(self.path).path
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if host.startswith("127."):
                status, data = shop.kubernetes(path)
            else:
                status, data = shop.ask(host, self.command, path, token, body)
            page = isinstance(data, str) and not (status == 400 or path.startswith("/api/orders/"))
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.end_headers()
            self.wfile.write((data if page else json.dumps(data)).encode())

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubeconfig(address, tmp_path):
    path = tmp_path / "kubeconfig.yaml"
    config = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://{address}"}}],
        "users": [{"name": "u", "user": {"token": "the-token"}}],
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)


@pytest.fixture
def client(kubeconfig):
    return connect(kubeconfig)


@pytest.fixture
def site(address):
    return Site(address, "cloudcart.local")
