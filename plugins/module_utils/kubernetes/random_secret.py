# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets whose values are made once, at random, and never shown."""

from __future__ import annotations

import base64
import secrets
import string

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import (
    MANAGED_BY,
    OWNER,
    PART_OF,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError

ALPHABETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "digits": string.digits,
}


def k8s_random_secret(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    for field, rule in params["fields"].items():
        _check_rule(field, rule or {})
    client = connect(params["kubeconfig"], params["context"], check_mode)
    missing, uid = list(params["fields"]), ""
    if client:
        missing, uid = _complete(client, params, check_mode)
    where = f"Secret {params['namespace']}/{params['name']}"
    result = {"changed": bool(missing), "created": missing, "uid": uid}
    if missing:
        result["diff"] = {"before": "", "after": "".join(f"{field}: <generated>\n" for field in missing)}
        result["diff"] |= {"before_header": where, "after_header": where}
    if check_mode:
        result["plan"] = [f"generate {field} of {where}" for field in missing]
        result["cluster"] = "present" if client else "absent"
    return result


def _check_rule(field: str, rule: dict) -> None:
    if not isinstance(rule, dict) or rule.keys() - {"length", "alphabet"}:
        raise PlatformError(
            f"The rule of the field {field} is not understood.", "It knows the keys length and alphabet."
        )
    length, alphabet = rule.get("length", 32), rule.get("alphabet", "alphanumeric")
    if not isinstance(length, int) or not 16 <= length <= 1024:
        raise PlatformError(f"The length of the field {field} is {length!r}.", "Give a number from 16 to 1024.")
    if alphabet not in ALPHABETS:
        raise PlatformError(
            f"The alphabet of the field {field} is {alphabet!r}.", f"Choose from {', '.join(ALPHABETS)}."
        )


def _complete(client: Client, params: dict, check_mode: bool) -> tuple[list[str], str]:
    """Add the fields that the Secret lacks; returns their names, and the Secret's uid (empty when there is none)."""
    name, namespace = params["name"], params["namespace"]
    for _attempt in range(5):
        live = client.get("Secret", name, namespace)
        missing = [field for field in params["fields"] if not ((live or {}).get("data") or {}).get(field)]
        if not missing or check_mode:
            return missing, (live or {"metadata": {"uid": ""}})["metadata"]["uid"]
        data = {field: base64.b64encode(_random(params["fields"][field] or {})).decode() for field in missing}
        try:
            if live:  # only over the version just read: a value that another run has made meanwhile must stay
                version = {"resourceVersion": live["metadata"]["resourceVersion"]}
                written = client.patch("Secret", name, {"metadata": version, "data": data}, namespace)
            else:
                labels = {MANAGED_BY: OWNER} | ({PART_OF: params["part_of"]} if params["part_of"] else {})
                meta = {"name": name, "namespace": namespace, "labels": labels}
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": data}
                written = client.create(secret)
        except ApiError as e:
            if e.status == 409:
                continue
            raise ApiError(
                e.status, e.reason, f"Secret {namespace}/{name} cannot be written ({e.reason}).", e.fix
            ) from None
        return missing, written["metadata"]["uid"]
    raise PlatformError(f"Secret {namespace}/{name} kept changing while it was being completed.", "Run again.")


def _random(rule: dict) -> bytes:
    alphabet = ALPHABETS[rule.get("alphabet", "alphanumeric")]
    return "".join(secrets.choice(alphabet) for _character in range(rule.get("length", 32))).encode()
