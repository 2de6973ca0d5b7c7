# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that service accounts can log in to Vault and read what they should, and nothing else."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import login as vault_login
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import login_causes
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.connection import Absent, open_server
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultAbsent, VaultError

OPTIONS = {
    "kubeconfig": {"type": "path", "required": True},
    "logins": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "role": {"type": "str", "required": True},
            "mount": {"type": "str", "default": "kubernetes"},
            "service_account": {"type": "str"},
            "namespace": {"type": "str", "required": True},
            "audiences": {"type": "list", "elements": "str", "default": []},
            "reads": {"type": "list", "elements": "str", "default": []},
            "denied": {"type": "list", "elements": "str", "default": []},
        },
    },
    "reviewer": {"type": "str"},
    "absent_accounts": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
    "required": {"type": "bool", "default": True},
}


def vault_login_check(params, check_mode):
    """The module vault_login_check. Returns its result."""
    try:
        server, cluster = open_server(params, check_mode or not params["required"])
    except VaultAbsent as e:
        if not params.get("service"):
            raise
        raise login_causes.why_absent(params, connect(params["kubeconfig"], params.get("context")), e) from e
    if isinstance(server, Absent):
        return {"changed": False, "ok": False, "logins": [], "cluster": server.cluster, "vault": "absent"}
    logins = [_check(server, cluster, params, login) for login in params["logins"]]
    problems = [login["msg"] for login in logins if not login["ok"]]
    result = {"changed": False, "ok": not problems, "logins": logins, "cluster": "present", "vault": "present"}
    if problems and params["required"] and not check_mode:
        raise VaultError(" ".join(problems), **{key: result[key] for key in ("ok", "logins")})
    return result


def _check(server, cluster, params, login):
    login = {**login, "mount": login["mount"].strip("/"), "service_account": login["service_account"] or login["role"]}
    namespace, account = login["namespace"], login["service_account"]
    result = {"role": login["role"], "mount": login["mount"], "service_account": f"{namespace}/{account}"}
    result |= {"ok": True, "skipped": False, "msg": ""}
    try:
        if params["absent_accounts"] == "skip" and not cluster.get("ServiceAccount", account, namespace):
            return {**result, "skipped": True}
        token, status, errors, refused = vault_login.request(server, cluster, login)
        if token is None:
            raise VaultError(refused, login_causes.why_no_login(server, cluster, params, login, status, errors))
        session = server.with_token(token, f"a login as {login['role']}")
        try:
            _try_paths(server, session, login)
        finally:
            session.write("auth/token/revoke-self", {})
    except PlatformError as e:
        return {**result, "ok": False, "msg": str(e)}
    return result


def _try_paths(server, session, login):
    for path in login["reads"]:
        status, errors, _body = session.exchange("GET", path)
        if status == 403:
            raise VaultError(
                f"The role {login['role']} logs in, but may not read {path}.",
                login_causes.why_not_readable(server, login, path),
            )
        if status == 404:
            raise VaultError(
                f"The role {login['role']} may read {path}, but there is nothing.",
                "Write the secret (the role vault_init does), or correct the path.",
            )
        if status != 200:
            raise VaultError(f"The role {login['role']} cannot read {path}: HTTP {status} {errors}.")
    for path in login["denied"]:
        status, errors, _body = session.exchange("GET", path)
        if status != 403:
            raise VaultError(
                f"The role {login['role']} must not be able to read {path}, but is not denied it (HTTP {status}).",
                "Take the policy that allows it from the role.",
            )
