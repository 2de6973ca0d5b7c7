# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the service catalogue to Kubernetes objects."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue.manifests import (
    WAIT,
    image_reference,
    manifests,
    secrets_read,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.annotations import annotation_errors
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.catalogue import vault_spec

ROOT = pathlib.Path(__file__).resolve().parents[3]
SERVICES = yaml.safe_load((ROOT / "roles/catalog/defaults/main.yml").read_text(encoding="utf-8"))[
    "cloudcartops_services"
]
SECRETS = yaml.safe_load((ROOT / "roles/vault_init/defaults/main.yml").read_text(encoding="utf-8"))[
    "vault_init_secrets"
]
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}}
SETTINGS = {
    "registry": "docker.io/anisingh28",
    "tag": "latest",
    "wait_image": "docker.io/library/busybox:1",
    "pull_policy": "Always",
    "replicas": 2,
    "resources": RESOURCES,
    "vault_mount": "cloudcart",
    "vault_agent_resources": {},
    "fingerprints": {"database": "d1", "jwt": "j1", "kafka": "k1", "redis": "r1"},
}
VAULT = "vault.hashicorp.com/"


def made(services=SERVICES, **settings):
    return {(o["kind"], o["metadata"]["name"]): o for o in manifests(services, SETTINGS | settings)}


def one(entry, **settings):
    """The template of the only service."""
    return made({"shop": {"image": "shop", **entry}}, **settings)["Deployment", "shop"]["spec"]["template"]


def container(entry, **settings):
    return one(entry, **settings)["spec"]["containers"][0]


def test_the_objects_of_the_catalogue():
    objects = made()
    names = [name for name in SERVICES if name != "postgres"]
    assert [name for kind, name in objects if kind == "Deployment"] == names
    assert [name for kind, name in objects if kind == "ServiceAccount"] == names
    assert {name: o["spec"]["ports"][0]["port"] for (kind, name), o in objects.items() if kind == "Service"} == {
        "api-gateway": 3000,
        "user-service": 8001,
        "product-service": 8002,
        "order-service": 8003,
        "chaos-service": 8004,
        "notification-worker": 8005,
        "frontend": 80,
    }
    for (kind, name), o in objects.items():
        spec = o.get("spec", {})
        if kind == "Service":
            assert spec["selector"] == {"app": name} and spec["type"] == "ClusterIP"
        if kind == "Deployment":
            pod = spec["template"]
            assert spec["selector"]["matchLabels"] == pod["metadata"]["labels"] == {"app": name}
            assert pod["spec"]["serviceAccountName"] == name
            assert pod["spec"]["containers"][0]["image"] == f"docker.io/anisingh28/cloudcartops-{name}:latest"
            assert spec["replicas"] == (1 if name in ("chaos-service", "metrics-generator") else 2)
    assert [kind for kind, _name in objects] == sorted((kind for kind, _ in objects), key=ORDER.index)


ORDER = ["ServiceAccount", "Service", "Deployment"]


def test_what_the_services_read_is_what_vault_gives_them():
    spec = vault_spec(SECRETS, SERVICES, "cloudcart", "cloudcart", "https://kubernetes.default.svc", "24h")
    assert annotation_errors(list(made().values()), spec, "cloudcart") == []
    files = {
        name: sorted(k.removeprefix(VAULT + "agent-inject-secret-") for k in found if "agent-inject-secret-" in k)
        for (kind, name), o in made().items()
        if kind == "Deployment" and (found := o["spec"]["template"]["metadata"].get("annotations"))
    }
    assert files == {
        "api-gateway": ["config", "redis"],
        **{name: ["database", "kafka"] for name in ("user-service", "product-service", "order-service")},
        "notification-worker": ["kafka"],
    }


def test_the_gateway_sources_its_secrets_and_is_told_the_broker():
    gateway = made()["Deployment", "api-gateway"]["spec"]["template"]
    (main,) = gateway["spec"]["containers"]
    assert main["command"] == [
        "/bin/sh",
        "-c",
        ". /vault/secrets/config && . /vault/secrets/redis && exec node src/index.js",
    ]
    assert main["env"] == [{"name": "KAFKA_BOOTSTRAP_SERVERS", "value": "kafka:9092"}]
    annotations = gateway["metadata"]["annotations"]
    assert annotations[VAULT + "role"] == "api-gateway"
    assert annotations[VAULT + "agent-inject-secret-config"] == "cloudcart/data/jwt"
    for switch in ("agent-inject", "agent-init-first", "agent-pre-populate-only", "error-on-missing-key-config"):
        assert annotations[VAULT + switch] == "true"
    assert annotations[VAULT + "agent-inject-template-config"] == (
        '{{- with secret "cloudcart/data/jwt" -}}\n'
        'export JWT_SECRET="{{ .Data.data.secret | regexReplaceAll "([\\\\\\\\\\"$`])" "\\\\$1" }}"\n'
        "{{ end }}\n"
    )
    assert all(isinstance(value, str) for value in annotations.values())


