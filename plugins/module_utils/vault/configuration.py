# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a Vault server hold what a spec says: read everything, compare, write what differs."""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass, field

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import MANAGED_BY, OWNER
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import fields, removal, reviewer
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.connection import (
    Absent,
    open_server,
    read_secret,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultConflict, VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.hcl import policy_meaning
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.kv_secret import merge_secret
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.spec import ITEMS, OPTIONS, prepare

ATTEMPTS = 20
SEED_KEY = "values.json"


@dataclass
class Change:
    """One thing to do. ``before`` and ``after`` are shown to people; ``writes`` may hold secrets and never are."""

    kind: str
    name: str
    action: str
    before: object = None
    after: object = None
    writes: list = field(default_factory=list, repr=False)

    def public(self):
        shown = {"kind": self.kind, "name": self.name, "action": self.action}
        if self.action == "update":
            before, after = (
                item if isinstance(item, dict) else {self.kind: item} for item in (self.before, self.after)
            )
            shown["fields"] = sorted(key for key in {**before, **after} if before.get(key) != after.get(key))
        return shown


@dataclass
class State:
    """What is there now, for the names a spec has. Empty: nothing is there.

    ``known`` is false for a server that does not exist yet: what else it will hold then cannot be said.
    """

    known: bool = True
    mounts: dict = field(default_factory=dict)
    auth_methods: dict = field(default_factory=dict)
    configs: dict = field(default_factory=dict)
    contents: dict = field(default_factory=dict)
    policies: dict = field(default_factory=dict)
    policy_names: list = field(default_factory=list)
    roles: dict = field(default_factory=dict)
    secrets: dict = field(default_factory=dict, repr=False)
    seed: dict | None = field(default=None, repr=False)
    seed_version: str | None = None
    record: LiveSecret | None = None
    owned: dict = field(default_factory=lambda: {kind: set() for kind in removal.PARTS})
    going: dict = field(default_factory=lambda: {kind: {} for kind in removal.PARTS})


@dataclass
class LiveSecret:
    """A KV v2 secret: the values of its newest version, unless that was deleted or destroyed."""

    values: dict = field(repr=False)
    version: int
    deleted: bool = False
    destroyed: bool = False


@dataclass
class Task:
    """What one run is about: the prepared spec, and the options beside it."""

    spec: dict
    seed_secret: dict | None = None
    ownership: dict | None = None
    purge: bool = False
    purge_parts: list = field(default_factory=list)
    purge_limit: int = 0


def single(part):
    """The logic of a module for one item of a part of a spec."""

    def logic(params, check_mode):
        item = {name: params[name] for name in ITEMS[part]}
        return configure({**params, "spec": {**dict.fromkeys(ITEMS, []), part: [item]}}, check_mode)

    return logic


def configure(params, check_mode):
    """The module vault_configuration. Returns its result."""
    try:
        spec = prepare(params["spec"])
    finally:
        _hide_values(params["spec"])
    task = Task(spec, **{name: params[name] for name in OPTIONS if name != "spec" and name in params})
    if task.seed_secret and not params.get("kubeconfig"):
        raise VaultError("seed_secret names a Kubernetes Secret, but there is no kubeconfig.", "Give kubeconfig.")
    if task.ownership and (task.ownership["mount"].strip("/"), task.ownership["path"].strip("/")) in spec["secrets"]:
        raise VaultError("ownership names a secret of the spec.", "Give the record a path of its own.")
    server, cluster = open_server(params, check_mode)
    if isinstance(server, Absent):
        return _result(compare(task, State(known=False)), cluster=server.cluster, vault="absent")
    in_memory = server.status.get("storage_type") == "inmem"
    if task.seed_secret and not in_memory:
        raise VaultError(
            f"seed_secret would keep secrets outside of Vault, but {server.address} keeps them itself "
            f"(storage {server.status.get('storage_type')}).",
            "Remove seed_secret: it is only for a server in dev mode, which forgets everything when it restarts.",
        )
    warnings = [text for mount, item in spec["configs"].items() if item.jwt and (text := item.reviewer.warning(mount))]
    result = _result(_converge(server, cluster, task, check_mode, warnings), cluster="present", vault="present")
    if in_memory:
        warnings.append(
            f"{server.address} runs in dev mode: it keeps everything in memory, unencrypted and for as long as its pod "
            "lives. Never use it in production."
        )
    return {**result, "warnings": warnings}


def _hide_values(spec):
    """Nothing that is or could be a secret is shown by -vvv, wherever it was written."""
    for item in spec["secrets"]:
        for key in item["data"]:
            item["data"][key] = "(not shown)"
    for item in spec["kubernetes_auth_config"]:
        if "token_reviewer_jwt" in item["fields"]:
            item["fields"]["token_reviewer_jwt"] = "(not shown)"


def _converge(server, cluster, task, check_mode, warnings):
    done = []
    known_fields = functools.cache(functools.partial(fields.server_fields, server))
    for attempt in range(1, ATTEMPTS + 1):
        state = read(server, cluster, task)
        restored = undeletions(task.spec, state)
        changes = compare(task, state, known_fields)
        try:
            removal.check_limit(_purged(task, changes), task.purge_limit)
        except VaultError as e:
            if not check_mode:
                raise
            warnings.append(f"{e.what} {e.fix}")
        if check_mode:
            return restored + changes
        try:
            for change in restored or changes:
                _apply(server, cluster, change)
                done.append(change)
        except VaultConflict:
            if attempt == ATTEMPTS:
                raise
            known_fields.cache_clear()
        else:
            if not restored:  # else what was deleted can only now be compared
                break
    return done


def _purged(task, changes):
    """What is removed because the record says so, and not because the spec does."""
    declared = {(kind, removal.shown(name)) for kind in removal.PARTS for name in task.spec["absent"][kind]}
    return [
        f"{change.kind} {change.name}"
        for change in changes
        if change.action == "delete" and (change.kind, change.name) not in declared
    ]


def _apply(server, cluster, change):
    for method, path, data in change.writes:
        if change.kind == "seed":
            _write_seed(cluster, method, data)
        elif method == "DELETE":
            server.delete(path)
        else:
            server.write(path, data, method)


# -- reading -----------------------------------------------------------------------------------------------------------


def read(server, cluster, task):
    """Read what is there for every name in the spec, and for every name that goes."""
    spec, seed_secret = task.spec, task.seed_secret
    state = State(
        mounts=_without_slash(server.read("sys/mounts")),
        auth_methods=_without_slash(server.read("sys/auth")),
    )
    if task.ownership:
        mount, path = _record_place(task)
        if mount in state.mounts:
            _require_kv2(mount, spec, state)
            state.record = read_kv(server, mount, path)
            state.owned = removal.parse_record(state.record.values if state.record else {}, f"{mount}/{path}")
    keep_mount = task.ownership and task.ownership["mount"].strip("/")
    state.going = going = removal.to_remove(spec, state.owned, task.purge_parts if task.purge else (), keep_mount)
    if spec["policies"] or going["policy"] or spec["roles"]:
        state.policy_names = server.list("sys/policies/acl")
    for mount in spec["configs"]:
        state.configs[mount] = server.read(f"auth/{mount}/config") if mount in state.auth_methods else None
    for name in {**spec["policies"], **going["policy"]}:
        found = server.read(f"sys/policies/acl/{name}") if name in state.policy_names else None
        state.policies[name] = found and found["policy"]
    state.roles = _read_roles(server, [*spec["roles"], *going["role"]], state)
    for mount, path in {**spec["secrets"], **going["secret"]}:
        if mount in state.mounts:
            _require_kv2(mount, spec, state)
            state.secrets[mount, path] = read_kv(server, mount, path)
    for kind in ("auth_method", "mount"):
        for name in going[kind]:
            if name in getattr(state, removal.PARTS[kind]):
                state.contents[kind, name] = _contents(server, kind, name, state)
    if seed_secret:
        data, state.seed_version = read_secret(cluster, seed_secret["namespace"], seed_secret["name"])
        state.seed = None if data is None else _parse_seed(data, seed_secret)
    return state


def _read_roles(server, wanted, state):
    """Roles by (mount, name). Of many in one mount only those that its list has are read."""
    found, listed = dict.fromkeys(wanted), {}
    for mount, name in wanted:
        if mount not in state.auth_methods:
            continue
        if mount not in listed:
            listed[mount] = None
            if sum(place == mount for place, _name in wanted) > 5:
                listed[mount] = set(server.list(f"auth/{mount}/role"))
        if listed[mount] is None or name in listed[mount]:
            found[mount, name] = server.read(f"auth/{mount}/role/{name}")
    return found


def _contents(server, kind, name, state):
    """Names of what is in a mount; None when that kind of mount cannot be asked."""
    if kind == "auth_method":
        return server.list(f"auth/{name}/role") if state.auth_methods[name].get("type") == "kubernetes" else None
    if state.mounts[name].get("type") not in ("kv", "generic"):
        return None
    return server.list(f"{name}/metadata" if _is_kv2(state.mounts[name]) else name)


def _is_kv2(mount):
    return mount.get("type") == "kv" and (mount.get("options") or {}).get("version") == "2"


def _require_kv2(mount, spec, state):
    if state.known and not _is_kv2(state.mounts.get(mount) or spec["mounts"].get(mount) or {}):
        raise VaultError(
            f"The mount {mount} is no KV engine of version 2, the only kind whose secrets are managed here.",
            'Use another mount, or declare this one with type: kv and options: {version: "2"}.',
        )


def _record_place(task):
    return task.ownership["mount"].strip("/"), task.ownership["path"].strip("/")


def _without_slash(found):
    return {name.rstrip("/"): item for name, item in (found or {}).items()}


def read_kv(server, mount, path):
    found = server.read(f"{mount}/data/{path}")
    if found is None:
        return None
    metadata = found.get("metadata") or {}
    return LiveSecret(
        values=found.get("data") or {},
        version=metadata.get("version", 0),
        deleted=bool(metadata.get("deletion_time")) and found.get("data") is None,
        destroyed=bool(metadata.get("destroyed")),
    )


def _parse_seed(data, where):
    try:
        seed = json.loads(data.get(SEED_KEY) or "{}")
        if all(isinstance(item, dict) for item in seed.values()):
            return seed
    except (ValueError, AttributeError):
        pass
    raise VaultError(
        f"The Secret {where['namespace']}/{where['name']} does not hold a JSON object of objects in {SEED_KEY}.",
        "Delete the Secret; it is filled again from Vault.",
    )


# -- comparing ---------------------------------------------------------------------------------------------------------


def undeletions(spec, state):
    """Secrets whose newest version was (softly) deleted come back as they were: no value is generated anew."""
    return [
        Change(
            "secret",
            f"{mount}/{path}",
            "undelete",
            "deleted",
            f"version {live.version}",
            [("POST", f"{mount}/undelete/{path}", {"versions": [live.version]})],
        )
        for (mount, path), live in state.secrets.items()
        if (mount, path) in spec["secrets"] and live and live.deleted and not live.destroyed
    ]


def compare(task, state, known_fields=lambda path: None):
    """Work out what to do, in the order it must be done. Pure, but for random values and ``known_fields``.

    :param known_fields: called with a path, returns the names of the fields the server takes there, or None.
    """
    spec = task.spec
    changes = [
        *_compare_mounts(spec["mounts"], state.mounts, "mount", "sys/mounts"),
        *_compare_mounts(spec["auth_methods"], state.auth_methods, "auth_method", "sys/auth"),
        *_compare_configs(spec, state, known_fields),
        *_compare_policies(spec, state),
        *_compare_roles(spec, state, known_fields),
        *_compare_secrets(spec, state, task.seed_secret),
    ]
    removals = list(_removals(spec, state))
    if not task.ownership:
        return changes + removals
    return _with_record(task, state, changes, removals)


def _removals(spec, state):
    """What goes: roles before the policies they have, and what is in a mount before the mount."""
    paths = {
        "role": "auth/{0[0]}/role/{0[1]}",
        "policy": "sys/policies/acl/{0}",
        "secret": "{0[0]}/data/{0[1]}",
        "auth_method": "sys/auth/{0}",
        "mount": "sys/mounts/{0}",
    }
    for kind, part in removal.PARTS.items():
        for name, force in sorted(state.going[kind].items()):
            live = getattr(state, part).get(name)
            if live is None or (kind == "secret" and not force and (live.deleted or live.destroyed)):
                continue
            path, shown = paths[kind].format(name), live
            if kind == "secret":
                shown = dict.fromkeys(sorted(live.values), "set")
                if force:  # all its versions; without force the newest one can be undeleted
                    path = f"{name[0]}/metadata/{name[1]}"
            elif kind in ("auth_method", "mount"):
                shown = {key: live.get(key) for key in ("type", "description")}
                contents = state.contents.get((kind, name))
                if kind == "auth_method" and contents:
                    contents = [role for role in contents if (name, role) not in state.going["role"]]
                removal.require_consent(kind, name, contents, force)
            yield Change(kind, removal.shown(name), "delete", shown, None, [("DELETE", path, None)])


def _with_record(task, state, changes, removals):
    """Put the writes of the record where they belong: before anything is created, and after it was removed."""
    spec, (mount, path) = task.spec, _record_place(task)
    _must_exist("mount", mount, spec, state)
    _require_kv2(mount, spec, state)
    during, after = {}, {}
    for kind, part in removal.PARTS.items():
        live = getattr(state, part)
        during[kind] = state.owned[kind] | {name for name in spec[part] if live.get(name) is None}
        # What a secret was stays ours while it can be undeleted.
        gone = {
            name
            for name, force in state.going[kind].items()
            if live.get(name) is None or kind != "secret" or force or name[0] in state.going["mount"]
        }
        after[kind] = during[kind] - gone
    version = state.record.version if state.record else 0
    writes = []
    for old, new in ((state.owned, during), (during, after)):
        change = None
        if new != old:
            data = {"data": removal.format_record(new), "options": {"cas": version}}
            action = "update" if version else "create"
            before, shown = (removal.format_record(names)["created"] for names in (old, new))
            change = Change(
                "record", f"{mount}/{path}", action, before, shown, [("POST", f"{mount}/data/{path}", data)]
            )
            version += 1
        writes.append([change] if change else [])
    first = [change for change in changes if (change.kind, change.name) == ("mount", mount)]
    rest = [change for change in changes if change not in first]
    return first + writes[0] + rest + removals + writes[1]


def _compare_mounts(declared, live, kind, path):
    for name, wanted in declared.items():
        found = live.get(name)
        wanted = {key: value for key, value in wanted.items() if value not in ("", {})}
        if found is None:
            yield Change(kind, name, "create", None, wanted, [("POST", f"{path}/{name}", wanted)])
            continue
        shown = {key: found.get(key) or "" for key in wanted}
        for key, convert in (("options", lambda options: options), ("config", fields.live_fields)):
            if key in wanted:
                values = convert(found.get(key) or {})
                shown[key] = {option: values.get(option, type(value)()) for option, value in wanted[key].items()}
        for key in ("type", "options"):
            if key in wanted and shown[key] != wanted[key]:
                raise VaultError(
                    f"The {kind.replace('_', ' ')} {name} has the {key} {shown[key]!r}, the spec says {wanted[key]!r}.",
                    "This cannot be changed without losing what is in it: use another path, or move the content and "
                    "disable the old one yourself.",
                )
        if shown != wanted:
            data = {**wanted.get("config", {}), **{key: wanted[key] for key in ("description",) if key in wanted}}
            yield Change(kind, name, "update", shown, wanted, [("POST", f"{path}/{name}/tune", data)])


def _compare_configs(spec, state, known_fields):
    for mount, config in spec["configs"].items():
        _must_exist("auth_method", mount, spec, state)
        found = state.configs.get(mount)
        remembered = (state.auth_methods.get(mount) or {}).get("options") or {}
        wanted, live = dict(config.fields), fields.live_fields(found or {})
        options = config.reviewer.options() if config.reviewer else reviewer.FORGOTTEN
        shown_before, shown = dict(live), dict(wanted)
        if config.reviewer:
            wanted["token_reviewer_jwt"] = config.jwt
            shown |= {"token_reviewer_jwt_set": True, **{key: value for key, value in options.items() if value}}
        shown_before |= {key: remembered[key] for key in options if remembered.get(key)}
        update = fields.drift(shown, shown_before)
        if found and not update:
            continue
        path = f"auth/{mount}/config"
        known = known_fields(path) or fields.CONFIG_FIELDS
        fields.check_names(f"The configuration of the auth method {mount}", config.fields, known)
        action = "update" if found else "create"
        writes = [("POST", path, wanted)]  # replaces the whole configuration
        if any(remembered.get(key, "") != value for key, value in options.items()):
            writes.append(("POST", f"sys/mounts/auth/{mount}/tune", {"options": options}))  # after what it is about
        before = {key: shown_before.get(key) for key in update} if found else None
        yield Change("kubernetes_auth_config", mount, action, before, update if found else shown, writes)


def _compare_policies(spec, state):
    for name, wanted in spec["policies"].items():
        found = state.policies.get(name)
        if found is None or policy_meaning(found) != policy_meaning(wanted):
            action = "create" if found is None else "update"
            yield Change(
                "policy", name, action, found, wanted, [("POST", f"sys/policies/acl/{name}", {"policy": wanted})]
            )


def _compare_roles(spec, state, known_fields):
    policies = {"default", *spec["policies"], *set(state.policy_names) - set(state.going["policy"])}
    for (mount, name), wanted in spec["roles"].items():
        _must_exist("auth_method", mount, spec, state)
        for policy in wanted.get("token_policies", []):
            if state.known and policy not in policies:
                raise VaultError(
                    f"The role {mount}/{name} has the policy {policy}, which is neither in the spec nor in Vault.",
                    "Correct the name or declare the policy: Vault would accept the role, but it could read nothing.",
                )
        found = state.roles.get((mount, name))
        live = fields.live_fields(found or {})
        update = fields.drift(wanted, live)
        if found and not update:
            continue
        known = known_fields(f"auth/{mount}/role/any") or fields.ROLE_FIELDS
        fields.check_names(f"The role {mount}/{name}", wanted, known)
        before = {key: live.get(key) for key in update} if found else None
        action = "update" if found else "create"
        yield Change("role", f"{mount}/{name}", action, before, update, [("POST", f"auth/{mount}/role/{name}", update)])


def _compare_secrets(spec, state, seed_secret):
    seed, seed_fields, changes = dict(state.seed or {}), {}, []
    for (mount, path), declared in spec["secrets"].items():
        _must_exist("mount", mount, spec, state)
        _require_kv2(mount, spec, state)
        name = f"{mount}/{path}"
        live = state.secrets.get((mount, path)) or LiveSecret({}, 0)
        if live.deleted and not live.destroyed:
            continue  # comes back first, see undeletions()
        kept = seed.get(name, {})
        lost = sorted(set(declared["generate"]) - set(kept))
        if live.destroyed and lost:
            raise VaultError(
                f"The newest version of the secret {name} was destroyed, and with it {', '.join(lost)}.",
                f"Roll back to an older version (vault kv rollback), or delete it all (vault kv metadata delete {name})"
                " to have new values generated.",
            )
        change = merge_secret(declared, live.values, kept)
        if seed_secret and change.seed:
            different = sorted(key for key, value in change.seed.items() if kept.get(key) != value)
            if different:
                seed_fields[name] = different
                seed[name] = {**kept, **change.seed}
        if change.fields or not live.version:
            before = dict.fromkeys(sorted(live.values), "set") or None
            after = {key: change.fields.get(key, "set") for key in sorted(change.values)}
            data = {"data": change.values, "options": {"cas": live.version}}
            action = "update" if live.version else "create"
            changes.append(Change("secret", name, action, before, after, [("POST", f"{mount}/data/{path}", data)]))
    if seed_fields:
        yield _seed_change(seed_secret, seed, state, seed_fields)  # before Vault: a value in Vault is never lost
    yield from changes


def _must_exist(kind, name, spec, state):
    part = removal.PARTS[kind]
    there = set(getattr(state, part)) - set(state.going[kind])
    if state.known and name not in spec[part] and name not in there:
        raise VaultError(
            f"The spec uses the {kind.replace('_', ' ')} {name}, which it does not declare and which Vault does not "
            "have (or which goes in this run).",
            f"Declare it in {part}, or correct the name.",
        )


# -- the seed ----------------------------------------------------------------------------------------------------------


def _seed_change(seed_secret, seed, state, seed_fields):
    name = f"{seed_secret['namespace']}/{seed_secret['name']}"
    data = {"data": {SEED_KEY: base64.b64encode(json.dumps(seed, sort_keys=True).encode()).decode()}}
    metadata = {"name": seed_secret["name"], "namespace": seed_secret["namespace"]}
    after = {key: dict.fromkeys(names, "kept here too") for key, names in seed_fields.items()}
    if state.seed_version is None:
        metadata["labels"] = {MANAGED_BY: OWNER}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, **data}
        return Change("seed", name, "create", None, after, [("CREATE", None, body)])
    body = {"metadata": {**metadata, "resourceVersion": state.seed_version}, **data}
    return Change("seed", name, "update", None, after, [("PATCH", None, body)])


def _write_seed(cluster, method, body):
    try:
        if method == "CREATE":
            cluster.create(body)
        else:
            metadata = body["metadata"]
            cluster.patch("Secret", metadata["name"], body, metadata["namespace"])
    except ApiError as e:
        if e.status == 409:
            raise VaultConflict(e.what, e.fix) from e
        raise


def _result(changes, **facts):
    before, after = {}, {}
    for change in changes:
        if change.before is not None:
            before.setdefault(change.kind, {}).setdefault(change.name, change.before)
        if change.after is not None:
            after.setdefault(change.kind, {})[change.name] = change.after
    return {
        "changed": bool(changes),
        "plan": [change.public() for change in changes],
        "diff": {"before": before, "after": after},
        **facts,
    }
