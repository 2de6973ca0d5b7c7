# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of an artifact on the control node, verified."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import sha256_of


def check(path: str, artifact: dict) -> None:
    """Raise PlatformError unless the file has the SHA-256 of the artifact."""
    found = sha256_of(path)
    if found != artifact["sha256"]:
        raise PlatformError(
            f"{artifact.get('url', path)} has the SHA-256 {found}, and the lock file says {artifact['sha256']}.",
            "Download it again or copy the bundle again. If that does not help, do not use it.",
        )


def download(artifact: dict, path: str, open_url) -> None:
    """Read the artifact's address into ``path`` in one step, if it has the right SHA-256.

    ``open_url`` is that of ``ansible.module_utils.urls``.
    """
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".download-")
    try:
        with os.fdopen(handle, "wb") as file, open_url(artifact["url"], timeout=60) as response:
            shutil.copyfileobj(response, file)
        check(temporary, artifact)
        os.replace(temporary, path)
    except BaseException as e:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if not isinstance(e, OSError):  # urllib's errors are of that kind
            raise
        raise PlatformError(
            f"{artifact['url']} cannot be downloaded to {path}: {getattr(e, 'reason', None) or e}.",
            "Check the network, https_proxy and the disk of the control node, or set cloudcartops_bundle to a bundle.",
        ) from e


def ensure(artifact: dict, directory: str, open_url, check_mode: bool) -> dict:
    """The path of the artifact's file: that in the bundle, or one in ``directory`` that is downloaded if need be."""
    if "path" in artifact:
        check(artifact["path"], artifact)
        return {"changed": False, "path": artifact["path"]}
    path = os.path.join(os.path.expanduser(directory), artifact["filename"])
    there = os.path.isfile(path) and sha256_of(path) == artifact["sha256"]
    if not there and not check_mode:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError as e:
            raise PlatformError(f"{e.filename} cannot be made: {e.strerror}.", "Name another directory.") from e
        download(artifact, path, open_url)
    return {"changed": not there, "path": path}
