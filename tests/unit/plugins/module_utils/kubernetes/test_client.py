# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client: who it trusts, how it proves who it is, what it makes of answers and of silence."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import socket
import ssl
import stat

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import client as clients
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import kubeconfig as kubeconfigs
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import ApiError, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import BUILT_IN
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Authority:
    """A certificate authority for one test."""

    def __init__(self):
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=test-ca")
        self.pem = self._sign(self.name, self.key, x509.BasicConstraints(True, None))

    def _sign(self, subject, key, extension, age=1):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=age))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=2 - age)).add_extension(
            extension, critical=True
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, *names, age=1):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            x509.Name.from_rfc4514_string("CN=leaf"), key, x509.SubjectAlternativeName(list(names)), age
        )
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return certificate, key.private_bytes(serialization.Encoding.PEM, *form)


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
def serve_tls(authority, serve, tmp_path):
    """Serve with TLS under the given name; with ``client_ca``, only those who show a certificate of the authority."""

    def start(name=None, client_ca=False, age=1):
        certificate, key = authority.issue(name or x509.IPAddress(ipaddress.ip_address("127.0.0.1")), age=age)
        (tmp_path / "server.pem").write_bytes(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=authority.pem.decode())
        return serve(context)

    return start


# trust and identity


def test_mutual_tls_with_the_data_of_the_kubeconfig(authority, serve_tls, write_kubeconfig, monkeypatch, tmp_path):
    (tmp_path / "other-ca.pem").write_bytes(Authority().pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other-ca.pem"))  # must not win over the kubeconfig
    certificate, key = authority.issue(x509.DNSName("me"))
    user = {"client-certificate-data": b64(certificate), "client-key-data": b64(key)}
    path = write_kubeconfig(serve_tls(client_ca=True), user, **{"certificate-authority-data": b64(authority.pem)})
    client = connect(path)
    assert client.version == {"gitVersion": "v1.34.4"}
    for name in client.access.cert:
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(name)).st_mode) == 0o700


