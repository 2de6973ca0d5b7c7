# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete what this collection applied, in an order that lets each end while what it needs is still there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from time import monotonic

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import (
    COMPONENT,
    MANAGED_BY,
    OWNER,
    PART_OF,
    THREADS,
    WORKLOADS,
    Outcome,
    await_end,
    delete,
    ours,
    result,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect


def k8s_cleanup(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    client = connect(params["kubeconfig"], params["context"], check_mode)
    outcomes = _Cleanup(client, params, check_mode).run() if client else []
    return result(outcomes, check_mode, absent=client is None)


class _Cleanup:
    def __init__(self, client: Client, params: dict, check_mode: bool) -> None:
        self.client, self.params, self.check_mode = client, params, check_mode
        self.end = monotonic() + params["timeout"]

    def run(self) -> list[Outcome]:
        groups = self._whole_namespace() if self.params["whole_namespace"] else self._objects()
        outcomes: list[Outcome] = []
        for group in groups:
            with ThreadPoolExecutor(THREADS) as pool:
                outcomes += [outcome for outcome in pool.map(self._delete, group) if outcome]
            if any(outcome.action == "failed" for outcome in outcomes):
                break
        return outcomes

    def _objects(self) -> list[list[dict]]:
        """What we applied, in groups that go one after the other."""
        labels = {PART_OF: self.params["part_of"]}
        found = ours(self.client, self.params["namespace"], labels) + self._rights(labels)
        found = [o for o in found if f"{o['kind']}/{o['metadata']['name']}" not in self.params["keep"]]
        return [list(group) for _turn, group in groupby(sorted(found, key=self._turn), self._turn)]

    def _whole_namespace(self) -> list[list[dict]]:
        name = self.params["namespace"]
        live = self.client.get("Namespace", name)
        if not live:
            return []
        if live["metadata"].get("labels", {}).get(MANAGED_BY) != OWNER:
            raise PlatformError(
                f"The namespace {name} is not this collection's: it has no label {MANAGED_BY}={OWNER}.",
                "Correct the option namespace; or, if everything in it may go, delete it by hand.",
            )
        return [self.client.list("PersistentVolumeClaim", name), [live]]

    def _rights(self, labels: dict) -> list[dict]:
        """Bindings of the cluster that are for accounts of the namespace only, and roles that nothing else binds."""
        selector = ",".join(f"{key}={value}" for key, value in {MANAGED_BY: OWNER, **labels}.items())
        bindings = self.client.list("ClusterRoleBinding", labels=selector)
        here = {self.params["namespace"]}
        stay = [b for b in bindings if {s.get("namespace") for s in b.get("subjects") or []} != here]
        bound = {binding["roleRef"]["name"] for binding in stay}
        roles = self.client.list("ClusterRole", labels=selector)
        return [b for b in bindings if b not in stay] + [r for r in roles if r["metadata"]["name"] not in bound]

    def _turn(self, obj: dict) -> tuple[int, bool]:
        """By component, those that the order does not name last; of each the workloads first."""
        order, component = self.params["order"], obj["metadata"].get("labels", {}).get(COMPONENT)
        return order.index(component) if component in order else len(order), obj["kind"] not in WORKLOADS

    def _delete(self, obj: dict) -> Outcome | None:
        """Delete an object; workloads, with their pods, and namespaces are waited for. None when it goes already."""
        waits = obj["kind"] in WORKLOADS or obj["kind"] == "Namespace"
        outcome = None
        if "deletionTimestamp" not in obj["metadata"]:
            outcome = delete(self.client, obj, self.check_mode, "Foreground" if waits else "Background")
        if waits and not self.check_mode and (outcome is None or outcome.action == "deleted"):
            holder = await_end(self.client, obj, max(1, int(self.end - monotonic())))
            if holder:
                return Outcome(obj, "failed", before=obj, error=holder)
        return outcome
