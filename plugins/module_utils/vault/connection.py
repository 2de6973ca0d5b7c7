# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a module's options to a Vault server: directly, or through the Kubernetes API server's service proxy."""

from __future__ import annotations

import base64

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultAbsent, VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.keys_file import KeysFile
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.server import Server

_TOKENS = ("token", "token_secret", "keys_file", "login")
OPTIONS = {
    "url": {"type": "str"},
    "ca_cert": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
    "namespace": {"type": "str"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "service": {
        "type": "dict",
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "default": "vault"},
            "port": {"type": "int", "default": 8200},
            "scheme": {"type": "str", "default": "http", "choices": ["http", "https"]},
        },
    },
    "token": {"type": "str", "no_log": True},
    "token_secret": {
        "type": "dict",
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "key": {"type": "str", "default": "token", "no_log": False},
        },
    },
    "keys_file": {"type": "path", "no_log": False},
    "login": {
        "type": "dict",
        "options": {
            "role": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "service_account": {"type": "str"},
            "mount": {"type": "str", "default": "kubernetes"},
        },
    },
}
RULES = {
    "mutually_exclusive": [("url", "service"), _TOKENS],
    "required_one_of": [("url", "service"), _TOKENS],
    "required_by": dict.fromkeys(("service", "token_secret", "login"), ("kubeconfig",)),
}


class Absent:
    """What stands in the place of a server that does not exist yet, in check mode: it holds nothing."""

    def __init__(self, cluster):
        self.cluster = cluster


def connect(*arguments):
    """Connect to the Kubernetes cluster. Who gives Vault's url does without its import."""
    from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import client

    return client.connect(*arguments)


def open_server(params, check_mode):
    """Connect to the server that the options name.

    :returns: the server (in check mode an Absent when it does not exist yet) and the Kubernetes client (or None).
    """
    cluster = None
    if params.get("kubeconfig"):
        cluster = connect(params["kubeconfig"], params.get("context"), check_mode)
        if cluster is None:
            return Absent(cluster="absent"), None
    try:
        server = _server(params, cluster)
        server.status = server.check()
        if params.get("login"):
            from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import login

            server = login.log_in(server, cluster, params["login"])
    except VaultAbsent:
        if not check_mode:
            raise
        return Absent(cluster="present"), cluster
    return server, cluster


def read_secret(cluster, namespace, name):
    """The decoded data of a Kubernetes Secret and its resourceVersion; (None, None) when there is none."""
    found = cluster.get("Secret", name, namespace)
    if found is None:
        return None, None
    data = {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
    return data, found["metadata"]["resourceVersion"]


def server_at_url(params, token=None, token_source=""):
    """The server at the option url."""
    verify = params.get("ca_cert") or params["validate_certs"]
    return Server(
        params["url"], token, address=f"Vault at {params['url']}", verify=verify, **_common(params, token_source)
    )


def server_of_pod(params, cluster):
    """The server in the option pod, which need not be ready."""
    pod = params["pod"]
    url = cluster.pod_proxy_url(pod["namespace"], pod["scheme"], pod["name"], pod["port"])
    return _proxied(params, cluster, url, f"Vault in the pod {pod['namespace']}/{pod['name']}")


def _server(params, cluster):
    token, token_source = params.get("token"), "the option token"
    if params.get("token_secret"):
        token, token_source = _token_from_secret(params["token_secret"], cluster)
    elif params.get("keys_file"):
        token, token_source = _root_token(params["keys_file"])
    if params.get("url"):
        return server_at_url(params, token, token_source)
    service = params["service"]
    url = cluster.service_proxy_url(service["namespace"], service["scheme"], service["name"], service["port"])
    address = f"Vault behind the Service {service['namespace']}/{service['name']}"
    return _proxied(params, cluster, url, address, token, token_source)


def _proxied(params, cluster, url, address, token=None, token_source=""):
    session = cluster.requests_session()
    common = _common(params, token_source)
    return Server(url, token, address=address, session=session, verify=session.verify, proxied=True, **common)


def _common(params, token_source):
    return {"token_source": token_source, "timeout": params["timeout"], "namespace": params.get("namespace")}


def _root_token(path):
    file = KeysFile(path)
    keys = file.load()
    if keys is None:
        raise VaultAbsent(f"There is no Vault token: {file.path} does not exist.", "Initialise Vault first.")
    if not keys.root_token or keys.root_encrypted:
        raise VaultError(
            f"There is no usable root token in {file.path}: it was revoked, or is encrypted with a PGP key.",
            "Log in as the operator (login). The way back to a root token is vault operator generate-root.",
        )
    return keys.root_token, f"the keys file {file.path}"


def _token_from_secret(where, cluster):
    source = f"the Secret {where['namespace']}/{where['name']}"
    data, _version = read_secret(cluster, where["namespace"], where["name"])
    if data is None:
        raise VaultAbsent(f"There is no Vault token: {source} does not exist.", "Run the role vault first.")
    if not data.get(where["key"]):
        raise VaultError(
            f"There is no Vault token: {source} has no key {where['key']}.",
            f"Name the right key in token_secret; the Secret has {', '.join(sorted(data)) or 'none'}.",
        )
    return data[where["key"]].strip(), source