def test_files_are_relative_to_the_kubeconfig(authority, serve_tls, write_kubeconfig, tmp_path, api):
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "token").write_text("first\n")
    client = connect(write_kubeconfig(serve_tls(), {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"}))
    (tmp_path / "token").write_text("rotated")
    client.get("Pod", "p", "n")
    assert [headers["Authorization"] for *_rest, headers in api.requests] == ["Bearer first", "Bearer rotated"]


def test_another_authority_is_refused_also_in_check_mode(serve_tls, write_kubeconfig):
    path = write_kubeconfig(serve_tls(), **{"certificate-authority-data": b64(Authority().pem)})
    for check in (True, False):
        with pytest.raises(PlatformError, match="does not prove its identity.*fetch the kubeconfig from it again"):
            connect(path, check_mode=check)


def test_an_expired_certificate(authority, serve_tls, write_kubeconfig):
    path = write_kubeconfig(serve_tls(age=3), **{"certificate-authority-data": b64(authority.pem)})
    with pytest.raises(PlatformError, match="does not prove its identity.*has expired.*systemctl restart k3s"):
        connect(path)


def test_server_name_and_no_verification(authority, serve_tls, write_kubeconfig):
    server, ca = serve_tls(x509.DNSName("api.example.com")), {"certificate-authority-data": b64(authority.pem)}
    with pytest.raises(PlatformError, match="does not prove its identity"):
        connect(write_kubeconfig(server, **ca))
    assert connect(write_kubeconfig(server, **ca, **{"tls-server-name": "api.example.com"}))
    assert connect(write_kubeconfig(server, **{"insecure-skip-tls-verify": True})).requests_session().verify is False


def test_password_and_anonymous(serve, write_kubeconfig, api, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve()
    connect(write_kubeconfig(server, {"username": "u", "password": "p"}))
    connect(write_kubeconfig(server, {}))
    assert [headers.get("Authorization") for *_rest, headers in api.requests] == ["Basic dTpw", None]


def test_exec_plugin(serve, write_kubeconfig, api, tmp_path):
    plugin = tmp_path / "login"
    plugin.write_text(
        '#!/bin/sh\necho x >> "$0.calls"\n'
        'echo \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
        '"status":{"token":"from-plugin","expirationTimestamp":"2020-01-01T00:00:00Z"}}\'\n'
    )
    plugin.chmod(0o755)
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    client = connect(write_kubeconfig(serve(), {"exec": spec}))
    calls = (tmp_path / "login.calls").read_text()
    client.get("Pod", "p", "n")
    assert {headers["Authorization"] for *_rest, headers in api.requests} == {"Bearer from-plugin"}
    assert len((tmp_path / "login.calls").read_text()) > len(calls), "an expired token is fetched anew"
    assert client.requests_session().get(client.server + "/version").ok
    plugin.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(PlatformError, match="login, which the kubeconfig .* gave none"):
        connect(write_kubeconfig(client.server, {"exec": spec}))


def test_proxy_of_the_kubeconfig_and_of_the_environment(serve, write_kubeconfig, monkeypatch):
    server = serve()
    session = connect(write_kubeconfig(server)).requests_session()
    assert session.proxies == {}
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert connect(write_kubeconfig(server)).requests_session().proxies == {}, "no_proxy counts"
    monkeypatch.delenv("no_proxy")
    access = kubeconfigs.load(write_kubeconfig("http://192.0.2.1"))
    assert clients.Client(access).requests_session().proxies["http"] == "http://proxy.example.com:3128"
    access = kubeconfigs.load(write_kubeconfig("http://192.0.2.1", **{"proxy-url": "http://own:1"}))
    assert clients.Client(access).requests_session().proxies == {"http": "http://own:1", "https": "http://own:1"}


# kubeconfigs that cannot be used


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: [{name: u, user: {token: s3cr3t}}]\n  x: [", "is not valid YAML at line 2"),
        ("just text", "it is not a mapping"),
        ("", "it is not a mapping"),
        ("contexts: []", "is incomplete: current-context"),
        ("{current-context: a, contexts: []}", "it has no context 'a'"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: c}}]}", "it has no cluster 'c'"),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], "
            "clusters: [{name: c, cluster: {server: 'http://x'}}]}",
            "it has no user 'u'",
        ),
    ],
)
def test_broken_kubeconfig(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    for check in (True, False):
        with pytest.raises(PlatformError, match=message) as e:
            connect(str(path), check_mode=check)
        assert str(path) in str(e.value) and "s3cr3t" not in str(e.value)


def test_broken_credentials(write_kubeconfig, serve, tmp_path):
    server = serve()
    with pytest.raises(PlatformError, match="client-key-data in the kubeconfig is not base64"):
        connect(write_kubeconfig(server, {"client-certificate-data": "YQ==", "client-key-data": "?"}))
    with pytest.raises(PlatformError, match=r"The file .*/nope.pem, named by certificate-authority"):
        connect(write_kubeconfig(server, **{"certificate-authority": "nope.pem"}))
    with pytest.raises(PlatformError, match="token file .*gone.* cannot be read"):
        connect(write_kubeconfig(server, {"tokenFile": "gone"}))
    with pytest.raises(PlatformError, match="cannot be read: Is a directory"):
        connect(str(tmp_path))
    with pytest.raises(PlatformError, match="it has no context 'other'"):
        connect(write_kubeconfig(server), "other")


# absence


def test_absent_cluster(write_kubeconfig, absent):
    with socket.socket() as s:  # a port where nothing listens
        s.bind(("127.0.0.1", 0))
        refused = write_kubeconfig(f"https://127.0.0.1:{s.getsockname()[1]}")
        for path, message in ((absent, "There is no kubeconfig"), (refused, "Nothing listens at https://127.0.0.1")):
            assert connect(path, check_mode=True) is None
            with pytest.raises(PlatformError, match=f"{message}.*Make the cluster with the play") as e:
                connect(path)
            assert path in str(e.value) and e.value.facts["cluster"] == "absent"


def test_silence_is_an_error_also_in_check_mode(write_kubeconfig, monkeypatch):
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT", 0.1)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        with socket.create_connection(s.getsockname()):  # fills the queue: the next connection gets no answer
            path = write_kubeconfig(f"http://127.0.0.1:{s.getsockname()[1]}")
            with pytest.raises(PlatformError, match="did not answer within 0.1 s"):
                connect(path, check_mode=True)


def test_refused_credentials_and_unknown_host(api, kubeconfig, write_kubeconfig):
    api.fail("GET", "/version", 401, "Unauthorized")
    with pytest.raises(PlatformError, match="Unauthorized.*credentials are not valid"):
        connect(kubeconfig, check_mode=True)
    with pytest.raises(PlatformError, match="cannot be reached"):
        connect(write_kubeconfig("https://cluster.invalid"), check_mode=True)


def test_missing_package():
    with pytest.raises(PlatformError, match="The Python package no_such_package cannot be imported by .*pip install"):
        require("no_such_package.part")


# requests


def test_kinds_without_discovery(api, client):
    paths = {kind: resource.path("n", "x") for (_version, kind), resource in BUILT_IN.items()}
    assert paths["Ingress"] == "/apis/networking.k8s.io/v1/namespaces/n/ingresses/x"
    assert paths["NetworkPolicy"] == "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/x"
    assert paths["Endpoints"] == "/api/v1/namespaces/n/endpoints/x"
    assert paths["StorageClass"] == "/apis/storage.k8s.io/v1/storageclasses/x"
    client.get("Service", "s", "n")
    assert api.sent("GET") == ["GET /version", "GET /api/v1/namespaces/n/services/s"]


def test_discovery_of_other_kinds_happens_once(api, client):
    status = {"kind": "Widget", "name": "widgets/status", "namespaced": True}
    api.resources["example.com/v1"] = [status, {"kind": "Widget", "name": "widgets", "namespaced": False}]
    for name in "ab":
        assert client.get("Widget", name, "n", "example.com/v1") is None
    assert api.sent("GET")[1:] == [
        "GET /apis/example.com/v1",
        "GET /apis/example.com/v1/widgets/a",
        "GET /apis/example.com/v1/widgets/b",
    ]
    with pytest.raises(PlatformError, match="does not know the kind Gadget of example.com/v1"):
        client.resource("example.com/v1", "Gadget")
    with pytest.raises(PlatformError, match="Widget is not a built-in kind"):
        client.get("Widget", "a")
    api.fail("GET", "/apis/broken/v1", 503, "unavailable")
    with pytest.raises(ApiError, match="unavailable.*still starting"):
        client.resource("broken/v1", "Thing")


def test_list_fills_in_what_lists_omit(api, client):
    api.put("/api/v1/namespaces/n/configmaps/a", {"metadata": {"labels": {"x": "1"}}})
    api.put("/api/v1/namespaces/m/configmaps/b", {})
    (found,) = client.list("ConfigMap", "n", labels="x=1")
    assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == ("v1", "ConfigMap", "a")
    assert len(client.list("ConfigMap")) == 2
    assert [o["metadata"]["name"] for o in client.list("ConfigMap", fields="metadata.name=b")] == ["b"]


def test_create_patch_delete(api, client):
    api.namespace("n")
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"k": "1"}}
    client.create(obj, dry_run=True)
    assert client.get("ConfigMap", "a", "n") is None
    client.create(obj)
    with pytest.raises(ApiError, match="refused to create ConfigMap n/a"):
        client.create(obj)
    version = client.get("ConfigMap", "a", "n")["metadata"]["resourceVersion"]
    with pytest.raises(ApiError, match="precondition"):
        client.delete("ConfigMap", "a", "n", resource_version="1")
    assert client.delete("ConfigMap", "a", "n", resource_version=version) is True
    assert client.delete("ConfigMap", "a", "n") is False
    api.fail("DELETE", "configmaps/a", 403, "forbidden")
    with pytest.raises(ApiError, match="refused to delete ConfigMap n/a: forbidden"):
        client.delete("ConfigMap", "a", "n")


