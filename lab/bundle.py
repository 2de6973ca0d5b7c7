# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle: a folder of artifacts and the lock file that describes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lab import build, cache
from lab.cache import Component


def to_yaml(value: dict, indent: str = "") -> Iterator[str]:
    """Write nested dicts of JSON scalars as lines of YAML."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{name}:"
            yield from to_yaml(item, indent + "  ")
        else:
            yield f"{indent}{name}: {json.dumps(item)}"


def write_yaml(path: Path, value: dict, comment: str) -> None:
    """Write a YAML file at once: whoever reads it meanwhile sees the old one or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text("\n".join(["---", f"# {comment}", *to_yaml(value), ""]), encoding="utf-8")
    new.replace(path)


def lock(entries: list[dict], sums: dict[str, str]) -> dict:
    """Return the content of a bundle's lock file; ``sums`` are the files' SHA-256."""
    content: dict = {"schema": 1, "artifacts": {}, "images": {}}
    for entry in entries:
        field = "ref" if entry["kind"] == "images" else "version"
        item = content[entry["kind"]].setdefault(entry["name"], {field: entry["version"], "files": {}})
        item["files"][entry["platform"]] = {"file": entry["path"], "sha256": sums[entry["path"]]}
    return content


def assemble(component: Component, out: Path, run) -> None:
    """Link every file into one folder, and describe them."""
    sums: dict[str, str] = {}
    for entry in component.inputs["entries"]:
        if entry["path"] in sums:  # images may share an archive
            continue
        target = out / entry["path"]
        target.parent.mkdir(exist_ok=True)
        os.link(component.need(entry["component"]) / target.name, target)
        sums[entry["path"]] = cache.file_hash(target)
    content = lock(component.inputs["entries"], sums)
    write_yaml(out / "lock.yml", content, "Written by `lab/lab bundle`: the lab's artifacts.")


def component(version: str = build.K3S_VERSION) -> Component:
    """Return the bundle with one version of the K3s stand-in."""
    table = build.table(version)
    entries = [
        {"kind": entry.kind, "name": entry.name, "version": entry.version, "platform": entry.platform}
        | {"component": entry.component.name, "path": f"{'images/' if entry.kind == 'images' else ''}{entry.file}"}
        for entry in table
    ]
    return Component("bundle", assemble, {"entries": entries}, (), tuple(entry.component for entry in table))


def make(version: str = build.K3S_VERSION) -> Path:
    """Return the folder of the bundle, after building what is missing."""
    bundle = component(version)
    path = cache.ensure(bundle)
    cache.prune(bundle)
    return path
