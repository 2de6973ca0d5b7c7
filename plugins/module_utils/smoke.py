# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A customer's way through the shop, over the ingress, and the proof that what happened on it went through Kafka.

The flow may be repeated: each run makes one user and one order of one piece. It sends fewer than 40 requests, because
the gateway allows one address 100 a minute.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.site import (
    SITE_OPTIONS,
    Answer,
    Broken,
    Site,
    api,
    open_site,
    page,
    patiently,
    row,
    table,
)

OPTIONS = {
    "namespace": {"type": "str", "required": True},
    "products": {"type": "int", "default": 7},
    "fresh": {"type": "bool", "default": False},
    "jobs": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 90},
    "required": {"type": "bool", "default": True},
    **SITE_OPTIONS,
}
WORKER, WORKER_PORT = "notification-worker", 8005
CONSUMED = re.compile(r'^notification_messages_consumed_total\{[^}]*topic="([^"]+)"[^}]*\} (\S+)', re.M)
PRODUCERS = {"user": "user-service", "order": "order-service", "chaos": "chaos-service"}
# What the gateway signs with when it did not get its secret.
KNOWN_KEYS = ("placeholder", "your-secret-key")
VALIDATIONS = 6  # enough to meet each replica


def cloudcart_smoke(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name. It does nothing in check mode, since it makes an order."""
    client = connect(params["kubeconfig"], params["context"], check_mode)
    result = {"changed": False, "cluster": "absent" if client is None else "present", "steps": []}
    if client is None or check_mode:
        return result
    namespace, jobs = params["namespace"], params["jobs"]
    result["steps"] = Smoke(
        open_site(params, client),
        namespace,
        consumed=lambda: consumed(client, namespace),
        targets=(lambda: targets(client, namespace, jobs)) if jobs else None,
        products=params["products"],
        fresh=params["fresh"],
        timeout=params["timeout"],
    ).run()
    if params["required"] and not all(step["ok"] for step in result["steps"]):
        raise PlatformError("The shop does not work:\n" + table(result["steps"]), steps=result["steps"])
    return result


def consumed(client, namespace: str) -> dict[str, float]:
    """How many messages of each topic the workers have consumed: all of them, since one has all partitions."""
    total: dict[str, float] = {}
    pods = [
        pod
        for pod in client.list("Pod", namespace, labels=f"app={WORKER}")
        if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]
    logs = f"kubectl -n {namespace} logs deployment/{WORKER}"
    if not pods:
        raise Broken(f"No pod of {WORKER} runs.", f"See why: kubectl -n {namespace} describe pods -l app={WORKER}")
    for pod in pods:
        name = pod["metadata"]["name"]
        try:
            answer = client.proxy(client.pod_proxy_url(namespace, "http", name, WORKER_PORT), "/metrics", timeout=10)
        except PlatformError as e:
            raise Broken(f"The metrics of the pod {name} cannot be read. {e.what}", f"See what it says: {logs}") from e
        if answer.status_code != 200:
            raise Broken(f"The metrics of the pod {name} answer {answer.status_code}.", f"See what it says: {logs}")
        for topic, value in CONSUMED.findall(answer.text):
            total[topic] = total.get(topic, 0) + float(value)
    return total


def targets(client, namespace: str, jobs: list[str]) -> str:
    """See that Prometheus scrapes every one of ``jobs`` with success."""
    url = client.service_proxy_url(namespace, "http", "prometheus", 9090)
    try:
        answer = client.proxy(url, "/api/v1/targets?state=active", timeout=10)
        found = answer.json()["data"]["activeTargets"] if answer.status_code == 200 else None
    except (PlatformError, ValueError, KeyError) as e:
        raise Broken(f"Prometheus gives no list of targets: {e}", _see(namespace, "statefulset/prometheus")) from e
    if found is None:
        raise Broken(
            f"Prometheus answers {answer.status_code} through the API server.",
            _see(namespace, "statefulset/prometheus"),
        )
    state = {t["labels"].get("job"): t for t in found}
    missing = [job for job in jobs if job not in state]
    if missing:
        raise Broken(
            f"Prometheus has no target for {', '.join(missing)}.", "Run the play cloudcartops.platform.monitoring."
        )
    down = [job for job in jobs if state[job].get("health") != "up"]
    if down:
        why = "; ".join(f"{job}: {state[job].get('lastError') or 'not scraped yet'}" for job in down)
        raise Broken(
            f"{len(jobs) - len(down)} of {len(jobs)} targets are up. {why}", _see(namespace, f"deployment/{down[0]}")
        )
    return f"{len(jobs)} of {len(jobs)} targets are up"


class Smoke:
    """One customer. Steps that need what an earlier one did not get are told as not tried."""

    def __init__(self, site: Site, namespace, *, consumed, targets=None, products=7, fresh=False, timeout=90) -> None:
        self.site, self.namespace, self.timeout = site, namespace, timeout
        self.consumed, self.targets = consumed, targets
        self.products, self.fresh = products, fresh
        name = f"smoke-{secrets.token_hex(6)}"
        self.user = {"username": name, "email": f"{name}@example.com", "password": secrets.token_urlsafe(18)}
        self.token, self.product, self.order = "", {}, {}
        self.before: dict[str, float] | None = None
        self.events: set[str] = set()  # topics on which this run caused something

    def run(self) -> list[dict]:
        """Take all steps; those that do not need each other at the same time."""
        first = [
            row("Consumed counters", self._note_counters),
            row("Products", self._products),
            row("Register", self._register),
        ]
        chains = [
            [("Order", self._order), ("Pay", self._pay), ("Pay again", self._pay_again), ("Stock", self._stock),
             ("My orders", self._my_orders), ("Status", self._status), ("Illegal status", self._illegal_status)],
            [("Register again", self._register_again), ("Login", self._login), ("Wrong password", self._wrong_password),
             ("Validate", self._validate), ("No token", self._no_token), ("Forged token", self._forged_token)],
            [("Chaos latency", self._chaos_latency), ("Chaos error", self._chaos_error)],
            [("Frontend", self._frontend)] + ([("Prometheus", self._prometheus)] if self.targets else []),
        ]  # fmt: skip
        with ThreadPoolExecutor(len(chains)) as pool:
            done = list(pool.map(lambda chain: [row(*step) for step in chain], chains))
        return first + [r for rows in done for r in rows] + [row("Events", self._events)]

    # steps

    def _note_counters(self) -> str:
        self.before = self.consumed()
        return f"{int(sum(self.before.values()))} messages before"

    def _products(self) -> str:
        found = self._get("/api/products", "product-service")
        if not isinstance(found, list) or not found:
            raise Broken(
                "There are no products.", "Run the play cloudcartops.platform.data, which puts the first ones in."
            )
        if len(found) < self.products:
            raise Broken(
                f"There are {len(found)} products, not {self.products}.",
                "Some were deleted. Only an empty shop is filled, so put them back, or set how many there have to be.",
            )
        if self.fresh and len(found) != self.products:
            raise Broken(
                f"There are {len(found)} products, not {self.products}: the seed was put in twice.", "Delete them."
            )
        self.product = max(found, key=lambda p: p["stock"])
        if self.product["stock"] < 1:
            self.product = {}
            raise Broken(
                "Every product is out of stock.", "Raise the stock: PATCH /products/ID/stock of the product-service."
            )
        return f"{len(found)} products"

    def _register(self) -> str:
        answer = self._json(self._send("/api/auth/register", self.user), 201, "user-service")
        self.events.add("user.created")
        self.token = answer.get("token") or ""
        if not self.token or not answer.get("user", {}).get("id"):
            raise Broken("A registration was answered without a token or a user.", self._see("api-gateway"))
        return f"{self.user['username']} is registered"

    def _register_again(self) -> str:
        self._need(self.token, "Register")
        self._json(self._send("/api/auth/register", self.user), 400, "user-service")
        return "the same name is refused"

    def _login(self) -> str:
        self._need(self.token, "Register")
        answer = self._json(self._send("/api/auth/login", self._credentials()), 200, "user-service")
        if not answer.get("token"):
            raise Broken("A login was answered without a token.", self._see("api-gateway"))
        return "the right password is accepted"

    def _wrong_password(self) -> str:
        self._need(self.token, "Register")
        self._json(self._send("/api/auth/login", self._credentials(password="wrong")), 401, "user-service")
        return "a wrong password is refused"

    def _validate(self) -> str:
        self._need(self.token, "Register")
        for n in range(1, VALIDATIONS + 1):
            answer = self.site.call("GET", "/api/auth/validate", token=self.token)
            if answer.status in (401, 403):
                raise Broken(
                    f"A good token was refused at try {n}: the gateways do not all have the same key.",
                    f"Restart those that read another one: kubectl -n {self.namespace} rollout restart "
                    "deployment/api-gateway",
                )
            if self._json(answer, 200, "api-gateway").get("valid") is not True:
                raise Broken(f"A good token was not found valid at try {n}.", self._see("api-gateway"))
        return f"a good token is valid, {VALIDATIONS} times"

    def _no_token(self) -> str:
        self._json(self.site.call("GET", "/api/orders/my-orders"), 401, "api-gateway")
        return "nothing is shown without a token"

    def _forged_token(self) -> str:
        self._need(self.token, "Register")
        for key in (secrets.token_urlsafe(32), *KNOWN_KEYS):
            answer = self.site.call("GET", "/api/orders/my-orders", token=forged(self.token, key))
            if answer.status == 200:
                raise Broken(
                    "A token that somebody else signed is accepted"
                    + (f": the gateway's key is '{key}', not the one in Vault." if key in KNOWN_KEYS else "."),
                    f"Restart the gateways when Vault works: kubectl -n {self.namespace} rollout restart "
                    "deployment/api-gateway",
                )
            self._json(answer, 403, "api-gateway")
        return "tokens of other keys are refused"

    def _order(self) -> str:
        self._need(self.token, "Register")
        self._need(self.product, "Products")
        item = {"product_id": self.product["id"], "quantity": 1, "price": self.product["price"]}
        answer = self._json(self._send("/api/orders", {"items": [item]}), 201, "order-service")
        self.events.add("order.created")
        fix = self._see("order-service")
        if answer.get("status") != "awaiting_payment":
            raise Broken(f"A new order has the status {answer.get('status')}, not awaiting_payment.", fix)
        if abs(float(answer.get("total_amount", 0)) - float(item["price"])) > 0.005:
            raise Broken(f"An order of {item['price']} amounts to {answer.get('total_amount')}.", fix)
        if not (answer.get("items") or [{}])[0].get("product_name"):
            raise Broken("The order has no name of its product: order-service did not reach product-service.", fix)
        self.order = answer
        return f"order {answer['id']} of one {answer['items'][0]['product_name']}"

    def _pay(self) -> str:
        self._need(self.order, "Order")
        answer = self._json(self._send(self._path("/pay"), {"payment_method": "card"}), 200, "order-service")
        self.events |= {"order.payment_confirmed", "order.status_changed"}
        if answer.get("status") != "confirmed":
            raise Broken(f"A paid order has the status {answer.get('status')}.", self._see("order-service"))
        self.order["paid"] = True
        return "the order is confirmed"

    def _pay_again(self) -> str:
        self._need(self.order.get("paid"), "Pay")
        self._json(self._send(self._path("/pay"), {"payment_method": "card"}), 400, "order-service")
        return "a second payment is refused"

    def _stock(self) -> str:
        self._need(self.order.get("paid"), "Pay")
        before = self.product["stock"]
        now = self._get(f"/api/products/{self.product['id']}", "product-service").get("stock")
        if now != before - 1:
            raise Broken(
                f"The stock of {self.product['name']} was {before} and is {now} after one piece was paid.",
                f"{self._see('order-service')} It asks product-service to lower the stock. Others who shop at the same "
                "time lower it too: then run again.",
            )
        return f"the stock fell from {before} to {now}"

    def _my_orders(self) -> str:
        self._need(self.order, "Order")
        wanted = self.order["id"]
        found = self._get("/api/orders/my-orders", "order-service")
        if not isinstance(found, list) or wanted not in [o.get("id") for o in found]:
            raise Broken(f"The order {wanted} is not among the orders of its user.", self._see("order-service"))
        if self._get(self._path(), "order-service").get("id") != wanted:
            raise Broken(f"Another order than {wanted} was shown.", self._see("order-service"))
        return f"order {wanted} is among them"

    def _status(self) -> str:
        self._need(self.order.get("paid"), "Pay")
        answer = self._json(self._set_status("shipped"), 200, "order-service")
        if answer.get("status") != "shipped":
            raise Broken(f"A shipped order has the status {answer.get('status')}.", self._see("order-service"))
        self.order["shipped"] = True
        return "the order is shipped"

    def _illegal_status(self) -> str:
        self._need(self.order.get("shipped"), "Status")
        self._json(self._set_status("awaiting_payment"), 400, "order-service")
        return "a way back is refused"

    def _chaos_latency(self) -> str:
        answer = self._send("/api/chaos/inject/latency", {})
        if self._json(answer, 200, "chaos-service").get("chaos_type") != "latency":
            raise Broken("Chaos of another type than latency was reported.", self._see("chaos-service"))
        self.events.add("chaos.injected")
        if answer.seconds < 0.1:
            raise Broken(f"Latency was injected, but it took only {answer.seconds:.3f} s.", self._see("chaos-service"))
        return f"{answer.seconds:.1f} s"

    def _chaos_error(self) -> str:
        self._json(self._send("/api/chaos/inject/error", {}), 500, "chaos-service")
        return "the error arrives"

    def _frontend(self) -> str:
        return page(self.site)

    def _prometheus(self) -> str:
        return patiently(self.targets, self.timeout)

    def _events(self) -> str:
        self._need(self.before is not None, "Consumed counters")
        self._need(self.events, "Register")
        return patiently(self._risen, self.timeout)

    def _risen(self) -> str:
        now = self.consumed()
        still = sorted(topic for topic in self.events if now.get(topic, 0) <= self.before.get(topic, 0))
        if not still:
            return f"events of {len(self.events)} topics were consumed"
        producers = " ".join(f"deployment/{name}" for name in sorted({PRODUCERS[t.partition(".")[0]] for t in still}))
        raise Broken(
            f"Nothing was consumed of {', '.join(still)}.",
            f"See whether Kafka is ready: kubectl -n {self.namespace} get pods -l app=kafka. Services that started "
            f"without it give up on it until restarted: kubectl -n {self.namespace} rollout restart {producers}",
        )

    # what steps have in common

    def _credentials(self, **over) -> dict:
        return {"username": self.user["username"], "password": self.user["password"], **over}

    def _path(self, below: str = "") -> str:
        return f"/api/orders/{self.order['id']}{below}"

    def _send(self, path: str, body: dict) -> Answer:
        return self.site.call("POST", path, token=self.token, body=body)

    def _set_status(self, status: str) -> Answer:
        return self.site.call("PATCH", self._path("/status"), token=self.token, body={"status": status})

    def _get(self, path: str, service: str):
        return self._json(self.site.call("GET", path, token=self.token), 200, service)

    def _json(self, answer: Answer, status: int, service: str):
        """The answer's JSON, if it is one with this status. The frontend answers every path, with a page."""
        return api(answer, status, self._see(service))

    def _see(self, service: str) -> str:
        return _see(self.namespace, f"deployment/{service}")

    @staticmethod
    def _need(value, step: str) -> None:
        if not value:
            raise Broken(f"Not tried, because the step '{step}' failed.", "")


def forged(token: str, key: str) -> str:
    """The same token signed with another key (HS256, https://www.rfc-editor.org/rfc/rfc7515#section-3.1)."""
    signed = token.rpartition(".")[0]
    digest = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _see(namespace: str, what: str) -> str:
    return f"See what it says: kubectl -n {namespace} logs {what}"
