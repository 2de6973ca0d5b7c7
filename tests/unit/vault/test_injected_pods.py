# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_injected_pods: which pods are replaced."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import injected_pods

ASKS = {"vault.hashicorp.com/agent-inject": "true"}
OWNERS = [{"kind": "ReplicaSet", "name": "web-5d", "controller": True}]


class FakeClient:
    """A stand-in for the Kubernetes client, of a namespace with these pods."""

    def __init__(self, *pods):
        self.pods, self.deleted = pods, []

    def list(self, kind, namespace):
        assert (kind, namespace) == ("Pod", "shop")
        return self.pods

    def delete(self, kind, name, namespace):
        self.deleted.append((kind, name, namespace))
        return True


def pod(name="web-1", notes=None, phase="Running", owners=OWNERS, **meta):
    meta = {"name": name, "annotations": notes or ASKS, "ownerReferences": owners, **meta}
    return {"metadata": meta, "status": {"phase": phase}}


@pytest.fixture
def replace(monkeypatch):
    def call(*pods, check_mode=False):
        client = FakeClient(*pods)
        monkeypatch.setattr(injected_pods, "connect", lambda *_arguments: client)
        params = {"kubeconfig": "k", "context": None, "namespace": "shop"}
        return injected_pods.vault_injected_pods(params, check_mode), client.deleted

    return call


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_a_pod_that_was_missed_is_replaced(replace, phase):
    result, deleted = replace(pod(phase=phase))
    assert result["changed"] and (result["replaced"], result["left"]) == (["web-1"], [])
    assert result["diff"] == {"before": "web-1: without the agent\n", "after": ""}
    assert deleted == [("Pod", "web-1", "shop")]


@pytest.mark.parametrize(
    "good",
    [
        pod(notes={**ASKS, "vault.hashicorp.com/agent-inject-status": "injected"}),
        pod(notes={"vault.hashicorp.com/agent-inject": "false"}),
        pod(notes={"other": "note"}),
        pod(phase="Failed"),
        pod(phase="Succeeded"),
        pod(deletionTimestamp="2026-01-01T00:00:00Z"),
    ],
)
def test_others_are_left_alone(replace, good):
    assert replace(good) == ({"changed": False, "replaced": [], "left": []}, [])


@pytest.mark.parametrize("owners", [None, [], [{"kind": "Node", "name": "n"}]])
def test_nobody_would_make_it_anew(replace, owners):
    result, deleted = replace(pod("alone", owners=owners), pod())
    assert deleted == [("Pod", "web-1", "shop")] and result["left"] == ["alone"]
    (warning,) = result["warnings"]
    assert "Pod shop/alone" in warning and "web-1" not in warning


def test_check_mode_only_tells(replace):
    result, deleted = replace(pod(), check_mode=True)
    assert result["changed"] and result["replaced"] == ["web-1"] and result["cluster"] == "present" and deleted == []


def test_no_cluster_yet(monkeypatch):
    monkeypatch.setattr(injected_pods, "connect", lambda *_arguments: None)
    params = {"kubeconfig": "k", "context": None, "namespace": "shop"}
    result = injected_pods.vault_injected_pods(params, True)
    assert result == {"changed": False, "replaced": [], "left": [], "cluster": "absent"}
