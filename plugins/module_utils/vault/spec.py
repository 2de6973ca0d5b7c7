# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declarative description of a Vault server's content, and what can be said about it without a server."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import (
    fields,
    kv_secret,
    removal,
    reviewer,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

_NAME = {"type": "str", "required": True}
_STATE = {"type": "str", "default": "present", "choices": ["present", "absent"]}
_FORCE = {"type": "bool", "default": False}
_TEXT = {"type": "str", "default": ""}
_DICT = {"type": "dict", "default": {}}

# The options of one item of each part; the modules for single items have the same.
ITEMS = {
    "mounts": {
        "path": _NAME,
        "type": {"type": "str", "default": "kv"},
        "description": _TEXT,
        "options": _DICT,
        "config": _DICT,
        "state": _STATE,
        "force": _FORCE,
    },
    "auth_methods": {
        "path": _NAME,
        "type": {"type": "str", "default": "kubernetes"},
        "description": _TEXT,
        "config": _DICT,
        "state": _STATE,
        "force": _FORCE,
    },
    "kubernetes_auth_config": {
        "mount": {"type": "str", "default": "kubernetes"},
        "fields": {"type": "dict", "required": True},
        "token_reviewer_jwt": {"type": "str", "no_log": True},
    },
    "policies": {
        "name": _NAME,
        "policy": {"type": "str"},
        "state": _STATE,
    },
    "roles": {
        "name": _NAME,
        "mount": {"type": "str", "default": "kubernetes"},
        "fields": {"type": "dict"},
        "state": _STATE,
    },
    "secrets": {
        "mount": _NAME,
        "path": _NAME,
        "data": _DICT,
        "sensitive_data": {"type": "dict", "default": {}, "no_log": True},
        "generate": _DICT,
        "derive": _DICT,
        "state": _STATE,
        "force": _FORCE,
    },
}
REQUIRED_IF = {
    "policies": [("state", "present", ("policy",))],
    "roles": [("state", "present", ("fields",))],
}
OPTIONS = {
    "spec": {
        "type": "dict",
        "required": True,
        "options": {
            part: {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": options,
                "required_if": REQUIRED_IF.get(part, []),
                "no_log": False,
            }
            for part, options in ITEMS.items()
        },
    },
    "seed_secret": {
        "type": "dict",
        "no_log": False,
        "options": {
            "name": _NAME,
            "namespace": _NAME,
        },
    },
    "ownership": {
        "type": "dict",
        "options": {
            "mount": _NAME,
            "path": {"type": "str", "default": "cloudcartops/ownership"},
        },
    },
    "purge": {"type": "bool", "default": False},
    "purge_parts": {
        "type": "list",
        "elements": "str",
        "choices": list(removal.PARTS.values()),
        "default": list(removal.PARTS.values()),
    },
    "purge_limit": {"type": "int", "default": 10},
}
RULES = {"required_if": [("purge", True, ("ownership",))]}


def prepare(spec):
    """Check a spec and bring it to the form that Vault's answers are compared with.

    Lists become dicts by name, so that nothing can be there twice. The spec given is not changed.

    :raises VaultError: for whatever can be seen to be wrong without a server.
    """
    spec = copy.deepcopy(spec)
    prepared = {
        "mounts": _by_name("mounts", spec["mounts"], "path", _mount),
        "auth_methods": _by_name("auth_methods", spec["auth_methods"], "path", _mount),
        "configs": _by_name("kubernetes_auth_config", spec["kubernetes_auth_config"], "mount", _config),
        "policies": _by_name("policies", spec["policies"], "name", _policy),
        "roles": _by_name("roles", spec["roles"], ("mount", "name"), _role),
        "secrets": _by_name("secrets", spec["secrets"], ("mount", "path"), _secret),
    }
    prepared["absent"] = {
        kind: {name: item.force for name, item in prepared[part].items() if isinstance(item, Gone)}
        for kind, part in removal.PARTS.items()
    }
    for kind, part in removal.PARTS.items():
        for name in prepared["absent"][kind]:
            removal.refuse_built_in(kind, name)
            del prepared[part][name]
    return prepared


@dataclass
class Gone:
    """Stands for an item that shall not be there. ``force``: what is in it may be lost."""

    force: bool


@dataclass
class Config:
    """The configuration of a Kubernetes auth method, with what is known of the reviewer's JWT (None: without one)."""

    fields: dict
    jwt: str | None = field(default=None, repr=False)
    reviewer: reviewer.Reviewer | None = None


def _by_name(part, items, key, convert):
    result = {}
    for item in items:
        if isinstance(key, str):
            name = shown = item[key].strip("/")
        else:
            name = tuple(item[part_of_key].strip("/") for part_of_key in key)
            shown = "/".join(name)
        if part == "policies":
            name = shown = name.lower()  # as Vault does
        if name in result:
            raise VaultError(f"The spec's {part} name {shown} twice.", "Keep one of them.")
        absent = item.get("state") == "absent"
        result[name] = Gone(item.get("force", False)) if absent else convert(shown, item)
    return result


def _mount(name, item):
    if item["force"]:
        raise VaultError(f"{name} has force without state: absent, where it says nothing.", "Remove force.")
    config = fields.normalise(f"The config of {name}", item["config"])
    fields.check_names(f"The config of {name}", config, fields.TUNE_FIELDS)
    result = {"type": item["type"], "description": item["description"], "config": config}
    if "options" in item:
        result["options"] = {key: str(value) for key, value in item["options"].items()}
    return result


def _config(name, item):
    what = f"The configuration of the auth method {name}"
    if "token_reviewer_jwt" in item["fields"]:
        raise VaultError(
            f"{what} has token_reviewer_jwt among its fields, where it would be shown.",
            "Write it beside fields: the option of that name is hidden.",
        )
    config = Config(fields.normalise(what, item["fields"]))
    if item.get("token_reviewer_jwt"):
        config.jwt = item["token_reviewer_jwt"].strip()
        config.reviewer = reviewer.inspect(what, config.jwt)
    return config


def _policy(name, item):
    if name == "root":
        raise VaultError("The policy root is built in and cannot be written.", "Choose another name.")
    return item["policy"]


def _role(name, item):
    what = f"The role {name}"
    role = fields.normalise(what, item["fields"])
    names = role.get("bound_service_account_names", [])
    namespaces = role.get("bound_service_account_namespaces", [])
    if "*" in names and "*" in namespaces:
        raise VaultError(
            f"{what} is bound to every service account of every namespace, so that any pod could log in with it.",
            "Name the service accounts or the namespaces.",
        )
    return role


def _secret(name, item):
    what = f"The secret {name}"
    if item["force"]:
        raise VaultError(f"{what} has force without state: absent, where it says nothing.", "Remove force.")
    given = {**item["data"], **item["sensitive_data"]}
    for key, value in given.items():
        if value is None or isinstance(value, (dict, list, bool)):
            raise VaultError(f"{what}: {key} is not a text or a number.", "Write it as a quoted text.")
    for key, options in item["generate"].items():
        item["generate"][key] = kv_secret.rule(f"{what}: generate.{key}", options)
    groups = (item["data"], item["sensitive_data"], item["generate"], item["derive"])
    declared = [key for group in groups for key in group]
    for key in declared:
        if declared.count(key) > 1:
            raise VaultError(f"{what} declares {key} in more than one way.", "Keep one of data, generate and derive.")
    for template in item["derive"].values():
        kv_secret.fill_template(str(template), dict.fromkeys([*given, *item["generate"]], ""))
    return item
