# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From which version of K3s to which an upgrade may go. Pure functions.

Sources: the upgrade pages of K3s's documentation; Kubernetes's version skew policy; for etcd, K3s issue 13493.
"""

from __future__ import annotations

import re

# Servers of 1.33 and before must run the etcd of this version before they may become 1.34.
ETCD_STEP = "v1.33.7+k3s3"


def parse(version: str) -> tuple | None:
    """A version as a tuple that can be compared, or None. What follows ``+k3s1`` in another build is not compared."""
    found = re.match(r"v(\d+)\.(\d+)\.(\d+)(?:-(alpha|beta|rc)\.?(\d+))?\+k3s(\d+)", version)
    if not found:
        return None
    major, minor, patch, stage, number, build = found.groups()
    # A candidate comes before its release.
    return (int(major), int(minor), int(patch), stage or "release", int(number or 0), int(build))


def errors(installed: str, target: str, server: str = "", etcd: bool = False) -> list[str]:
    """Why a host must not go from ``installed``, which may be empty, to ``target``.

    ``server``: what the server has that an agent joins, if that is not part of the run. ``etcd``: it is a server with
    etcd in it.
    """
    new = parse(target)
    if new is None:
        return [
            f"would get K3s '{target}', which is no version such as v1.34.4+k3s1. "
            "Correct the version of k3s in the lock file."
        ]
    found = []
    joined = parse(server)
    if joined and new > joined:
        found.append(
            f"would get K3s {target}, and its server has {server}: an agent must not be newer than its server. "
            "Upgrade the server first, or leave --limit out."
        )
    if not installed:
        return found
    old = parse(installed)
    if old is None:
        found.append(
            f"has K3s '{installed}', which cannot be compared with {target}. Replace /usr/local/bin/k3s by a release, "
            "or take K3s off the host with the play uninstall."
        )
    elif new < old:
        found.append(
            f"has K3s {installed}, and the lock file names the older {target}: K3s does not go back, as the newer "
            f"one has converted its data. Use a lock file or bundle with {installed} or later, or take K3s off the "
            "host first with the play uninstall."
        )
    elif new[0] != old[0] or new[1] > old[1] + 1:
        found.append(
            f"has K3s {installed}, and the lock file names {target}: a minor version must not be left out. Go to "
            f"v{old[0]}.{old[1] + 1} first, with its own lock file or bundle, then one at a time to {target}."
        )
    elif etcd and old < parse(ETCD_STEP) and new[:2] >= (1, 34):
        found.append(
            f"has K3s {installed}, whose etcd must not be followed directly by that of {target}: members that were "
            f"removed could come back. Go to {ETCD_STEP} or a later 1.33 first."
        )
    return found