def test_answers_that_are_not_json(api, client):
    api.answer = lambda *_args: (502, "<html>Bad Gateway</html>")
    with pytest.raises(ApiError, match="<html>Bad Gateway</html>"):
        client.get("Pod", "p", "n")
    api.answer = lambda *_args: (500, ["a", "list"])
    with pytest.raises(ApiError, match="HTTP 500"):
        client.get("Pod", "p", "n")


def test_logs(api, client):
    api.logs["p", "c", "previous"] = "line\n"
    assert client.logs("n", "p", "c", previous=True, seconds=5, tail=3) == "line"
    assert api.requests[-1][2] == {"tailLines": "3", "container": "c", "previous": "true", "sinceSeconds": "5"}
    assert client.logs("n", "p", "c") == "", "not started yet"
    api.fail("GET", "/log", 403, "forbidden")
    with pytest.raises(ApiError, match="read the log of Pod n/p"):
        client.logs("n", "p", "c")


def event(kind, version, **meta):
    return {"type": kind, "object": {"metadata": {"name": "a", "resourceVersion": version, **meta}}}


def test_watch_lists_first_goes_on_when_cut_and_starts_over_when_gone(api, client):
    gone = {"type": "ERROR", "object": {"code": 410, "metadata": {}}}
    api.events["pods"] = [
        [event("ADDED", "5"), event("BOOKMARK", "7")],  # then the connection ends
        [event("MODIFIED", "8"), gone],
        [event("DELETED", "9")],
    ]
    seen = []
    for kind, _obj in client.watch("Pod", "n", labels="x=1", timeout=60):
        seen.append(kind)
        if kind == "DELETED":
            break
    assert seen == ["LISTED", "ADDED", "MODIFIED", "LISTED", "DELETED"]
    watched = [query for _method, path, query, *_rest in api.requests if query.get("watch")]
    assert [q["resourceVersion"] for q in watched] == ["100", "7", "100"]
    assert watched[0]["labelSelector"] == "x=1" and 55 <= int(watched[0]["timeoutSeconds"]) <= 60


