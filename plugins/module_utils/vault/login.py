# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in to Vault with a short-lived token of a Kubernetes service account."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.token_request import (
    SHORTEST,
    request_token,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultAbsent, VaultError


def request(server, cluster, login):
    """Log in as a pod of the service account would, by a short-lived token of it.

    :param login: dict with role, mount, namespace, service_account (default: the role's name) and audiences (default:
        the API server's own).
    :returns: the token that Vault gave (None: refused), the HTTP status, Vault's errors as a text, and a sentence that
        says who cannot log in.
    """
    account, mount = login.get("service_account") or login["role"], login["mount"].strip("/")
    audiences = {"audiences": login["audiences"]} if login.get("audiences") else {}
    jwt = request_token(cluster, login["namespace"], account, {"expirationSeconds": SHORTEST, **audiences})["token"]
    data = {"role": login["role"], "jwt": jwt}
    status, errors, body = server.with_token(None, "").exchange("POST", f"auth/{mount}/login", data)
    refused = (
        f"{login['namespace']}/{account} cannot log in to {server.address} as the role {login['role']} of "
        f"auth/{mount}: {errors or 'no reason given'} (HTTP {status})."
    )
    return body["auth"]["client_token"] if status == 200 else None, status, errors, refused


def log_in(server, cluster, login):
    """The same server, spoken to with the token of the login that the option describes.

    :raises VaultAbsent: the account or the role is still to come.
    """
    try:
        token, _status, errors, refused = request(server, cluster, login)
    except VaultError:
        raise
    except PlatformError as e:  # of Kubernetes
        kind = VaultAbsent if getattr(e.__cause__, "status", None) == 404 else VaultError
        raise kind(e.what, e.fix) from e
    if token is None:
        kind = VaultAbsent if "invalid role name" in errors else VaultError
        raise kind(
            refused,
            "The role vault_init makes what the login needs, with a root token (vault operator generate-root is the "
            "way back to one); vault_login_check finds the cause.",
        )
    found = server.with_token(token, f"the login as the role {login['role']}")
    found.status = server.status
    return found
