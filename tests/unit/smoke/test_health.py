# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of each part, and that each answer but the right one is told, with what to do."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils import health, site
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

SERVICES = {
    "frontend": {"image": "frontend", "port": 80},
    "postgres": {"secrets": {}},
    "api-gateway": {"image": "gateway", "port": 3000, "health": "/health"},
    "notification-worker": {"image": "worker", "port": 8005},
}
ALL = [
    "Nodes",
    "Vault injector",
    "PostgreSQL",
    "Redis",
    "Kafka",
    "frontend",
    "api-gateway",
    "notification-worker",
    "Prometheus",
]


class Pod:
    """A connection to a port of a pod, in place of a port forward of the API server."""

    answer, refusal = b"+PONG\r\n", None

    def __init__(self, _client, _namespace, _pod, port):
        if self.refusal:
            raise PlatformError(self.refusal)
        self.port = port

    def send(self, data):
        assert (self.port, data) == (6379, b"PING\r\n")

    def receive(self, _timeout):
        return self.answer

    def close(self):
        pass


@pytest.fixture
def parts(monkeypatch):
    """What the parts answer that the double has no protocol for."""
    answers = {"psql": (0, "7\n", ""), "topics": ["order.created", "stock.low"], "injector": {"live": True}}
    monkeypatch.setattr(health, "PortForward", type("Pod", (Pod,), {}))
    monkeypatch.setattr(health, "Broker", lambda pod: pod.port)
    monkeypatch.setattr(health, "read", lambda port, wanted: {t.name for t in wanted} & set(answers["topics"]))
    monkeypatch.setattr(health, "run_in_container", lambda *_arguments: answers["psql"])
    monkeypatch.setattr(health, "vault_injector_check", lambda *_arguments: answers["injector"])
    return answers


@pytest.fixture
def ask(kubeconfig, address, parts):
    """A function: the rows by name."""

    def run(**over):
        params = {
            "kubeconfig": kubeconfig,
            "context": None,
            "namespace": "shop",
            "services": SERVICES,
            "topics": ["order.created", "stock.low"],
            "jobs": ["api-gateway", "prometheus"],
            "timeout": 0,
            "address": address,
            "domain": "cloudcart.local",
            "scheme": "http",
            "ca_cert": None,
            "validate_certs": True,
            **over,
        }
        return {row["name"]: row for row in health.cloudcart_health_info(params, False)["checks"]}

    return run


def test_a_platform_that_works(ask):
    rows = ask()
    assert list(rows) == [*ALL, "Ingress"]
    assert [row["detail"] for row in rows.values() if not row["ok"]] == []
    assert rows["Nodes"]["detail"] == "2 of 2 ready, Kubernetes v1.34.4"
    assert rows["PostgreSQL"]["detail"] == "7 products, read with the credentials from Vault"
    assert rows["Redis"]["detail"] == "2 of 2 ready, answers a ping"
    assert rows["Kafka"]["detail"] == "2 of 2 ready, has 2 topics"
    assert rows["api-gateway"]["detail"] == "2 of 2 ready, /health answers"
    assert rows["notification-worker"]["detail"] == "2 of 2 ready"
    assert rows["Ingress"]["detail"] == "cloudcart.local shows the shop and its products"