def test_watch_starts_over_when_the_request_itself_says_gone(api, client):
    original = api.answer

    def answer(method, path, query, body):
        if query.get("watch") and not api.failures:
            api.failures.append("once")
            return 410, {"message": "too old resource version"}
        return iter_answer(method, path, query, body)

    def iter_answer(method, path, query, body):
        if query.get("watch"):
            return 200, iter([event("ADDED", "5")])
        return original(method, path, query, body) if "version" in path else (200, listed)

    listed = {"metadata": {"resourceVersion": "1"}, "items": []}
    api.answer = answer
    kinds = []
    for kind, _obj in client.watch("Pod", "n", timeout=60):
        kinds.append(kind)
        if kind == "ADDED":
            break
    assert kinds == ["LISTED", "LISTED", "ADDED"]


def test_proxy_urls(api, client):
    url = client.service_proxy_url("shop", "http", "vault", 8200)
    assert url == f"{client.server}/api/v1/namespaces/shop/services/http:vault:8200/proxy"
    assert client.pod_proxy_url("shop", "https", "vault-0", 8200).endswith("/pods/https:vault-0:8200/proxy")
    answer = client.proxy(url, "/v1/sys/health", params={"standbyok": "true"})
    assert answer.json()["query"] == {"standbyok": "true"}
    assert client.proxy(url, "/x", "LIST").status_code == 200 and api.requests[-1][0] == "LIST"
    session = client.requests_session()
    session.get(url + "/v1/x", headers={"X-Vault-Token": "v"})
    assert api.requests[-1][4]["X-Vault-Token"] == "v" and api.requests[-1][4]["Authorization"] == "Bearer the-token"
