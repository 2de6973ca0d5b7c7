# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playbook wants to know about the cluster before it starts."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import holds


def k8s_cluster_info(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    try:
        client = connect(params["kubeconfig"], params["context"], check_mode)
    except PlatformError as e:
        if params["required"] or e.facts.get("cluster") != "absent":
            raise
        client = None
    if client is None:
        return {"changed": False, "cluster": "absent", "nodes": []}
    return {
        "changed": False,
        "cluster": "present",
        "server": client.server,
        "version": client.version["gitVersion"],
        "nodes": [_node(n) for n in client.list("Node")],
    }


def _node(node: dict) -> dict:
    labels, status = node["metadata"].get("labels", {}), node.get("status", {})
    prefix = "node-role.kubernetes.io/"
    return {
        "name": node["metadata"]["name"],
        "ready": holds(node, "Ready"),
        "roles": sorted(label[len(prefix) :] for label in labels if label.startswith(prefix)),
        "architecture": labels.get("kubernetes.io/arch"),
        "version": status.get("nodeInfo", {}).get("kubeletVersion"),
        "addresses": {a["type"]: a["address"] for a in status.get("addresses", [])},
        "allocatable": status.get("allocatable", {}),
    }
