# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that were made while the injector was not there: their controllers make them anew, with it."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import not_injected
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import ended
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import ref

OPTIONS = {"namespace": {"type": "str", "required": True}}


def vault_injected_pods(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    client, namespace = connect(params["kubeconfig"], params["context"], check_mode), params["namespace"]
    missed = [pod["metadata"] for pod in client.list("Pod", namespace) if _is_missed(pod)] if client else []
    replaced, left = [], []
    for meta in missed:
        has_controller = any(owner.get("controller") for owner in meta.get("ownerReferences") or [])
        (replaced if has_controller else left).append(meta["name"])
    for name in [] if check_mode else replaced:
        client.delete("Pod", name, namespace)
    result = {"changed": bool(replaced), "replaced": replaced, "left": left}
    if replaced:
        result["diff"] = {"before": "".join(f"{name}: without the agent\n" for name in replaced), "after": ""}
    if left:
        pods = ", ".join(ref("Pod", name, namespace) for name in left)
        result["warnings"] = [
            f"Made without the Vault agent that they ask for, and by no controller: {pods}. Make them anew."
        ]
    if check_mode:
        result["cluster"] = "present" if client else "absent"
    return result


def _is_missed(pod: dict) -> bool:
    return not_injected(pod) and not ended(pod) and "deletionTimestamp" not in pod["metadata"]
