# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask for the routes of an Ingress by the names of their hosts, whatever those resolve to here."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
from time import monotonic, sleep

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

INTERVAL = 0.5  # seconds between two looks: nothing tells when a proxy has taken up a route
ANSWER_TIMEOUT = 5
ENOUGH = 65536  # bytes of an answer


def k8s_route_check(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    scheme = "https" if params["tls"] else "http"
    urls = [f"{scheme}://{route['host']}{route['path']}" for route in params["routes"]]
    if check_mode:
        return {"changed": False, "address": params["address"] or "", "plan": [f"ask for {url}" for url in urls]}
    client = connect(params["kubeconfig"], params["context"], check_mode)
    end = monotonic() + params["timeout"]
    address = params["address"] or published_address(client, params["ingress"], params["namespace"], params["timeout"])
    port = params["port"] or (443 if params["tls"] else 80)
    pending = dict(zip(urls, params["routes"]))
    answers: dict[str, int] = {}
    while pending:
        failures = {}
        for url, route in pending.items():
            answers[url], failures[url] = ask(address, port, route, params["tls"], params["certificate_sha256"])
        pending = {url: route for url, route in pending.items() if failures[url]}
        if pending and monotonic() > end:
            text = "\n- ".join(f"{url}: {failures[url]}" for url in pending)
            raise PlatformError(f"Asked {address}:{port} for {params['timeout']} s in vain for\n- {text}")
        if pending:
            sleep(INTERVAL)
    return {"changed": False, "address": address, "routes": [{"url": url, "status": answers[url]} for url in urls]}


def published_address(client: Client, name: str, namespace: str, timeout: int) -> str:
    """The first address that the controller has written into the Ingress' status."""
    # a watch counts whole seconds that are left, so it ends up to one early
    for event, obj in client.watch("Ingress", namespace, fields=f"metadata.name={name}", timeout=timeout + 1):
        for item in obj["items"] if event == "LISTED" else [obj]:
            for entry in ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
                address = entry.get("ip") or entry.get("hostname")
                if address:
                    return address
    raise PlatformError(
        f"{ref('Ingress', name, namespace)} got no address within {timeout} s.",
        "Its controller does not run, or its Service has no external address: 'kubectl get pods,services -A -l "
        "app.kubernetes.io/name=traefik' shows both. Where the controller publishes none, give the option address.",
    )


def ask(address: str, port: int, route: dict, tls: bool, certificate_sha256: str | None) -> tuple[int, str]:
    """Ask once: the status, and why the answer is not the one that is wanted (empty if it is)."""
    host = route["host"]
    try:
        with socket.create_connection((address, port), timeout=ANSWER_TIMEOUT) as connection:
            if tls:
                connection = _unverified().wrap_socket(connection, server_hostname=host)
                shown = hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest()
                if certificate_sha256 and shown != certificate_sha256:
                    return 0, f"another certificate is shown than the one that was given (sha256 {shown})"
            talk = http.client.HTTPConnection(host, port)
            talk.sock = connection
            talk.request("GET", route["path"], headers={"Host": host, "Connection": "close"})
            answer = talk.getresponse()
            body = answer.read(ENOUGH).decode(errors="replace")
    except (OSError, http.client.HTTPException) as e:
        return 0, f"no answer: {e or type(e).__name__}"
    wanted, text = route["status"], route["contains"] or ""
    if answer.status in wanted and text in body:
        return answer.status, ""
    means = {404: "no such route, or no such service behind it", 503: "its service has no pod that is ready"}
    excerpt = " ".join(body.split())[:80]
    problem = f"status {answer.status} ({means.get(answer.status, 'not what the service answers')})"
    if answer.status in wanted:
        problem = f"the answer does not contain '{text}', so it is another service's"
    return answer.status, f"{problem}: {excerpt}"


def _unverified() -> ssl.SSLContext:
    """Whose the certificate is, is seen by its hash: who signed it does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
