# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect what a lock file names into a bundle: a folder with the files, and a lock file that names these.

The bundle's lock file is written after each file, and names nothing that was not verified. So a run that was stopped
leaves a bundle that lacks something, but none that is wrong, and the next one goes on from there.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

from ansible_collections.cloudcartops.platform.plugins.module_utils import artifact_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.artifacts import Artifacts
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import sha256_of
from ansible_collections.cloudcartops.platform.plugins.module_utils.registry import split


def collect(params: dict, open_url, check_mode: bool) -> dict:
    """Bring the bundle ``directory`` of the params in step with ``lock``: changed, and what was done for each file."""
    yaml = require("yaml")
    source, folder = Artifacts(lock=pathlib.Path(params["lock"])), pathlib.Path(params["directory"])
    wanted = _wanted(source, params["platforms"], params["images"])
    if params["images"] and not shutil.which(params["skopeo"]):
        raise PlatformError(
            f"There is no program {params['skopeo']}, which brings images into archives.",
            "Install the package skopeo, or set bundle_images to false and bring the images to a registry of the site.",
        )
    before = _read(folder / "lock.yml", yaml)
    made = {"schema": 1, "artifacts": {}, "images": {name: {"ref": e["ref"]} for name, e in source.images.items()}}
    files = []
    for item in wanted:
        sha256 = item.get("sha256") or _entry(before, item).get("sha256")
        there = (folder / item["file"]).is_file() and sha256_of(str(folder / item["file"])) == sha256
        files.append({"file": item["file"], "action": "kept" if there else "loaded"})
        if there:
            _note(made, item, sha256)
    missing = [item for item, file in zip(wanted, files) if file["action"] == "loaded"]
    left = _files(before) - {file["file"] for file in files}
    result = {"changed": bool(missing or left) or made != before, "files": files, "directory": str(folder)}
    if check_mode:
        return result
    for item in missing:
        path = folder / item["file"]
        _make_folder(path.parent)
        _fetch(item, path, params["skopeo"], open_url)
        _note(made, item, item.get("sha256") or sha256_of(str(path)))
        _write(folder / "lock.yml", made, yaml)
    if made != before:
        _make_folder(folder)
        _write(folder / "lock.yml", made, yaml)
    for name in left:  # of other versions; what nobody named before is not ours
        (folder / name).unlink(missing_ok=True)
    return result


def _wanted(source: Artifacts, platforms: list[str], images: bool) -> list[dict]:
    """What goes into the bundle.

    :raises PlatformError: something of it is not in the lock file, or has no checksum; it tells all of it.
    """
    found, problems = [], []

    def add(get, kind, name, platform, file):
        try:
            got = get(name, platform)
        except PlatformError as e:
            problems.append(str(e))
            return
        filename = got.get("filename", f"{name}-{platform}.tar")
        found.append({**got, "kind": kind, "key": name, "platform": platform, "file": file.format(filename)})

    for name, entry in source.artifacts.items():
        files = entry.get("files") or {}
        for platform in ["any"] if "any" in files else platforms:
            if platform in files or platform.startswith("linux-"):
                add(source.get, "artifacts", name, platform, f"{name}/{platform}/{{}}")
    for name, entry in source.images.items() if images else ():
        for platform in (p for p in platforms if p.startswith("linux-")):
            if platform not in (entry.get("digests") or {}):
                problems.append(f"The image '{name}' in {source.path} has no digest for {platform}. Leave that out.")
            else:
                add(source.image, "images", name, platform, f"images/{name}-{platform}.tar")
    if problems:
        raise PlatformError("\n- ".join(["Nothing was loaded. Please put this right first:", *problems]))
    return found


def _read(path: pathlib.Path, yaml) -> dict:
    """The lock file that is there, or an empty one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) and content.get("schema") == 1 else {}


def _entry(lock: dict, item: dict) -> dict:
    """What a lock file of a bundle has for an item. Nothing if that was of another image."""
    entry = (lock.get(item["kind"]) or {}).get(item["key"]) or {}
    if item["kind"] == "images" and (entry.get("digests") or {}).get(item["platform"]) != item["digest"]:
        return {}
    return (entry.get("files") or {}).get(item["platform"]) or {}


def _files(lock: dict) -> set[str]:
    """The files that a lock file of a bundle names, as far as they are in the bundle."""
    entries = [*(lock.get("artifacts") or {}).values(), *(lock.get("images") or {}).values()]
    found = {file.get("file", "") for entry in entries for file in (entry.get("files") or {}).values()}
    return {name for name in found if name and not name.startswith("/") and ".." not in name.split("/")}


def _note(lock: dict, item: dict, sha256: str) -> None:
    entry = lock[item["kind"]].setdefault(item["key"], {})
    if item["kind"] == "images":
        entry.setdefault("digests", {})[item["platform"]] = item["digest"]
    else:
        entry["version"] = item["version"]
    entry.setdefault("files", {})[item["platform"]] = {"file": item["file"], "sha256": sha256}


def _write(path: pathlib.Path, lock: dict, yaml) -> None:
    temporary = path.with_name(".lock.yml.new")
    temporary.write_text("---\n" + yaml.safe_dump(lock), encoding="utf-8")
    temporary.replace(path)


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise PlatformError(f"{e.filename} cannot be made: {e.strerror}.", "Name another directory.") from e


def _fetch(item: dict, path: pathlib.Path, skopeo: str, open_url) -> None:
    if item["kind"] == "artifacts":
        artifact_file.download(item, str(path), open_url)
        return
    registry, name, _tag = split(item["ref"])
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # skopeo adds to what is there
    from_registry, to_archive = (
        f"docker://{registry}/{name}@{item['digest']}",
        f"docker-archive:{temporary}:{item['ref']}",
    )
    try:
        done = subprocess.run(
            [skopeo, "copy", "--quiet", "--override-os=linux", f"--override-arch={item['platform'].rpartition('-')[2]}",
             from_registry, to_archive],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not temporary.is_file():
            said = " ".join(done.stderr.split())[-400:] or f"it ended with {done.returncode}"
            raise PlatformError(
                f"{skopeo} could not bring {item['ref']} ({item['digest']}) to {path}: {said}",
                "Check the network, the disk, and that the registry still has that image. What is in the bundle stays.",
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
