# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of consumers, against a double of a broker that speaks Kafka's encoded frames."""

from __future__ import annotations

import io
import struct

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.broker import Broker, NotReady
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.groups import Group, read_group
from kafka.protocol import admin, consumer, metadata
from kafka.protocol.api_header import RequestHeader

# What brokers of these versions tell of themselves: api key -> oldest and newest version.
KAFKA = {
    "2.4": {2: (0, 5), 3: (0, 9), 9: (0, 6), 15: (0, 5), 18: (0, 3)},
    "3.5": {2: (0, 8), 3: (0, 12), 9: (0, 8), 15: (0, 5), 18: (0, 3)},
    "4.1": {2: (1, 11), 3: (0, 13), 9: (1, 10), 15: (0, 6), 18: (0, 4)},
}
REQUESTS = (
    metadata.ApiVersionsRequest,
    metadata.MetadataRequest,
    admin.DescribeGroupsRequest,
    consumer.OffsetFetchRequest,
    consumer.ListOffsetsRequest,
)


class BrokerDouble:
    """Stands for a broker and the connection to it. ``logs``: by topic, for each partition its first offset and the
    times of its messages. ``read``: by topic and partition, where the group ``workers`` is."""

    def __init__(self, versions, logs, read=None, members=1):
        self.versions, self.logs = KAFKA[versions], {"__consumer_offsets": [(0, [])], **logs}
        self.read, self.members = read or {}, members
        self.errors, self.pending = {}, b""

    def send(self, frame):
        key, version = struct.unpack(">hh", frame[4:8])
        [request_class] = [r for r in REQUESTS if key == r.API_KEY]
        stream = io.BytesIO(frame[4:])
        header = RequestHeader.decode(stream, flexible=request_class.flexible_version_q(version))
        request = request_class.decode(stream.read(), version=version)
        name = request_class.__name__.removesuffix("Request")
        response = getattr(self, f"_{name}")(request, self.errors.get(name, 0))
        response.API_VERSION = version
        response.with_header(correlation_id=header.correlation_id)
        self.pending = response.encode(framed=True, header=True)

    def receive(self, _timeout):
        return self.pending

    def _ApiVersions(self, _request, code):
        key = metadata.ApiVersionsResponse.ApiVersion
        keys = [key(api_key=k, min_version=a, max_version=b) for k, (a, b) in self.versions.items()]
        return metadata.ApiVersionsResponse(error_code=code, api_keys=keys, throttle_time_ms=0)

    def _Metadata(self, request, code):
        topic = metadata.MetadataResponse.MetadataResponseTopic
        part = topic.MetadataResponsePartition
        found = [
            topic(
                error_code=code if t.name in self.logs else 3,
                name=t.name,
                is_internal=False,
                partitions=[
                    part(error_code=0, partition_index=n, leader_id=1, replica_nodes=[1], isr_nodes=[1])
                    for n in range(len(self.logs.get(t.name, [])))
                ],
            )
            for t in request.topics
        ]
        return metadata.MetadataResponse(brokers=[], cluster_id="c", controller_id=1, topics=found)

    def _DescribeGroups(self, request, code):
        group = admin.DescribeGroupsResponse.DescribedGroup
        fields = {"member_id": "m", "client_id": "c", "client_host": "h"}
        fields |= {"member_metadata": b"", "member_assignment": b""}
        return admin.DescribeGroupsResponse(
            groups=[
                group(
                    error_code=code,
                    group_id=name,
                    group_state="Stable" if self.members else "Empty",
                    protocol_type="consumer",
                    protocol_data="",
                    members=[group.DescribedGroupMember(**fields)] * (self.members if name == "workers" else 0),
                )
                for name in request.groups
            ]
        )

    def _OffsetFetch(self, request, code):
        topic = consumer.OffsetFetchResponse.OffsetFetchResponseTopic
        part = topic.OffsetFetchResponsePartition
        found = [
            topic(
                name=t.name,
                partitions=[
                    part(
                        partition_index=n,
                        committed_offset=self.read.get((t.name, n), -1) if request.group_id == "workers" else -1,
                        metadata="",
                        error_code=0,
                    )
                    for n in t.partition_indexes
                ],
            )
            for t in request.topics
        ]
        return consumer.OffsetFetchResponse(topics=found, error_code=code)

    def _ListOffsets(self, request, code):
        topic = consumer.ListOffsetsResponse.ListOffsetsTopicResponse
        part = topic.ListOffsetsPartitionResponse
        found = [
            topic(
                name=t.name,
                partitions=[
                    part(partition_index=p.partition_index, error_code=code, offset=self._offset(t.name, p))
                    for p in t.partitions
                ],
            )
            for t in request.topics
        ]
        return consumer.ListOffsetsResponse(topics=found)

    def _offset(self, topic, asked):
        first, times = self.logs[topic][asked.partition_index]
        if asked.timestamp < 0:
            return first + (len(times) if asked.timestamp == -1 else 0)
        return next((first + n for n, time in enumerate(times) if time >= asked.timestamp), -1)


