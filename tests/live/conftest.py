# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine of the lab, and ansible-playbook runs that can be killed on it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import pathlib
import random
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = pathlib.Path(__file__).resolve().parents[2]
PREFIX = "cc-live"
_AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()


def pytest_addoption(parser):
    parser.addoption(
        "--sample",
        type=int,
        metavar="N",
        help="leave out what is marked soak; take 4 times N of what is marked alike, and delete N further objects, all "
        "chosen at random (default: everything)",
    )
    parser.addoption("--record", action="store_true", help="keep what becomes of faults: bench/faults.md, recorded/")
    parser.addoption("--faults", metavar="REGEX", help="only those faults of the catalogue (default: all)")
    parser.addoption("--seed", type=int, default=1, help="of those choices (default: %(default)s)")


def pytest_collection_modifyitems(config, items):
    sample = config.getoption("sample")
    if sample is not None:
        left_out = [item for item in items if item.get_closest_marker("soak")]
        alike = [item for item in items if item.get_closest_marker("alike")]
        chosen = random.Random(config.getoption("seed")).sample(alike, min(4 * sample, len(alike)))
        left_out += [item for item in alike if item not in chosen]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: item.path.name != "test_kill.py")  # which begins with a bare machine


@dataclass
class Run:
    """What one ansible-playbook run printed, and how it ended."""

    status: int
    text: str
    seconds: float

    @property
    def changed(self) -> list[str]:
        """The names of the tasks that reported a change."""
        task, found = "", []
        for line in self.text.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
                task = match[1]
            elif line.startswith("changed: "):
                found.append(task)
        return found


@dataclass
class Machine:
    """One virtual machine, and the runs of the site on it."""

    inventory: pathlib.Path
    runs: list[Run] = field(default_factory=list)

    @property
    def kubeconfig(self) -> str:
        inventory = yaml.safe_load(self.inventory.read_text(encoding="utf-8"))
        return inventory["all"]["children"]["platform"]["hosts"]["cluster"]["cloudcartops_kubeconfig"]

    def ssh(self, script: str, text: str = "", host: dict | None = None) -> str:
        """Run a shell script on the machine, with ``text`` as its input, and return what it printed.

        Or on another machine, of which ``host`` has the variables.
        """
        inventory = yaml.safe_load(self.inventory.read_text(encoding="utf-8"))
        if not host:
            (host,) = inventory["all"]["children"]["k3s_server"]["hosts"].values()
        command = ["ssh", "-i", host["ansible_ssh_private_key_file"], *shlex.split(host["ansible_ssh_common_args"])]
        command += [f"{host['ansible_user']}@{host['ansible_host']}", script]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def reachable(self, seconds: int = 90) -> None:
        """Wait until the machine answers again."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.ssh("true")
                return
            except AssertionError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.5)

    def until(self, condition: str, seconds: int = 120) -> None:
        """Wait until a shell condition holds on the machine. It is asked again and again there, to miss little."""
        pods = "kubectl get pods -A -o wide; kubectl get events -A --sort-by=.lastTimestamp | tail -n 30"
        loop = shlex.quote(f"until {condition}; do :; done")
        self.ssh(f"timeout {seconds} sh -c {loop} >/dev/null 2>&1 || {{ {pods}; exit 1; }}")

    def site(
        self,
        *arguments: str,
        playbook: str = "site",
        kill_in: str = "",
        when: Callable[[], object] | None = None,
    ) -> Run:
        """Apply the site, or run another playbook.

        With ``kill_in``: kill all that the run started, in the task of that name, as soon as ``when`` has returned.
        """
        # In a namespace of its own, so that nothing survives the kill: workers of Ansible leave the process group.
        command = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command += [
            "ansible-playbook",
            "-vvv",
            "--diff",
            "-i",
            str(self.inventory),
            f"playbooks/{playbook}.yml",
            *arguments,
        ]
        started, lines, killed = time.monotonic(), [], False
        environment = os.environ | {"NO_COLOR": "1"}
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env=environment, **pipe) as process:
            try:
                for line in process.stdout:
                    lines.append(line)
                    if kill_in and not killed and line.startswith("TASK [") and kill_in in line:
                        if when:
                            when()
                        process.kill()
                        killed = True
                process.wait()
            except BaseException:
                process.kill()
                raise
        self.runs.append(Run(process.returncode, "".join(lines), time.monotonic() - started))
        assert killed == bool(kill_in), f"the run ended before the task '{kill_in}':\n{self.runs[-1].text[-6000:]}"
        return self.runs[-1]

    def complete(self) -> Run:
        """Apply the site to its end."""
        run = self.site()
        assert run.status == 0, run.text[-6000:]
        return run

    @property
    def address(self) -> str:
        """Where the machine is."""
        inventory = yaml.safe_load(self.inventory.read_text(encoding="utf-8"))
        (host,) = inventory["all"]["children"]["k3s_server"]["hosts"].values()
        return host["ansible_host"]

    def psql(self, statement: str) -> str:
        """Ask the shop's database."""
        script = '. /vault/secrets/database && PGPASSWORD="$POSTGRES_PASSWORD" exec psql -qtA -v ON_ERROR_STOP=1 '
        script += '-h postgres -U "$POSTGRES_USER" "$POSTGRES_DB"'
        command = f"kubectl -n cloudcart exec -i postgres-0 -c postgres -- sh -c {shlex.quote(script)}"
        return self.ssh(command, text=statement).strip()

    def verify(self, patience: int = 20) -> dict[str, str]:
        """Run the play verify, which waits so many seconds: what it printed of each check that failed, by name."""
        run = self.site("-e", f"verify_timeout={patience}", playbook="verify")
        failed = dict(re.findall(r"^\s*(\S.*?) +FAILED +(.*)$", run.text, re.M))
        assert (run.status != 0) == bool(failed), run.text[-6000:]
        return failed

    def vault(self, command: str) -> str:
        """Run a command of the Vault program in its pod, with the root token that only the pod sees."""
        script = f'export BAO_ADDR=http://127.0.0.1:8200 BAO_TOKEN="$BAO_DEV_ROOT_TOKEN_ID"; exec bao {command}'
        return self.ssh(f"kubectl -n cloudcart exec vault-0 -c vault -- sh -c {shlex.quote(script)}")


