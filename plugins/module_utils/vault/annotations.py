# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The injector's annotations in manifests, against the spec of what Vault will hold: found without a cluster.

The annotations: https://developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.login_causes import matching, rules_of

PREFIX = "vault.hashicorp.com/"
TRUE = ("1", "t", "T", "TRUE", "true", "True")  # as the injector reads it
_SECRET_CALL = re.compile(r"""\bsecret\s+["`]([^"`]+)["`]""")
_ACTION = re.compile(r"{{(.*?)}}", re.DOTALL)
_DATA = re.compile(r"\.Data((?:\.\w+)*)")
_INDEX = re.compile(r"""\bindex\s+\.Data\.data\s+["`]([^"`]+)["`]""")


def annotation_errors(manifests, spec, namespace):
    """What would keep pods of the manifests from getting their secrets: a list of sentences.

    :param spec: as for vault_configuration.
    :param namespace: of the manifests that name none.
    """
    vault = _Vault(spec)
    errors = []
    for manifest in manifests:
        pod = _pod_of(manifest)
        annotations = (pod.get("metadata") or {}).get("annotations") or {}
        ours = {key.removeprefix(PREFIX): value for key, value in annotations.items() if key.startswith(PREFIX)}
        if not ours:
            continue
        metadata = manifest.get("metadata") or {}
        what = f"{manifest.get('kind')} {metadata.get('name')}"
        account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
        found = _texts(ours) or _pod_errors(ours, account, metadata.get("namespace") or namespace, vault)
        errors += [f"{what}: {error}" for error in found]
    return errors


class _Vault:
    """A spec of vault_configuration, for looking up."""

    def __init__(self, spec):
        self.roles = {
            (role.get("mount") or "kubernetes", role["name"]): role["fields"] for role in spec.get("roles") or []
        }
        self.rules = {item["name"]: rules_of(item["policy"]) for item in spec.get("policies") or []}
        self.kv2 = [
            item["path"].strip("/")
            for item in spec.get("mounts") or []
            if str((item.get("options") or {}).get("version")) == "2"
        ]
        self.secrets = {
            f"{item['mount'].strip('/')}/data/{item['path'].strip('/')}": [
                key for part in ("data", "sensitive_data", "generate", "derive") for key in item.get(part) or {}
            ]
            for item in spec.get("secrets") or []
        }


def _pod_of(manifest):
    """The pod (template) of a manifest; empty when it has none."""
    spec = manifest.get("spec") or {}
    if manifest.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return manifest if manifest.get("kind") == "Pod" else spec.get("template") or {}


def _texts(ours):
    return [
        f"the annotation {PREFIX}{key} is {value!r}, and annotations are texts: put it in quotes."
        for key, value in ours.items()
        if not isinstance(value, str)
    ]


def _pod_errors(ours, account, namespace, vault):
    switch = ours.get("agent-inject", "")
    if switch not in TRUE:
        return (
            [] if switch else [f"it has annotations of the injector, but not {PREFIX}agent-inject, which turns it on."]
        )
    name, mount = ours.get("role", ""), ours.get("auth-path", "auth/kubernetes").removeprefix("auth/").strip("/")
    if not name:
        return [f"it has no {PREFIX}role, without which the injector refuses the pod."]
    role = vault.roles.get((mount, name))
    if role is None:
        there = ", ".join(role for place, role in vault.roles if place == mount) or "none"
        return [f"there is no role {name} in auth/{mount}; there are {there}."]
    errors = []
    for label, value in (("names", account), ("namespaces", namespace)):
        bound = _list(role.get(f"bound_service_account_{label}"))
        if not any(fnmatchcase(value, pattern) for pattern in bound):
            kind = "account" if label == "names" else "namespace"
            errors.append(f"the role {name} is not for its {kind} {value}, but for {', '.join(bound) or 'none'}.")
    policies = _list(role.get("token_policies") or role.get("policies"))
    rules = {}
    for policy in policies:
        for path, capabilities in vault.rules.get(policy, {}).items():
            rules.setdefault(path, []).extend(capabilities)
    for path, keys in _reads(ours):
        errors += _path_errors(path, keys, name, rules, vault)
    return list(dict.fromkeys(errors))


def _list(value):
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else list(value or [])


def _reads(ours):
    """Each path that the pod reads, with what its template takes from the answer."""
    for key, value in ours.items():
        if key.startswith("agent-inject-secret-"):
            yield value.strip("/"), []
        elif key.startswith("agent-inject-template-") and not key.startswith("agent-inject-template-file-"):
            calls = list(_SECRET_CALL.finditer(value))
            for call, after in zip(calls, [*calls[1:], None]):
                part = value[call.end() : after.start() if after else len(value)]
                yield call[1].strip("/"), _taken("}}".join(["", part]) if "}}" not in part else "{{" + part)


def _taken(text):
    """What the actions of a template take: ``data.key``, ``key``, ... below ``.Data``."""
    actions = " ".join(_ACTION.findall(text))
    return [found[1:] for found in _DATA.findall(actions) if found] + [f"data.{key}" for key in _INDEX.findall(actions)]


def _path_errors(path, keys, role, rules, vault):
    for mount in vault.kv2:
        rest = path.removeprefix(f"{mount}/")
        if rest != path and not rest.startswith("data/"):
            return [f"it reads {path}, but {mount} is a KV version 2 engine: write {mount}/data/{rest}."]
    rule = matching(rules, path)
    if "read" not in rules.get(rule, []):
        return [f"no policy of the role {role} allows to read {path}."]
    if path not in vault.secrets:
        return [f"there is no secret {path}; there are {', '.join(vault.secrets) or 'none'}."]
    errors = []
    for key in keys:
        if key == "data" or key.startswith("metadata"):
            continue
        top, _dot, field = key.partition(".")
        if top != "data":
            errors.append(f"its template takes .Data.{key} of {path}, but KV version 2 has it at .Data.data.{key}.")
        elif field not in vault.secrets[path]:
            there = ", ".join(vault.secrets[path])
            errors.append(f"its template takes the key {field} of {path}, which has {there or 'none'}.")
    return errors
