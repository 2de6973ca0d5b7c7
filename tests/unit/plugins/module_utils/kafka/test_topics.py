# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Topics, against a double of a broker that holds them in memory and speaks Kafka's encoded frames."""

from __future__ import annotations

import io
import struct

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka import topics as kafka_topics
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.port_forward import Disconnected
from kafka.protocol import admin, metadata
from kafka.protocol.api_header import RequestHeader

# What brokers of these versions tell of themselves: api key -> newest version.
KAFKA = {
    "3.5": {3: 12, 18: 3, 19: 7, 32: 4, 37: 3, 44: 1},
    "3.9": {3: 12, 18: 4, 19: 7, 32: 4, 37: 3, 44: 1},
    "2.4": {3: 9, 18: 3, 19: 5, 32: 2, 37: 1, 44: 1},
}
DEFAULTS = {"retention.ms": "604800000", "cleanup.policy": "delete", "preallocate": "false"}
REQUESTS = {
    r.API_KEY: r
    for r in (
        metadata.ApiVersionsRequest,
        metadata.MetadataRequest,
        admin.CreateTopicsRequest,
        admin.CreatePartitionsRequest,
        admin.DescribeConfigsRequest,
        admin.IncrementalAlterConfigsRequest,
    )
}


class BrokerDouble:
    """Stands for a broker: topics as name -> (partitions, own settings). `errors`: the codes to come, by request."""

    def __init__(self, versions="3.5", **topics):
        self.versions = KAFKA[versions]
        self.topics = {name.replace("_", "."): (n, dict(config)) for name, (n, config) in topics.items()}
        self.controller, self.running, self.errors, self.asked = 1, True, {}, []

    def answer(self, frame):
        key, version = struct.unpack(">hh", frame[4:8])
        request_class = REQUESTS[key]
        stream = io.BytesIO(frame[4:])
        header = RequestHeader.decode(stream, flexible=request_class.flexible_version_q(version))
        request = request_class.decode(stream.read(), version=version)
        name = request_class.__name__.removesuffix("Request")
        write = getattr(request, "validate_only", None) is False
        self.asked.append(f"{name}{' for real' if write else ''}")
        codes = self.errors.get(self.asked[-1], [])
        response = getattr(self, f"_{name}")(request, codes.pop(0) if codes else 0, write)
        response.API_VERSION = version
        response.with_header(correlation_id=header.correlation_id)
        return response.encode(framed=True, header=True)

    def _ApiVersions(self, _request, code, _write):
        keys = [
            metadata.ApiVersionsResponse.ApiVersion(api_key=k, min_version=0, max_version=v)
            for k, v in self.versions.items()
        ]
        return metadata.ApiVersionsResponse(error_code=code, api_keys=keys, throttle_time_ms=0)

    def _Metadata(self, request, code, _write):
        assert request.allow_auto_topic_creation is False, "a question must not create topics"
        topic = metadata.MetadataResponse.MetadataResponseTopic
        partition = topic.MetadataResponsePartition
        found = []
        for wanted in request.topics:
            count = self.topics.get(wanted.name, (0, {}))[0]
            error = code if count else 3
            parts = [
                partition(error_code=0, partition_index=n, leader_id=1, replica_nodes=[1], isr_nodes=[1])
                for n in range(count)
            ]
            found.append(topic(error_code=error, name=wanted.name, is_internal=False, partitions=parts))
        return metadata.MetadataResponse(brokers=[], cluster_id="c", controller_id=self.controller, topics=found)

    def _CreateTopics(self, request, code, write):
        result = admin.CreateTopicsResponse.CreatableTopicResult
        results = []
        for t in request.topics:
            unknown = [c.name for c in t.configs if c.name not in DEFAULTS]
            error = code or (36 if t.name in self.topics else 40 if unknown else 0)
            message = f"Unknown topic config name: {unknown[0]}" if unknown else None
            if write and not error:
                self.topics[t.name] = (t.num_partitions, {c.name: c.value for c in t.configs})
            assert t.replication_factor == -1
            results.append(result(name=t.name, error_code=error, error_message=message))
        return admin.CreateTopicsResponse(topics=results)

    def _CreatePartitions(self, request, code, write):
        result = admin.CreatePartitionsResponse.CreatePartitionsTopicResult
        for t in request.topics:
            if write and not code:
                self.topics[t.name] = (t.count, self.topics[t.name][1])
        return admin.CreatePartitionsResponse(results=[result(name=t.name, error_code=code) for t in request.topics])

    def _DescribeConfigs(self, request, code, _write):
        result = admin.DescribeConfigsResponse.DescribeConfigsResult
        setting = result.DescribeConfigsResourceResult
        results = []
        for r in request.resources:
            values = DEFAULTS | self.topics[r.resource_name][1]
            configs = [setting(name=k, value=values[k], read_only=False) for k in r.configuration_keys if k in values]
            results.append(
                result(
                    error_code=code, error_message=None, resource_type=2, resource_name=r.resource_name, configs=configs
                )
            )
        return admin.DescribeConfigsResponse(results=results)

    def _IncrementalAlterConfigs(self, request, code, write):
        result = admin.IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
        results = []
        for r in request.resources:
            unknown = [c.name for c in r.configs if c.name not in DEFAULTS]
            error = code or (40 if unknown else 0)
            if write and not error:
                self.topics[r.resource_name][1].update({c.name: c.value for c in r.configs})
            message = f"Unknown topic config name: {unknown[0]}." if unknown else None
            results.append(
                result(error_code=error, error_message=message, resource_type=2, resource_name=r.resource_name)
            )
        return admin.IncrementalAlterConfigsResponse(responses=results)


