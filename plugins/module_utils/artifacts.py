# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock file: which version of each artifact, where it comes from, and the SHA-256 it must have.

The collection ships one (``roles/catalog/files/lock.yml``, official sources). A *bundle* is a folder with a
``lock.yml`` of the same schema whose entries name files of the folder instead of addresses.
"""

from __future__ import annotations

import os
import pathlib
import re

from ansible_collections.cloudcartops.platform.plugins.module_utils import artifact_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.preflight_rules import ARCHITECTURES

LOCK = pathlib.Path(__file__).resolve().parents[2] / "roles" / "catalog" / "files" / "lock.yml"
UNRESOLVED = "unresolved"


class Artifacts:
    """The artifacts of one lock file."""

    def __init__(self, bundle: str = "", lock: pathlib.Path = LOCK) -> None:
        """Read ``lock``, or the lock file of the folder ``bundle`` if that is not empty.

        Raises PlatformError if it cannot be read or does not have the schema this version knows.
        """
        self.bundle = pathlib.Path(bundle).expanduser() if bundle else None
        self.path = self.bundle / "lock.yml" if self.bundle else lock
        if self.bundle and not self.bundle.is_absolute():
            raise PlatformError(
                f"The bundle '{bundle}' is not an absolute path.", "Give the whole path in cloudcartops_bundle."
            )
        yaml = require("yaml")
        try:
            # It is read for every lookup, and libyaml takes a tenth of the time where PyYAML has it.
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            content = yaml.load(self.path.read_text(encoding="utf-8"), Loader=loader)
        except (OSError, UnicodeDecodeError) as e:
            fix = (
                "Set cloudcartops_bundle to a folder that holds a lock.yml, or leave it empty to download."
                if bundle
                else ""
            )
            raise PlatformError(
                f"The lock file {self.path} cannot be read: {getattr(e, 'strerror', None) or e}.", fix
            ) from e
        except yaml.YAMLError as e:
            raise PlatformError(f"The lock file {self.path} is not valid YAML: {e}") from e
        if not isinstance(content, dict) or content.get("schema") != 1:
            raise PlatformError(
                f"The lock file {self.path} does not say 'schema: 1', which is all that this version reads."
            )
        self.artifacts = content.get("artifacts") or {}
        self.images = content.get("images") or {}

    def get(self, name: str, platform: str = "any") -> dict:
        """The artifact ``name`` for ``platform``: name, version, sha256, filename, and either url or path."""
        entry = self.artifacts.get(name)
        if entry is None:
            raise PlatformError(
                f"There is no artifact '{name}' in {self.path}.",
                f"It has: {', '.join(sorted(self.artifacts)) or 'none'}.",
            )
        files = entry.get("files") or {}
        key = platform if platform in files else "any"
        if key not in files:
            raise PlatformError(
                f"The artifact '{name}' {entry.get('version', '')} in {self.path} is not there for {platform}.",
                f"It is there for: {', '.join(sorted(files)) or 'nothing'}.",
            )
        return {"name": name, "version": str(entry.get("version", "")), **self._file(name, files[key])}

    def image(self, name: str, platform: str = "any") -> dict:
        """The image ``name``: name, ref (the reference that goes into pods), its digest and its archive if any."""
        entry = self.images.get(name)
        if not entry or not entry.get("ref"):
            raise PlatformError(
                f"There is no image '{name}' in {self.path}.", f"It has: {', '.join(sorted(self.images)) or 'none'}."
            )
        files = entry.get("files") or {}
        archive = self._file(f"images/{name}", files[platform]) if platform in files else {}
        digests = entry.get("digests") or {}
        digest = {"digest": self._digest(f"images/{name}", digests[platform])} if platform in digests else {}
        return {"name": f"images/{name}", "ref": entry["ref"], **digest, **archive}

    def image_archives(self, platform: str) -> list[dict]:
        """Every image archive for ``platform``; several images may share one. None without a bundle."""
        found: dict[str, dict] = {}
        for name, entry in sorted(self.images.items()):
            if platform in (entry.get("files") or {}):
                image = self.image(name, platform)
                found.setdefault(image["filename"], image)
        return list(found.values())

    def _sum(self, name: str, sha256: str) -> str:
        if sha256 == UNRESOLVED:
            raise PlatformError(
                f"The SHA-256 of '{name}' is 'unresolved' in {self.path}, and nothing is installed unverified.",
                "Run 'make lock' in a checkout with internet access: it reads the published checksums and writes them "
                "there. Or set cloudcartops_bundle to a bundle.",
            )
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise PlatformError(f"The SHA-256 of '{name}' in {self.path} is not 64 lower-case hex digits: '{sha256}'.")
        return sha256

    def _digest(self, name: str, digest: object) -> str:
        return f"sha256:{self._sum(name, str(digest).removeprefix('sha256:'))}"

    def _file(self, name: str, entry: dict) -> dict:
        sha256 = self._sum(name, str(entry.get("sha256", "")))
        if "url" in entry:
            return {"sha256": sha256, "url": entry["url"], "filename": entry["url"].rpartition("/")[2]}
        if not self.bundle or not entry.get("file"):
            raise PlatformError(f"The entry of '{name}' in {self.path} names neither a url nor, in a bundle, a file.")
        path = self.bundle / entry["file"]
        if self.bundle.resolve() not in path.resolve().parents:
            raise PlatformError(f"The file of '{name}' in {self.path} is outside of the bundle: '{entry['file']}'.")
        if not path.is_file():
            raise PlatformError(
                f"The file of '{name}' is missing from the bundle: {path}.",
                "Copy the whole bundle again, or make a new one.",
            )
        return {"sha256": sha256, "path": str(path), "filename": path.name}


def here() -> str:
    """The platform of the machine that this runs on."""
    uname = os.uname()
    return f"{uname.sysname.lower()}-{ARCHITECTURES.get(uname.machine, uname.machine)}"


def find(
    term: str, platform: str = "any", bundle: str = "", lock: pathlib.Path = LOCK, check: bool = False
) -> list[dict]:
    """What the lookup plugin returns for one term: ``NAME``, ``images/NAME`` or ``images/*``."""
    platform = here() if platform == "here" else platform
    artifacts = Artifacts(bundle, lock)
    kind, slash, name = term.partition("/")
    if slash and kind == "images":
        found = artifacts.image_archives(platform) if name == "*" else [artifacts.image(name, platform)]
    else:
        found = [artifacts.get(term, platform)]
    if check:
        for artifact in found:
            if "path" in artifact:
                artifact_file.check(artifact["path"], artifact)
    return found
