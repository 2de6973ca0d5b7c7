# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialise and unseal a Vault server, and revoke its root token.

API: https://developer.hashicorp.com/vault/api-docs/system/init, /unseal, /seal-status and /health.
"""

from __future__ import annotations

import time

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultAbsent, VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.keys_file import KeysFile, unkillable

OPTIONS = {
    **{name: connection.OPTIONS[name] for name in ("url", "ca_cert", "validate_certs", "timeout")},
    **{name: connection.OPTIONS[name] for name in ("kubeconfig", "context")},
    "pod": {
        "type": "dict",
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "default": "vault-0"},
            "port": {"type": "int", "default": 8200},
            "scheme": {"type": "str", "default": "http", "choices": ["http", "https"]},
        },
    },
    "state": {
        "type": "str",
        "default": "unsealed",
        "choices": ["status", "initialized", "unsealed", "root_revoked"],
    },
    "keys_file": {"type": "path", "no_log": False},
    "shares": {"type": "int", "default": 5},
    "threshold": {"type": "int", "default": 3},
    "pgp_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "root_token_pgp_key": {"type": "str", "no_log": False},
    "unseal_keys": {"type": "list", "elements": "str", "default": [], "no_log": True},
}
RULES = {
    "mutually_exclusive": [("url", "pod")],
    "required_one_of": [("url", "pod")],
    "required_by": {"pod": ("kubeconfig",)},
    "required_if": [("state", "initialized", ("keys_file",)), ("state", "root_revoked", ("keys_file",))],
}
ACTIVE_SECONDS = 30
INIT_SECONDS = 600  # who gives up earlier loses the keys
_HEALTH = "sys/health?standbycode=200&sealedcode=200&uninitcode=200"


def vault_operator(params, check_mode):
    """The module vault_operator. Returns its result."""
    _check_numbers(params)
    sink = KeysFile(params["keys_file"]) if params["keys_file"] else None
    connect_server, cluster = _way(params, check_mode)
    server, status = _open(connect_server, params, check_mode)
    operation = Operation(params, check_mode, server, status, sink, connect_server)
    getattr(operation, params["state"])()
    return {**operation.result(), "cluster": cluster, "vault": "present" if server else "absent"}


class Operation:
    """What one call of the module does. ``server`` is None in check mode when it does not exist yet."""

    def __init__(self, params, check_mode, server, status, sink, connect_server):
        self.params, self.check_mode, self.server, self.sink = params, check_mode, server, sink
        self.connect = connect_server
        self.before, self.live, self.plan = status, status, []  # live: as the server said last
        self.keys = sink.load() if sink else None
        self.left_behind = sink.left_behind() if sink and not self.keys else None

    # states

    def status(self):
        """Nothing is done: looking was."""

    def initialized(self):
        if self.before["initialized"]:
            self._take_what_is_left()
            if self.before["sealed"] and not (self.keys or self.left_behind or self.params["unseal_keys"]):
                raise self._not_here()
            return
        for path, keys in self._files():
            if keys:
                raise VaultError(
                    f"{self._address} is not initialised, but there are keys of another server in {path}.",
                    "If Vault has lost its storage, bring that back. If these keys are of a server that is gone for "
                    "good, move the file away and run again.",
                    **self._facts(),
                )
        self.plan.append({"action": "initialize"})
        if not self.check_mode:
            self._initialize()

    def unsealed(self):
        if self.before["initialized"] or self.sink:
            self.initialized()
        else:
            raise VaultError(f"{self._address} is not initialised.", "Give keys_file, which takes its keys.")
        if not self.live["sealed"]:
            return
        self.plan.append({"action": "unseal"})
        if not self.check_mode:
            self._unseal()

    def root_revoked(self):
        state = self.root_token
        if state == "none":
            return
        if state in ("unknown", "encrypted"):
            raise VaultError(
                f"The root token in {self.sink.path} cannot be revoked, because "
                + (f"{self._address} is sealed." if state == "unknown" else "it is encrypted with a PGP key."),
                "Unseal it first." if state == "unknown" else "Decrypt it and revoke it (vault token revoke -self).",
                **self._facts(),
            )
        self.plan.append({"action": "revoke_root_token"})
        if self.check_mode:
            return
        if state == "usable":
            root = self.server.with_token(self.keys.root_token, f"the keys file {self.sink.path}")
            root.write("auth/token/revoke-self", {})
            if self.root_token != "refused":
                raise VaultError(
                    f"{self._address} still accepts the root token after it was revoked.", "Revoke it by hand."
                )
        self.sink.forget_root_token()
        self.keys = self.sink.load()

    # results

    @property
    def root_token(self):
        """What the root token in the keys file is good for."""
        if self.check_mode and not self.before["initialized"] and self.params["state"] != "status":
            return "encrypted" if self.params["root_token_pgp_key"] else "usable"  # as it will be
        if not self.keys or not self.keys.root_token:
            return "none"
        if self.keys.root_encrypted:
            return "encrypted"
        if self.live["sealed"]:
            return "unknown"
        source = f"the keys file {self.sink.path}"
        code, errors, _body = self.server.with_token(self.keys.root_token, source).exchange(
            "GET", "auth/token/lookup-self"
        )
        if code not in (200, 403):
            raise VaultError(f"{self._address} does not say whether the root token is valid: HTTP {code} {errors}.")
        return "usable" if code == 200 else "refused"

    def result(self):
        keys = self.keys or self.left_behind or None
        before = {"initialized": self.before["initialized"], "sealed": self.before["sealed"]}
        after = dict(before)
        actions = [step["action"] for step in self.plan]
        if "initialize" in actions:
            after["initialized"] = True
        if "unseal" in actions or not self.live["sealed"]:
            after["sealed"] = False
        if "revoke_root_token" in actions:
            before["root_token"], after["root_token"] = "in the keys file", "revoked"
        if "keep_keys" in actions:
            before["keys_file"], after["keys_file"] = self.sink.unfinished, self.sink.path
        return {
            "changed": bool(self.plan),
            "plan": self.plan,
            "diff": {"before": before, "after": after},
            "status": self.live,
            "keys": "here" if keys else "lost" if self.left_behind is False else "absent",
            "fingerprints": keys.fingerprints if keys else [],
            "root_token": self.root_token,
        }

    # internals

    @property
    def _address(self):
        return self.server.address if self.server else "Vault"

    def _facts(self):
        return {"changed": bool(self.plan) and not self.check_mode, "status": self.live, "plan": self.plan}

    def _files(self):
        return [(self.sink.path, self.keys), (self.sink.unfinished, self.left_behind)] if self.sink else []

    def _take_what_is_left(self):
        """A run that was killed had written the keys, and only not named the file."""
        if self.left_behind:
            self.plan.append({"action": "keep_keys"})
            if not self.check_mode:
                self.sink.finish()
                self.keys, self.left_behind = self.sink.load(), None

    def _not_here(self):
        what = f"{self._address} is initialised and sealed, but its keys are not here"
        if self.left_behind is False:
            return VaultError(
                f"{what}: {self.sink.unfinished} shows that a run was killed in the moment when Vault was initialised.",
                "Unless the server has been in use since (then find its keys), it holds nothing yet: empty its storage "
                f"(for the role vault: delete the claim vault-data and the pod vault-0), delete "
                f"{self.sink.unfinished}, and run again.",
                **self._facts(),
            )
        return VaultError(
            f"{what}: {f'there is no {self.sink.path}' if self.sink else 'no keys_file is given'}.",
            "Bring the file back from where you keep it, or unseal Vault by hand (vault operator unseal), or give "
            "unseal_keys. Without the keys nobody can open this server's storage.",
            **self._facts(),
        )

    def _initialize(self):
        params = self.params
        prefix = "secret" if self.live["type"] == "shamir" else "recovery"
        request = {f"{prefix}_shares": params["shares"], f"{prefix}_threshold": params["threshold"]}
        if params["pgp_keys"]:
            request["pgp_keys" if prefix == "secret" else "recovery_pgp_keys"] = params["pgp_keys"]
        if params["root_token_pgp_key"]:
            request["root_token_pgp_key"] = params["root_token_pgp_key"]
        encryption = {"encrypted": bool(params["pgp_keys"]), "root_encrypted": bool(params["root_token_pgp_key"])}
        with self.sink.reserved(**encryption) as store:
            # A connection of its own: two processes cannot share one.
            unkillable(lambda: store(self.connect(INIT_SECONDS).answer("POST", "sys/init", request)))
            self.sink.finish()
        self.keys, self.left_behind = self.sink.load(), None
        if self.live["type"] != "shamir":
            self._wait()
        self.live = _status(self.server)

    def _unseal(self):
        if self.live["type"] != "shamir":
            raise VaultError(
                f"{self._address} is sealed, and unseals itself by {self.live['type']}.",
                "Its log says why it does not. Its recovery keys cannot unseal it.",
                **self._facts(),
            )
        shares, needed = self.params["unseal_keys"], self.live["threshold"]
        source = "unseal_keys" if shares else self.sink.path
        if not shares and self.keys.encrypted:
            raise VaultError(
                f"{self._address} is sealed, and its keys in {source} are encrypted with PGP keys.",
                f"Let {needed} of their owners unseal it (vault operator unseal), or give their decrypted shares in "
                "unseal_keys; then run again.",
                **self._facts(),
            )
        shares = shares or self.keys.shares
        if len(shares) >= needed:  # what somebody else has begun might have a wrong share in it
            self.server.write("sys/unseal", {"reset": True})
        for share in shares[:needed]:
            code, errors, answer = self.server.exchange("POST", "sys/unseal", {"key": share})
            if code != 200:
                raise VaultError(
                    f"{self._address} cannot be unsealed with the keys from {source}: {errors}.",
                    "They are the keys of another server, or older than a vault operator rekey: bring the right ones.",
                    **self._facts(),
                )
            if not answer["sealed"]:
                break
        else:
            raise VaultError(
                f"{self._address} is still sealed: it has got {answer['progress']} of the {needed} shares it needs.",
                "Give the others too.",
                **self._facts(),
            )
        self._wait()
        self.live = _status(self.server)

    def _wait(self):
        """Until the unsealed server is the active one, or has stayed a standby of another for long enough."""
        end = time.monotonic() + ACTIVE_SECONDS
        while time.monotonic() < end:
            health = self.server.read(_HEALTH)
            if not health["sealed"] and not health["standby"]:
                break
            time.sleep(0.2)  # nothing to watch: Vault tells nobody when it becomes active


def _check_numbers(params):
    shares, threshold = params["shares"], params["threshold"]
    if not (1 <= threshold <= shares <= 255) or (threshold == 1 < shares):
        raise VaultError(
            f"{shares} shares with a threshold of {threshold} make no sense.",
            "Give 1 to 255 shares, and a threshold from 2 to the number of shares (1 for a single share).",
        )
    if params["pgp_keys"] and len(params["pgp_keys"]) != shares:
        raise VaultError(
            f"There are {len(params['pgp_keys'])} pgp_keys for {shares} shares.", "Give one PGP key for each share."
        )


def _way(params, check_mode):
    """How to connect to the server (given seconds to wait for each answer), and what is said of the cluster."""
    if params["url"]:
        return lambda timeout: connection.server_at_url({**params, "timeout": timeout}), "present"
    cluster = connect(params["kubeconfig"], params["context"], check_mode)
    if cluster is None:
        return None, "absent"
    return lambda timeout: connection.server_of_pod({**params, "timeout": timeout}, cluster), "present"


def _open(connect_server, params, check_mode):
    """The server and its status; in check mode None when it does not exist yet."""
    if not connect_server:
        return None, dict(_NOTHING)
    try:
        server = connect_server(params["timeout"])
        return server, _status(server)
    except VaultAbsent:
        if not check_mode:
            raise
        return None, dict(_NOTHING)


_NOTHING = {"initialized": False, "sealed": True, "type": "", "storage": "", "shares": 0, "threshold": 0, "version": ""}


def _status(server):
    found = server.read("sys/seal-status")
    names = {"storage": "storage_type", "shares": "n", "threshold": "t"}
    try:
        return {name: found[names.get(name, name)] for name in ("initialized", "sealed", "type")} | {
            name: found.get(names.get(name, name), _NOTHING[name])
            for name in ("storage", "shares", "threshold", "version")
        }
    except (KeyError, TypeError) as e:
        raise VaultError(
            f"{server.address} does not tell whether it is sealed.",
            "Check the address: is it Vault that answers there?",
        ) from e
