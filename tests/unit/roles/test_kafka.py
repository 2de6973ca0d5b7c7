# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the role kafka, against what the images and the applications expect."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

PARTS = ("zookeeper", "kafka")


@pytest.fixture
def objects(rendered):
    return {(o["kind"], o["metadata"]["name"]): o for o in rendered("kafka", "__kafka_objects")}


@pytest.fixture
def pods(objects):
    return {part: objects["StatefulSet", part]["spec"]["template"]["spec"] for part in PARTS}


def environment(pod):
    return {e["name"]: e["value"] for e in pod["containers"][0]["env"] if "value" in e}


def test_names_and_sizes_are_those_of_the_contract(objects):
    assert set(objects) == {
        *(("Service", p) for p in PARTS),
        *(("PersistentVolumeClaim", f"{p}-data") for p in PARTS),
        *(("StatefulSet", p) for p in PARTS),
    }
    ports = {p: [i["port"] for i in objects["Service", p]["spec"]["ports"]] for p in PARTS}
    assert ports == {"zookeeper": [2181], "kafka": [9092, 29092]}
    for part, size in (("zookeeper", "2Gi"), ("kafka", "5Gi")):
        service, workload = objects["Service", part]["spec"], objects["StatefulSet", part]["spec"]
        claim = objects["PersistentVolumeClaim", f"{part}-data"]["spec"]
        assert (service["clusterIP"], service["selector"]) == ("None", {"app": part})
        assert workload["selector"]["matchLabels"] == workload["template"]["metadata"]["labels"] == {"app": part}
        assert (workload["serviceName"], workload["replicas"]) == (part, 1)
        assert claim["resources"]["requests"]["storage"] == size
        assert claim["storageClassName"] == "local-path"
        ports_of_pod = {i["name"]: i["containerPort"] for i in workload["template"]["spec"]["containers"][0]["ports"]}
        assert {i["targetPort"]: i["port"] for i in service["ports"]} == ports_of_pod


def test_both_listeners_are_told_to_clients(pods):
    (container,) = pods["kafka"]["containers"]
    names = [item["name"] for item in container["env"]]
    assert names.index("POD_IP") < names.index("KAFKA_ADVERTISED_LISTENERS"), "Kubernetes puts in what came before"
    assert container["env"][names.index("POD_IP")]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    env = environment(pods["kafka"])
    assert env["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://$(POD_IP):29092,PLAINTEXT_HOST://$(POD_IP):9092"
    assert env["KAFKA_LISTENERS"] == "PLAINTEXT://0.0.0.0:29092,PLAINTEXT_HOST://0.0.0.0:9092"
    assert env["KAFKA_ZOOKEEPER_CONNECT"] == "zookeeper:2181"
    assert all(isinstance(v, str) for pod in pods.values() for v in environment(pod).values())


def test_each_path_the_image_declares_as_a_volume_is_on_the_claim(pods):
    declared = {"zookeeper": {"/var/lib/zookeeper/data", "/var/lib/zookeeper/log"}, "kafka": {"/var/lib/kafka/data"}}
    for part, pod in pods.items():
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": f"{part}-data"}
        mounts = pod["containers"][0]["volumeMounts"]
        assert {m["mountPath"] for m in mounts} == declared[part]
        assert {m["name"] for m in mounts} == {volume["name"]}
        assert all(m["subPath"] for m in mounts) and len({m["subPath"] for m in mounts}) == len(mounts)
    assert environment(pods["kafka"])["KAFKA_LOG_DIRS"] in declared["kafka"]


@pytest.mark.parametrize(
    ("limit", "heap"), [("512Mi", 256), ("1Gi", 512), ("1024Mi", 512), ("2G", 1024), (268435456, 128)]
)
def test_the_heap_is_half_of_the_limit(rendered, limit, heap):
    resources = {"limits": {"memory": limit}}
    for spec, name in (("__kafka_spec", "kafka_resources"), ("__kafka_zookeeper_spec", "kafka_zookeeper_resources")):
        options = environment(rendered("kafka", spec, **{name: resources}))["KAFKA_HEAP_OPTS"]
        assert options == f"-Xms{heap}m -Xmx{heap}m"


@pytest.mark.parametrize("size", ["dev", "prod"])
def test_the_heap_fits_every_size(rendered, size):
    for spec in ("__kafka_spec", "__kafka_zookeeper_spec"):
        pod = rendered("kafka", spec, kafka_environment=size)
        limit = int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Mi"))
        assert int(re.search(r"-Xmx(\d+)m", environment(pod)["KAFKA_HEAP_OPTS"])[1]) * 2 == limit


def test_production_is_bigger(rendered):
    dev, prod = (rendered("kafka", "kafka_resources", kafka_environment=e) for e in ("dev", "prod"))
    assert (dev["limits"]["memory"], prod["limits"]["memory"]) == ("512Mi", "1024Mi")


def test_no_pod_has_rights_it_does_not_need(pods):
    for pod in pods.values():
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 1000, 1000)
        assert pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False
        for container in pod.get("initContainers", []) + pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["imagePullPolicy"] == "IfNotPresent"
            assert {"requests", "limits"} <= container["resources"].keys()


def test_no_probe_starts_java(pods):
    for part in PARTS:
        (container,) = pods[part]["containers"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[name]
            assert probe["exec"]["command"][:2] == ["/bin/bash", "-c"]
            assert not re.search("java|kafka|zookeeper-shell", probe["exec"]["command"][2])


@pytest.mark.parametrize(("answers", "healthy"), [(True, True), (False, False)])
def test_the_probe_of_kafka_wants_an_answer(pods, answers, healthy):
    command = pods["kafka"]["containers"][0]["readinessProbe"]["exec"]["command"]
    asked = []

    def serve(server):
        connection, _address = server.accept()
        with connection, connection.makefile("rb") as stream:
            asked.append(stream.read(14))
            if answers:
                connection.sendall(struct.pack(">iih", 6, 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, server)
        script = command[2].replace("29092", str(server.getsockname()[1]))
        done = subprocess.run([*command[:2], script], check=False, timeout=30)
        served.result()
    assert asked == [struct.pack(">ihhih", 10, 18, 0, 1, -1)]
    assert (done.returncode == 0) == healthy


def test_kafka_starts_after_zookeeper(pods):
    (wait,) = pods["kafka"]["initContainers"]
    assert "nc -w 2 zookeeper 2181" in wait["command"][2]
    assert "\n" not in wait["command"][2].strip()


def test_the_topics_are_those_of_the_contract(rendered):
    topics = rendered("kafka", "__kafka_topics")
    assert [t["name"] for t in topics] == [
        "user.created",
        "order.created",
        "order.payment_confirmed",
        "order.status_changed",
        "stock.low",
        "api.rate_limited",
        "chaos.injected",
        "product.created",
    ]
    assert all(t["partitions"] == 1 and t["config"] == {"retention.ms": 604800000} for t in topics)


def test_a_topic_may_say_more_of_itself(rendered):
    mine = [{"name": "a", "partitions": 3}, {"name": "b", "config": {"retention.ms": 1, "cleanup.policy": "compact"}}]
    topics = rendered("kafka", "__kafka_topics", kafka_topics=mine, kafka_topic_retention_ms=5)
    assert topics == [
        {"name": "a", "partitions": 3, "config": {"retention.ms": 5}},
        {"name": "b", "partitions": 1, "config": {"retention.ms": 1, "cleanup.policy": "compact"}},
    ]
