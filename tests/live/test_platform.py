# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole platform: what is broken is named by verify, and what restarts works again without losing an order."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import random
import re
import subprocess
import threading

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEALED = 120  # seconds; consumers of a broker that came back take a while to share its topics out among them
KUBECTL = "kubectl -n cloudcart"
PROXY = "/api/v1/namespaces/cloudcart/services/http"
TARGETS = f"kubectl get --raw {PROXY}:prometheus:9090/proxy/api/v1/targets"


def scale(kind: str, name: str) -> str:
    return f"{KUBECTL} scale {kind} {name} --replicas=0 && {KUBECTL} wait --for=delete pod -l app={name} --timeout=90s"


def post(service: str, path: str) -> str:
    return f"echo '{{}}' | kubectl create --raw {PROXY}:{service}/proxy{path} -f -"


def second_gateway(key: str) -> str:
    """A gateway beside those of the Deployment, with a key of its own."""
    edit = (
        "import json, sys; d = json.load(sys.stdin); p = d['spec']['template']; c = p['spec']['containers'][0]; "
        "c['command'] = ['/bin/sh', '-c', 'exec ' + c['command'][-1].rpartition('exec ')[2]]; c.pop('args', None); "
        f"c['env'] = c.get('env', []) + [dict(name='JWT_SECRET', value='{key}'), "
        "dict(name='REDIS_URL', value='redis://redis:6379')]; print(json.dumps(dict(apiVersion='v1', kind='Pod', "
        "metadata=dict(name='second-gateway', labels=dict(app='api-gateway')), spec=p['spec'])))"
    )
    return (
        f'{KUBECTL} get deployment api-gateway -o json | python3 -c "{edit}" | {KUBECTL} create -f - && '
        f"{KUBECTL} wait --for=condition=Ready pod/second-gateway --timeout=90s"
    )


NO_GATEWAY = f"{KUBECTL} delete pod second-gateway --now"
# What is done (SQL before a statement for PostgreSQL), which checks have to name it, and what takes it back where that
# is not the work of the site.
BREAKS = [
    ("Kafka is down", scale("statefulset", "kafka"), ["Kafka", "Events"], ""),
    ("Redis is down", scale("deployment", "redis"), ["Redis"], ""),
    ("users are down", scale("deployment", "user-service"), ["user-service", "Register"], ""),
    ("products are down", scale("deployment", "product-service"), ["product-service", "Products", "Ingress"], ""),
    ("orders are down", scale("deployment", "order-service"), ["order-service", "Order"], ""),
    ("workers are down", scale("deployment", "notification-worker"), ["notification-worker", "Consumed counters"], ""),
    ("frontend is down", scale("deployment", "frontend"), ["frontend", "Ingress", "Frontend"], ""),
    ("gateways with two keys", second_gateway("another"), ["Validate"], NO_GATEWAY),
    (
        "a gateway without its secret",
        f"{scale('deployment', 'api-gateway')} && {second_gateway('placeholder')}",
        ["api-gateway", "Forged token"],
        NO_GATEWAY,
    ),
    ("a product is gone", "SQL DELETE FROM products WHERE id = 7", ["Products"],
     "SQL INSERT INTO products (id, name, price, stock) VALUES (7, 'Backpack', 59.99, 80)"),
    ("the stock stays", "SQL CREATE RULE stays AS ON UPDATE TO products DO INSTEAD NOTHING", ["Stock"],
     "SQL DROP RULE stays ON products"),
    ("no payment is kept", "SQL CREATE RULE stays AS ON UPDATE TO orders DO INSTEAD NOTHING", ["Pay"],
     "SQL DROP RULE stays ON orders"),
    ("chaos is off", post("chaos-service:8004", "/chaos/disable"), ["Chaos latency"],
     post("chaos-service:8004", "/chaos/enable")),
    ("no ingress", f"{KUBECTL} delete ingress --all", ["Ingress", "Products", "Frontend"], ""),
    (
        "/api leads to the frontend",
        f"{KUBECTL} patch service api-gateway --type=merge -p "
        """'{"spec": {"selector": {"app": "frontend"}, "ports": [{"port": 3000, "targetPort": 80}]}}'""",
        ["Ingress", "Products"],
        "",
    ),
    (
        "a target is down",
        f"{KUBECTL} patch service notification-worker --type=json -p "
        """'[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}]'"""
        f" && {KUBECTL} delete pod -l app=notification-worker",  # Prometheus would go on over its open connection
        ["Prometheus"],
        "",
    ),
]  # fmt: skip