def test_the_templates_escape_as_that_of_postgresql():
    ours = made()["Deployment", "user-service"]["spec"]["template"]["metadata"]["annotations"]
    theirs = (ROOT / "roles/postgresql/vars/main.yml").read_text(encoding="utf-8")
    escape = ours[VAULT + "agent-inject-template-database"].partition("| ")[2].partition(" }}")[0]
    assert f"postgres_password | {escape} }}}}" in theirs


def test_no_placeholder_and_no_secret_in_plain_sight():
    for (kind, name), o in made().items():
        if kind == "Deployment":
            plain = {e["name"] for e in o["spec"]["template"]["spec"]["containers"][0].get("env", [])}
            assert not plain & {"JWT_SECRET", "DATABASE_URL", "REDIS_URL"}, name
            taken = {v for taken in SERVICES[name].get("secrets", {}).values() for v in taken}
            assert not plain & taken, name


def test_exactly_the_readers_of_a_changed_secret_are_replaced():
    before, after = made(), made(fingerprints={**SETTINGS["fingerprints"], "kafka": "k2"})
    changed = {name for (kind, name) in before if before[kind, name] != after[kind, name]}
    assert changed == {"user-service", "product-service", "order-service", "notification-worker"}
    without = one({"secrets": {"jwt": {"KEY": "secret"}}, "command": ["x"]}, fingerprints={"jwt": ""})
    assert not [key for key in without["metadata"]["annotations"] if "cloudcartops" in key]
    nested = one({"secrets": {"team/jwt": {"KEY": "secret"}}, "command": ["x"]}, fingerprints={"team/jwt": "t1"})
    assert nested["metadata"]["annotations"]["cloudcartops.platform/secret-team-jwt"] == "t1"
    assert nested["spec"]["containers"][0]["command"][2] == ". /vault/secrets/team-jwt && exec x"
    assert nested["metadata"]["annotations"][VAULT + "agent-inject-secret-team-jwt"] == "cloudcart/data/team/jwt"


