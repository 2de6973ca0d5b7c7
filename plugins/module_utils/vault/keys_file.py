# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that takes Vault's key shares, made so that they cannot be lost.

Vault tells the shares once, in its answer to the request that initialises it. So the file is opened, locked, filled up
to its later size and written through to the disk *before* that request. The answer is written into it as it comes,
before anything looks into it, by a process of its own which a kill of the module, of its process group or a closed
terminal does not reach. What remains is SIGKILL of that process, or the loss of the machine, in the moment between the
answer's arrival and the end of one fsync. A file that then is left without keys tells the next run what happened. The
server holds nothing at that time, so nothing but its empty storage is lost.

Until it has the keys, the file is NAME.initialising. A lock (flock) on it keeps two runs apart, and ends with its
holder. One rename makes it NAME.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
from dataclasses import dataclass, field

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultConflict, VaultError

ROOM = 1 << 20  # bytes; 255 shares, each encrypted with a PGP key of 4096 bits, fit
SUFFIX = ".initialising"


@dataclass
class Keys:
    """What a keys file holds. ``shares`` are unseal keys, or ``recovery`` keys of a server that unseals itself."""

    shares: list = field(repr=False)
    root_token: str = field(repr=False)
    recovery: bool
    encrypted: bool
    root_encrypted: bool

    @property
    def fingerprints(self):
        return [fingerprint(share) for share in self.shares]


def fingerprint(secret):
    """What may be shown of a secret: enough to recognise it, nothing to guess it from (a share has 256 bits)."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"


class KeysFile:
    """The keys file at ``path`` (a link is followed)."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        self.unfinished = self.path + SUFFIX

    def load(self):
        """The Keys; None when the file does not exist.

        :raises VaultError: it cannot be read, others may read it, or it is something else.
        """
        content = _read(self.path)
        if content is None:
            return None
        keys = _parse(content)
        if keys is None:
            raise VaultError(
                f"{self.path} is not a keys file of this module.",
                "Point keys_file at the file that was written when Vault was initialised, or move this one away.",
            )
        return keys

    def left_behind(self):
        """What a run that did not end left of the file: None (nothing), False (no keys in it), or the Keys.

        :raises VaultConflict: that run still goes on.
        """
        content = _read(self.unfinished)
        if content is None:
            return None
        with self._lock(os.O_RDONLY):
            return _parse(content) or False

    def finish(self):
        """Give the file that has got the keys its name."""
        os.rename(self.unfinished, self.path)
        _sync_directory(self.path)

    @contextlib.contextmanager
    def reserved(self, *, encrypted, root_encrypted):
        """Make the file and its room, and hold it; yields the function that stores the server's answer (bytes)."""
        directory = os.path.dirname(self.path)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            with self._lock(os.O_RDWR | os.O_CREAT) as file:
                if os.path.lexists(self.path) or _parse(_read(self.unfinished)):
                    raise VaultConflict(f"Another run has just got the keys for {self.path}.", "Run again.")
                start = json.dumps({"pgp": encrypted, "root_pgp": root_encrypted})[:-1].encode() + b', "answer": '
                os.fchmod(file, 0o600)
                _write(file, (start + b"null}").ljust(ROOM))
                _sync_directory(self.path)
                yield lambda answer: _write(file, start + answer.strip() + b"}\n")
        except OSError as e:
            raise VaultError(
                f"The keys file {self.unfinished} cannot be written: {e.strerror}.",
                "Vault was not initialised. Choose another keys_file, or make room and allow it; then run again.",
            ) from e

    def forget_root_token(self):
        """Replace the file by one without the root token."""
        content = json.loads(_read(self.path))
        content["answer"].pop("root_token", None)
        new = f"{self.path}.new"
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(file, 0o600)
                _write(file, json.dumps(content).encode() + b"\n")
            finally:
                os.close(file)
            os.rename(new, self.path)
            _sync_directory(self.path)
        except OSError as e:
            raise VaultError(f"The keys file {self.path} cannot be replaced: {e.strerror}.", "Run again.") from e

    @contextlib.contextmanager
    def _lock(self, flags):
        busy = VaultConflict(
            f"Another run initialises Vault just now; it holds {self.unfinished}.",
            "Wait until it has ended, run again.",
        )
        try:
            file = os.open(self.unfinished, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as e:
            if flags & os.O_CREAT:
                raise
            raise busy from e
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                same = os.path.samestat(os.stat(self.unfinished), os.fstat(file))
            except (BlockingIOError, FileNotFoundError) as e:
                raise busy from e
            if not same:
                raise busy
            yield file
        finally:
            os.close(file)


def unkillable(work):
    """Run ``work()`` in a process that signals to this one, its group or its terminal do not reach, and wait for it.

    :raises PlatformError: of the same kind as ``work`` raised.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        report = None
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.close(reader)
            work()
        except PlatformError as e:
            report = [e.what, e.fix]
        except OSError as e:
            report = [f"Vault was initialised, but its keys could not be written: {e.strerror}.", ""]
        except BaseException as e:  # whatever it is, its text might hold a secret
            report = [f"A defect of this module: {type(e).__name__} while Vault was initialised.", ""]
        finally:
            try:
                os.write(writer, json.dumps(report).encode())
            finally:
                os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        report = pipe.read()
    os.waitpid(child, 0)
    if not report:
        raise VaultError("The process that initialises Vault was killed.", "Run again, which tells what became of it.")
    if json.loads(report):
        raise VaultError(*json.loads(report))


def _read(path):
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise VaultError(
                    f"The keys file {path} has the mode {mode & 0o777:04o}, so that others may read it.",
                    f"Close it (chmod 600 {path}). If others may have read it, have Vault make new keys "
                    "(vault operator rekey).",
                )
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise VaultError(f"The keys file {path} cannot be read: {e.strerror}.", "Correct keys_file.") from e


def _parse(content):
    try:
        found = json.loads(content)
        answer = found["answer"]
        recovery = bool(answer.get("recovery_keys_base64"))
        return Keys(
            shares=list(answer["recovery_keys_base64" if recovery else "keys_base64"]),
            root_token=answer.get("root_token") or "",
            recovery=recovery,
            encrypted=bool(found["pgp"]),
            root_encrypted=bool(found["root_pgp"]),
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def _write(file, content):
    """Make ``content`` all that the open file holds, on the disk."""
    done = 0
    while done < len(content):
        done += os.pwrite(file, content[done:], done)
    os.fsync(file)
    os.ftruncate(file, len(content))
    os.fsync(file)


def _sync_directory(path):
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
