# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images, written as docker archives: the same files give the same bytes, and no store is half filled."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab import cache

REGISTRY = "lab.cloudcart.local"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class File:
    """A file of an image: its content is ``source``, ``text`` or ``link``; with none of them it is a folder."""

    name: str
    source: Path | None = None
    text: str | None = None
    link: str | None = None
    mode: int = 0o755
    uid: int = 0
    gid: int = 0

    def add_to(self, archive: tarfile.TarFile) -> None:
        """Write it, owned and dated alike on every machine."""
        info = tarfile.TarInfo(self.name.strip("/"))
        info.mode, info.uid, info.gid = self.mode, self.uid, self.gid
        if self.link is not None:
            info.type, info.linkname = tarfile.SYMTYPE, self.link
            archive.addfile(info)
        elif self.source is not None:
            info.size = self.source.stat().st_size
            with open(self.source, "rb") as content:
                archive.addfile(info, content)
        elif self.text is not None:
            data = self.text.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        else:
            info.type = tarfile.DIRTYPE
            archive.addfile(info)


def tree(root: Path, patterns: Iterable[str], without: Iterable[str] = ()) -> list[File]:
    """Return the files below ``root`` whose path matches a pattern, and none of ``without``."""
    found = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        wanted = any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        if not wanted or any(fnmatch.fnmatch(name, pattern) for pattern in without):
            continue
        if path.is_symlink():
            found.append(File(name, link=os.readlink(path)))
        elif path.is_file():
            found.append(File(name, source=path, mode=path.stat().st_mode & 0o755))
    return found


def accounts(**users: tuple[int, int, str]) -> list[File]:
    """Return passwd and group with root and these users: name=(uid, gid, home)."""
    everyone = {"root": (0, 0, "/root")} | users
    passwd = "".join(f"{name}:x:{uid}:{gid}::{home}:/bin/sh\n" for name, (uid, gid, home) in everyone.items())
    group = "".join(f"{name}:x:{gid}:\n" for name, (_, gid, _) in everyone.items())
    return [File("/etc/passwd", text=passwd, mode=0o644), File("/etc/group", text=group, mode=0o644)]


def busybox(debian: Path) -> list[File]:
    """Return a static busybox and its links in /bin."""
    program = debian / "bin/busybox"
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = [File(f"/bin/{name}", link="busybox") for name in names if name != "busybox"]
    return [File("/bin/busybox", source=program), *links]


def libraries(debian: Path, *programs: str) -> list[File]:
    """Return the shared libraries, loader included, that programs of an unpacked Debian need."""
    folders = [folder for name in ("lib", "usr/lib") for folder in (debian / name).glob("*-linux-gnu")]
    search = ":".join(map(str, folders))
    (loader,) = (path for folder in folders for path in folder.glob("ld-linux-*.so.*"))
    found = {loader}
    for program in programs:
        answer = subprocess.run(
            [loader, "--library-path", search, "--list", debian / program], capture_output=True, text=True, check=False
        )
        if answer.returncode or "not found" in answer.stdout:
            raise cache.LabError(f"{program} lacks libraries: {answer.stdout}{answer.stderr}")
        paths = (Path(line.split("=>")[1].split()[0]) for line in answer.stdout.splitlines() if "=>" in line)
        found |= {path for path in paths if path.parent in folders}
    content = [File(f"/lib/{path.name}", source=path) for path in sorted(found)]
    return [*content, File(f"/lib64/{loader.name}", link=f"/lib/{loader.name}")]


def certificates(debian: Path) -> File:
    """Return the bundle of Debian's certificate authorities."""
    found = sorted((debian / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    return File("/etc/ssl/certs/ca-certificates.crt", text="".join(path.read_text() for path in found), mode=0o644)


@dataclass(frozen=True)
class Image:
    """An image of one layer, or of two, the lower of which it shares with others (``shared``).

    ``settings`` are those of the OCI image configuration (User, Entrypoint, Env, ...).
    """

    name: str
    tag: str
    files: list[File]
    settings: dict = field(default_factory=dict)
    shared: list[File] = field(default_factory=list)

    @property
    def reference(self) -> str:
        return reference(self.name, self.tag)


def reference(name: str, tag: str) -> str:
    """Return the name under which the lab's clusters know an image."""
    return f"{REGISTRY}/{name}:{tag.replace('+', '-')}"


def write(images: Iterable[Image], target: Path) -> None:
    """Write images into one docker archive, as `docker load` and `ctr images import` read it; equal layers once."""
    manifest, written = [], set()
    with tarfile.open(target, "w") as archive:
        for image in images:
            digests = []
            for files in filter(None, (image.shared, image.files)):
                layer = target.with_name(f"{target.name}.layer")
                with tarfile.open(layer, "w") as content:
                    for item in files:
                        item.add_to(content)
                digests.append(cache.file_hash(layer))
                if digests[-1] not in written:
                    File(f"{digests[-1]}.tar", source=layer, mode=0o644).add_to(archive)
                    written.add(digests[-1])
                layer.unlink()
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "created": "1970-01-01T00:00:00Z",
                    "config": {"Env": [PATH]} | image.settings,
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
                }
            )
            config_name = f"{hashlib.sha256(config.encode()).hexdigest()}.json"
            File(config_name, text=config, mode=0o644).add_to(archive)
            layers = [f"{digest}.tar" for digest in digests]
            manifest.append({"Config": config_name, "RepoTags": [image.reference], "Layers": layers})
        File("manifest.json", text=json.dumps(manifest), mode=0o644).add_to(archive)


def save(images: Iterable[Image], target: Path) -> None:
    """Write images into one docker archive, compressed by zstd."""
    plain = target.with_suffix("")
    write(images, plain)
    subprocess.run(["zstd", "--quiet", "-3", "-T0", "--rm", "-o", str(target), str(plain)], check=True)
