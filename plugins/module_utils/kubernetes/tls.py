# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a certificate and its key before anything is made to use them."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

SOON = timedelta(days=30)


def k8s_tls_check(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    if params["secret"]:
        client = connect(params["kubeconfig"], params["context"], check_mode)
        if client is None:
            return {"changed": False, "cluster": "absent"}
        what = ref("Secret", params["secret"], params["namespace"])
        certificate, key = from_secret(client, params["secret"], params["namespace"], what)
    else:
        what = f"The certificate {params['certificate']}"
        certificate, key = (read(params[option], option) for option in ("certificate", "key"))
    return {"changed": False, **check(what, certificate, key, params["hosts"], datetime.now(timezone.utc))}


def read(path: str, option: str) -> bytes:
    """The content of a file of the control node."""
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise PlatformError(
            f"The file {path}, given as {option}, cannot be read: {e.strerror}.", "Correct the path, or its rights."
        ) from e


def from_secret(client: Client, name: str, namespace: str, what: str) -> tuple[bytes, bytes]:
    """Certificate and key of a live Secret."""
    live = client.get("Secret", name, namespace)
    if live is None:
        raise PlatformError(f"{what} does not exist.", f"Make it: kubectl -n {namespace} create secret tls {name} ...")
    data = live.get("data") or {}
    if live.get("type") != "kubernetes.io/tls" or not {"tls.crt", "tls.key"} <= data.keys():
        raise PlatformError(
            f"{what} is of the type {live.get('type')}, and holds {', '.join(sorted(data)) or 'nothing'}.",
            "It has to be of the type kubernetes.io/tls, with tls.crt and tls.key.",
        )
    return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])


def check(what: str, certificate: bytes, key: bytes, hosts: list[str], now: datetime) -> dict:
    """What the certificate is; raises a PlatformError that lists everything that is wrong with it."""
    require("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        leaf = x509.load_pem_x509_certificate(certificate)
    except ValueError as e:
        raise PlatformError(
            f"{what} is not in PEM format.", "It begins with '-----BEGIN CERTIFICATE-----': the server's own one first."
        ) from e
    names = _names(x509, leaf)
    # cryptography < 42 knows these without a time zone only
    begins, ends = (
        getattr(leaf, f"{side}_utc", None) or getattr(leaf, side).replace(tzinfo=timezone.utc)
        for side in ("not_valid_before", "not_valid_after")
    )
    missing = [host for host in hosts if not any(covers(name, host) for name in names)]
    problems = [_key_problem(serialization, leaf, key)]
    if missing:
        problems.append(
            f"it is for {', '.join(names) or 'no name at all'}, and does not cover {', '.join(missing)} "
            "(a wildcard covers one label, and not the bare domain): get one for these names"
        )
    if ends <= now:
        problems.append(f"it expired at {ends:%Y-%m-%d %H:%M} UTC: renew it")
    if begins > now:
        problems.append(f"it is not valid before {begins:%Y-%m-%d %H:%M} UTC: check the clock of this machine")
    problems = [problem for problem in problems if problem]
    if problems:
        raise PlatformError("\n- ".join([f"{what} cannot be used:", *(f"{problem}." for problem in problems)]))
    result = {
        "names": names,
        "not_after": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        "sha256": hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).hexdigest(),
    }
    if ends - now < SOON:
        result["warnings"] = [f"{what} expires at {ends:%Y-%m-%d %H:%M} UTC: renew it in time."]
    return result


def _names(x509, leaf) -> list[str]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _key_problem(serialization, leaf, key: bytes) -> str:
    """Why the key is not the certificate's; never with a part of it."""
    try:
        own = serialization.load_pem_private_key(key, password=None)
    except TypeError:
        return "its key is encrypted: decrypt it ('openssl pkey -in KEY'), Kubernetes has no place for a passphrase"
    except ValueError:
        return "its key is not a private key in PEM format"
    public = [
        k.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for k in (own.public_key(), leaf.public_key())
    ]
    return "" if public[0] == public[1] else "its key is that of another certificate: give the two that belong together"


def covers(name: str, host: str) -> bool:
    """Whether a name of a certificate is good for a host (RFC 9525, section 6.3)."""
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :])
