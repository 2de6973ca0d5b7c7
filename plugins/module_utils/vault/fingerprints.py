# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of KV v2 secrets, by which a change of their values shows, and nothing else of them does.

A fingerprint must be comparable for ever with nothing kept beside it, so it can have neither a random salt nor a key
kept somewhere. It is written where more people can read than in Vault (a pod's annotation), and not every value is a
random one. So a fast hash would let whoever can read it try a dictionary of passwords. Hence scrypt (RFC 7914): each
guess costs the 16 MiB and the twentieth of a second that the fingerprint itself costs. The salt is the path, so that
equal values at different paths do not show, and one table of guesses does not serve two of them.
"""

from __future__ import annotations

import hashlib
import json

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.configuration import read_kv
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.connection import Absent, open_server
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

OPTIONS = {
    "secrets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "mount": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "keys": {"type": "list", "elements": "str", "no_log": False},
        },
    },
}
_COST, _BLOCK = 2**14, 8
_SALT = "cloudcartops.platform.vault_kv2_fingerprint_info:"


def vault_kv2_fingerprint_info(params, check_mode):
    """The module of that name. Returns its result."""
    secrets = {}
    for item in params["secrets"]:
        path = item["path"].strip("/")
        if path in secrets:
            raise VaultError(f"secrets names the path {path} twice.", "Keep one: fingerprints are told apart by path.")
        secrets[path] = item["mount"].strip("/"), item["keys"]
    server, _cluster = open_server(params, check_mode)
    if isinstance(server, Absent):
        fingerprints = dict.fromkeys(secrets, "")
        return {"changed": False, "fingerprints": fingerprints, "cluster": server.cluster, "vault": "absent"}
    found = {path: _values(server, mount, path, keys) for path, (mount, keys) in secrets.items()}
    missing = [reason for values, reason in found.values() if values is None]
    if missing and not check_mode:
        raise VaultError(" ".join(missing), "Run the playbook vault, which writes what the inventory declares.")
    fingerprints = {
        path: "" if values is None else fingerprint(f"{secrets[path][0]}/{path}", values)
        for path, (values, _reason) in found.items()
    }
    return {"changed": False, "fingerprints": fingerprints, "cluster": "present", "vault": "present"}


def fingerprint(path, values):
    """The fingerprint of a secret's values (a dict): 32 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    memory = 2 * 128 * _COST * _BLOCK
    salt = (_SALT + path).encode()
    return hashlib.scrypt(text.encode(), salt=salt, n=_COST, r=_BLOCK, p=1, maxmem=memory, dklen=16).hex()


def _values(server, mount, path, keys):
    """The values of the keys and "", or None and what is missing."""
    live = read_kv(server, mount, path)
    if live is None or live.deleted or live.destroyed:
        return None, f"{server.address} has no secret {mount}/{path}."
    lacking = sorted(set(keys or ()) - set(live.values))
    if lacking:
        return None, f"The secret {mount}/{path} of {server.address} has no key {', '.join(lacking)}."
    return {key: live.values[key] for key in (live.values if keys is None else keys)}, ""
