# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the credentials of a new cluster into a kubeconfig file without touching what others put there."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require

SECTIONS = ("clusters", "users", "contexts")
KEYS = {"clusters": "cluster", "users": "user", "contexts": "context"}


def parse(text: str, where: str) -> dict:
    """A kubeconfig as a dictionary with all three sections. Raises PlatformError if it is not one."""
    yaml = require("yaml")
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)  # the rest of the error would quote the file
        line = f" (line {mark.line + 1})" if mark else ""
        raise PlatformError(f"{where} is not valid YAML{line}.", "Repair it, or move it away.") from None
    lists = [content.get(section) or [] for section in SECTIONS] if isinstance(content, dict) else [None]
    if not all(isinstance(found, list) and all(isinstance(e, dict) and "name" in e for e in found) for found in lists):
        raise PlatformError(f"{where} is not a kubeconfig.", "Repair it, or move it away.")
    return {**content, **{section: list(content.get(section) or []) for section in SECTIONS}}


def renamed(source: dict, name: str, server: str) -> dict:
    """The one cluster of ``source`` with ``name`` for cluster, user and context, at the address ``server``."""
    try:
        cluster = dict(source["clusters"][0]["cluster"])
        user = dict(source["users"][0]["user"])
    except (IndexError, KeyError, TypeError):
        raise PlatformError("The kubeconfig of the server names no cluster or no user.", "Restart K3s on it.") from None
    cluster["server"] = server
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def foreign(existing: dict, name: str) -> list[str]:
    """Names of the contexts, clusters and users in ``existing`` that are not ``name``."""
    return sorted({e["name"] for section in SECTIONS for e in existing[section]} - {name})


def merged(existing: dict, ours: dict, name: str) -> dict:
    """``existing`` with the entries called ``name`` replaced by ours. Everything else, and its order, stays."""
    result = dict(existing)
    for section in SECTIONS:
        entries, new = list(existing[section]), ours[section][0]
        places = [n for n, entry in enumerate(entries) if entry["name"] == name]
        if places:
            # A namespace or an extension that somebody added to our context is theirs.
            if section == "contexts":
                new = {**new, "context": {**entries[places[0]].get("context", {}), **new["context"]}}
            entries[places[0]] = new
        else:
            entries.append(new)
        result[section] = entries
    result.setdefault("apiVersion", "v1")
    result.setdefault("kind", "Config")
    if not result.get("current-context"):
        result["current-context"] = name
    return result


def outline(content: dict | None) -> str:
    """What a diff may show: names and addresses."""
    if content is None:
        return ""
    lines = [f"context: {entry['name']}" for entry in content["contexts"]]
    lines += [f"cluster: {e['name']} at {(e.get('cluster') or {}).get('server')}" for e in content["clusters"]]
    lines += [f"current-context: {content.get('current-context')}"]
    return "\n".join(lines) + "\n"


def make_parents(path: str) -> None:
    """Make the missing directories above ``path``, for nobody else to read."""
    missing = []
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    for directory in reversed(missing):
        os.mkdir(directory, 0o700)


def write(path: str, text: str) -> None:
    """Write 0600 in one step: whoever reads sees the old file or the new one."""
    make_parents(path)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".kubeconfig-")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            owner = os.stat(path)
            with contextlib.suppress(PermissionError):
                os.chown(temporary, owner.st_uid, owner.st_gid)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def ensure(path: str, content: str | None, name: str, server: str, merge: bool, check_mode: bool) -> dict:
    """Make ``path`` hold the cluster of ``content`` (None in check mode: not known yet)."""
    path = os.path.realpath(path)  # a link stays a link
    existing, mode = None, 0o600
    if os.path.isdir(path):
        raise PlatformError(f"{path} is a directory.", "Set k3s_kubeconfig to the path of a file.")
    try:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                existing = parse(file.read(), path)
            mode = stat.S_IMODE(os.stat(path).st_mode)
    except (OSError, UnicodeDecodeError) as e:
        raise PlatformError(
            f"{path} cannot be read: {getattr(e, 'strerror', None) or e}.", "Set k3s_kubeconfig to another."
        ) from e
    others = foreign(existing, name) if existing else []
    if others and not merge:
        raise PlatformError(
            f"{path} holds other clusters or users too ({', '.join(others)}), and they would be lost.",
            "Set k3s_kubeconfig to a file of its own, or k3s_kubeconfig_merge to true to add this cluster to them.",
        )
    result = {"path": path, "context": name, "changed": False, "backup_file": ""}
    if content is None:
        return {**result, "changed": True}  # a server that is still to come has new credentials
    ours = renamed(parse(content, "The kubeconfig of the server"), name, server)
    wanted = merged(existing, ours, name) if existing and merge else ours
    result["changed"] = existing != wanted or mode != 0o600
    result["diff"] = {
        "before": outline(existing),
        "after": outline(wanted),
        "before_header": path,
        "after_header": path,
    }
    if check_mode or not result["changed"]:
        return result
    try:
        if existing != wanted:
            if others:
                result["backup_file"] = f"{path}.{time.strftime('%Y-%m-%d@%H:%M:%S')}~"
                shutil.copy2(path, result["backup_file"])
                os.chmod(result["backup_file"], 0o600)
            write(path, require("yaml").safe_dump(wanted, sort_keys=False))
        else:
            os.chmod(path, 0o600)
    except OSError as e:
        raise PlatformError(
            f"{path} cannot be written: {e.strerror}.", "Set k3s_kubeconfig to a path that can be."
        ) from e
    return result
