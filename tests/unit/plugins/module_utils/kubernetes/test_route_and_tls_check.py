# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_route_check against a small web server, k8s_tls_check against real certificates."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.now(timezone.utc)
NAMES = ["shop.example", "*.shop.example"]
HOSTS = ["shop.example", "vault.shop.example"]
INGRESS = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web"
ASK = {"ingress": "web", "namespace": "shop", "timeout": 1}


def pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.fixture
def pair(tmp_path):
    """A function: the paths of a new certificate and its key."""

    def make(
        names=NAMES, begins=NOW - timedelta(days=1), ends=NOW + timedelta(days=90), password=None, other_key=False
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), begins, ends)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, names)), critical=False)
        certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (tmp_path / "c.pem").write_bytes(certificate)
        (tmp_path / "k.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1()) if other_key else key, password))
        return {"certificate": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")}

    return make


def test_a_good_pair(run_module, kubeconfig, pair):
    files = pair()
    result = run_module("k8s_tls_check", kubeconfig=kubeconfig, hosts=HOSTS, **files)
    with open(files["certificate"], encoding="utf-8") as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    assert result["changed"] is False and result["names"] == NAMES
    assert result["sha256"] == hashlib.sha256(der).hexdigest()
    assert result["not_after"] == f"{NOW + timedelta(days=90):%Y-%m-%dT%H:%M:%SZ}"
    with open(files["key"], encoding="utf-8") as file:
        assert file.read().splitlines()[1] not in json.dumps(result)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"names": ["*.shop.example"]}, "does not cover shop.example "),
        ({"names": ["shop.example"]}, "it is for shop.example, and does not cover vault.shop.example "),
        ({"names": []}, "it is for no name at all"),  # a common name counts for no browser
        ({"ends": NOW - timedelta(minutes=1)}, "it expired at"),
        ({"begins": NOW + timedelta(hours=1)}, "it is not valid before"),
        ({"other_key": True}, "its key is that of another certificate"),
        ({"password": b"secret words"}, "its key is encrypted"),
    ],
)
def test_a_pair_that_cannot_be_used(run_module, kubeconfig, pair, made, said):
    files = pair(**made)
    result = run_module("k8s_tls_check", kubeconfig=kubeconfig, hosts=HOSTS, **files)
    assert said in result["msg"] and result["msg"].startswith(f"The certificate {files['certificate']} cannot be used")


def test_everything_that_is_wrong_is_told_at_once(run_module, kubeconfig, pair):
    files = pair(names=["a.example"], ends=NOW - timedelta(minutes=1), other_key=True)
    message = run_module("k8s_tls_check", kubeconfig=kubeconfig, hosts=HOSTS, **files)["msg"]
    assert message.count("\n- ") == 3


def test_files_that_are_something_else(run_module, kubeconfig, pair, tmp_path):
    files = pair()
    swapped = {"certificate": files["key"], "key": files["certificate"]}
    message = run_module("k8s_tls_check", kubeconfig=kubeconfig, hosts=HOSTS, **swapped)["msg"]
    assert "not in PEM format" in message
    twice = {"certificate": files["certificate"], "key": files["certificate"]}
    message = run_module("k8s_tls_check", kubeconfig=kubeconfig, hosts=HOSTS, **twice)["msg"]
    assert "not a private key" in message
    gone = {**files, "key": str(tmp_path / "none.pem")}
    message = run_module("k8s_tls_check", kubeconfig=kubeconfig, hosts=HOSTS, **gone)["msg"]
    assert "none.pem, given as key, cannot be read: No such file" in message


def test_a_certificate_that_expires_soon_is_a_warning(pair):
    files = pair(ends=NOW + timedelta(days=7))
    certificate, key = (tls.read(files[name], name) for name in ("certificate", "key"))
    [warning] = tls.check("It", certificate, key, HOSTS, NOW)["warnings"]
    assert warning.startswith("It expires at")


def test_a_secret(api, run_module, kubeconfig, pair):
    files = pair()
    ask = {"kubeconfig": kubeconfig, "secret": "shop-tls", "namespace": "shop", "hosts": HOSTS}
    assert "does not exist" in run_module("k8s_tls_check", **ask)["msg"]
    content = {
        name: base64.b64encode(tls.read(files[option], option)).decode()
        for name, option in (("tls.crt", "certificate"), ("tls.key", "key"))
    }
    path = "/api/v1/namespaces/shop/secrets/shop-tls"
    api.put(path, {"type": "Opaque", "data": content})
    assert "of the type Opaque" in run_module("k8s_tls_check", **ask)["msg"]
    api.put(path, {"type": "kubernetes.io/tls", "data": content})
    assert run_module("k8s_tls_check", **ask)["names"] == NAMES


