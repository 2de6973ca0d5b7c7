# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of the Kubernetes auth method: which exist, and when two values of one mean the same."""

from __future__ import annotations

import difflib

from ansible_collections.cloudcartops.platform.plugins.module_utils.durations import seconds
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

# Used where the server offers no OpenAPI document, or has not mounted the auth method yet.
ROLE_FIELDS = frozenset(
    (
        "alias_name_source",
        "audience",
        "bound_service_account_names",
        "bound_service_account_namespaces",
        "bound_service_account_namespace_selector",
        "bound_cidrs",
        "max_ttl",
        "num_uses",
        "period",
        "policies",
        "ttl",
        "token_bound_cidrs",
        "token_explicit_max_ttl",
        "token_max_ttl",
        "token_no_default_policy",
        "token_num_uses",
        "token_period",
        "token_policies",
        "token_strictly_bind_ip",
        "token_ttl",
        "token_type",
        "alias_metadata",
    )
)
CONFIG_FIELDS = frozenset(
    (
        "disable_iss_validation",
        "disable_local_ca_jwt",
        "issuer",
        "kubernetes_ca_cert",
        "kubernetes_host",
        "pem_keys",
        "use_annotations_as_alias_metadata",
    )
)
# The part of a mount's or auth method's ``config`` that can be tuned later too.
TUNE_FIELDS = frozenset(
    (
        "allowed_response_headers",
        "audit_non_hmac_request_keys",
        "audit_non_hmac_response_keys",
        "default_lease_ttl",
        "listing_visibility",
        "max_lease_ttl",
        "passthrough_request_headers",
        "token_type",
    )
)
# Old names that Vault still takes and answers with beside the new ones.
OLD_NAMES = {
    "ttl": "token_ttl",
    "max_ttl": "token_max_ttl",
    "period": "token_period",
    "policies": "token_policies",
    "num_uses": "token_num_uses",
    "bound_cidrs": "token_bound_cidrs",
}
LISTS = frozenset(
    (
        "bound_service_account_names",
        "bound_service_account_namespaces",
        "token_policies",
        "token_bound_cidrs",
        "pem_keys",
        "allowed_response_headers",
        "audit_non_hmac_request_keys",
        "audit_non_hmac_response_keys",
        "passthrough_request_headers",
    )
)
DURATIONS = frozenset(
    (
        "token_ttl",
        "token_max_ttl",
        "token_explicit_max_ttl",
        "token_period",
        "default_lease_ttl",
        "max_lease_ttl",
    )
)
# What Vault answers for a field nobody set, where that is not "nothing".
DEFAULTS = {"alias_name_source": "serviceaccount_uid", "token_type": "default", "disable_iss_validation": True}


def server_fields(server, path):
    """Names of the fields the server takes in a write to ``path``; None when it does not say.

    The help of a path, which every token may read, has the part of the OpenAPI document that is about it.
    """
    try:
        document = (server.read(f"{path}?help=1") or {}).get("openapi") or {}
    except VaultError:
        return None
    names = set()
    for found in document.get("paths", {}).values():
        body = found.get("post", {}).get("requestBody", {})
        schema = body.get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = document.get("components", {}).get("schemas", {}).get(schema["$ref"].rpartition("/")[2], {})
        names |= set(schema.get("properties", {}))
    return frozenset(names) or None


def check_names(what, fields, known):
    """Refuse a field the server does not know: it would accept and forget it silently."""
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]}?" if close else f"It knows {', '.join(sorted(known))}."
            raise VaultError(f"{what} has a field {name}, which Vault does not know and would silently ignore.", hint)


def normalise(what, fields):
    """Bring a dict of fields to the form Vault answers with: new names, lists sorted, durations in seconds."""
    result = {}
    for name, value in fields.items():
        if value is None:
            continue
        new = OLD_NAMES.get(name, name)
        if new in result:
            raise VaultError(f"{what} sets both {name} and {new}, which are one field.", f"Keep {new}.")
        if new in LISTS:
            items = value.split(",") if isinstance(value, str) else value
            value = sorted({str(item).strip() for item in items} - {""})
        elif new in DURATIONS:
            value = seconds(what, name, value)
        elif isinstance(value, str):
            value = value.strip()
        result[new] = value
    if "token_policies" in result:
        result["token_policies"] = sorted({name.lower() for name in result["token_policies"]})
    return result


def live_fields(fields):
    """What Vault answered, in the same form: without the old names, which repeat new ones."""
    return normalise("the live object", {k: v for k, v in fields.items() if OLD_NAMES.get(k) not in fields})


def drift(desired, live):
    """Fields to write so that ``live`` becomes ``desired``: those that differ, and undeclared ones back to default."""
    result = {name: value for name, value in desired.items() if live.get(name) != value}
    for name, value in live.items():
        if name not in desired and value not in (None, "", 0, False, [], {}) and value != DEFAULTS.get(name):
            result[name] = DEFAULTS.get(name, type(value)())
    return result