class Forward:
    """In place of a port forward: hands the bytes to the double and back, in pieces of seven bytes."""

    def __init__(self, broker):
        self.broker, self.pending = broker, b""

    def send(self, data):
        if not self.broker.running:
            raise Disconnected("Port 29092 of Pod shop/kafka-0 closed the connection.")
        self.pending += self.broker.answer(data)

    def receive(self, _timeout):
        piece, self.pending = self.pending[:7], self.pending[7:]
        return piece

    def close(self):
        pass


class Cluster:
    """In place of the client of a cluster."""

    pods = {"kafka-0": {"status": {"phase": "Running"}}}

    def get(self, kind, name, namespace):
        assert (kind, namespace) == ("Pod", "shop")
        return self.pods.get(name)


@pytest.fixture
def run(monkeypatch):
    """A function: one run of the module against a double; `client` None stands for no cluster."""

    def module(broker, *topics, check_mode=False, client=Cluster(), timeout=0.3):  # noqa: B008
        monkeypatch.setattr(kafka_topics, "connect", lambda *_: client)
        monkeypatch.setattr(kafka_topics, "PortForward", lambda *_: Forward(broker))
        monkeypatch.setattr(kafka_topics, "POLL", 0.01)
        given = [{"partitions": 1, "config": {}, **t} for t in topics]
        params = {"kubeconfig": "k", "context": None, "namespace": "shop", "pod": "kafka-0", "port": 29092}
        return kafka_topics.kafka_topic(params | {"topics": given, "timeout": timeout}, check_mode)

    return module


ORDERS = {"name": "order.created", "partitions": 3, "config": {"retention.ms": 1000}}
STOCK = {"name": "stock.low"}


@pytest.mark.parametrize("version", KAFKA)
def test_missing_topics_are_created_and_a_second_run_changes_nothing(run, version):
    broker = BrokerDouble(version)
    first = run(broker, ORDERS, STOCK)
    assert first["changed"] and [t["action"] for t in first["topics"]] == ["created", "created"]
    assert broker.topics == {"order.created": (3, {"retention.ms": "1000"}), "stock.low": (1, {})}
    assert first["diff"][0] == {
        "before_header": "topic order.created",
        "after_header": "topic order.created",
        "before": {},
        "after": {"partitions": 3, "config": {"retention.ms": "1000"}},
    }
    broker.asked.clear()
    second = run(broker, ORDERS, STOCK)
    assert (second["changed"], second["diff"]) == (False, [])
    assert [t["action"] for t in second["topics"]] == ["unchanged", "unchanged"]
    assert broker.asked == ["ApiVersions", "Metadata", "DescribeConfigs"]