@contextlib.contextmanager
def fresh_machine(prefix: str, *arguments: str):
    """A fresh machine, or those that the arguments ask the lab for, removed at the end. Another run on this computer
    waits for its turn."""
    lab = str(ROOT / "lab/lab")
    with pathlib.Path(tempfile.gettempdir(), f"{prefix}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([lab, "down", "--name", prefix], check=True)
        up = subprocess.run([lab, "up", "--name", prefix, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        yield Machine(pathlib.Path(up.stdout.splitlines()[-1]))
        subprocess.run([lab, "down", "--name", prefix], check=True)


@pytest.fixture(scope="module")
def machine_of_its_own():
    """A fresh machine for one module of tests."""
    with fresh_machine(f"{PREFIX}-own") as machine:
        yield machine


@pytest.fixture(scope="module")
def pair():
    """A fresh server with an agent of another Debian release, for one module of tests."""
    with fresh_machine(f"{PREFIX}-pair", "--suite", "bookworm", "--suite", "trixie") as machine:
        yield machine


@pytest.fixture(scope="session")
def machine():
    with fresh_machine(PREFIX) as machine:
        yield machine


@pytest.fixture(scope="session")
def platform(machine):
    """The machine with the site on it."""
    machine.complete()
    return machine


@pytest.fixture(scope="session")
def rollout(platform):
    """A function: wait for a workload; why that is pointless (None: it is ready), and when that was known."""
    utils = "ansible_collections.cloudcartops.platform.plugins.module_utils"
    logic = importlib.import_module(f"{utils}.kubernetes.rollout")
    errors = importlib.import_module(f"{utils}._errors")

    def wait(name: str, kind: str = "Deployment", namespace: str = "cloudcart") -> tuple[dict | None, float]:
        item = {"kind": kind, "name": name, "namespace": namespace}
        options = {"kubeconfig": platform.kubeconfig, "context": None, "timeout": 240, "grace": 30, "for": [item]}
        try:
            logic.k8s_rollout(options, False)
        except errors.PlatformError as e:
            return e.facts.get("trouble") or {"rule": "timeout", "cause": str(e)}, time.monotonic()
        return None, time.monotonic()

    return wait