TOPICS = ["order.created", "stock.low", "missing"]
LOGS = {"order.created": [(10, [100, 200, 300]), (0, [150])], "stock.low": [(0, [])]}
DONE = {("order.created", 0): 13, ("order.created", 1): 1, ("stock.low", 0): 0}


@pytest.mark.parametrize("version", KAFKA)
@pytest.mark.parametrize(
    ("read", "older", "unread"),
    [
        (DONE, 1000, {}),
        ({}, 1000, {"order.created": 4}),
        ({}, 200, {"order.created": 2}),  # the others may be read in a moment
        ({}, 50, {}),
        ({("order.created", 0): 12, ("order.created", 1): 1}, 1000, {"order.created": 1}),
        ({("order.created", 0): 12, ("order.created", 1): 1}, 300, {}),
        ({("order.created", 0): 3, ("order.created", 1): 1}, 1000, {"order.created": 3}),  # 7 of them are deleted
    ],
)
def test_what_is_unread(version, read, older, unread):
    broker = Broker(BrokerDouble(version, LOGS, read))
    assert read_group(broker, "workers", TOPICS, older) == Group(1, unread)


@pytest.mark.parametrize("version", KAFKA)
def test_a_group_without_members(version):
    assert read_group(Broker(BrokerDouble(version, LOGS, DONE, 0)), "workers", TOPICS, 1000) == Group(0, {})
    never = read_group(Broker(BrokerDouble(version, LOGS)), "others", TOPICS, 1000)
    assert never == Group(0, {"order.created": 4})
    assert read_group(Broker(BrokerDouble(version, {})), "workers", TOPICS, 1000) == Group(1, {})


def test_before_the_first_group_of_all():
    """A broker then says that it does not coordinate the group."""
    double = BrokerDouble("3.5", LOGS)
    del double.logs["__consumer_offsets"]
    double.errors = {"DescribeGroups": 16, "OffsetFetch": 16}
    assert read_group(Broker(double), "workers", TOPICS, 1000) == Group(0, {"order.created": 4})


@pytest.mark.parametrize(
    ("request_name", "code", "error"),
    [
        ("DescribeGroups", 14, NotReady),  # the coordinator loads its groups
        ("DescribeGroups", 30, PlatformError),  # nobody may look at the group
        ("OffsetFetch", 16, NotReady),  # another broker coordinates it
        ("ListOffsets", 6, NotReady),  # another broker leads the partition
    ],
)
def test_errors(request_name, code, error):
    double = BrokerDouble("3.5", LOGS)
    double.errors = {request_name: code}
    with pytest.raises(PlatformError, match=f"error {code}") as raised:
        read_group(Broker(double), "workers", TOPICS, 1000)
    assert type(raised.value) is error