@pytest.mark.parametrize("version", KAFKA)
def test_partitions_grow_and_only_given_settings_are_corrected(run, version):
    broker = BrokerDouble(version, order_created=(1, {"retention.ms": "5", "cleanup.policy": "compact"}))
    result = run(broker, ORDERS)
    assert result["topics"] == [{"name": "order.created", "action": "updated"}]
    assert broker.topics == {"order.created": (3, {"retention.ms": "1000", "cleanup.policy": "compact"})}
    assert result["diff"][0]["before"] == {"partitions": 1, "config": {"retention.ms": "5"}}
    assert run(broker, ORDERS)["changed"] is False


def test_a_setting_that_is_the_default_already_is_no_change(run):
    broker = BrokerDouble(stock_low=(1, {}))
    assert (
        run(broker, {"name": "stock.low", "config": {"retention.ms": 604800000, "preallocate": False}})["changed"]
        is False
    )


def test_check_mode_asks_the_broker_and_writes_nothing(run):
    broker = BrokerDouble(stock_low=(1, {}))
    result = run(broker, ORDERS, STOCK | {"partitions": 2, "config": {"retention.ms": "7"}}, check_mode=True)
    assert result["plan"] == [
        "create topic order.created (partitions=3, retention.ms=1000)",
        "grow topic stock.low from 1 to 2 partitions",
        "set retention.ms=7 of topic stock.low (is 604800000)",
    ]
    assert (result["changed"], result["cluster"], result["broker"]) == (True, "present", "present")
    assert broker.topics == {"stock.low": (1, {})}
    assert not [a for a in broker.asked if "for real" in a]
    with pytest.raises(PlatformError, match="Unknown topic config name: retention"):
        run(broker, {"name": "stock.low", "config": {"retention": 1}}, check_mode=True)


@pytest.mark.parametrize("pod", [None, {"status": {"phase": "Pending"}}])
def test_check_mode_plans_without_a_cluster_or_a_broker(run, pod):
    for client, cluster in ((None, "absent"), (Cluster(), "present")):
        if client:
            client.pods = {"kafka-0": pod}
        result = run(BrokerDouble(), ORDERS, check_mode=True, client=client)
        assert result["plan"] == ["create topic order.created (partitions=3, retention.ms=1000)"]
        assert (result["cluster"], result["broker"]) == (cluster, "absent")


def test_shrinking_is_refused_before_anything_is_changed(run):
    broker = BrokerDouble(order_created=(5, {}))
    for check_mode in (False, True):
        with pytest.raises(PlatformError, match=r"order.created has 5, wanted 3\. Nothing was changed"):
            run(broker, STOCK, ORDERS, check_mode=check_mode)
    assert broker.topics == {"order.created": (5, {})}


def test_one_wrong_setting_keeps_all_topics_as_they_are(run):
    broker = BrokerDouble(order_created=(1, {}))
    with pytest.raises(PlatformError, match=r"create topic stock.low: Unknown topic config name: colour \(error 40"):
        run(broker, ORDERS, STOCK | {"config": {"colour": "blue"}})
    assert broker.topics == {"order.created": (1, {})}


@pytest.mark.parametrize(
    ("request_name", "code"),
    [
        ("Metadata", 5),  # the leader of a partition is being elected
        ("CreateTopics for real", 41),  # not the controller (any more)
        ("CreateTopics for real", 7),  # the broker took too long
        ("CreateTopics for real", 36),  # somebody else made it a moment ago
        ("DescribeConfigs", -1),  # the broker lost ZooKeeper, which was deleted and is back
    ],
)
def test_what_passes_is_waited_for(run, request_name, code):
    broker = BrokerDouble(stock_low=(1, {}))
    broker.errors = {request_name: [code, code]}
    assert run(broker, ORDERS, STOCK)["topics"][0]["action"] == "created"
    assert broker.topics["order.created"][0] == 3


