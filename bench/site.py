#!/usr/bin/env python3
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the whole platform takes on a fresh machine of the lab, and how long a run with nothing to do, in one run.

- bench/plain.sh, which does the guide's steps in the guide's order by hand, then one look at the shop: the yardstick;
- site.yml on a fresh machine, to the end of its verification; then again, three times, with nothing to do;
- 60 objects that are as they should be: one task of k8s_apply, and one task for each of them;
- 8 and 40 services: site.yml with nothing to do.

    make bench

Everything is measured on the clock of the control node, which is also the machine's own: the same two processors do it
all, and others on it slow it down, so the load before each measurement stands in its table. --write keeps the results
in bench/site.md. Exit status 1: a target was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time

import yaml
from shared import ROOT, fresh_machine

NAME = "cc-bench"
REPEATS, OBJECTS, MORE = 3, 60, 32
PHASE = re.compile(r"^(?:PHASE|PLAY) \[?(.*?)\]?(?: \*+)?$")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the results in bench/site.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text, missed = measure(pathlib.Path(folder))
    print(text)
    if arguments.write:
        (ROOT / "bench/site.md").write_text(text, encoding="utf-8")
    return 1 if missed else 0


# -- what is measured --------------------------------------------------------------------------------------------------


def measure(folder):
    """The page of results, and whether a target was missed."""
    with fresh_machine(NAME) as inventory:
        machine = Machine(inventory)
        machine.pack_plain(folder)
        bring = "tar -chC {0} plain.sh helm manifests artifacts | {1}"
        bring = bring.format(folder, shlex.join(machine.ssh("mkdir /root/plain && tar -xC /root/plain")))
        plain = run(["sh", "-c", f"echo PHASE artifacts; {bring}"], "artifacts of the plain script")
        plain += run(machine.ssh("cd /root/plain && exec sh plain.sh"), "plain script")
        plain.append(("look at the shop", machine.until_the_shop_answers()))
    with fresh_machine(NAME) as inventory:
        machine = Machine(inventory)
        site = run(machine.playbook("site.yml"), "site.yml")
        again = [run(machine.playbook("site.yml"), "site.yml, nothing to do") for _number in range(REPEATS)]
        objects = [sixty_objects(machine, folder, one_task) for one_task in (True, False)]
        more = {"cloudcartops_services_override": more_services(), "kafka_timeout": 600, "apps_timeout": 900}
        (folder / "more.yml").write_text(json.dumps(more), encoding="utf-8")
        run(machine.playbook("site.yml", "-e", f"@{folder}/more.yml"), "site.yml, 40 services")
        with_more = [
            run(machine.playbook("site.yml", "-e", f"@{folder}/more.yml"), "site.yml, 40 services, nothing to do")
            for _number in range(REPEATS)
        ]
    best, best_of_more = min(again, key=total), min(with_more, key=total)
    targets = [
        ("a fresh machine, against the plain script", total(site) / total(plain), 1.5, "x"),
        ("nothing to do", total(best), 15, "s"),
        ("40 services against 8, nothing to do", total(best_of_more) / total(best), 1.5, "x"),
        ("60 objects: one task against 60 tasks", objects[0] / objects[1], 1, "x"),
    ]
    lines = [
        f"- {what}: {found:.2f} {unit} <= {most:g} {unit}: {verdict(found, most)}"
        for what, found, most, unit in targets
    ]
    page = [
        "# The whole platform on a machine of the lab\n",
        f"Measured on {time.strftime('%Y-%m-%d')} with `make bench`, on {os.cpu_count()} cores, {platform.release()}, "
        f"Python {platform.python_version()}. The machine of the lab shares them with the control node.\n",
        *lines,
        "",
        phases("Plain script, fresh machine", plain),
        phases("site.yml, fresh machine", site),
        phases(f"site.yml, nothing to do (best of {REPEATS}: {', '.join(f'{total(a):.1f} s' for a in again)})", best),
        phases("site.yml, 40 services, nothing to do", best_of_more),
        f"60 unchanged objects: {objects[0]:.2f} s in one task, {objects[1]:.2f} s in 60 (start of Ansible included)\n",
    ]
    return "\n".join(page), any(found > most for _what, found, most, _unit in targets)


def run(command, title):
    """Run a command that names its phases; their names and seconds."""
    load = os.getloadavg()[0]
    print(f"{title} (load {load:.1f}) …", file=sys.stderr)
    found, output, started = [], [], time.monotonic()
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            output.append(line)
            match = PHASE.match(line.rstrip())
            if match and match[1] != "RECAP":
                # With columns, it heads the summary, which is printed at the end.
                found.append(["end" if match[1].startswith(" ") else match[1], time.monotonic()])
    ended = time.monotonic()
    if process.returncode:
        raise SystemExit(f"{title} ended with {process.returncode}:\n{''.join(output)[-3000:]}")
    if "nothing to do" in title and re.search(r"changed=[1-9]", "".join(output)):
        raise SystemExit(f"{title} changed something:\n{''.join(output)[-3000:]}")
    print(f"  {ended - started:.1f} s", file=sys.stderr)
    first = [(f"start (load before: {load:.1f})", found[0][1] - started)]
    ends = [moment for _name, moment in found[1:]] + [ended]
    return first + [(name, end - begun) for (name, begun), end in zip(found, ends) if name != "done"]


