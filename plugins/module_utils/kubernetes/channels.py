# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSocket connections to the API server, for its exec and portforward subresources.

The subprotocol v4.channel.k8s.io puts a channel number before each message.
https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand
"""

from __future__ import annotations

import json
import ssl
from urllib.parse import urlsplit

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import CONNECT_TIMEOUT, Client
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import api_error

SUBPROTOCOL = "v4.channel.k8s.io"


def open_channels(client: Client, path: str, doing: str):
    """A WebSocket connection to the API server, with the kubeconfig's own ways to prove either side's identity.

    :raises ApiError: the API server refused.
    :raises PlatformError: the connection broke.
    """
    websocket = require("websocket")
    access = client.access
    context = ssl.create_default_context(cafile=access.verify if isinstance(access.verify, str) else None)
    if access.verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if access.cert:
        context.load_cert_chain(*access.cert)
    authorization = access.authorization()
    options = {"header": [f"Authorization: {authorization}"] if authorization else []}
    if access.proxy:
        proxy = urlsplit(access.proxy)
        options |= {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port, "proxy_type": proxy.scheme}
    try:
        return websocket.create_connection(
            access.server.replace("http", "ws", 1) + path,
            timeout=CONNECT_TIMEOUT,
            subprotocols=[SUBPROTOCOL],
            sslopt={"context": context, **({"server_hostname": access.server_name} if access.server_name else {})},
            suppress_origin=True,
            **options,
        )
    except websocket.WebSocketBadStatusException as e:
        raise api_error(e.status_code, as_json(e.resp_body), doing) from e
    except (websocket.WebSocketException, OSError) as e:
        raise broken(client, doing, e) from e


def broken(client: Client, doing: str, e: Exception) -> PlatformError:
    """The error of a connection that broke."""
    return PlatformError(f"{client.server} broke the connection while it should {doing}: {e}.", "Run again.")


def as_json(body: bytes | None) -> dict:
    """A body that should hold a Status object; other text becomes its message."""
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = {"message": body.decode(errors="replace")}
    return value if isinstance(value, dict) else {}
