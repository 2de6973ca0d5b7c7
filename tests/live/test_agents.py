# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent is what the inventory says of it, and leaves when that says so, but not with the only copy of data."""

from __future__ import annotations

import json
import re

import pytest
import yaml

pytestmark = pytest.mark.soak
PROXY = "http://shop:not-to-be-seen@192.0.2.1:3128"
RELEASES = "kubectl get nodes -o jsonpath='{.items[*].status.nodeInfo.osImage}'"
FILES = "stat -c '%a %n' /etc/rancher/k3s/*"
PROXIES = r"tr '\0' '\n' </proc/$(systemctl show --property=MainPID --value k3s-agent)/environ | grep -i proxy || true"
LEFT = (
    "ls /usr/local/bin/k3s /var/lib/rancher /run/k3s /etc/systemd/system/k3s* /sys/class/net/cni0 2>/dev/null || true"
)
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  claimRef: {name: data, namespace: default}
  local: {path: /srv}
  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [NODE]}]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Mi}}}
"""


def play(machine, playbook: str):
    run = machine.site(playbook=playbook)
    assert run.status == 0, run.text[-6000:]
    assert "not-to-be-seen" not in run.text
    return run


def test_an_agent_follows_the_inventory(pair):
    inventory = yaml.safe_load(pair.inventory.read_text(encoding="utf-8"))
    groups = inventory["all"]["children"]
    ((name, host),) = groups["k3s_agent"]["hosts"].items()

    def say(group: str, **variables) -> None:
        groups["k3s_agent"], groups["k3s_removed"] = {"hosts": {}}, {"hosts": {}}
        groups[group] = {"hosts": {name: host | variables}}
        pair.inventory.write_text(yaml.safe_dump(inventory), encoding="utf-8")

    def node() -> tuple:
        found = json.loads(pair.ssh(f"kubectl get node {name} -o json"))
        labels = {key: value for key, value in found["metadata"]["labels"].items() if key in ("disk", "zone")}
        return labels, [taint["key"] for taint in found["spec"].get("taints", [])]

    taint = {"key": "for", "value": "database", "effect": "NoSchedule"}
    registries = {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}}}
    say(
        "k3s_agent",
        k3s_node_labels={"disk": "fast", "zone": 1},
        k3s_node_taints=[taint],
        k3s_registries=registries,
        k3s_variables={"HTTPS_PROXY": PROXY},
    )
    play(pair, "setup")
    assert re.findall(r"\((\w+)\)", pair.ssh(RELEASES)) == ["bookworm", "trixie"], "a cluster of two Debian releases"
    assert node() == ({"disk": "fast", "zone": "1"}, ["for"])
    assert {line.split()[0] for line in pair.ssh(FILES, host=host).splitlines()} == {"600"}
    assert PROXY in pair.ssh(PROXIES, host=host) and host["ansible_host"] in pair.ssh(PROXIES, host=host)
    assert play(pair, "setup").changed == []

    say("k3s_agent", k3s_node_labels={"disk": "slow"})
    play(pair, "setup")
    assert node() == ({"disk": "slow"}, []) and pair.ssh(PROXIES, host=host) == ""

    pair.ssh("kubectl apply -f -", text=VOLUME.replace("NODE", name))
    pair.until("kubectl get pvc data -o jsonpath={.status.phase} | grep -q Bound")
    say("k3s_removed")
    refused = pair.site(playbook="remove")
    assert refused.status != 0 and refused.changed == [] and "only copy of the data of default/data" in refused.text
    pair.ssh("kubectl delete pvc/data pv/data")
    play(pair, "remove")
    assert pair.ssh("kubectl get nodes -o name").count("node/") == 1
    assert pair.ssh(LEFT, host=host) == ""
    assert play(pair, "remove").changed == []