def sixty_objects(machine, folder, one_task):
    """Seconds of a playbook that applies them when they are there already."""
    common = {"kubeconfig": str(machine.kubeconfig), "namespace": "cloudcart", "part_of": "bench"}
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"bench-{n}"}, "data": {"n": str(n)}}
        for n in range(OBJECTS)
    ]
    parts = [objects] if one_task else [[one] for one in objects]
    tasks = [{"cloudcartops.platform.k8s_apply": {**common, "definitions": part}} for part in parts]
    path = folder / f"objects-{len(tasks)}.yml"
    path.write_text(yaml.safe_dump([{"hosts": "platform", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    for _first_to_have_them in range(2):
        result = total(run(machine.playbook(str(path)), f"{OBJECTS} objects, {len(tasks)} tasks"))
    return result


def more_services():
    """Services to go with the eight: small ones, every fourth with a secret."""
    small = {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    entry = {
        "image": "cloudcartops-chaos-service",
        "port": 8004,
        "health": "/health",
        "environment": {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"},
        "replicas": 1,
        "resources": small,
    }
    secret = {"secrets": {"kafka": {"KAFKA_BOOTSTRAP_SERVERS": "bootstrap_servers"}}, "command": ["python", "main.py"]}
    with_secret = {k: v for k, v in entry.items() if k != "environment"} | secret
    return {f"more-{n}": with_secret if n % 4 == 0 else entry for n in range(MORE)}


def total(phases):
    return sum(seconds for _name, seconds in phases)


def verdict(found, most):
    return "met" if found <= most else "missed"


def phases(title, found):
    rows = [f"| {name} | {seconds:.1f} |" for name, seconds in [*found, ("**all**", total(found))]]
    return "\n".join([f"## {title}\n", "| phase | seconds |", "| --- | ---: |", *rows, ""])


# -- what it needs -----------------------------------------------------------------------------------------------------


class Machine:
    """A fresh machine of the lab, and commands for it."""

    def __init__(self, inventory):
        self.inventory, self.kubeconfig = inventory, inventory.parent / "kubeconfig.yaml"
        groups = yaml.safe_load(inventory.read_text(encoding="utf-8"))["all"]["children"]
        ((_name, self.host),) = groups["k3s_server"]["hosts"].items()

    def playbook(self, path, *arguments):
        return ["ansible-playbook", "-i", str(self.inventory), path, *arguments]

    def ssh(self, script):
        options = ["-i", self.host["ansible_ssh_private_key_file"], *shlex.split(self.host["ansible_ssh_common_args"])]
        return ["ssh", *options, f"root@{self.host['ansible_host']}", script]

    def pack_plain(self, folder):
        """Put together what the plain script needs on the machine."""
        bundle = pathlib.Path(self.host["cloudcartops_bundle"])
        lock = yaml.safe_load((bundle / "lock.yml").read_text(encoding="utf-8"))["artifacts"]
        file = {name: bundle / next(iter(entry["files"].values()))["file"] for name, entry in lock.items()}
        subprocess.run(
            [*self.playbook("playbooks/render.yml"), "-e", f"render_directory={folder}/manifests"],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        subprocess.run(
            ["tar", "-xzf", file["helm"], "-C", folder, "--strip-components=1", "linux-amd64/helm"], check=True
        )
        artifacts = folder / "artifacts"
        artifacts.mkdir()
        (artifacts / "k3s").symlink_to(file["k3s"])
        (artifacts / "chart.tgz").symlink_to(file["vault-chart"])
        (artifacts / "images").mkdir()
        for image in [file["k3s-airgap-images"], *(bundle / "images").iterdir()]:
            (artifacts / "images" / image.name).symlink_to(image)
        (folder / "plain.sh").symlink_to(ROOT / "bench/plain.sh")

    def until_the_shop_answers(self):
        """Seconds until the products come through the ingress."""
        started = time.monotonic()
        while time.monotonic() - started < 120:
            connection = http.client.HTTPConnection(self.host["ansible_host"], timeout=10)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                connection.request("GET", "/api/products", headers={"Host": "cloudcart.local"})
                if len(json.loads(connection.getresponse().read())) == 7:
                    return time.monotonic() - started
            time.sleep(0.2)
        raise SystemExit("The shop of the plain script does not answer.")


if __name__ == "__main__":
    sys.exit(main())
