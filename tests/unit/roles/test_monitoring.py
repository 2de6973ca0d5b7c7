# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' configuration, its alert rules and the dashboard, by what Prometheus' own tool says of them."""

from __future__ import annotations

import copy
import json
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
FILES = ROOT / "roles/monitoring/files"
RULES = FILES / "rules.yml"
DASHBOARD = FILES / "dashboard.json"
RULES_TEST = pathlib.Path(__file__).with_name("monitoring") / "rules_test.yml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]

# What gets samples. Of the services: what was seen when their code ran. Declared there, and never given a value, are
# all metrics of the gateway's own, order_payments_processed_total, notification_messages_processed_total,
# notification_kafka_consumer_lag_seconds, total_users_count, user_db_* and product_db_*.
EXPORTED = {
    "user_registrations_total",
    "user_logins_total",
    "orders_created_total",
    "orders_cancelled_total",
    "orders_completed_total",
    "order_http_requests_total",
    "product_http_requests_total",
    "product_stock_updates_total",
    "inventory_alerts_total",
    "chaos_injections_total",
    "chaos_http_requests_total",
    "notification_messages_consumed_total",
    # Prometheus itself
    "up",
    "ALERTS",
    # Kubernetes 1.34: what the role keeps of it
    "apiserver_client_certificate_expiration_seconds_bucket",
    "kubelet_certificate_manager_client_ttl_seconds",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "prober_probe_total",
    "container_start_time_seconds",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "container_last_seen",
    "container_fs_usage_bytes",
    "container_fs_limit_bytes",
}
LANGUAGE = {"and", "or", "unless", "on", "by", "offset", "sum", "count", "max", "rate", "increase", "changes", "vector"}
LANGUAGE |= {"count_over_time", "histogram_quantile"}


