# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of service accounts: requested, kept in a file, renewed before they expire, and never shown.

The claims: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import time
from datetime import datetime, timezone

from ansible_collections.cloudcartops.platform.plugins.module_utils import kubeconfig_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.durations import seconds
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.token_request import (
    SHORTEST,
    request_token,
)

POD_BOUND_LONGEST = 3600
OPTIONS = {
    "service_account": {"type": "str"},
    "namespace": {"type": "str"},
    "audiences": {"type": "list", "elements": "str", "default": []},
    "bound_object": {
        "type": "dict",
        "options": {
            "kind": {"type": "str", "required": True, "choices": ["Pod", "Secret", "Node"]},
            "name": {"type": "str", "required": True},
            "uid": {"type": "str"},
        },
    },
    "expiration": {"type": "str", "default": "1h"},
    "renew_before": {"type": "str"},
    "path": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
REVIEW = "authentication.k8s.io/v1"


def k8s_service_account_token(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    path = os.path.realpath(params["path"]) if params["path"] else ""  # a link stays a link
    if params["state"] == "absent":
        return _remove(path, check_mode)
    lifetime, early = _durations(params)
    client = connect(params["kubeconfig"], params["context"], check_mode)
    stored = _read(path) if path else ""
    reason = _why_new(client, params, stored, early) if client else "the cluster does not exist yet"
    exposed = bool(stored) and not reason and stat.S_IMODE(os.stat(path).st_mode) != 0o600
    result = {"changed": bool(path) and bool(reason or exposed), "path": path}
    result["reason"] = "others could read the file" if exposed else reason
    if check_mode:
        result["cluster"] = "present" if client else "absent"
        result["plan"] = [f"a new token of {_account(params)}: {reason}"] if reason else ["mode 0600"] * exposed
    elif reason:
        result |= _renew(client, params, path, lifetime, early)
    elif exposed:
        os.chmod(path, 0o600)
    if stored and not reason:
        result |= _facts(stored)
    if result["changed"]:
        after = f"{_account(params)}: a new token, because {reason}\n" if reason else _shown(stored) + "mode 0600\n"
        result["diff"] = {"before": _shown(stored), "after": after, "before_header": path, "after_header": path}
    return result


def _renew(client: Client, params: dict, path: str, lifetime: int, early: int | None) -> dict:
    token, granted = _request(client, params, lifetime)
    result = {**_facts(token), "lifetime": granted, "shortened": granted < lifetime}
    if path and early and granted <= early:
        raise PlatformError(
            f"The API server granted the token of {_account(params)} {granted} s of the {lifetime} s it was asked for, "
            f"and it shall be renewed {early} s before its end.",
            "Choose a smaller renew_before: else every run would renew it.",
        )
    if result["shortened"]:
        result["warnings"] = [
            f"The API server granted the token of {_account(params)} {granted} s instead of {lifetime} s: more than "
            "that it gives nobody (its option --service-account-max-token-expiration)."
        ]
    if not path:
        return {**result, "token": token}
    _write(path, token)
    return result


def claims_of(token: str) -> dict:
    """The claims of a JWT, whose signature is not looked at; empty when it is none."""
    try:
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) and token.count(".") == 2 else {}


def _account(params: dict) -> str:
    return f"{params['namespace']}/{params['service_account']}"


def _durations(params: dict) -> tuple[int, int | None]:
    """Seconds that the token shall last, and how long before its end it is renewed (None: a fifth of its life)."""
    what = f"The token of {_account(params)}"
    lifetime = seconds(what, "expiration", params["expiration"])
    if lifetime < SHORTEST:
        raise PlatformError(f"{what}: expiration is {lifetime} s.", f"Kubernetes grants at least {SHORTEST} s.")
    early = None
    if params["renew_before"] is not None:
        early = seconds(what, "renew_before", params["renew_before"])
    if early and early >= lifetime:
        raise PlatformError(
            f"{what} lasts {lifetime} s and is to be renewed {early} s before its end.",
            "Choose a smaller renew_before: else every run would renew it.",
        )
    bound = params["bound_object"] or {}
    if bound.get("kind") == "Pod" and lifetime > POD_BOUND_LONGEST:
        raise PlatformError(
            f"{what} is bound to the pod {bound['name']} and shall last {lifetime} s, but it ends with that pod.",
            f"Leave bound_object out, bind it to a Secret, or ask for {POD_BOUND_LONGEST} s at most.",
        )
    return lifetime, early


def _why_new(client: Client, params: dict, stored: str, early: int | None) -> str:
    """Why the stored token will not do; empty when it will."""
    if not stored:
        return "there is none yet"
    claims = claims_of(stored)
    if not claims:
        return "the file holds no token"
    if claims.get("sub") != f"system:serviceaccount:{params['namespace']}:{params['service_account']}":
        return "the stored one is of another account"
    if params["audiences"] and sorted(_audiences(claims)) != sorted(params["audiences"]):
        return "the stored one has other audiences"
    wanted = params["bound_object"] or {}
    for kind in ("Pod", "Secret", "Node"):
        found = claims.get("kubernetes.io", {}).get(kind.lower()) or {}
        if kind == "Node" and wanted.get("kind") == "Pod":
            continue  # comes with the pod
        asked = wanted if wanted.get("kind") == kind else {}
        if found.get("name") != asked.get("name") or asked.get("uid") not in (None, found.get("uid")):
            return f"the stored one is bound to {kind} {found['name']}" if found else f"the stored one has no {kind}"
    left = claims.get("exp", 0) - time.time()
    if left <= (claims.get("exp", 0) - claims.get("iat", 0)) / 5 if early is None else left <= early:
        return "the stored one has expired" if left <= 0 else f"the stored one expires in {int(left)} s"
    return _review(client, params["audiences"], stored)


def _review(client: Client, audiences: list, stored: str) -> str:
    """Ask the API server whether it accepts the token; without the right to ask, the claims have to do."""
    spec = {"token": stored} | ({"audiences": audiences} if audiences else {})
    body = {"apiVersion": REVIEW, "kind": "TokenReview", "spec": spec}
    try:
        answer = client.call("POST", f"/apis/{REVIEW}/tokenreviews", doing="review a token", body=body).json()
    except ApiError as e:
        if e.status == 403:
            return ""
        raise
    return "" if answer["status"].get("authenticated") else "the API server does not accept the stored one any more"


def _request(client: Client, params: dict, lifetime: int) -> tuple[str, int]:
    spec: dict = {"expirationSeconds": lifetime}
    if params["audiences"]:
        spec["audiences"] = params["audiences"]
    if params["bound_object"]:
        bound = {key: value for key, value in params["bound_object"].items() if value}
        spec["boundObjectRef"] = {"apiVersion": "v1", **bound}
    asked = time.time()
    status = request_token(client, params["namespace"], params["service_account"], spec)
    ends = datetime.fromisoformat(status["expirationTimestamp"].replace("Z", "+00:00")).timestamp()
    claims = claims_of(status["token"])
    granted = round(ends - claims.get("iat", asked))
    return status["token"], lifetime if abs(granted - lifetime) < 5 else granted


def _audiences(claims: dict) -> list:
    found = claims.get("aud", [])
    return [found] if isinstance(found, str) else found


def _facts(token: str) -> dict:
    """What may be told of a token."""
    claims = claims_of(token)
    ends = datetime.fromtimestamp(claims.get("exp", 0), timezone.utc)
    return {
        "subject": claims.get("sub", ""),
        "audiences": _audiences(claims),
        "expires": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifetime": claims.get("exp", 0) - claims.get("iat", 0),
        "shortened": False,
    }


def _shown(token: str) -> str:
    claims = claims_of(token or "")
    return f"{claims.get('sub', 'no account')}, until {_facts(token)['expires']}\n" if claims else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        return "no token"
    except OSError as e:
        raise PlatformError(f"{path} cannot be read: {e.strerror}.", "Give the path of a file that can be.") from e


def _write(path: str, token: str) -> None:
    try:
        kubeconfig_file.write(path, token)
    except OSError as e:
        raise PlatformError(f"{path} cannot be written: {e.strerror}.", "Give a path that can be.") from e


def _remove(path: str, check_mode: bool) -> dict:
    there = os.path.lexists(path)
    result = {"changed": there, "path": path, "reason": "it shall not be there" if there else ""}
    result["diff"] = {"before": "a file\n" if there else "", "after": "", "before_header": path, "after_header": path}
    if check_mode:
        result["plan"] = [f"remove {path}"] if there else []
    if there and not check_mode:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        except OSError as e:
            raise PlatformError(f"{path} cannot be removed: {e.strerror}.") from e
    return result