def test_a_service_without_secrets_has_no_token_and_no_annotations():
    pod = one({"port": 8004, "command": ["run", "$(HOME)"]})
    assert "annotations" not in pod["metadata"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["containers"][0]["command"] == ["run", "$$(HOME)"]
    assert "command" not in container({})
    assert (
        one({"secrets": {"jwt": {"KEY": "secret"}}, "command": ["x"]})["spec"]["automountServiceAccountToken"] is True
    )


def test_a_command_reaches_the_shell_as_it_is_written():
    command = container({"secrets": {"jwt": {"KEY": "k"}}, "command": ["run", "a b", "$HOME"]})["command"]
    assert command[2] == ". /vault/secrets/jwt && exec run 'a b' '$$HOME'"


def test_probes_follow_what_the_service_answers():
    health, port, none = container({"port": 80, "health": "/health"}), container({"port": 8005}), container({})
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert health[name]["httpGet"] == {"path": "/health", "port": "http"}
        assert port[name]["tcpSocket"] == {"port": "http"}
        assert name not in none
    assert "ports" not in none and ("Service", "shop") not in made({"shop": {"image": "shop"}})
    assert health["startupProbe"]["periodSeconds"] == 1


def test_waiting_comes_last_before_the_service():
    (wait,) = one({"waits_for": ["kafka:9092", "db.example.com:5432"]})["spec"]["initContainers"]
    assert wait["command"] == ["/bin/sh", "-c", WAIT, "wait", "kafka:9092", "db.example.com:5432"]
    assert wait["image"] == "docker.io/library/busybox:1"
    assert "initContainers" not in one({})["spec"]
    # The kubelet would replace these.
    assert "$(" not in WAIT and "$$" not in WAIT


def test_wait_ends_when_the_port_answers(tmp_path):
    """By a real shell; a stand-in for the nc of busybox, and one for the pause, which ends when the port opens."""
    program = "import socket, sys; w, two, host, port, e, run = sys.argv[1:]; assert w + e + run == '-w-etrue'"
    connect = f'{sys.executable} -c "{program}; socket.create_connection((host, int(port)), int(two))"'
    (tmp_path / "nc").write_text(f'#!/bin/sh\nexec {connect} "$@"\n')
    (tmp_path / "sleep").write_text(f"#!/bin/sh\nread line <{tmp_path}/open\n")
    for name in ("nc", "sleep"):
        (tmp_path / name).chmod(0o755)
    os.mkfifo(tmp_path / "open")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

        def listen():
            with (tmp_path / "open").open("w") as gate:  # opens when the script pauses
                free.listen()
                gate.write("open\n")

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        done = subprocess.run(
            ["/bin/sh", "-c", WAIT, "wait", address, address],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        thread.join(5)
        assert not thread.is_alive()
    assert (done.returncode, done.stdout) == (0, f"Waiting until {address} accepts connections.\n"), done.stderr


def test_no_pod_has_rights_it_does_not_need():
    for (kind, name), o in made().items():
        if kind != "Deployment":
            continue
        pod = o["spec"]["template"]["spec"]
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
        for each in pod["containers"] + pod.get("initContainers", []):
            security = each["securityContext"]
            assert security["allowPrivilegeEscalation"] is False and security["capabilities"]["drop"] == ["ALL"]
            added = ["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"] if each["name"] == "frontend" else None
            assert security["capabilities"].get("add") == added, name


def test_updates_never_take_the_last_pod_of_several_and_never_run_two_of_one():
    spec = made()
    two, single = (spec["Deployment", name]["spec"] for name in ("user-service", "chaos-service"))
    assert two["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert single["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    (spread,) = two["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == {"app": "user-service"}
    assert "topologySpreadConstraints" not in single["template"]["spec"]
    assert made({"shop": {"image": "shop", "replicas": 0}})["Deployment", "shop"]["spec"]["replicas"] == 0


def test_a_service_says_what_differs():
    shop = container({"resources": {"limits": {"memory": "1Gi"}}, "environment": {"B": True, "A": 1}})
    assert shop["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "200m", "memory": "1Gi"},
    }
    assert shop["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "true"}]
    assert container({"resources": {"limits": {"cpu": 1}}}, resources={})["resources"] == {"limits": {"cpu": 1}}
    assert shop["imagePullPolicy"] == "Always"
    objects = made({"shop": {"image": "shop", "port": "80", "service_type": "NodePort"}})
    assert objects["Service", "shop"]["spec"]["type"] == "NodePort"
    assert objects["Service", "shop"]["spec"]["ports"][0]["port"] == 80


def test_the_agents_size():
    annotations = one(
        {"secrets": {"jwt": {"KEY": "k"}}, "command": ["x"]},
        vault_agent_resources={"requests": {"cpu": "10m"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
    )["metadata"]["annotations"]
    found = {k.removeprefix(VAULT): v for k, v in annotations.items() if "agent-requests" in k or "agent-limits" in k}
    assert found == {"agent-requests-cpu": "10m", "agent-limits-cpu": "200m", "agent-limits-mem": "64Mi"}


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("shop", "r.example/x/shop:1"),
        ("shop:2", "r.example/x/shop:2"),
        ("team/shop", "r.example/x/team/shop:1"),
        ("docker.io/library/shop", "docker.io/library/shop:1"),
        ("localhost/shop:3", "localhost/shop:3"),
        ("host:5000/shop", "host:5000/shop:1"),
        ("shop@sha256:ab", "r.example/x/shop@sha256:ab"),
    ],
)
def test_references(image, reference):
    assert image_reference(image, "r.example/x", "1") == reference


def test_accounts_of_others_are_left_to_them():
    objects = made({"db": {"service_account": "keeper"}, "shop": {"image": "s", "service_account": "keeper"}})
    assert [kind for kind, _name in objects] == ["Deployment"]
    shared = {"image": "s", "service_account": "both"}
    objects = made({"a": shared, "b": shared, "c": {"image": "s", "service_account": "default"}})
    assert [name for kind, name in objects if kind == "ServiceAccount"] == ["both"]


def test_fingerprints_are_asked_of_what_is_taken():
    assert secrets_read(SERVICES, "kv") == [
        {"mount": "kv", "path": "database", "keys": ["database_url"]},
        {"mount": "kv", "path": "jwt", "keys": ["secret"]},
        {"mount": "kv", "path": "kafka", "keys": ["bootstrap_servers"]},
        {"mount": "kv", "path": "redis", "keys": ["url"]},
    ]
