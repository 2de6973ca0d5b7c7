# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a kubeconfig file into what an HTTPS client needs.

Client certificates and static tokens are read here, because importing the kubernetes package costs more than all the
requests of a typical module. Exec plugins and auth providers (OIDC) are left to that package, which refreshes them.
Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Callable

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require


@dataclass
class Access:
    """How to reach an API server: its URL and what proves either side's identity."""

    server: str
    verify: str | bool = True  # path of a CA bundle, True for the system's, False for no verification
    cert: tuple[str, str] | None = None  # paths of the client's certificate and key
    authorization: Callable[[], str | None] = lambda: None  # the Authorization header, asked before every request
    server_name: str | None = None  # the name that the server's certificate must carry, if not the URL's
    proxy: str | None = None


def load(path: str, context: str | None = None) -> Access:
    """Read the kubeconfig file at ``path``.

    :raises FileNotFoundError: there is no such file.
    :raises PlatformError: the file is not a usable kubeconfig.
    """
    yaml = require("yaml")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        config = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        chosen = context or config["current-context"]
        link = _named(config, "contexts", chosen)["context"]
        cluster = _named(config, "clusters", link["cluster"])["cluster"]
        user = _named(config, "users", link["user"])["user"] or {} if link.get("user") else {}
        server = cluster["server"].rstrip("/")
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)  # never str(e): it quotes the file
        where = f" at line {mark.line + 1}" if mark else ""
        raise PlatformError(f"The kubeconfig {path} is not valid YAML{where}.", "Fetch it again.") from e
    except (KeyError, TypeError, AttributeError) as e:
        raise PlatformError(
            f"The kubeconfig {path} is incomplete: {e.args[0] if isinstance(e, KeyError) else 'it is not a mapping'}.",
            "Fetch it from the cluster again, or correct the option context.",
        ) from e
    if "exec" in user or "auth-provider" in user:
        return _load_dynamic(path, context, user)
    files = _Files(os.path.dirname(os.path.abspath(path)))
    cert, key = files.item(user, "client-certificate"), files.item(user, "client-key")
    return Access(
        server=server,
        verify=not cluster.get("insecure-skip-tls-verify") and (files.item(cluster, "certificate-authority") or True),
        cert=(cert, key) if cert and key else None,
        authorization=_authorization(user, files),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
    )


def _authorization(user: dict, files: _Files) -> Callable[[], str | None]:
    """Return a function that gives the Authorization header as it is now."""
    if user.get("tokenFile"):
        path = files.path(user["tokenFile"])
        return lambda: f"Bearer {_read(path)}"  # rotated by others: read every time
    header = None
    if user.get("token"):
        header = f"Bearer {user['token']}"
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        header = "Basic " + base64.b64encode(pair.encode()).decode()
    return lambda: header


def _load_dynamic(path: str, context: str | None, user: dict) -> Access:
    """Read a kubeconfig whose credentials come from a program or an identity provider."""
    require("kubernetes")
    from kubernetes.client import Configuration
    from kubernetes.config import load_kube_config

    conf = Configuration()
    try:
        load_kube_config(path, context, conf, persist_config=False)
    except Exception as e:  # the package raises many kinds
        raise PlatformError(f"The credentials of the kubeconfig {path} cannot be used: {e}") from e

    def authorization() -> str | None:
        return next((s["value"] for s in conf.auth_settings().values() if s["key"] == "authorization"), None)

    if not conf.cert_file and not authorization():
        source = user.get("exec", {}).get("command") or user.get("auth-provider", {}).get("name")
        raise PlatformError(
            f"{source}, which the kubeconfig {path} names as the source of its credentials, gave none.",
            f"Log in to it, then try 'kubectl --kubeconfig {path} version'.",
        )
    return Access(
        server=conf.host.rstrip("/"),
        verify=conf.verify_ssl and (conf.ssl_ca_cert or True),
        cert=(conf.cert_file, conf.key_file) if conf.cert_file else None,
        authorization=authorization,
        server_name=conf.tls_server_name,
        proxy=conf.proxy,
    )


def _named(config: dict, section: str, name: str) -> dict:
    for item in config.get(section) or []:
        if item["name"] == name:
            return item
    raise KeyError(f"it has no {section.rstrip('s')} '{name}'")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().strip()
    except OSError as e:
        raise PlatformError(f"The token file {path} of the kubeconfig cannot be read: {e.strerror}.") from e


class _Files:
    """Files that a kubeconfig names (relative to itself) or carries (written to a private folder until exit)."""

    def __init__(self, base: str) -> None:
        self.base, self.private = base, ""

    def path(self, name: str) -> str:
        return os.path.join(self.base, name)

    def item(self, section: dict, key: str) -> str | None:
        if section.get(key + "-data"):
            if not self.private:
                self.private = tempfile.mkdtemp(prefix="cloudcartops-")  # 0700
                atexit.register(shutil.rmtree, self.private, ignore_errors=True)
            name = os.path.join(self.private, key)
            try:
                data = base64.b64decode(section[key + "-data"], validate=True)
            except ValueError as e:
                raise PlatformError(f"{key}-data in the kubeconfig is not base64.") from e
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(data)
            return name
        if not section.get(key):
            return None
        name = self.path(section[key])
        if not os.path.isfile(name):
            raise PlatformError(f"The file {name}, named by {key} in the kubeconfig, does not exist.")
        return name
