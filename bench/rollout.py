#!/usr/bin/env python3
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to wait for 1, 10 and 50 Deployments, in several ways, on one machine of the lab.

- k8s_rollout, one task for all of them, as a playbook;
- `kubectl rollout status`: a process for each of them, one after the other, and one process for all;
- kubernetes.core.k8s with wait, one task with all definitions, as a playbook. They are applied already, so it changes
  nothing: that it applies and waits one by one is not held against it here;
- kubernetes.core.k8s_info with wait, one task for the namespace, as a playbook.

A playbook of one task that does nothing (ansible.builtin.ping) shows how much of it is Ansible's own.

Everything runs on the control node, each way as a process, from its start to its end:

- all is ready already: all of it is overhead, and the fastest of several runs counts;
- a rollout: all Deployments are scaled from 0 to 1, and at that moment the way is started. Each has a rollout of its
  own, since they would hold each other up. Beside them all, this program watches when the API shows the last one ready.
  What counts is how long after that the way ends: the median of several runs.

The image is the smallest that the node has. kubectl is that of the bundle.

    make bundle && .venv/bin/python bench/rollout.py [--write]

--write keeps the results in bench/rollout.md. The collection kubernetes.core is cut out of the package `ansible` once
and cached outside the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import kubernetes
import yaml
from shared import PACKAGE, ROOT, ansible, fresh_machine, load, machine, others, play, seconds

NAME = "cc-bench-rollout"
SIZES = {1: 3, 10: 3, 50: 1}  # how many rollouts of each
REPEATS = 3  # when all is ready
TIMEOUT = 300
LABEL = {"app.kubernetes.io/part-of": "bench"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the results in bench/rollout.md")
    arguments = parser.parse_args()
    collections, before = others("kubernetes.core"), load()
    with tempfile.TemporaryDirectory() as folder, fresh_machine(NAME) as inventory:
        bench = Bench(pathlib.Path(folder), inventory, collections)
        text = page(" ".join(["bench/rollout.py", *sys.argv[1:]]), bench, before)
    print(text)
    if arguments.write:
        (ROOT / "bench/rollout.md").write_text(text, encoding="utf-8")


# -- what is measured --------------------------------------------------------------------------------------------------


class Bench:
    """A cluster, and Deployments that are waited for."""

    def __init__(self, folder, inventory, collections):
        self.folder, self.environment = folder, ansible(folder)
        self.theirs = {**self.environment, "ANSIBLE_COLLECTIONS_PATH": str(collections)}
        print("setting the machine up …", file=sys.stderr)
        setup = [sys.executable, "-m", "ansible", "playbook", "-i", inventory, ROOT / "playbooks/setup.yml"]
        seconds(setup, self.environment, folder / "output")
        groups = yaml.safe_load(inventory.read_text(encoding="utf-8"))["all"]["children"]
        self.kubeconfig = groups["platform"]["hosts"]["cluster"]["cloudcartops_kubeconfig"]
        ((_name, host),) = groups["k3s_server"]["hosts"].items()
        self.kubectl = unpacked_kubectl(folder, pathlib.Path(host["cloudcartops_bundle"]))
        client = kubernetes.config.new_client_from_config(self.kubeconfig)
        self.api = kubernetes.client.AppsV1Api(client)
        (node,) = kubernetes.client.CoreV1Api(client).list_node().items
        self.image = min(node.status.images, key=lambda image: image.size_bytes).names[-1]

    def ready(self):
        """Rows: deployments, way, seconds and those of the processor, of the fastest run."""
        nothing = {"ansible.builtin.ping": {}}
        yield 0, "ansible.builtin.ping", *min(play(self.folder, self.environment, nothing, 0) for _n in range(REPEATS))
        for size in SIZES:
            self.create(size, replicas=1)
            self.run("rollout", "status", "deployment", "-l", selector())
            for way, wait in self.ways(size).items():
                yield size, way, *min(wait() for _number in range(REPEATS))
            self.remove()

    def rollouts(self):
        """Rows: deployments, way, seconds from the start, and seconds after the last one was ready; medians."""
        for size, repeats in SIZES.items():
            self.create(size, replicas=0)
            for way, wait in self.ways(size).items():
                found = [self.rollout(size, wait) for _number in range(repeats)]
                yield size, way, *(statistics.median(column) for column in zip(*found))
            self.remove()

    def rollout(self, size, wait):
        self.run("scale", "deployment", "--replicas=0", "-l", selector())
        self.run("wait", "--for=delete", "pod", "-l", selector(), f"--timeout={TIMEOUT}s")
        with ThreadPoolExecutor(1) as pool:
            last = pool.submit(self.last_is_ready, size)
            self.run("scale", "deployment", "--replicas=1", "-l", selector())
            started = time.monotonic()
            wait()
            ended = time.monotonic()
            if not all(available(d) for d in self.api.list_namespaced_deployment("bench").items):
                raise SystemExit("The wait ended too early.")
            return ended - started, max(0, ended - last.result())

    def last_is_ready(self, size):
        """The moment when the API shows the last Deployment available."""
        ready, watch = set(), kubernetes.watch.Watch()
        for event in watch.stream(self.api.list_namespaced_deployment, "bench", timeout_seconds=TIMEOUT):
            if available(event["object"]):
                ready.add(event["object"].metadata.name)
            if len(ready) == size:
                return time.monotonic()
        raise SystemExit(f"Only {len(ready)} of {size} Deployments became available.")

    def ways(self, size):
        """The ways to wait, by their names: each returns its seconds."""
        names, kubeconfig = [f"web-{number}" for number in range(size)], {"kubeconfig": self.kubeconfig}
        items = [{"kind": "Deployment", "name": name, "namespace": "bench"} for name in names]
        ours = {"cloudcartops.platform.k8s_rollout": {**kubeconfig, "for": items, "timeout": TIMEOUT}}
        wait = {**kubeconfig, "wait": True, "wait_timeout": TIMEOUT}
        definitions = [self.deployment(name, replicas=1) for name in names]
        # Between its reading and its patch the status moves on, and then it takes that for a change.
        k8s = {"kubernetes.core.k8s": {**wait, "definition": definitions}}
        every = {"api_version": "apps/v1", "kind": "Deployment", "namespace": "bench"}
        k8s_info = {"kubernetes.core.k8s_info": {**wait, **every}}
        status = f"{self.kubectl} -n bench rollout status --timeout={TIMEOUT}s deployment"
        one_by_one = f"for name in {' '.join(names)}; do {status} $name || exit; done"
        kubectl = {**os.environ, "KUBECONFIG": self.kubeconfig}
        output = self.folder / "output"
        return {
            "k8s_rollout": lambda: play(self.folder, self.environment, ours, 0),
            "kubectl rollout status, one by one": lambda: seconds(["sh", "-c", one_by_one], kubectl, output),
            "kubectl rollout status, all": lambda: seconds([*status.split(), "-l", selector()], kubectl, output),
            "kubernetes.core.k8s": lambda: play(self.folder, self.theirs, k8s, None),
            "kubernetes.core.k8s_info": lambda: play(self.folder, self.theirs, k8s_info, 0),
        }

    # -- what it needs

    def create(self, size, replicas):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}}
        deployments = [self.deployment(f"web-{number}", replicas) for number in range(size)]
        print(f"{size} with {replicas} replicas (load {load()}) …", file=sys.stderr)
        self.run("apply", "-f", "-", objects=[namespace, *deployments])

    def deployment(self, name, replicas):
        container = {"name": "web", "image": self.image, "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}
        template = {"metadata": {"labels": {**LABEL, "app": name}}, "spec": {"containers": [container]}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "bench", "labels": LABEL},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        }

    def remove(self):
        self.run("delete", "namespace", "bench", f"--timeout={TIMEOUT}s")

    def run(self, *arguments, objects=()):
        """Run kubectl."""
        command = [str(self.kubectl), "-n", "bench", "--kubeconfig", self.kubeconfig, *arguments]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)}: {done.stderr[-2000:]}")