def test_topics_that_a_broker_shows_only_later_were_there(run):
    """As one does that has just started: it refuses to create them, and then shows them."""
    broker = BrokerDouble(order_created=(3, {"retention.ms": "1000"}), stock_low=(1, {}))
    broker.errors = {"Metadata": [3, 3]}
    result = run(broker, ORDERS, STOCK)
    assert not result["changed"] and {t["action"] for t in result["topics"]} == {"unchanged"}
    assert broker.asked.count("CreateTopics") == 2 and "CreateTopics for real" not in broker.asked


def test_no_controller_is_waited_for_up_to_the_timeout(run):
    broker = BrokerDouble()
    broker.controller = -1
    with pytest.raises(
        PlatformError, match=r"Pod shop/kafka-0 was not ready within 0.3 s. Kafka has no controller yet"
    ):
        run(broker, ORDERS)
    assert len(broker.asked) > 4 and broker.topics == {}


def test_a_broker_that_dies_in_the_middle_is_asked_again(run, monkeypatch):
    broker = BrokerDouble()
    create = broker._CreateTopics

    def die(request, code, write):
        response = create(request, code, write)
        if write and len(broker.topics) == 1:
            raise Disconnected("Port 29092 of Pod shop/kafka-0 closed the connection.")
        return response

    monkeypatch.setattr(broker, "_CreateTopics", die)
    result = run(broker, ORDERS)
    assert result["changed"] and result["topics"] == [{"name": "order.created", "action": "created"}]


def test_a_broker_that_does_not_run_is_an_error_with_its_cause(run):
    broker = BrokerDouble()
    broker.running = False
    with pytest.raises(PlatformError, match=r"closed the connection.*kubectl -n shop logs kafka-0"):
        run(broker, ORDERS)
    client = Cluster()
    client.pods = {}
    with pytest.raises(PlatformError, match=r"Pod shop/kafka-0 does not run"):
        run(broker, ORDERS, client=client)


def test_other_errors_end_the_run_at_once(run):
    broker = BrokerDouble()
    broker.errors = {"CreateTopics": [44]}
    with pytest.raises(PlatformError, match=r"create topic order.created: .*\(error 44, PolicyViolation\)"):
        run(broker, ORDERS)
    assert broker.asked.count("CreateTopics") == 1


def test_an_old_or_foreign_program_is_named(run, monkeypatch):
    broker = BrokerDouble()
    for versions in ({3: 1, 18: 3}, {3: 9, 18: 3, 32: 2}):
        broker.versions = versions
        with pytest.raises(PlatformError, match=r"'(Metadata|CreateTopics)Request'.* Use Kafka 2.4 or newer"):
            run(broker, ORDERS)
    monkeypatch.setattr(broker, "answer", lambda _frame: b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(PlatformError, match="does not speak Kafka's protocol"):
        run(broker, ORDERS)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ({"name": "a b"}, "Topic 2 of 2, 'a b', has a name that Kafka does not allow"),
        ({"name": ".."}, "has a name that Kafka does not allow"),
        ({"name": "stock.low"}, "is there twice"),
        ({"name": "x", "partitions": 0}, "has 0 partitions"),
        ({"name": "x", "config": {"retention.ms": None}}, "the setting retention.ms is None"),
        ({"name": "x", "config": {"cleanup.policy": ["compact"]}}, "Give it a text or a number"),
    ],
)
def test_what_cannot_be_right_is_refused_without_a_cluster(run, topic, message):
    with pytest.raises(PlatformError, match=message):
        run(None, STOCK, topic, check_mode=True, client=None)
