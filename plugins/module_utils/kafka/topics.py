# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Topics of Kafka: read what there is, compare, write only what differs, and read again."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic, sleep

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.broker import (
    REQUEST_TIMEOUT,
    Broker,
    NotReady,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.port_forward import (
    Disconnected,
    PortForward,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

POLL = 0.5  # seconds between two questions to a broker that is not ready: its protocol knows no other way to wait
TOPIC = 2  # resource type
SET = 0  # operation on one setting
UNKNOWN_TOPIC = 3
NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$")  # org.apache.kafka.common.internals.Topic


@dataclass
class Topic:
    """What is wanted of a topic, or what it is. ``config`` holds only the settings that are asked for."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)

    def shown(self) -> dict:
        return {"partitions": self.partitions, "config": self.config}


@dataclass
class Change:
    """One topic to create (``live`` is None) or to change."""

    wanted: Topic
    live: Topic | None

    @property
    def grows(self) -> bool:
        return self.live is not None and self.live.partitions < self.wanted.partitions

    @property
    def config(self) -> dict[str, str]:
        """The settings that differ."""
        live = self.live.config if self.live else {}
        return {k: v for k, v in self.wanted.config.items() if live.get(k) != v}

    def plan(self) -> list[str]:
        topic, name = self.wanted, self.wanted.name
        if self.live is None:
            settings = "".join(f", {k}={v}" for k, v in topic.config.items())
            return [f"create topic {name} (partitions={topic.partitions}{settings})"]
        grow = [f"grow topic {name} from {self.live.partitions} to {topic.partitions} partitions"] if self.grows else []
        return grow + [f"set {k}={v} of topic {name} (is {self.live.config.get(k)})" for k, v in self.config.items()]

    def diff(self) -> dict:
        before = self.live.shown() if self.live else {}
        after = self.wanted.shown()
        if self.live:
            after = {"partitions": max(self.live.partitions, self.wanted.partitions), "config": self.wanted.config}
        header = f"topic {self.wanted.name}"
        return {"before_header": header, "after_header": header, "before": before, "after": after}


def kafka_topic(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    wanted = checked(params["topics"])
    client = connect(params["kubeconfig"], params["context"], check_mode)
    before, found = _Work(client, params, wanted).run(check_mode) if client else ({}, "absent")
    changes = difference(wanted, before)
    actions = {c.wanted.name: "updated" if c.live else "created" for c in changes}
    result = {
        "changed": bool(changes),
        "topics": [{"name": t.name, "action": actions.get(t.name, "unchanged")} for t in wanted],
        "diff": [c.diff() for c in changes],
    }
    if check_mode:
        result["plan"] = [line for c in changes for line in c.plan()]
        result["cluster"] = "present" if client else "absent"
        result["broker"] = found
    return result


def checked(given: list[dict]) -> list[Topic]:
    """The wanted topics; refuses what cannot be right."""
    topics: dict[str, Topic] = {}
    for number, item in enumerate(given, 1):
        name, partitions, config = item["name"], item["partitions"], item["config"] or {}
        where = f"Topic {number} of {len(given)}, {name!r}"
        if not NAME.match(name):
            fix = "A name has up to 249 letters, digits, dots, underscores and hyphens, and is not '.' or '..'."
            raise PlatformError(f"{where}, has a name that Kafka does not allow.", fix)
        if name in topics:
            raise PlatformError(f"{where}, is there twice.", "Remove one of them.")
        if partitions < 1:
            raise PlatformError(f"{where}, has {partitions} partitions.", "It needs at least 1.")
        for key, value in config.items():
            if not isinstance(value, (str, int, float)):
                raise PlatformError(f"{where}: the setting {key} is {value!r}.", "Give it a text or a number.")
        texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in config.items()}
        topics[name] = Topic(name, partitions, texts)
    return list(topics.values())


def difference(wanted: list[Topic], live: dict[str, Topic]) -> list[Change]:
    """What is to be done.

    :raises PlatformError: a topic has more partitions than it should, which Kafka cannot take back.
    """
    changes = [Change(topic, live.get(topic.name)) for topic in wanted]
    shrinking = [c for c in changes if c.live and c.live.partitions > c.wanted.partitions]
    if shrinking:
        names = "; ".join(f"{c.wanted.name} has {c.live.partitions}, wanted {c.wanted.partitions}" for c in shrinking)
        raise PlatformError(
            f"Kafka cannot take partitions away from a topic: {names}. Nothing was changed.",
            "Raise 'partitions' of the topic to what it has, or delete the topic with its messages and run again.",
        )
    return [c for c in changes if c.live is None or c.grows or c.config]


def read(broker: Broker, wanted: list[Topic]) -> dict[str, Topic]:
    """The wanted topics that exist, by name.

    :raises NotReady: the cluster has no controller yet.
    """
    metadata = require("kafka.protocol.metadata")
    admin = require("kafka.protocol.admin")
    names = [metadata.MetadataRequest.MetadataRequestTopic(name=t.name) for t in wanted]
    answer = broker.ask(metadata.MetadataRequest(topics=names, allow_auto_topic_creation=False, min_version=4))
    if answer.controller_id < 0:
        raise NotReady("Kafka has no controller yet: the broker registers with ZooKeeper and elects one.")
    found = [t for t in answer.topics if t.error_code != UNKNOWN_TOPIC]
    broker.check([(t.error_code, None, f"tell about topic {t.name}") for t in found])
    live = {t.name: Topic(t.name, len(t.partitions)) for t in found}
    resource = admin.DescribeConfigsRequest.DescribeConfigsResource
    resources = [
        resource(resource_type=TOPIC, resource_name=t.name, configuration_keys=list(t.config))
        for t in wanted
        if t.name in live and t.config
    ]
    if resources:
        answer = broker.ask(admin.DescribeConfigsRequest(resources=resources))
        broker.check(
            [(r.error_code, r.error_message, f"tell the settings of {r.resource_name}") for r in answer.results]
        )
        for r in answer.results:
            live[r.resource_name].config = {c.name: c.value for c in r.configs}
    return live


def write(broker: Broker, changes: list[Change], validate_only: bool) -> None:
    """Carry changes out, or let the broker only say whether it would."""
    admin = require("kafka.protocol.admin")
    limit = {"timeout_ms": REQUEST_TIMEOUT * 1000, "validate_only": validate_only}
    new = [c.wanted for c in changes if c.live is None]
    if new:
        topic = admin.CreateTopicsRequest.CreatableTopic
        setting = topic.CreatableTopicConfig
        topics = [
            topic(
                name=t.name,
                num_partitions=t.partitions,
                replication_factor=-1,  # the broker's default
                assignments=[],
                configs=[setting(name=k, value=v) for k, v in t.config.items()],
            )
            for t in new
        ]
        answer = broker.ask(admin.CreateTopicsRequest(topics=topics, min_version=4, **limit))
        broker.check([(t.error_code, t.error_message, f"create topic {t.name}") for t in answer.topics])
    growing = [c.wanted for c in changes if c.grows]
    if growing:
        topic = admin.CreatePartitionsRequest.CreatePartitionsTopic
        topics = [topic(name=t.name, count=t.partitions, assignments=None) for t in growing]
        answer = broker.ask(admin.CreatePartitionsRequest(topics=topics, **limit))
        broker.check([(t.error_code, t.error_message, f"add partitions to topic {t.name}") for t in answer.results])
    setting_changes = [c for c in changes if c.live and c.config]
    if setting_changes:
        resource = admin.IncrementalAlterConfigsRequest.AlterConfigsResource
        setting = resource.AlterableConfig
        resources = [
            resource(
                resource_type=TOPIC,
                resource_name=c.wanted.name,
                configs=[setting(name=k, config_operation=SET, value=v) for k, v in c.config.items()],
            )
            for c in setting_changes
        ]
        answer = broker.ask(admin.IncrementalAlterConfigsRequest(resources=resources, validate_only=validate_only))
        broker.check([(r.error_code, r.error_message, f"change topic {r.resource_name}") for r in answer.responses])


class _Work:
    """Ask one broker, again and again while it is not ready, up to a timeout."""

    def __init__(self, client: Client, params: dict, wanted: list[Topic]) -> None:
        self.client, self.wanted, self.timeout = client, wanted, params["timeout"]
        self.namespace, self.pod, self.port = params["namespace"], params["pod"], params["port"]
        self.before: dict[str, Topic] = {}  # what was there before the first change
        self.begun = False

    def run(self, check_mode: bool) -> tuple[dict[str, Topic], str]:
        """The topics before the run, and whether there is a broker."""
        end = monotonic() + self.timeout
        while True:
            try:
                if check_mode and not self._runs():
                    return {}, "absent"
                self._once(check_mode)
                return self.before, "present"
            except (NotReady, Disconnected) as e:
                if monotonic() + POLL > end:
                    pod = ref("Pod", self.pod, self.namespace)
                    raise PlatformError(
                        f"Kafka in {pod} was not ready within {self.timeout} s. {e.what}",
                        f"Look into its log: 'kubectl -n {self.namespace} logs {self.pod}'. Then run again.",
                    ) from e
                sleep(POLL)

    def _runs(self) -> bool:
        pod = self.client.get("Pod", self.pod, self.namespace)
        return bool(pod) and pod.get("status", {}).get("phase") == "Running"

    def _once(self, check_mode: bool) -> None:
        if not self._runs():
            raise NotReady(f"{ref('Pod', self.pod, self.namespace)} does not run.")
        with closing(PortForward(self.client, self.namespace, self.pod, self.port)) as connection:
            broker = Broker(connection)
            live = read(broker, self.wanted)
            if not self.begun:  # a broker that has just started may not show what there is: only a change settles it
                self.before = live
            self._reconcile(broker, live, check_mode)

    def _reconcile(self, broker: Broker, live: dict[str, Topic], check_mode: bool) -> None:
        """Make the topics what is wanted. In check mode only let the broker say whether it would.

        :raises NotReady: the broker does not show the wanted state yet.
        """
        changes = difference(self.wanted, live)
        if not changes:
            return
        write(broker, changes, validate_only=True)  # all of it, before the first change
        if check_mode:
            return
        self.begun = True
        write(broker, changes, validate_only=False)
        left = difference(self.wanted, read(broker, self.wanted))
        if left:
            raise NotReady(f"Kafka took the changes, but does not show them yet: {left[0].plan()[0]}.")
