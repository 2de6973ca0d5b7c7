# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Helm program on the control node: the pinned one, or the user's own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile

from ansible_collections.cloudcartops.platform.plugins.module_utils import artifact_file
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

OLDEST, TOO_NEW = (3, 8), (4, 0)


def version_of(binary: str) -> str:
    """What ``helm version`` says, such as v3.19.5."""
    try:
        done = subprocess.run(
            [binary, "version", "--template", "{{.Version}}"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise PlatformError(f"{binary} cannot be run: {getattr(e, 'strerror', None) or e}.") from e
    found = re.search(r"v\d+\.\d+\.\d+\S*", done.stdout)
    if done.returncode != 0 or not found:
        raise PlatformError(f"{binary} does not answer like Helm: {(done.stderr or done.stdout).strip()[:200]}")
    return found.group()


def own(binary: str) -> dict:
    """The user's own Helm, by path or by name. Raises PlatformError if it does not suit."""
    path = shutil.which(os.path.expanduser(binary))
    advice = "Set helm_binary to a Helm of version 3.8 or later, below 4, or leave it empty to have one installed."
    if not path:
        raise PlatformError(f"helm_binary is '{binary}', and there is no such program on the control node.", advice)
    version = version_of(path)
    major, minor = (int(part) for part in version[1:].split(".")[:2])
    if not OLDEST <= (major, minor) < TOO_NEW:
        raise PlatformError(f"helm_binary is '{binary}', which is Helm {version}.", advice)
    return {"changed": False, "binary": path, "version": version}


def extract(archive: str, binary: str) -> None:
    """Take the program out of the release archive, in one step: an interrupted run leaves nothing half-written."""
    os.makedirs(os.path.dirname(binary), exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            member = next((m for m in tar if m.isfile() and os.path.basename(m.name) == "helm"), None)
            if member is None:
                raise PlatformError(
                    f"{archive} holds no program called helm.", "Check the lock file or make the bundle again."
                )
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(binary), prefix=".helm-")
            try:
                with os.fdopen(handle, "wb") as target:
                    shutil.copyfileobj(tar.extractfile(member), target)
                os.chmod(temporary, 0o755)
                os.replace(temporary, binary)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
    except tarfile.TarError as e:
        raise PlatformError(
            f"{archive} is not a tar archive: {e}.", "Check the lock file or make the bundle again."
        ) from e


def pinned(artifact: dict, directory: str, open_url, check_mode: bool) -> dict:
    """The Helm of the lock file.

    It is kept under its version and checksum, so one that is there is the right one.
    """
    name = f"helm-{artifact['version']}-{artifact['sha256'][:12]}"
    binary = os.path.join(os.path.expanduser(directory), name)
    result = {"binary": binary, "version": artifact["version"]}
    if os.path.exists(binary):
        version_of(binary)
        return {**result, "changed": False}
    if check_mode:
        return {**result, "changed": True}
    with tempfile.TemporaryDirectory(prefix="helm-") as scratch:
        archive = artifact_file.ensure(artifact, scratch, open_url, check_mode)["path"]
        try:
            extract(archive, binary)
        except OSError as e:
            raise PlatformError(
                f"{binary} cannot be written: {e.strerror}.", "Set helm_directory to a directory that can be."
            ) from e
    version_of(binary)
    return {**result, "changed": True}
