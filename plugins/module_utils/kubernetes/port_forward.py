# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to a port of a pod, through the portforward subresource of the API server.

The channels are 0 for the bytes in both directions and 1 for an error text. The first message on each is the number of
the port. https://pkg.go.dev/k8s.io/kubelet/pkg/cri/streaming/portforward
"""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.channels import open_channels
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import Resource, ref

DATA, ERROR = 0, 1


class Disconnected(PlatformError):
    """The pod does not listen, closed the connection, or did not answer in time."""


class PortForward:
    """A connection to ``port`` of a pod; close it at the end.

    :raises ApiError: the API server refused, for instance because there is no such pod.
    """

    def __init__(self, client: Client, namespace: str, pod: str, port: int) -> None:
        self._at = f"Port {port} of {ref('Pod', pod, namespace)}"
        path = Resource("v1", "Pod", "pods", True).path(namespace, pod) + f"/portforward?ports={port}"
        self._connection = open_channels(client, path, f"reach port {port} of {ref('Pod', pod, namespace)}")
        self._introduced: set[int] = set()

    def send(self, data: bytes) -> None:
        """Send bytes to the pod."""
        websocket = require("websocket")
        try:
            self._connection.send_binary(bytes([DATA]) + data)
        except (websocket.WebSocketException, OSError) as e:
            raise Disconnected(f"{self._at} closed the connection: {e}.") from e

    def receive(self, timeout: float) -> bytes:
        """The next bytes of the pod, at least one.

        :raises Disconnected: there will be none, or none came within ``timeout`` seconds.
        """
        websocket = require("websocket")
        self._connection.settimeout(timeout)
        while True:
            try:
                opcode, message = self._connection.recv_data()
            except websocket.WebSocketTimeoutException as e:
                raise Disconnected(f"{self._at} did not answer within {timeout:g} s.") from e
            except (websocket.WebSocketException, OSError) as e:
                raise Disconnected(f"{self._at} closed the connection: {e}.") from e
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise Disconnected(f"{self._at} closed the connection.")
            channel, data = (message[0], message[1:]) if message else (None, b"")
            if channel not in self._introduced:
                self._introduced.add(channel)
            elif channel == ERROR:
                raise Disconnected(f"{self._at} cannot be reached: {data.decode(errors='replace').strip()}.")
            elif channel == DATA and data:
                return data

    def close(self) -> None:
        """End the connection."""
        self._connection.close(timeout=1)
