# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run removes, and the record of what earlier runs created. Pure: names go in, names come out.

The record is one secret of a KV version 2 engine. It holds names, no values, and is written with check-and-set:
before anything is created, so that nothing of ours is ever unknown, and after it was deleted.
"""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

# kind -> the part of a spec (and of the state) it is found in; in the order in which they can be removed
PARTS = {
    "role": "roles",
    "policy": "policies",
    "secret": "secrets",
    "auth_method": "auth_methods",
    "mount": "mounts",
}
# What every server has of its own.
BUILT_IN = {
    "mount": {"sys", "identity", "cubbyhole"},
    "auth_method": {"token"},
    "policy": {"root", "default"},
}


def refuse_built_in(kind, name):
    if name in BUILT_IN.get(kind, ()):
        raise VaultError(
            f"The {kind.replace('_', ' ')} {name} is built in and cannot be removed.", "Take it out of the spec."
        )


def shown(name):
    return name if isinstance(name, str) else "/".join(name)


def parse_record(values, where):
    """The names in a record by kind, as a spec's keys (texts, or pairs of mount and name)."""
    try:
        record = values.get("created", {})
        return {
            kind: {name if isinstance(name, str) else (str(name[0]), str(name[1])) for name in record.get(kind, [])}
            for kind in PARTS
        }
    except (AttributeError, TypeError, IndexError):
        raise VaultError(
            f"The secret {where} is no record of what was created here.",
            "Give ownership another path, or delete that secret: then nothing counts as created here.",
        ) from None


def format_record(owned):
    """The content of the record's secret."""
    return {"created": {kind: sorted(names) for kind, names in owned.items() if names}}


def to_remove(spec, owned, purge, keep_mount):
    """Names to remove by kind, each with whether what is in it may be lost (``force``).

    :param purge: the parts of a spec of which what it does not have any more goes.
    :param keep_mount: the mount that the record is in.
    """
    found = {kind: dict(spec["absent"][kind]) for kind in PARTS}
    for kind, part in PARTS.items():
        spared = BUILT_IN.get(kind, set()) | ({keep_mount} if kind == "mount" else set())
        for name in owned[kind] - set(spec[part]) - spared if part in purge else ():
            found[kind].setdefault(name, False)
    return found


def require_consent(kind, name, contents, force):
    """Refuse to remove a mount with something in it, unless the spec says that it may be lost.

    :param contents: names found in it; None when that kind of mount cannot say.
    """
    if force or contents == []:
        return
    what = "may hold data" if contents is None else f"holds {', '.join(contents[:3])}{'…' if contents[3:] else ''}"
    raise VaultError(
        f"The {kind.replace('_', ' ')} {name} {what}: all of it would be lost for ever.",
        "If that is meant, declare it with state: absent and force: true.",
    )


def check_limit(names, limit):
    """Refuse to purge more than was agreed to."""
    if len(names) > limit:
        raise VaultError(
            f"The purge would remove {len(names)} objects, more than the {limit} that purge_limit allows: "
            f"{', '.join(names)}.",
            f"If they shall go, set purge_limit to {len(names)}.",
        )
