# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kafka's protocol over one connection: requests and responses are the classes of the library kafka-python.

https://kafka.apache.org/protocol.html
"""

from __future__ import annotations

from typing import Protocol

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require

ANSWER_TIMEOUT = 15  # seconds; longer than REQUEST_TIMEOUT, so that the broker can say that it was too slow
REQUEST_TIMEOUT = 10  # seconds the broker may take to carry a request out
ANY_BROKER = 2  # the version of ApiVersions that every broker of the last years answers
SOFTWARE = "Use Kafka 2.4 or newer."
# What passes although Kafka's list says that it does not: -1, anything that the broker did not expect, such as a
# ZooKeeper that it has just lost; 36, what was to be created exists.
PASSING = {-1, 36}


class Connection(Protocol):
    """Bytes to and from a broker."""

    def send(self, data: bytes) -> None: ...

    def receive(self, timeout: float) -> bytes: ...


class NotReady(PlatformError):
    """What a broker answers for a while: it starts, has lost ZooKeeper, elects, or another does the same work."""


class Broker:
    """One broker at the other end of ``connection``."""

    def __init__(self, connection: Connection) -> None:
        versions = require("kafka.protocol.broker_version_data")
        self._connection = connection
        self._protocol = require("kafka.protocol.parser").KafkaProtocol(client_id="cloudcartops")
        self._versions = None
        answer = self.ask(require("kafka.protocol.metadata").ApiVersionsRequest())
        self.check([(answer.error_code, None, "tell what it supports")])
        keys = {k.api_key: (k.min_version, k.max_version) for k in answer.api_keys}
        self._versions = versions.BrokerVersionData(api_versions=keys)

    def ask(self, request):
        """Send a request in the newest version that both sides know, and return the response.

        :raises Disconnected: the connection ended first.
        :raises PlatformError: the two sides do not understand each other.
        """
        errors = require("kafka.errors")
        try:
            request.API_VERSION = self._versions.api_version(request) if self._versions else ANY_BROKER
            self._protocol.send_request(request)
            self._connection.send(self._protocol.send_bytes())
            while True:
                for _number, response in self._protocol.receive_bytes(self._connection.receive(ANSWER_TIMEOUT)):
                    return response
        except errors.IncompatibleBrokerVersion as e:
            raise PlatformError(f"{e}", SOFTWARE) from e
        except errors.KafkaError as e:
            raise PlatformError(f"What answers does not speak Kafka's protocol: {e}.", "Check the port.") from e

    @staticmethod
    def check(answers: list[tuple[int, str | None, str]]) -> None:
        """Raise for the errors among (error code, message, what was to be done), of which 0 means none.

        :raises NotReady: all of them may be gone a moment later.
        :raises PlatformError: at least one will not; the text holds all of those.
        """
        for_code = require("kafka.errors").for_code
        lasting, passing = [], []
        for code, message, doing in answers:
            if not code:
                continue
            error = for_code(code)
            text = (message or error.description or error.__name__).strip().rstrip(".")
            text = f"Kafka refused to {doing}: {text} (error {code}, {error.__name__.removesuffix('Error')})."
            (passing if error.retriable or code in PASSING else lasting).append(text)
        if lasting:
            raise PlatformError("\n".join(lasting), "Correct that and run again.")
        if passing:
            raise NotReady(passing[0])
