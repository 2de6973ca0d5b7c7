# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind, target and SHA-256 of files, files with a given content, and the address of the host."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError


def sha256_of(path):
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def describe(path):
    """``kind`` (absent, file, link, directory, other), ``mode``, ``target`` of a link and ``sha256`` of a file."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    found = {"mode": f"{stat.S_IMODE(status.st_mode):04o}"}
    if stat.S_ISLNK(status.st_mode):
        return {"kind": "link", "target": os.readlink(path), **found}
    if stat.S_ISREG(status.st_mode):
        return {"kind": "file", "sha256": sha256_of(path), **found}
    return {"kind": "directory" if stat.S_ISDIR(status.st_mode) else "other", **found}


def describe_all(paths):
    """What ``describe`` says, by path. Large files are read at the same time."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(paths, pool.map(describe, paths)))


def inside(directories):
    """The paths of what is directly in ``directories``, as far as they are there."""
    return [os.path.join(d, name) for d in directories if os.path.isdir(d) for name in sorted(os.listdir(d))]


def default_address():
    """The IPv4 address that the host uses towards the default route; empty without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 53))  # any address beyond the networks of the host
        except OSError:
            return ""
        return probe.getsockname()[0]


def read_text(path):
    """The text of a regular file, with what is not UTF-8 in it as surrogates; None if there is no such file."""
    try:
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            raise PlatformError(f"{path} is a directory, and is to be a file.", "Remove it.")
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise PlatformError(f"{path} cannot be read: {e.strerror}.") from e


def replace(path, text, mode, uid, gid):
    """Write a file in one step, so that nobody reads half of it, and never wider than ``mode``.

    Only where it is a mount, as in containers, and so cannot be replaced, it is written in place.
    """
    folder, name = os.path.split(path)
    content, temporary = text.encode("utf-8", "surrogateescape"), None
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
        try:
            os.replace(temporary, path)
            temporary = None
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            with open(path, "wb") as file:
                file.write(content)
    except OSError as e:
        raise PlatformError(f"{path} cannot be written: {e.strerror}.") from e
    finally:
        if temporary:
            os.unlink(temporary)


def text_diff(path, before, after):
    """What Ansible shows of a changed file."""
    shown = [text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in (before or "", after)]
    return {"before": shown[0], "after": shown[1], "before_header": path, "after_header": path}


class Wanted:
    """A file that is to have a content and a mode, and the user who runs this as its owner."""

    def __init__(self, path, content, mode):
        self.path, self.content, self.mode = path, content, mode
        self.owner = (os.geteuid(), os.getegid())
        self.before = read_text(path)
        self.outdated = self.before != content
        self.changed = self.outdated or self._attributes() != (mode, *self.owner)

    def _attributes(self):
        status = os.lstat(self.path)
        return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def write(self):
        """Make it so. Where only mode or owner are wrong it keeps its time: nothing has to read it again."""
        if self.outdated:
            replace(self.path, self.content, self.mode, *self.owner)
        else:
            os.chown(self.path, *self.owner)
            os.chmod(self.path, self.mode)
