# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A content-addressed cache of built components, outside the checkout.

A component lives in ``<cache>/<name>/<key>``, where the key is the hash of everything it is made from. It is built in
``<cache>/.work/<name>`` and renamed into place, so a folder that exists is complete, however a build ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

UNUSED_AFTER_DAYS = 7


class LabError(Exception):
    """A problem to show to a person, without a traceback."""


def root() -> Path:
    """Return the cache's folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("CLOUDCARTOPS_LAB_CACHE") or f"{base}/cloudcartops-lab").expanduser().absolute()


def say(message: str) -> None:
    """Print one line of progress."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


def tree_hash(path: Path) -> str:
    """Hash a file, or a folder's names, modes, links and contents."""
    digest = hashlib.sha256()
    for item in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if item.name == "__pycache__" or item.suffix == ".pyc" or (item.is_dir() and not item.is_symlink()):
            continue
        name = item.relative_to(path).as_posix()
        content = os.readlink(item).encode() if item.is_symlink() else item.read_bytes()
        executable = not item.is_symlink() and bool(item.stat().st_mode & 0o100)
        digest.update(json.dumps([name, executable, len(content)]).encode() + content)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Component:
    """Something to build: ``step(component, out, run)`` fills the folder ``out``.

    :ivar inputs: versions, package names, flags: JSON values.
    :ivar sources: files and folders of the checkout that it is made from.
    :ivar needs: components whose folders the step reads.
    """

    name: str
    step: Callable[[Component, Path, Callable[..., None]], None]
    inputs: dict = field(default_factory=dict)
    sources: tuple[Path, ...] = ()
    needs: tuple[Component, ...] = ()

    @functools.cached_property
    def key(self) -> str:
        """The hash of all that the component is made from, its build step's text included."""
        for source in self.sources:
            if not source.exists():
                raise LabError(f"{self.name}: its source {source} does not exist; is this checkout complete?")
        parts = [
            self.name,
            inspect.getsource(self.step),
            self.inputs,
            [tree_hash(source) for source in self.sources],
            [need.key for need in self.needs],
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def path(self) -> Path:
        """Where the finished component is, or will be."""
        return root() / self.name / self.key

    def need(self, name: str) -> Path:
        """Return the folder of the needed component called ``name``."""
        return next(need.path for need in self.needs if need.name == name)


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock ``name``; the kernel frees it when its holder dies."""
    folder = root() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another run is busy with it, waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure(component: Component) -> Path:
    """Return the component's folder, after building it and what it needs where missing."""
    if not component.path.is_dir():
        for need in component.needs:
            ensure(need)
        with lock(component.name):
            if not component.path.is_dir():
                _build(component)
    os.utime(component.path)
    return component.path


def _build(component: Component) -> None:
    start = time.monotonic()
    say(f"{component.name}: building")
    work, log = root() / ".work" / component.name, root() / ".logs" / f"{component.name}.log"
    shutil.rmtree(work, ignore_errors=True)
    out = work / "out"
    out.mkdir(parents=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")

    def run(argv: Sequence[str | Path], **options) -> None:
        """Run a command with its output in the component's log."""
        with open(log, "ab") as stream:
            options = {"stdout": stream, "cwd": work} | options
            try:
                subprocess.run(
                    ["nice", *map(str, argv)], check=True, stdin=subprocess.DEVNULL, stderr=stream, **options
                )
            except (OSError, subprocess.CalledProcessError) as problem:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise LabError(f"{component.name}: {problem}\n{tail}\nThe whole log: {log}") from problem

    component.step(component, out, run)
    if dataclasses.replace(component).key != component.key:
        raise LabError(f"{component.name}: its sources changed while it was built; run it again")
    os.sync()
    component.path.parent.mkdir(parents=True, exist_ok=True)
    os.rename(out, component.path)
    shutil.rmtree(work)
    say(f"{component.name}: built in {time.monotonic() - start:.1f} s")


def prune(component: Component) -> None:
    """Remove earlier builds, of the component and of what it needs, that no run used lately."""
    oldest = time.time() - UNUSED_AFTER_DAYS * 86400
    for path in component.path.parent.iterdir():
        if path != component.path and path.stat().st_mtime < oldest:
            shutil.rmtree(path)
    for need in component.needs:
        if need.path.parent.is_dir():
            prune(need)
