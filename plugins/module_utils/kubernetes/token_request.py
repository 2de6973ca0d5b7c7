# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TokenRequest API, by which Kubernetes makes tokens of service accounts.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError

SHORTEST = 600  # seconds; the API server grants nothing shorter


def request_token(client: Client, namespace: str, account: str, spec: dict) -> dict:
    """Make a token by TokenRequest and return its ``status``."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    try:
        return client.call("POST", path, doing=f"make a token of {namespace}/{account}", body=body).json()["status"]
    except ApiError as e:
        if e.status == 404 and spec.get("boundObjectRef"):
            bound = spec["boundObjectRef"]
            raise PlatformError(f"{e.what}", f"Create the ServiceAccount and the {bound['kind']} first.") from e
        if e.status == 404:
            raise PlatformError(
                f"The ServiceAccount {namespace}/{account} does not exist.", "Create it, or correct its name."
            ) from e
        raise
