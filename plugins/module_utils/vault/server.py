# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP API of one Vault or OpenBao server, with its errors put into words.

Facts about the API that the code relies on (measured with OpenBao 2.7.2, shared by Vault):
a soft-deleted KV version answers 404 *with* data; reading something that does not exist answers 404 without; unknown
fields of a write are accepted silently; the Kubernetes API server's proxy passes every verb but LIST, and reports its
own errors as a Status object instead of Vault's ``errors`` list.
"""

from __future__ import annotations

import functools
import time

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import require
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import (
    VaultAbsent,
    VaultConflict,
    VaultError,
)

# Right after a KV v2 engine was mounted it answers 400 with this for a moment.
_STARTING = "Upgrading from non-versioned to versioned data"
_STARTING_SECONDS = 15
_RACES = ("check-and-set parameter did not match", "path is already in use")


class Server:
    """Read and write paths of a Vault server.

    :param url: base address, without ``/v1``; may be an address of the Kubernetes API server's service proxy.
    :param token: the token to send; never part of any error.
    :param address: how to name the server in errors.
    :param token_source: where the token came from, for errors about it.
    :param session: a requests session that reaches the address (None: a plain one).
    :param verify: True, False, or the path of a CA bundle; only without a session.
    :param proxied: the address is the API server's proxy.
    :param namespace: namespace of Vault (not of Kubernetes).
    """

    def __init__(
        self,
        url,
        token,
        *,
        address,
        token_source,
        session=None,
        verify=True,
        timeout=30,
        proxied=False,
        namespace=None,
    ):
        self._options = {"url": url, "address": address, "session": session, "verify": verify, "timeout": timeout}
        self._options |= {"proxied": proxied, "namespace": namespace}
        self.address, self.token_source, self.proxied = address, token_source, proxied
        self._url = f"{url.rstrip('/')}/v1/"
        self._session = session or require("requests").Session()
        headers = {"X-Vault-Request": "true", "X-Vault-Token": token, "X-Vault-Namespace": namespace}
        self._headers = {name: value for name, value in headers.items() if value}
        self.has_token = bool(token)

    def with_token(self, token, token_source):
        """The same server, spoken to with another token (None: without one)."""
        return Server(token=token, token_source=token_source, **self._options)

    def read(self, path):
        """Return the ``data`` of a path, or None when there is nothing."""
        response = self._request("GET", path)
        body = self._json(response)
        if response.status_code == 404 and not body.get("data"):
            return None
        return body.get("data", body)

    def list(self, path):
        """Return the names under a path, an empty list when there are none."""
        response = self._request("LIST", path)
        return [] if response.status_code == 404 else self._json(response)["data"]["keys"]

    def write(self, path, data, method="POST"):
        """Write a dict to a path and return the answer's body."""
        response = self._request(method, path, data)
        if response.status_code == 404:
            raise VaultError(
                f"{self.address} knows no path {path}: {'; '.join(self._errors(response))}.",
                "Check the mount's path; a secrets engine or auth method must be mounted before it is configured.",
            )
        return self._json(response)

    def delete(self, path):
        """Delete a path; that it is not there is as good."""
        self._request("DELETE", path)

    def exchange(self, method, path, data=None):
        """Send one request whose refusal is an answer too: returns status, Vault's errors as a text, and the body."""
        response = self._request(method, path, data, allow=range(400, 501))
        body = self._json(response)
        return response.status_code, "; ".join(self._errors(response)), body

    def answer(self, method, path, data=None):
        """Send one request and return the answer's body as it came (bytes): nothing may get between it and a file."""
        return self._request(method, path, data, allow=()).content

    def check(self):
        """Make sure the server can be used, and return its ``sys/seal-status``."""
        status = self.read("sys/seal-status") or {}
        if not status.get("initialized"):
            raise VaultAbsent(
                f"{self.address} is not initialised.",
                "Initialise it (the module vault_operator does), keep the keys, and unseal it.",
            )
        if status.get("sealed"):
            raise VaultError(
                f"{self.address} is sealed.",
                f"Unseal it with {status.get('t', 'enough')} of its key shares (vault operator unseal).",
            )
        if self.has_token and self._request("GET", "auth/token/lookup-self", allow=(403, 404)).status_code != 200:
            raise VaultError(
                f"{self.address} does not accept the token from {self.token_source}.",
                "A dev-mode server keeps the token it was started with: if the Secret was changed since then, restart "
                "its pod (kubectl rollout restart). Otherwise the token has expired or was revoked: provide a new one.",
            )
        return status

    # -- internals -----------------------------------------------------------------------------------------------------

    def _request(self, method, path, data=None, allow=(404,)):
        exceptions = require("requests").exceptions
        url = self._url + path.strip("/")
        if method == "LIST":  # what the API server's proxy passes
            method, url = "GET", f"{url}?list=true"
        end = time.monotonic() + _STARTING_SECONDS
        try:
            while True:
                response = self._send(method, url, data)
                if response.status_code != 400 or _STARTING not in response.text or time.monotonic() > end:
                    break
                time.sleep(0.2)  # nothing to watch: the server only says "try again"
        except exceptions.InvalidHeader:  # whose text has the token in it
            raise VaultError(
                f"The token from {self.token_source} has characters that no token has.", "Give it as Vault gave it."
            ) from None
        except exceptions.SSLError as e:
            raise VaultError(
                f"The TLS connection to {self.address} failed: {_innermost(e)}.",
                "Give the CA that signed the server's certificate (ca_cert), and use the name the certificate has.",
            ) from e
        except exceptions.Timeout as e:
            raise VaultAbsent(
                f"{self.address} did not answer in time.", "Check that its pod runs and that no firewall is in the way."
            ) from e
        except exceptions.RequestException as e:
            raise VaultAbsent(
                f"{self.address} cannot be reached: {_innermost(e)}.", "Check the address and that the server runs."
            ) from e
        if response.is_redirect:
            raise VaultError(
                f"{self.address} redirects to {response.headers.get('Location')}, which is not followed.",
                "Use the address of the active server.",
            )
        if self._from_kubernetes(response):
            raise self._kubernetes_error(response)
        if not response.ok and response.status_code not in allow:
            raise self._error(response, method, path)
        return response

    @functools.cached_property
    def _common(self):
        """What all requests have in common, worked out once, which halves what one of many costs: a request, and how
        to send it.

        https://requests.readthedocs.io/en/latest/user/advanced/#prepared-requests
        """
        request = require("requests").Request("GET", self._url, headers=self._headers)
        settings = self._session.merge_environment_settings(self._url, {}, None, self._options["verify"], None)
        # A redirect would hand the token to whoever it names.
        settings |= {"timeout": self._options["timeout"], "allow_redirects": False}
        prepared = self._session.prepare_request(request)
        prepared.headers.pop("Cookie", None)  # each request takes the session's of its time
        return prepared, settings

    def _send(self, method, url, data):
        common, settings = self._common
        request = common.copy()
        request.prepare_method(method)
        request.prepare_url(url, None)
        request.prepare_cookies(self._session.cookies)  # of a load balancer
        request.prepare_body(None, None, json=data)
        if self._session.auth:  # may have a new token meanwhile
            request.prepare_auth(self._session.auth, url)
        return self._session.send(request, **settings)

    def _from_kubernetes(self, response):
        if not self.proxied or response.ok:
            return False
        return "error trying to reach service" in response.text or self._json(response).get("kind") == "Status"

    def _kubernetes_error(self, response):
        message = self._json(response).get("message") or response.text.strip()
        if response.status_code == 404:
            return VaultAbsent(f"{self.address} does not exist: {message}.", "Run the role vault first.")
        if response.status_code in (401, 403):
            return VaultError(
                f"Kubernetes does not let this kubeconfig reach {self.address}: {message}.",
                "Allow it get, create, update and delete on services/proxy (for a pod: pods/proxy) in that namespace, "
                "or give Vault's url.",
            )
        if response.status_code >= 500:
            return VaultAbsent(
                f"No ready pod answers for {self.address}: {message}.",
                "Look at the pod (kubectl get pods, kubectl logs); a sealed or uninitialised Vault is not ready.",
            )
        return VaultError(f"The Kubernetes API server refused the request to {self.address}: {message}.")

    def _error(self, response, method, path):
        status, errors = response.status_code, "; ".join(self._errors(response))
        where = f"{self.address}, {method} {path}"
        if any(text in errors for text in _RACES):
            return VaultConflict(f"{where}: {errors}.", "Somebody else writes the same thing; run again.")
        if status == 403:
            return VaultError(
                f"{where}: permission denied.",
                f"The token from {self.token_source} is valid, but no policy of it allows this path: use another one.",
            )
        if status == 503 and "sealed" in errors:
            return VaultError(f"{where}: Vault is sealed.", "Unseal it (vault operator unseal).")
        if status in (472, 473, 429) and not errors:
            return VaultError(f"{where}: this is a standby server.", "Use the address of the active server.")
        if status == 429:
            return VaultError(f"{where}: too many requests ({errors}).", "Raise the rate limit quota, or wait.")
        if status in (502, 503, 504):
            return VaultAbsent(
                f"{where}: not available ({status} {errors}).", "Check the server and what is before it."
            )
        return VaultError(f"{where}: HTTP {status}: {errors or 'no reason given'}.")

    def _errors(self, response):
        errors = self._json(response).get("errors")
        return [" ".join(str(e).split()) for e in errors] if errors else []

    def _json(self, response):
        if response.status_code == 204 or not response.content:
            return {}
        try:
            body = response.json()
        except ValueError:
            body = None
        if isinstance(body, dict):
            return body
        if not response.ok:
            return {"errors": [response.text.strip()[:200]]}
        raise VaultError(
            f"{self.address} answered with {response.headers.get('Content-Type')}, which is not Vault's JSON.",
            "Check the address: another server or a proxy's login page may be there.",
        )


def _innermost(error):
    """The cause at the bottom of requests' and urllib3's wrappers, which is the part that says something."""
    while True:
        reason = getattr(error, "reason", None)
        inner = error.__cause__ or error.__context__ or (reason if isinstance(reason, BaseException) else None)
        if inner is None:
            return error
        error = inner