def metrics(expression: str) -> set[str]:
    """The names of the metrics in an expression of PromQL."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on) \([^)]*\)|offset \w+", " ", expression)
    return set(re.findall(r"\b[a-zA-Z_]\w*", bare)) - LANGUAGE


def dashboard_expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.fixture(scope="module")
def promtool():
    """A function: run promtool, return its exit status and what it says."""
    made = subprocess.run([ROOT / "lab/lab", "program", "promtool"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"promtool cannot be made: {made.stderr}"
    program = made.stdout.strip()

    def run(*arguments):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_rules_are_right(promtool):
    assert promtool("check", "rules", "--lint-fatal", str(RULES))[0] == 0
    status, output = promtool("test", "rules", str(RULES_TEST))
    assert status == 0, output


@pytest.mark.parametrize("name", [rule["alert"] for rule in ALERTS])
@pytest.mark.parametrize("instead", ["vector(1) > 2", "vector(1)"], ids=["never", "always"])
def test_each_alert_is_tested_both_ways(promtool, tmp_path, name, instead):
    """With an alert that never fires, or always, the tests of the rules fail."""
    rules, tests = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (RULES, RULES_TEST))
    rules = copy.deepcopy(rules)  # YAML's aliases would change with it
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == name:
                rule["expr"] = instead
                rule.pop("for", None)
                rule["annotations"] = {"summary": "changed"}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (tmp_path / "test.yml").write_text(yaml.safe_dump({**tests, "rule_files": ["rules.yml"]}), encoding="utf-8")
    status, output = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert status == 1 and name in output


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_how_and_what_to_do(rule):
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert "for" in rule
    plays = re.findall(r"cloudcartops\.platform\.(\w+)", rule["annotations"]["runbook"])
    assert [play for play in plays if not (ROOT / f"playbooks/{play}.yml").is_file()] == []


def test_rules_and_dashboard_use_what_is_exported():
    used = set().union(*(metrics(e) for e in [rule["expr"] for rule in ALERTS] + dashboard_expressions()))
    assert used == EXPORTED


def test_dashboard_is_one_that_grafana_reads():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["title"] == "CloudCart" and "id" not in dashboard
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in panels
        for x in range(p["gridPos"]["w"])
        for y in range(p["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _y in taken) == 23


def test_dashboard_expressions_are_promql(promtool, tmp_path):
    expressions = [e.replace("$__rate_interval", "5m") for e in dashboard_expressions()]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    status, output = promtool("check", "rules", str(path))
    assert status == 0, output


@pytest.fixture
def manifests(rendered):
    """A function: the objects of the role by kind and name."""

    def render(**over):
        objects = rendered("monitoring", "__monitoring_objects", **over)
        return {(o["kind"], o["metadata"]["name"]): o for o in objects}

    return render


def config_of(objects) -> dict:
    return yaml.safe_load(objects["ConfigMap", "prometheus-config"]["data"]["prometheus.yml"])


def annotation(objects) -> str:
    template = objects["StatefulSet", "prometheus"]["spec"]["template"]
    return template["metadata"]["annotations"]["cloudcartops.platform/config"]


@pytest.mark.parametrize(
    "over", [{}, {"monitoring_alertmanagers": ["alertmanager:9093"], "monitoring_kubelet_verify": False}]
)
def test_prometheus_accepts_its_configuration(promtool, manifests, tmp_path, over):
    data = manifests(**over)["ConfigMap", "prometheus-config"]["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text.replace("/etc/prometheus/", ""), encoding="utf-8")
    status, output = promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    assert status == 0, output


def test_seven_targets_by_the_catalogue(manifests):
    config = config_of(manifests())
    assert config["global"] == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    targets = {
        job["job_name"]: (static["targets"], job.get("metrics_path", "/metrics"))
        for job in config["scrape_configs"]
        for static in job.get("static_configs", [])
        if static["labels"]["scope"] == "platform"
    }
    assert targets == {
        "api-gateway": (["api-gateway:3000"], "/metrics"),
        "user-service": (["user-service:8001"], "/metrics"),
        "product-service": (["product-service:8002"], "/metrics"),
        "order-service": (["order-service:8003"], "/metrics"),
        "chaos-service": (["chaos-service:8004"], "/metrics"),
        "notification-worker": (["notification-worker:8005"], "/metrics"),
        "prometheus": (["localhost:9090"], "/metrics"),
    }


def test_another_service_is_another_target(manifests):
    over = {"reviews": {"image": "reviews", "port": 8010, "metrics": "/stats"}, "chaos-service": {"metrics": None}}
    jobs = {job["job_name"]: job for job in config_of(manifests(cloudcartops_services_override=over))["scrape_configs"]}
    assert jobs["reviews"]["metrics_path"] == "/stats" and "chaos-service" not in jobs
    assert "reviews" in jobs["pods"]["kubernetes_sd_configs"][0]["selectors"][0]["label"]
    assert {
        "source_labels": ["service"],
        "regex": "reviews",
        "target_label": "__metrics_path__",
        "replacement": "/stats",
    } in jobs["pods"]["relabel_configs"]


def test_only_another_configuration_is_another_pod(manifests):
    assert annotation(manifests()) == annotation(manifests())
    assert annotation(manifests()) != annotation(manifests(monitoring_scrape_interval="30s"))
    assert annotation(manifests()) == annotation(manifests(monitoring_storage_size="20Gi"))


def test_runbooks_name_the_namespace(manifests):
    rules = manifests(monitoring_namespace="shop")["ConfigMap", "prometheus-config"]["data"]["rules.yml"]
    assert "kubectl -n shop get pods" in rules and "-n cloudcart" not in rules
    original = manifests()["ConfigMap", "prometheus-config"]["data"]["rules.yml"]
    assert yaml.safe_load(original) == yaml.safe_load(RULES.read_text(encoding="utf-8"))


def test_the_server(manifests):
    objects = manifests(monitoring_retention="30d", cloudcartops_environment="prod")
    spec = objects["StatefulSet", "prometheus"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert spec["replicas"] == 1 and pod["securityContext"]["runAsUser"] == 65534 and pod["enableServiceLinks"] is False
    assert "--storage.tsdb.retention.time=30d" in container["args"]
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "512Mi"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"
    claim = objects["PersistentVolumeClaim", "prometheus-data"]["spec"]
    assert claim["resources"]["requests"]["storage"] == "10Gi" and claim["storageClassName"] == "local-path"
    [mount] = [m for m in container["volumeMounts"] if m["name"] == "data"]
    assert mount["mountPath"] == "/prometheus"


def test_rights_are_to_read(manifests):
    rules = [rule for (kind, _name), o in manifests().items() if kind in ("Role", "ClusterRole") for rule in o["rules"]]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {r for rule in rules for r in rule.get("resources", [])} == {"nodes", "nodes/metrics", "pods"}
