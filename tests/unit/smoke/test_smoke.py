# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way through the shop: it succeeds in one that works, and each assertion fails where its cause is broken."""

from __future__ import annotations

import re

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils import site as site_module
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.site import Broken, Site, table
from ansible_collections.cloudcartops.platform.plugins.module_utils.smoke import cloudcart_smoke, consumed, targets

JOBS = ["api-gateway", "notification-worker", "prometheus"]
DEFAULTS = {
    "context": None,
    "namespace": "shop",
    "products": 7,
    "fresh": False,
    "jobs": JOBS,
    "timeout": 0,
    "required": False,
    "domain": "cloudcart.local",
    "scheme": "http",
    "ca_cert": None,
    "validate_certs": True,
}


@pytest.fixture
def smoke(kubeconfig, address):
    """A function: the rows by name."""

    def run(**over) -> dict[str, dict]:
        params = {**DEFAULTS, "kubeconfig": kubeconfig, "address": address, **over}
        return {row["name"]: row for row in cloudcart_smoke(params, False)["steps"]}

    return run


def failed(rows) -> set[str]:
    """The steps that failed themselves; not those that were not tried."""
    return {name for name, row in rows.items() if not row["ok"] and not row["detail"].startswith("Not tried")}


def test_a_shop_that_works(smoke, shop):
    for _again in range(2):
        rows = smoke()
        assert failed(rows) == set() and all(row["ok"] for row in rows.values()), rows
    assert set(rows) == {
        "Consumed counters", "Products", "Register", "Order", "Pay", "Pay again", "Stock", "My orders", "Status",
        "Illegal status", "Register again", "Login", "Wrong password", "Validate", "No token", "Forged token",
        "Chaos latency", "Chaos error", "Frontend", "Prometheus", "Events",
    }  # fmt: skip
    assert "from 16 to 15" in rows["Stock"]["detail"], "the second run orders one piece as well"
    assert len(shop.calls) / 2 < 40, "the gateway allows an address 100 a minute"
    assert {host for host, _method, _path in shop.calls} == {"cloudcart.local"}
    assert len(shop.users) == 2 and all(name.startswith("smoke-") for name in shop.users)


@pytest.mark.parametrize(
    ("broken", "step", "says", "fix"),
    [
        ("no route", "Products", "no such route", "platform.ingress"),
        ("api route leads to frontend", "Products", "text/html, not with JSON", "platform.ingress"),
        ("no product-service", "Products", "answered 500, not 200", "logs deployment/product-service"),
        ("no token", "Register", "without a token", "logs deployment/api-gateway"),
        ("doubles", "Register again", "answered 201, not 400", "logs deployment/user-service"),
        ("no login", "Login", "answered 500, not 200", "logs deployment/user-service"),
        ("any password", "Wrong password", "answered 200, not 401", "logs deployment/user-service"),
        ("two keys", "Validate", "do not all have the same key", "rollout restart deployment/api-gateway"),
        ("not valid", "Validate", "not found valid", "logs deployment/api-gateway"),
        ("open orders", "No token", "answered 200, not 401", "logs deployment/api-gateway"),
        ("no signature check", "Forged token", "somebody else signed is accepted.", "rollout restart"),
        ("known key", "Forged token", "the gateway's key is 'placeholder'", "rollout restart deployment/api-gateway"),
        ("pending", "Order", "status pending, not awaiting_payment", "logs deployment/order-service"),
        ("wrong total", "Order", "amounts to", "logs deployment/order-service"),
        ("no product name", "Order", "did not reach product-service", "logs deployment/order-service"),
        ("unpaid", "Pay", "status awaiting_payment", "logs deployment/order-service"),
        ("pay twice", "Pay again", "answered 200, not 400", "logs deployment/order-service"),
        ("stock stays", "Stock", "was 17 and is 17", "logs deployment/order-service"),
        ("order lost", "My orders", "is not among the orders", "logs deployment/order-service"),
        ("status stays", "Status", "has the status confirmed", "logs deployment/order-service"),
        ("any status", "Illegal status", "answered 200, not 400", "logs deployment/order-service"),
        ("no latency", "Chaos latency", "it took only 0.0", "logs deployment/chaos-service"),
        ("other chaos", "Chaos latency", "another type", "logs deployment/chaos-service"),
        ("no error", "Chaos error", "answered 200, not 500", "logs deployment/chaos-service"),
        ("no page", "Frontend", "application/json, not with a page", "platform.ingress"),
        ("target down", "Prometheus", "2 of 3 targets are up. notification-worker: connection refused", "logs"),
        ("target missing", "Prometheus", "no target for prometheus", "platform.monitoring"),
        ("no prometheus", "Prometheus", "answers 503", "logs statefulset/prometheus"),
        ("no worker", "Consumed counters", "No pod of notification-worker runs", "describe pods"),
        ("no metrics", "Consumed counters", "worker-0 answer 503", "logs deployment/notification-worker"),
        ("no user.created", "Events", "consumed of user.created", "rollout restart deployment/user-service"),
        ("no order.created", "Events", "consumed of order.created", "rollout restart deployment/order-service"),
        ("no order.payment_confirmed", "Events", "consumed of order.payment_confirmed", "deployment/order-service"),
        ("no order.status_changed", "Events", "consumed of order.status_changed", "deployment/order-service"),
        ("no chaos.injected", "Events", "consumed of chaos.injected", "rollout restart deployment/chaos-service"),
    ],
)
def test_each_cause_is_named(smoke, shop, broken, step, says, fix):
    shop.broken = {broken}
    rows = smoke()
    assert step in failed(rows)
    assert says in rows[step]["detail"] and fix in rows[step]["fix"]
    for row in rows.values():
        assert not re.search(r"eyJ[\w-]{8}", row["detail"]), "a token is shown"


