# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The join token is rotated, wherever the run is killed, and agents join with the new one only."""

from __future__ import annotations

import re

import pytest
import yaml

pytestmark = pytest.mark.soak
SHOW_TOKEN = "cat /var/lib/rancher/k3s/server/token"
CONFIG = "/etc/rancher/k3s/config.yaml"
PODS = "kubectl get pods -A -o jsonpath='{.items[*].status.containerStatuses[*].containerID}'"


def test_the_token_is_rotated(pair):
    groups = yaml.safe_load(pair.inventory.read_text(encoding="utf-8"))["all"]["children"]
    ((name, agent),) = groups["k3s_agent"]["hosts"].items()
    tokens = []

    def play(playbook: str, *arguments: str, **options):
        run = pair.site(*arguments, playbook=playbook, **options)
        assert bool(options) or run.status == 0, run.text[-6000:]
        tokens.append(pair.ssh(SHOW_TOKEN).strip())
        return run

    def given() -> str:
        return yaml.safe_load(pair.ssh(f"cat {CONFIG}", host=agent))["token"]

    play("setup")
    pair.until("kubectl -n kube-system wait --for=condition=Available --timeout=60s deployment --all", 180)
    pods = set(pair.ssh(PODS).split())

    # Killed between the rotation and the restart; the next run of setup completes it.
    play("rotate", kill_in="Restart the server with it")
    assert tokens[-1] != tokens[0] and given() == tokens[0]
    play("setup")
    assert tokens[-1] == tokens[-2] == given()
    assert play("setup").changed == []

    # Killed before the agents have it; the next rotation gives them another one.
    play("rotate", kill_in="Read the join token of the server")
    assert given() not in tokens[-1:]
    play("rotate")
    assert given() == tokens[-1] and tokens[-1] not in tokens[:-1]
    assert pair.ssh(f"stat -c %a {CONFIG}", host=agent).strip() == "600"
    assert play("setup").changed == []
    assert pods <= set(pair.ssh(PODS).split())

    # An agent that is new joins; with an old token it is refused.
    environment = groups["platform"]["hosts"]["cluster"].get("cloudcartops_environment", "dev")
    play("uninstall", "--limit", name, "-e", f"k3s_uninstall_environment={environment}")
    pair.ssh(f"kubectl delete node {name}")
    refused = pair.site("-e", f"k3s_token={tokens[0]}", "--limit", name, playbook="setup")
    assert refused.status != 0 and "401 Unauthorized" in refused.text
    play("setup")
    assert pair.ssh("kubectl get nodes -o name").count("node/") == 2

    printed = "".join(run.text for run in pair.runs if run is not refused)
    assert [number for number, token in enumerate(tokens) if re.split("[:.]", token)[-1] in printed] == []
