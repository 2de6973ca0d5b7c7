# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that was killed in the middle of something: the next one goes on from there."""

from __future__ import annotations

import pytest

# Name, the task that runs, and what the machine shows when the task is half done. In the order of the site: each case
# goes on from the mess of the one before, and reaches its own task only by having mended that.
KILLS = [
    ("copying-k3s", "K3s | Copy the program from the bundle", 'test -n "$(find /root/.ansible/tmp -size +1M)"'),
    ("starting-k3s", "K3s | Configure the service, and wait", "pgrep -x kube-apiserver || pgrep -f '[k]3s server'"),
    ("waiting-for-the-node", "K3s | Wait until the node is ready", "true"),
    (
        "installing-the-chart",
        "Vault | Install the injector's chart",
        "kubectl -n cloudcart get secret -l owner=helm -o name | grep -q .",
    ),
    ("starting-vault", "Vault | Wait for the server", "kubectl -n cloudcart get pod vault-0"),
    ("configuring-vault", "Vault init | Configure secrets", "true"),
    # Not only the run: the first initialisation of the database ends there too, half done. From the task on that
    # follows the start of PostgreSQL, because it may be initialised before anything is waited for.
    (
        "initialising-postgresql",
        "Kafka | Apply ZooKeeper and Kafka",
        "pgrep -x initdb && pkill -9 -x 'initdb|postgres'",
    ),
    ("filling-postgresql", "Kafka | Apply ZooKeeper and Kafka", "pgrep -x psql && pkill -9 -x psql"),
]


@pytest.mark.parametrize(("task", "condition"), [k[1:] for k in KILLS], ids=[k[0] for k in KILLS])
def test_kill(machine, task, condition):
    machine.site(kill_in=task, when=lambda: machine.until(condition))


def test_the_next_run_completes(machine):
    run = machine.complete()
    assert "products, read with the credentials from Vault" in run.text


def test_nothing_is_left_to_do(machine):
    identities = "systemctl show -P MainPID k3s; kubectl get pods -A -o jsonpath='{.items[*].metadata.uid}'"
    before = machine.ssh(identities)
    assert machine.complete().changed == []
    assert machine.ssh(identities) == before
