# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the role postgresql, against what the applications and the injector expect."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.health import SET_PASSWORD

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles/postgresql"
FILES = ROLE / "files"
VAULT = "vault.hashicorp.com/"


def volume(uid):
    return {"objects": [{"kind": "PersistentVolumeClaim", "name": "postgres-data", "uid": uid}]}


@pytest.fixture
def objects(rendered):
    return {o["kind"]: o for o in rendered("postgresql", "__postgresql_objects")}


@pytest.fixture
def job(rendered):
    return rendered("postgresql", "__postgresql_schema_job", __postgresql_volume=volume("1"))


@pytest.fixture
def pods(objects, job):
    return {"server": objects["StatefulSet"]["spec"]["template"], "schema": job["spec"]["template"]}


def containers(pod):
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def test_names_and_sizes_are_those_of_the_contract(objects):
    assert {kind: o["metadata"]["name"] for kind, o in objects.items()} == {
        "ServiceAccount": "postgres",
        "Service": "postgres",
        "PersistentVolumeClaim": "postgres-data",
        "StatefulSet": "postgres",
        "Job": objects["Job"]["metadata"]["name"],
    }
    service, claim, server = (objects[k]["spec"] for k in ("Service", "PersistentVolumeClaim", "StatefulSet"))
    assert service["clusterIP"] == "None"
    assert [p["port"] for p in service["ports"]] == [5432]
    assert service["selector"] == server["selector"]["matchLabels"] == {"app": "postgres"}
    assert service["selector"].items() <= server["template"]["metadata"]["labels"].items()
    assert claim["resources"]["requests"]["storage"] == "5Gi"
    assert claim["storageClassName"] == "local-path"
    assert (server["serviceName"], server["replicas"]) == ("postgres", 1)