def test_a_dead_topic_breaks_no_other_step(smoke, shop):
    shop.broken = {"no order.created"}
    assert failed(smoke()) == {"Events"}


def test_steps_without_what_they_need_are_not_tried(smoke, shop):
    shop.broken = {"no token"}
    rows = smoke()
    assert rows["Pay"]["detail"] == "Not tried, because the step 'Order' failed."
    assert rows["Pay"]["fix"] == "" and not rows["Pay"]["ok"]
    assert rows["Chaos latency"]["ok"] and rows["Frontend"]["ok"]


def test_the_limit_of_the_gateway(smoke, shop, monkeypatch):
    shop.broken = {"rate limit"}
    assert failed(smoke()) == set() and shop.refused == 1
    shop.broken = {"rate limit", "for ever"}
    monkeypatch.setattr(site_module, "RATE_WINDOW", 0)
    row = smoke()["Products"]
    assert "100 requests in a minute" in row["detail"] and "Wait a minute" in row["fix"]


def test_the_seed(smoke, shop):
    assert smoke(fresh=True)["Products"]["ok"]
    shop.products.append({**shop.products[0], "id": 8})
    assert smoke()["Products"]["ok"]
    assert "put in twice" in smoke(fresh=True)["Products"]["detail"]
    del shop.products[:2]
    assert "There are 6 products, not 7." in smoke()["Products"]["detail"]
    shop.products.clear()
    assert "platform.data" in smoke()["Products"]["fix"]


def test_without_stock(smoke, shop):
    for product in shop.products:
        product["stock"] = 0
    rows = smoke()
    assert failed(rows) == {"Products"} and "PATCH /products/ID/stock" in rows["Products"]["fix"]


def test_the_counters_of_all_workers_are_summed(client, shop):
    shop.consumed = [{"order.created": 2}, {"order.created": 3, "stock.low": 1}]
    assert consumed(client, "shop") == {"order.created": 5, "stock.low": 1}


def test_what_is_late_is_waited_for(smoke, shop, monkeypatch):
    late = []
    monkeypatch.setattr(Site, "call", _late(Site.call, shop, late))
    shop.broken = {"no order.created"}
    rows = smoke(timeout=20)
    assert rows["Events"]["ok"] and late


def _late(call, shop, late):
    """The first event comes when the last request was sent."""

    def slow(self, method, path, **more):
        answer = call(self, method, path, **more)
        if path.endswith("/status") and not late:
            late.append(path)
            shop.broken = set()
            shop.event("order.created")
        return answer

    return slow


def test_failure_is_a_table(smoke, shop):
    shop.broken = {"stock stays"}
    with pytest.raises(PlatformError, match=r"(?s)The shop does not work:\n.*Stock +FAILED .*\n- Stock: See what") as e:
        smoke(required=True)
    assert [step["name"] for step in e.value.facts["steps"] if not step["ok"]] == ["Stock"]


def test_check_mode_and_no_cluster(kubeconfig, address, tmp_path, shop):
    params = {**DEFAULTS, "kubeconfig": kubeconfig, "address": address}
    assert cloudcart_smoke(params, True) == {"changed": False, "cluster": "present", "steps": []}
    params["kubeconfig"] = str(tmp_path / "absent.yaml")
    assert cloudcart_smoke(params, True) == {"changed": False, "cluster": "absent", "steps": []}
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        cloudcart_smoke(params, False)
    assert shop.calls == []


def test_nothing_listens(smoke):
    rows = smoke(address="127.0.0.1:1")
    assert "got no answer from 127.0.0.1 port 1" in rows["Products"]["detail"]
    assert "Traefik" in rows["Products"]["fix"]
    assert rows["Prometheus"]["ok"], "the way over the API server is another one"


def test_the_address_of_the_api_server_is_the_default(smoke, address):
    rows = smoke(address=None)
    assert "127.0.0.1 port 80" in rows["Products"]["detail"]


def test_targets(client):
    assert targets(client, "shop", JOBS) == "3 of 3 targets are up"
    with pytest.raises(Broken, match="no target for kafka"):
        targets(client, "shop", ["kafka"])


def test_table():
    rows = [
        {"name": "A", "ok": True, "detail": "fine", "fix": ""},
        {"name": "Longer", "ok": False, "detail": "bad", "fix": "Mend it."},
        {"name": "B", "ok": False, "detail": "worse", "fix": "Mend it."},
    ]
    assert table(rows).splitlines() == [
        "A       ok      fine",
        "Longer  FAILED  bad",
        "B       FAILED  worse",
        "",
        "What to do:",
        "- Longer, B: Mend it.",
    ]