def available(deployment):
    return deployment.status.available_replicas == 1 and deployment.spec.replicas == 1


def selector():
    return ",".join(f"{key}={value}" for key, value in LABEL.items())


def unpacked_kubectl(folder, bundle):
    """The kubectl of the bundle's K3s, without what K3s does before it becomes kubectl."""
    lock = yaml.safe_load((bundle / "lock.yml").read_text(encoding="utf-8"))["artifacts"]
    k3s = bundle / next(iter(lock["k3s"]["files"].values()))["file"]
    data = {**os.environ, "K3S_DATA_DIR": str(folder / "k3s")}
    seconds([k3s, "kubectl", "version", "--client"], data, folder / "output")
    return next((folder / "k3s/data").glob("*/bin/kubectl"))


def page(command, bench, before):
    versions = [f"{name} {version(name)}" for name in ("ansible-core", "kubernetes")]
    ready = [f"| {size} | {way} | {clock:.2f} | {used:.2f} |" for size, way, clock, used in bench.ready()]
    rollouts = [f"| {size} | {way} | {whole:.1f} | {late:.2f} |" for size, way, whole, late in bench.rollouts()]
    runs = ", ".join(f"{repeats} of {size}" for size, repeats in SIZES.items())
    lines = [
        "# What it costs to wait\n",
        f"Measured on {time.strftime('%Y-%m-%d')} with `{command}`, which describes the ways.\n",
        f"Machine: {machine()}, shared with the machine of the lab; load average (1, 5, 15 min): {before} at the "
        f"start, {load()} at the end.",
        f"Python {sys.version.split()[0]}, {', '.join(versions)}; kubernetes.core from `{PACKAGE}`.\n",
        f"## All is ready already\n\nThe fastest of {REPEATS} runs; all of it is overhead.\n",
        "| Deployments | way | seconds | processor |",
        "| ---: | --- | ---: | ---: |",
        *ready,
        f"\n## A rollout\n\nMedians of {runs}. kubernetes.core looks every 5 seconds, unless told otherwise.\n",
        "| Deployments | way | seconds in all | after the last one was ready |",
        "| ---: | --- | ---: | ---: |",
        *rollouts,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