def some(cases: list, pytestconfig) -> list:
    """All of them, or with --sample one by chance."""
    if pytestconfig.getoption("sample") is None:
        return cases
    return [random.Random(pytestconfig.getoption("seed")).choice(cases)]


def do(platform, what: str) -> None:
    if what.startswith("SQL "):
        platform.psql(what.removeprefix("SQL "))
    elif what:
        platform.ssh(what)


def test_what_is_broken_is_named(platform, subtests, pytestconfig):
    assert platform.verify() == {}
    for title, how, names, back in some(BREAKS, pytestconfig):
        with subtests.test(title):
            do(platform, how)
            if names == ["Prometheus"]:  # it scrapes every 15 s
                platform.until(f"{TARGETS} | grep -q 'health.:.down'")
            failed = platform.verify()
            assert set(names) <= set(failed), failed
            do(platform, back)
            platform.complete()
    assert platform.complete().changed == []


def test_a_run_ends_with_its_phases_and_the_addresses(platform):
    end = platform.complete().text.partition("PLAY RECAP")[2]
    states = dict(re.findall(r"^(\w+) +\d+:\d\d +\d+  (ok|changed)$", end, re.M))
    site = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    assert list(states) == [part["vars"]["__site_phase"] for part in site], end
    for name, host in (("shop", ""), ("prometheus", "prometheus."), ("vault", "vault.")):
        assert re.search(rf"^{name} +http://{host}cloudcart\.local$", end, re.M), end


class Customer(threading.Thread):
    """Orders one piece again and again, and remembers what was confirmed."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.over, self.confirmed, self.refused = address, threading.Event(), [], 0
        name = f"customer-{random.randrange(10**9)}"
        body = {"username": name, "email": f"{name}@example.com", "password": "a-password-for-a-test"}
        self.token = self.post("/api/auth/register", body)["token"]

    def post(self, path: str, body: dict, token: str = "") -> dict:
        connection = http.client.HTTPConnection(self.address, timeout=15)
        with contextlib.closing(connection):
            headers = {
                "Host": "cloudcart.local",
                "Content-Type": "application/json",
                "Authorization": f"Bearer {token}",
            }
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 201:
                raise ConnectionError(f"{path}: {answer.status} {text[:200]}")
            return json.loads(text)

    def run(self) -> None:
        while not self.over.wait(1.5):  # the gateway allows an address 100 requests a minute, and verify sends some too
            try:
                order = self.post(
                    "/api/orders", {"items": [{"product_id": 3, "quantity": 1, "price": 89.99}]}, self.token
                )
                self.confirmed.append(order["id"])
            except (OSError, http.client.HTTPException, ValueError):
                self.refused += 1


@pytest.fixture
def customer(platform):
    """Somebody who shops all the time; at the end the database must hold each order that was confirmed."""
    customer = Customer(platform.address)
    customer.start()
    yield customer
    customer.over.set()
    customer.join()
    assert customer.confirmed
    kept = platform.psql("SELECT id FROM orders").split()
    assert sorted(set(map(str, customer.confirmed)) - set(kept)) == []


RESTARTS = [
    "redis", "postgres", "kafka", "zookeeper", "prometheus", "api-gateway", "user-service", "product-service",
    "order-service", "chaos-service", "notification-worker", "metrics-generator", "frontend",
]  # fmt: skip


def ready(platform) -> None:
    """Wait until every pod is ready that is to stay. A Job that succeeded leaves the pods of tries that failed."""
    running = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
    platform.until(f"{KUBECTL} wait --for=condition=Ready pods --all --timeout=5s {running}", 240)


def test_a_restart_heals_itself(platform, customer, subtests, pytestconfig):
    for app in some(RESTARTS, pytestconfig):
        with subtests.test(app):
            platform.ssh(f"{KUBECTL} delete pod -l app={app}")
            ready(platform)
            assert platform.verify(HEALED) == {}


def test_vault_forgets_and_one_run_brings_it_back(platform, customer):
    """In development mode. Pods that run go on; the next run writes the same secrets back."""
    platform.ssh(f"{KUBECTL} delete pod vault-0")
    ready(platform)
    assert platform.complete().changed
    assert platform.complete().changed == []


def test_the_machine_reboots(platform, customer):
    """Pods get no secrets from a Vault in development mode that has forgotten them, until the next run."""
    subprocess.run(["podman", "restart", "--time", "30", "cc-live-1"], check=True, capture_output=True, timeout=120)
    platform.reachable()
    platform.until("kubectl get --raw /readyz", 180)
    platform.complete()
    ready(platform)
    assert platform.verify(HEALED) == {}
