# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a K3s server make another join token.

K3s writes it to ``server/token`` at once, and goes on with the old one until it is started again. So a token that has
changed since the server was ready says that a rotation was begun and not completed; no other note is needed.
"""

from __future__ import annotations

import os
import subprocess

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import service
from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import read_text

PATIENCE = 120  # seconds for K3s to store its data under the new token


def rotate(unit, program, data_dir, server, check_mode=False):
    """Let K3s choose the token: a chosen one could be given as an argument only, which others on the host can read."""
    path = os.path.join(data_dir, "server", "token")
    state, old = unit.show(), read_text(path)
    if state["ActiveState"] != "active" or old is None:
        raise PlatformError(
            f"K3s does not run as a server here ({unit.name} is {state['ActiveState']}), so it has no token to rotate.",
            "Run the play setup first.",
        )
    if service.changed_since_ready([path], state):
        return {"changed": False, "begun": True}
    if not check_mode:
        _run([program, "token", "rotate", "--data-dir", data_dir, "--server", server], old.strip())
        if read_text(path) == old:
            raise PlatformError(
                f"K3s says that it has rotated the token, and {path} has the old one.",
                "See with 'k3s --version' that it is a release that rotates tokens.",
            )
    return {"changed": True, "begun": False}


def _run(command, token):
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "K3S_TOKEN": token},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise PlatformError(f"'{' '.join(command)}' cannot be run: {e}.") from e
    if done.returncode != 0:
        # What was given may come back in the words of K3s, whole or its last part only.
        secrets = [token, token.rpartition(":")[2]]
        lines = [service.scrub(line, secrets) for line in service.reasons(done.stderr.splitlines())]
        raise PlatformError(
            "K3s does not rotate its token: " + " ".join(lines),
            "See 'journalctl -u k3s' on the host, then run this again: what was begun is completed.",
        )