@pytest.mark.parametrize(
    ("broken", "name", "says", "fix"),
    [
        ("node down", "Nodes", "1 of 2 ready", "kubectl describe node vm-2"),
        ("no postgres", "PostgreSQL", "no workload postgres", "cloudcartops.platform.data"),
        ("redis crashes", "Redis", "1 of 2 pods of redis are ready", "describe pods -l app=redis"),
        ("kafka stopped", "Kafka", "kafka is scaled to 0", "cloudcartops.platform.data"),
        ("zookeeper crashes", "Kafka", "1 of 2 pods of zookeeper are ready", "describe pods -l app=zookeeper"),
        ("no worker", "Redis", "No pod of redis is ready", "logs -l app=redis"),
        ("no api-gateway", "api-gateway", "no workload api-gateway", "cloudcartops.platform.apps"),
        ("api-gateway ill", "api-gateway", "/health answers 503", "logs -l app=api-gateway"),
        ("wrong service", "api-gateway", "api-gateway leads to frontend", "cloudcartops.platform.apps"),
        ("notification-worker crashes", "notification-worker", "1 of 2 pods", "describe pods"),
        ("target missing", "Prometheus", "no target for prometheus", "cloudcartops.platform.monitoring"),
        ("prometheus stopped", "Prometheus", "scaled to 0", "cloudcartops.platform.monitoring"),
        ("no route", "Ingress", "no such route", "cloudcartops.platform.ingress"),
        ("api route leads to frontend", "Ingress", "not with JSON", "cloudcartops.platform.ingress"),
        ("no page", "Ingress", "not with a page", "cloudcartops.platform.ingress"),
        ("no product-service", "Ingress", "answered 500", "logs -l app=api-gateway"),
    ],
)
def test_each_cause_is_named(ask, shop, broken, name, says, fix):
    shop.broken = {broken}
    rows = ask()
    assert not rows[name]["ok"]
    assert says in rows[name]["detail"] and fix in rows[name]["fix"]


@pytest.mark.parametrize(
    ("answer", "says", "fix"),
    [
        ((2, "", "psql: error: password authentication failed for user"), "authentication failed", health.SET_PASSWORD),
        ((1, "", 'ERROR:  relation "products" does not exist'), "does not exist", "delete job -l app=postgres-schema"),
        ((0, "0\n", ""), "0 products", "delete job -l app=postgres-schema"),
        ((2, "", "psql: error: connection refused"), "connection refused", "cloudcartops.platform.data again"),
        ((None, "", "cannot exec in a stopped container"), "stopped container", "cloudcartops.platform.data again"),
    ],
)
def test_the_fix_for_postgresql_fits_the_cause(ask, parts, answer, says, fix):
    parts["psql"] = answer
    row = ask()["PostgreSQL"]
    assert not row["ok"] and says in row["detail"] and fix in row["fix"]


def test_a_new_postgresql_gets_its_name_late(ask, parts, monkeypatch):
    unknown = (2, "", 'psql: error: could not translate host name "postgres" to address')
    answers = iter([unknown, parts["psql"], unknown])
    monkeypatch.setattr(health, "run_in_container", lambda *_arguments: next(answers))
    monkeypatch.setattr(site, "AGAIN_AFTER", 0)
    assert ask(timeout=30)["PostgreSQL"]["ok"]
    assert not ask(timeout=0)["PostgreSQL"]["ok"]


def test_the_other_parts(ask, parts):
    parts["topics"].remove("stock.low")
    parts["injector"] = {"live": False, "msg": "The webhook has no CA."}
    health.PortForward.answer = b"-NOAUTH Authentication required.\r\n"
    rows = ask()
    assert "no topic stock.low" in rows["Kafka"]["detail"]
    assert rows["Vault injector"]["detail"] == "The webhook has no CA."
    assert "NOAUTH" in rows["Redis"]["detail"]
    health.PortForward.refusal = "Port 6379 closed the connection."
    assert ask()["Redis"]["detail"] == "Port 6379 closed the connection."


def test_two_services_of_one_image(ask, shop):
    services = {**SERVICES, "frontend": {"image": SERVICES["api-gateway"]["image"], "port": 80}}
    shop.broken = {"wrong service"}  # each says that it is the frontend
    assert ask(services=services)["api-gateway"]["ok"]


def test_parts_that_are_not_there(ask):
    assert list(ask(services={}, jobs=[])) == ["Nodes", "Vault injector", "PostgreSQL", "Redis", "Kafka", "Ingress"]


def test_no_cluster(tmp_path):
    params = {"kubeconfig": str(tmp_path / "absent.yaml"), "context": None}
    assert health.cloudcart_health_info(params, True) == {"changed": False, "cluster": "absent", "checks": []}
    with pytest.raises(PlatformError, match="There is no kubeconfig"):
        health.cloudcart_health_info(params, False)
