# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reviewer's JWT of a Kubernetes auth method.

Vault never gives it back: reading the configuration says only whether there is one. So its SHA-256 and its expiry are
kept in the options of the auth method's own mount (``sys/auth/PATH/tune``). They live and die with the auth method,
need neither a KV engine nor a cluster, and whoever may compare them may read ``sys/auth`` anyway. A JWT carries a
signature, so its hash gives nothing away.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

HASH = "token_reviewer_jwt_sha256"
EXPIRES = "token_reviewer_jwt_expires"
_FIX = "Give a token that Kubernetes issued (module k8s_service_account_token), whole and without line breaks."


@dataclass
class Reviewer:
    """What may be known of a JWT: its SHA-256, when it was issued and when it expires (epoch seconds; None: never)."""

    sha256: str
    issued: int | None
    expires: int | None

    def options(self):
        """The options of the mount that remember it. An empty one removes what was there."""
        return {HASH: self.sha256, EXPIRES: str(self.expires or "")}

    def warning(self, mount, now=None):
        """A text when it expires in less than a day, or than a tenth of its life where that is shorter; else None."""
        if self.expires is None:
            return None
        left = self.expires - (time.time() if now is None else now)
        if left > min(86400, (self.expires - (self.issued or 0)) / 10):
            return None
        return (
            f"The reviewer's JWT of the auth method {mount} expires at {iso(self.expires)}. "
            "Give a new one before that: nobody can log in afterwards."
        )


FORGOTTEN = {HASH: "", EXPIRES: ""}


def iso(seconds):
    """Epoch seconds as people read them, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))


def inspect(what, jwt, now=None):
    """Look into a JWT (RFC 7519) without verifying its signature, which only Kubernetes can.

    :raises VaultError: when it is malformed or has expired; Vault itself would store it and fail at the first login.
    """
    parts = jwt.split(".")
    try:
        header, claims = (json.loads(_decode(part)) for part in parts[:2])
        well_formed = len(parts) == 3 and parts[2] and isinstance(header["alg"], str) and isinstance(claims, dict)
        _decode(parts[2])
        times = [int(claims[name]) if claims.get(name) is not None else None for name in ("iat", "exp")]
    except (ValueError, LookupError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise VaultError(f"{what} has a token_reviewer_jwt that is no JSON Web Token.", _FIX) from None
    if times[1] is not None and times[1] <= (time.time() if now is None else now):
        raise VaultError(f"{what} has a token_reviewer_jwt that expired at {iso(times[1])}.", _FIX)
    return Reviewer(hashlib.sha256(jwt.encode()).hexdigest(), *times)


def _decode(part):
    if not part.isascii() or set("+/=") & set(part) or any(character.isspace() for character in part):
        raise ValueError("not base64url")
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
