# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform as its users reach it: by host name at the address of the ingress, without that name in any DNS."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

SITE_OPTIONS = {
    "address": {"type": "str"},
    "domain": {"type": "str", "default": "cloudcart.local"},
    "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
    "ca_cert": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}
TIMEOUT = 20  # seconds for one answer; with a broker that does not answer, order-service takes 5 s for an event
AGAIN_AFTER = 0.5  # seconds; what is waited for here cannot be watched
RATE_WINDOW = 65  # seconds; the gateway counts those of a minute
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.?[\w-]*")


class Broken(Exception):
    """Something does not work: what was seen, and what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclass
class Answer:
    """What came back from one request. ``json`` is None when the body is none."""

    request: str
    status: int
    content_type: str
    text: str
    seconds: float

    @property
    def json(self):
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def excerpt(self) -> str:
        """The start of the body in one line, without tokens."""
        return TOKEN.sub("<token>", " ".join(self.text.split()))[:160] or "nothing"


class Site:
    """Requests to ``domain`` and the hosts below it, sent to ``address`` (host or host:port)."""

    def __init__(self, address, domain, scheme="http", ca_cert=None, validate_certs=True) -> None:
        parts = urlsplit(f"//{address}")
        self.host, self.port = parts.hostname, parts.port or {"http": 80, "https": 443}[scheme]
        self.domain, self.context = domain, None
        if scheme == "https":
            self.context = ssl.create_default_context(cafile=ca_cert)
            if not validate_certs:
                self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def call(self, method: str, path: str, **request) -> Answer:
        """Send one request over a connection of its own, so that a load balancer may choose anew each time.

        One that was refused because there were too many (429) is sent again when it may be, within a minute.

        :raises Broken: no answer.
        """
        end = time.monotonic() + RATE_WINDOW
        while True:
            answer, again_after = self._call(method, path, **request)
            if answer.status != 429 or time.monotonic() + again_after > end:
                return answer
            time.sleep(again_after)

    def _call(self, method: str, path: str, *, host: str = "", token: str = "", body: object = None):
        """One request: its answer, and the seconds after which it may be sent again (RFC 9110, section 10.2.3)."""
        host = f"{host}.{self.domain}" if host else self.domain
        request = f"{method} {host}{path}"
        headers = {"Host": host, "Accept": "application/json, text/html"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        connection = _Connection(self, host)
        started = time.monotonic()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as e:
            raise Broken(
                f"{request} got no answer from {self.host} port {self.port}: {e or type(e).__name__}.",
                "See whether Traefik runs (kubectl -n kube-system get pods,services), and whether the control node "
                "reaches that address. Another one may be set.",
            ) from e
        finally:
            connection.close()
        content_type, later = (response.headers.get(name) or "" for name in ("Content-Type", "Retry-After"))
        answer = Answer(request, response.status, content_type, text, time.monotonic() - started)
        return answer, int(later) if later.isdigit() else AGAIN_AFTER


class _Connection(http.client.HTTPConnection):
    """To the site's address; with TLS, as and verified for ``name``."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site.host, site.port, timeout=TIMEOUT)
        self._context, self._name = site.context, name

    def connect(self) -> None:
        super().connect()
        if self._context:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def open_site(params: dict, client) -> Site:
    """The site that the options name. Without an address, K3s serves it where the API server is."""
    address = params["address"] or urlsplit(client.server).hostname
    return Site(address, params["domain"], params["scheme"], params["ca_cert"], params["validate_certs"])


def api(answer: Answer, status: int, fix: str):
    """The JSON of an answer that must have this status.

    :raises Broken: it has another, or no JSON.
    """
    if answer.status == 429 and status != 429:
        raise Broken(
            f"{answer.request} was refused, because this address sent more than 100 requests in a minute.",
            "Wait a minute and run again.",
        )
    if answer.status == 404 and answer.text.strip() == "404 page not found":
        raise Broken(
            f"{answer.request}: the ingress has no such route, or nothing ready behind it.",
            "When all services are ready, run the play cloudcartops.platform.ingress.",
        )
    if answer.status != status:
        raise Broken(f"{answer.request} answered {answer.status}, not {status}: {answer.excerpt}", fix)
    if answer.json is None:
        raise Broken(
            f"{answer.request} answered with {answer.content_type or 'something'}, not with JSON.",
            "The route /api leads to another service than api-gateway: run the play cloudcartops.platform.ingress.",
        )
    return answer.json


def page(site: Site) -> str:
    """See that the shop's page is there."""
    answer = site.call("GET", "/")
    if answer.status != 200:
        api(answer, 200, "Run the play cloudcartops.platform.apps.")
    if "text/html" not in answer.content_type or "<html" not in answer.text.lower():
        raise Broken(
            f"{answer.request} answered with {answer.content_type or 'something'}, not with a page.",
            "The route / leads to another service than frontend: run the play cloudcartops.platform.ingress.",
        )
    return "the shop's page is there"


def patiently(check, seconds: float) -> str:
    """Do a check again and again until it succeeds, for so long at most."""
    end = time.monotonic() + seconds
    while True:
        try:
            return check()
        except Broken:
            if time.monotonic() >= end:
                raise
        time.sleep(AGAIN_AFTER)


def row(name: str, check, *arguments) -> dict:
    """Do a check, which returns what it saw, and note the outcome as a row of a report."""
    try:
        return {"name": name, "ok": True, "detail": check(*arguments), "fix": ""}
    except Broken as e:
        return {"name": name, "ok": False, "detail": e.what, "fix": e.fix}


def table(rows: list[dict]) -> str:
    """Rows for people."""
    width = max(len(r["name"]) for r in rows)
    lines = [f"{r['name']:<{width}}  {'ok' if r['ok'] else 'FAILED':<6}  {r['detail']}" for r in rows]
    fixes: dict[str, list[str]] = {}
    for failed in (r for r in rows if r["fix"]):
        fixes.setdefault(failed["fix"], []).append(failed["name"])
    todo = [f"- {', '.join(names)}: {fix}" for fix, names in fixes.items()]
    return "\n".join(lines + (["", "What to do:", *todo] if todo else []))
