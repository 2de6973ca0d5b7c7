# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of consumers: who is in one, and what it has left unread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.broker import Broker
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.topics import Topic, read

EARLIEST, LATEST = -2, -1  # in place of a time
OFFSETS = "__consumer_offsets"  # made when the first group of all begins; until then no broker coordinates any


@dataclass
class Group:
    """A group as its coordinator sees it. ``unread``: how many messages, by topic, are older than was asked for."""

    members: int
    unread: dict[str, int] = field(default_factory=dict)


def read_group(broker: Broker, name: str, topics: Iterable[str], older: int) -> Group:
    """The group, and what it has not read of the topics although it was there at the time ``older`` (ms since 1970).

    A group that never was has no members, and has read nothing. Topics that do not exist are left out.

    :raises NotReady: the broker has no controller, does not coordinate groups yet, or leads a partition no longer.
    """
    live = read(broker, [Topic(t, 1) for t in (OFFSETS, *topics)])
    groups = live.pop(OFFSETS, None)
    partitions = {t.name: range(t.partitions) for t in live.values()}
    found = Group(_members(broker, name) if groups else 0)
    if not partitions:
        return found
    read_to = _committed(broker, name, partitions) if groups else {}
    first, last, since = (_offsets(broker, partitions, time) for time in (EARLIEST, LATEST, older))
    for place, end in last.items():
        old = since[place] if since[place] >= 0 else end  # none is younger
        left = old - max(read_to.get(place, -1), first[place])
        if left > 0:
            found.unread[place[0]] = found.unread.get(place[0], 0) + left
    return found


def _members(broker: Broker, group: str) -> int:
    request = require("kafka.protocol.admin").DescribeGroupsRequest
    answer = broker.ask(request(groups=[group], include_authorized_operations=False, max_version=5))
    broker.check([(g.error_code, None, f"describe the group {group}") for g in answer.groups])
    return sum(len(g.members) for g in answer.groups)


def _committed(broker: Broker, group: str, partitions: dict[str, Iterable[int]]) -> dict[tuple[str, int], int]:
    """By topic and partition, up to where the group has read; -1 when it never did."""
    request = require("kafka.protocol.consumer").OffsetFetchRequest
    asked = [request.OffsetFetchRequestTopic(name=t, partition_indexes=list(p)) for t, p in partitions.items()]
    answer = broker.ask(request(group_id=group, topics=asked, require_stable=False, max_version=7))
    found = {(t.name, p.partition_index): p for t in answer.topics for p in t.partitions}
    codes = [answer.error_code, *(p.error_code for p in found.values())]
    broker.check([(code, None, f"tell what the group {group} has read") for code in codes])
    return {place: p.committed_offset for place, p in found.items()}


def _offsets(broker: Broker, partitions: dict[str, Iterable[int]], time: int) -> dict[tuple[str, int], int]:
    """By topic and partition, the offset of the first message from ``time`` on; -1 when there is none."""
    request = require("kafka.protocol.consumer").ListOffsetsRequest
    topic = request.ListOffsetsTopic
    asked = [
        topic(name=name, partitions=[topic.ListOffsetsPartition(partition_index=n, timestamp=time) for n in numbers])
        for name, numbers in partitions.items()
    ]
    answer = broker.ask(request(replica_id=-1, isolation_level=0, topics=asked, min_version=1))
    found = {(t.name, p.partition_index): p for t in answer.topics for p in t.partitions}
    broker.check([(p.error_code, None, f"tell the offsets of {name}") for (name, _n), p in found.items()])
    return {place: p.offset for place, p in found.items()}