def test_the_server_sources_its_credentials_and_keeps_its_data_on_the_claim(pods):
    pod = pods["server"]["spec"]
    (server,) = pod["containers"]
    assert server["command"] == ["/bin/sh", "-c", ". /vault/secrets/database && exec docker-entrypoint.sh postgres"]
    claims = {v["name"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    for container in containers(pods["server"]):
        mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        assert mounts["/var/lib/postgresql/data"] in claims
        assert {e["name"]: e["value"] for e in container["env"]}["PGDATA"] == "/var/lib/postgresql/data/pgdata"


def test_probes_ask_over_tcp(pods):
    (server,) = pods["server"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["exec"]["command"] == ["pg_isready", "-h", "127.0.0.1"]


@pytest.mark.parametrize("name", ["server", "schema"])
def test_each_pod_gets_the_credentials_before_anything_else_runs(pods, name):
    annotations = pods[name]["metadata"]["annotations"]
    assert pods[name]["spec"]["serviceAccountName"] == "postgres"
    assert all(isinstance(value, str) for value in annotations.values())
    for switch in ("agent-inject", "agent-init-first", "agent-pre-populate-only", "error-on-missing-key-database"):
        assert annotations[VAULT + switch] == "true"
    assert annotations[VAULT + "role"] == "postgres"
    assert annotations[VAULT + "agent-inject-secret-database"] == "cloudcart/data/database"
    template = annotations[VAULT + "agent-inject-template-database"]
    assert '{{- with secret "cloudcart/data/database" -}}' in template
    exports = re.findall(r'^export (\w+)="\{\{ \.Data\.data\.(\w+) \| .*\}\}"$', template, re.MULTILINE)
    assert exports == [(n, n.lower()) for n in ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")]


@pytest.mark.parametrize("name", ["server", "schema"])
def test_no_pod_has_rights_it_does_not_need(pods, name):
    pod = pods[name]["spec"]
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 70, 70)
    assert pod["enableServiceLinks"] is False
    for container in containers(pods[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert {"requests", "limits"} <= container["resources"].keys()


def test_kubernetes_leaves_the_scripts_as_they_are(pods):
    """The kubelet replaces $(NAME) of a known variable, and $$, in commands and in values."""
    for pod in pods.values():
        for container in containers(pod):
            values = [e["value"] for e in container["env"]]
            for text in container["command"] + values:
                assert "$$" not in text
                assert not [e["name"] for e in container["env"] if f"$({e['name']})" in text]
    assert "$" not in (FILES / "schema.sql").read_text(encoding="utf-8")


def test_no_password_in_an_argument(pods):
    for pod in pods.values():
        for container in containers(pod):
            for line in "\n".join(container["command"]).splitlines():
                assert "POSTGRES_PASSWORD" not in line or re.match(
                    r'(: "\$\{POSTGRES|CREATE ROLE |.*PGPASSWORD="\$POSTGRES_PASSWORD" )', line
                ), line


def test_the_schema_reaches_psql_and_stops_at_the_first_error(job):
    (schema,) = job["spec"]["template"]["spec"]["containers"]
    environment = {e["name"]: e["value"] for e in schema["env"]}
    assert environment["SCHEMA"] == (FILES / "schema.sql").read_text(encoding="utf-8")
    assert environment["PGHOST"] == "postgres"
    assert "--set ON_ERROR_STOP=1" in schema["command"][-1]
    assert job["spec"]["template"]["metadata"]["labels"]["app"] != "postgres", "the Service would send queries to it"


def test_the_jobs_name_tells_schemas_and_volumes_apart(rendered, job):
    def name(uid="1", **over):
        return rendered("postgresql", "__postgresql_schema_job", __postgresql_volume=volume(uid), **over)["metadata"][
            "name"
        ]

    assert re.fullmatch(r"postgres-schema-[0-9a-f]{10}", job["metadata"]["name"])
    assert name() == job["metadata"]["name"]
    assert len({name(), name(uid="2"), name(postgresql_image="other"), name(uid=None)}) == 4


def test_production_is_bigger(rendered):
    sizes = {e: rendered("postgresql", "postgresql_resources", postgresql_environment=e) for e in ("dev", "prod")}
    assert sizes["dev"]["limits"] == {"cpu": "300m", "memory": "256Mi"}
    assert sizes["prod"]["limits"] == {"cpu": "500m", "memory": "512Mi"}


def test_numbers_stay_numbers(pods):
    assert json.loads(json.dumps(pods["server"]))["spec"]["securityContext"]["runAsUser"] == 70


PRODUCTS = [
    ("Laptop X 15", "1299.99", "50", "Electronics"),
    ("Wireless Mouse", "29.99", "200", "Accessories"),
    ("Mechanical Keyboard", "89.99", "75", "Accessories"),
    ('Monitor 27"', "399.99", "30", "Electronics"),
    ("Desk Lamp", "34.99", "120", "Office"),
    ("Notebook Set", "19.99", "300", "Office"),
    ("Backpack", "59.99", "80", "Accessories"),
]


def test_the_first_products_are_those_of_the_contract():
    sql = (FILES / "schema.sql").read_text(encoding="utf-8")
    rows = re.findall(r"\((\d), '([^']*)', '[^']*', ([\d.]+), (\d+), '(\w+)'\)", sql)
    assert rows == [(str(n), *product) for n, product in enumerate(PRODUCTS, 1)]


def test_the_schema_is_one_transaction_that_takes_its_turn():
    statements = [s.strip() for s in re.sub("--.*", "", (FILES / "schema.sql").read_text(encoding="utf-8")).split(";")]
    assert statements[0] == "BEGIN" and statements[-2:] == ["COMMIT", ""]
    assert statements[2].startswith("SELECT pg_advisory_xact_lock(")
    for statement in statements:
        assert not statement.startswith("CREATE") or re.match(r"CREATE (TABLE|INDEX) IF NOT EXISTS ", statement)
    assert not re.search(r"\b(DROP|ALTER|DELETE|UPDATE|TRUNCATE)\b", " ".join(statements).replace("ON DELETE", ""))


def test_the_readme_and_the_check_give_the_same_command():
    assert f"-c postgres -- sh -c '{SET_PASSWORD}'\n" in (ROLE / "README.md").read_text(encoding="utf-8")


def test_ready_waits_for_the_job_of_the_schema(job):
    (schema,) = job["spec"]["template"]["spec"]["containers"]
    assert schema["command"][-1].index("until pg_isready") < schema["command"][-1].index("psql")