@pytest.mark.parametrize(
    ("name", "host", "good"),
    [
        ("shop.example", "SHOP.example", True),
        ("*.shop.example", "vault.shop.example", True),
        ("*.shop.example", "shop.example", False),
        ("*.shop.example", "a.vault.shop.example", False),
        ("shop.example", "vault.shop.example", False),
        ("*.example", "localhost", False),
    ],
)
def test_names_of_certificates(name, host, good):
    assert tls.covers(name, host) is good


@pytest.fixture
def proxy():
    """A web server that answers as a function of (host, path) says: (status, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = server.answer(self.headers["Host"].partition(":")[0], self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = lambda host, path: (200, f"{host}{path}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def check(run_module, kubeconfig, proxy):
    def run(routes, **more):
        options = {**ASK, "kubeconfig": kubeconfig, "port": proxy.server_address[1], "routes": routes, **more}
        return run_module("k8s_route_check", **options)

    return run


def published(api, *addresses):
    status = {"loadBalancer": {"ingress": list(addresses)}}
    api.put(INGRESS, {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "status": status})


def test_each_route_by_its_host_at_the_address_of_the_ingress(api, check):
    published(api, {"ip": "127.0.0.1"})
    result = check([{"host": "shop.example", "contains": "shop.example/"}, {"host": "b.example", "path": "/x"}])
    assert not result["failed"], result
    assert result["address"] == "127.0.0.1" and result["changed"] is False
    assert result["routes"] == [
        {"url": "http://shop.example/", "status": 200},
        {"url": "http://b.example/x", "status": 200},
    ]


def test_it_waits_until_all_answer(check, proxy):
    asked = []

    def answer(host, path):
        asked.append(host)
        return (200, "good") if host == "a" or asked.count("b") == 3 else (503, "no available server")

    proxy.answer = answer
    check([{"host": "a"}, {"host": "b", "contains": "good"}], address="127.0.0.1", timeout=30)
    assert asked == ["a", "b", "b", "b"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, "404 page not found"), "status 404 (no such route, or no such service behind it): 404 page"),
        ((503, "no available server"), "status 503 (its service has no pod that is ready): no available server"),
        ((200, "<html>the shop"), "the answer does not contain 'Ready', so it is another service's: <html>the shop"),
    ],
)
def test_why_a_route_is_not_right(check, proxy, answer, said):
    proxy.answer = lambda host, path: (200, "Ready") if host == "good" else answer
    routes = [{"host": "good", "contains": "Ready"}, {"host": "bad", "path": "/r", "contains": "Ready"}]
    message = check(routes, address="127.0.0.1")["msg"]
    assert f"\n- http://bad/r: {said}" in message and "good" not in message


def test_nobody_there(check):
    message = check([{"host": "a"}], address="127.0.0.1", port=1)["msg"]
    assert "Asked 127.0.0.1:1 for 1 s in vain" in message and "refused" in message


def test_an_ingress_without_an_address(api, check):
    published(api)
    message = check([{"host": "a"}])["msg"]
    assert "Ingress shop/web got no address within 1 s." in message


def test_check_mode_asks_nobody(check, proxy):
    proxy.answer = None
    result = check([{"host": "a", "path": "/x"}], check=True, tls=True)
    assert (result["plan"], result["address"], result["changed"]) == (["ask for https://a/x"], "", False)


def test_which_certificate_is_shown(check, proxy, pair):
    files = pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["key"])
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
    certificate, key = (tls.read(files[name], name) for name in ("certificate", "key"))
    shown = tls.check("It", certificate, key, HOSTS, NOW)["sha256"]
    ask = {"routes": [{"host": "shop.example"}], "address": "127.0.0.1", "tls": True}
    assert check(certificate_sha256=shown, **ask)["routes"] == [{"url": "https://shop.example/", "status": 200}]
    assert names[0] == "shop.example"
    message = check(certificate_sha256="00" * 32, **ask)["msg"]
    assert f"another certificate is shown than the one that was given (sha256 {shown})" in message
