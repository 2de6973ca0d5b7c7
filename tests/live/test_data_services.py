# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kafka, ZooKeeper and Redis, killed, and topics that somebody deleted or changed."""

from __future__ import annotations

import json

KUBECTL = "kubectl -n cloudcart "
BROKER = "--bootstrap-server 127.0.0.1:29092"  # the name leads to a server that is gone for some seconds more
TOPIC = "product.created"  # the one that no service consumes


def data(machine, *arguments: str) -> list[str]:
    """Run the play of the data services, and return the tasks that changed something."""
    run = machine.site(*arguments, playbook="data")
    assert run.status == 0, run.text[-3000:]
    return run.changed


def kafka(machine, command: str, text: str = "") -> str:
    return machine.ssh(f"{KUBECTL}exec -i kafka-0 -c kafka -- {command}", text)


def messages(machine) -> list[str]:
    limits = "--from-beginning --timeout-ms 20000 --max-messages 1"
    return kafka(machine, f"kafka-console-consumer {BROKER} --topic {TOPIC} {limits}").splitlines()


def topic(machine) -> str:
    return kafka(machine, f"kafka-topics {BROKER} --describe --topic {TOPIC}")


def test_killed_servers_come_back_with_their_data(platform):
    before = topic(platform)
    kafka(platform, f"kafka-console-producer {BROKER} --topic {TOPIC}", '{"product_id": 1}\n')
    uids = f"{KUBECTL}get pods -l 'app in (kafka, zookeeper, redis)' -o jsonpath='{{.items[*].metadata.uid}}'"
    old = platform.ssh(uids).split()
    assert len(old) == 3
    platform.ssh(f"{KUBECTL}delete pod -l 'app in (kafka, zookeeper, redis)' --force --grace-period=0")
    assert data(platform) == []
    assert not set(old) & set(platform.ssh(uids).split())
    assert topic(platform) == before, "the same id: not a new topic of that name"
    assert messages(platform) == ['{"product_id": 1}']


def test_a_deleted_topic_comes_back(platform):
    kafka(platform, f"kafka-topics {BROKER} --delete --topic {TOPIC}")
    assert data(platform) == ["cloudcartops.platform.kafka : Kafka | Make the topics"]
    assert "PartitionCount: 1" in topic(platform)
    assert "retention.ms=604800000" in topic(platform)


def test_a_changed_topic_is_corrected_and_keeps_its_other_settings(platform):
    change = "--alter --add-config retention.ms=1000,max.message.bytes=2000"
    kafka(platform, f"kafka-configs {BROKER} --entity-type topics --entity-name {TOPIC} {change}")
    assert data(platform) == ["cloudcartops.platform.kafka : Kafka | Make the topics"]
    found = topic(platform)
    assert "retention.ms=604800000" in found and "max.message.bytes=2000" in found
    assert data(platform) == []


def test_partitions_grow_and_never_shrink(platform):
    wanted = json.dumps({"kafka_topics": [{"name": TOPIC, "partitions": 2}]})
    assert data(platform, "--tags", "kafka", "--extra-vars", wanted)
    assert "PartitionCount: 2" in topic(platform)
    refused = platform.site("--tags", "kafka", playbook="data")
    assert refused.status != 0
    assert "product.created has 2, wanted 1. Nothing was changed." in refused.text
    kafka(platform, f"kafka-topics {BROKER} --delete --topic {TOPIC}")
    data(platform)
    assert "PartitionCount: 1" in topic(platform)
