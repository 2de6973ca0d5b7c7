# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vault_injector_check says about each way in which an injector is not live."""

from __future__ import annotations

import copy
import json

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import INJECTED
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import api_error
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import injector_check
from ansible_collections.cloudcartops.platform.plugins.modules import vault_injector_check

WEBHOOK = "vault-agent-injector-cfg"


class FakeClient:
    """A stand-in for the Kubernetes client, of a cluster with a live injector, for tests to take apart."""

    def __init__(self):
        self.hook = {
            "clientConfig": {"caBundle": "Q0E=", "service": {"namespace": "shop", "name": "vault-agent-injector-svc"}}
        }
        self.objects = {
            ("MutatingWebhookConfiguration", WEBHOOK): {"webhooks": [self.hook]},
            ("Service", "vault-agent-injector-svc"): {},
            ("Namespace", "shop"): {"metadata": {"labels": {"kubernetes.io/metadata.name": "shop"}}},
        }
        self.ready, self.injects, self.refusals, self.tried = True, True, [], []

    def get(self, kind, name, namespace=None):
        return self.objects.get((kind, name))

    def list(self, kind, namespace, labels):
        assert (kind, labels) == ("EndpointSlice", "kubernetes.io/service-name=vault-agent-injector-svc")
        return [{"endpoints": None}, {"endpoints": [{"conditions": {"ready": self.ready}}]}]

    def create(self, pod, dry_run):
        assert dry_run is True
        self.tried.append(pod)
        if self.refusals:
            status, message = self.refusals[0]
            self.refusals = self.refusals[1:] or self.refusals
            if status:
                raise api_error(status, {"message": message}, "create Pod shop/vault-injector-probe")
        pod = copy.deepcopy(pod)
        if self.injects:
            pod["metadata"]["annotations"][INJECTED] = "injected"
            pod["spec"]["initContainers"] = [{"name": "vault-agent-init", "image": "vault:1"}]
            pod["spec"]["containers"].append({"name": "vault-agent", "image": "vault:1"})
        return pod


@pytest.fixture
def client(monkeypatch):
    fake = FakeClient()
    monkeypatch.setattr(injector_check, "connect", lambda *_arguments: fake)
    return fake


@pytest.fixture
def check(capsys, monkeypatch):
    monkeypatch.setattr(injector_check, "AGAIN_AFTER", 0.01)

    def run_module(expect_failure=False, check=False, **options):
        arguments = {"kubeconfig": "unused", "namespace": "shop", "timeout": 0, **options}
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit) as stop:
            vault_injector_check.main()
        result = json.loads(capsys.readouterr().out)
        assert bool(stop.value.code) == expect_failure, result
        return result

    return run_module


def test_live(client, check):
    result = check()
    assert result["live"] is True and result["changed"] is False
    assert result["injected"] == ["vault-agent-init", "vault-agent"]
    assert result["agent_image"] == "vault:1"


def gone(kind, name):
    return lambda client: client.objects.pop((kind, name))


def refuse(status, message):
    return lambda client: client.refusals.append((status, message))


CALLING = (
    'Internal error occurred: failed calling webhook "vault.hashicorp.com": failed to call webhook: Post "https://x": '
)
PROBLEMS = [
    (gone("MutatingWebhookConfiguration", WEBHOOK), "There is no MutatingWebhookConfiguration", "Run the role vault"),
    (
        lambda c: c.objects["MutatingWebhookConfiguration", WEBHOOK].update(webhooks=[]),
        "calls no Service",
        "Run the role",
    ),
    (lambda c: c.hook["clientConfig"].update(caBundle=""), "caBundle is empty", "get, list, watch and patch"),
    (gone("Service", "vault-agent-injector-svc"), "which does not exist", "Run the role vault"),
    (lambda c: setattr(c, "ready", False), "No pod of the injector is ready", "kubectl -n shop get pods"),
    (gone("Namespace", "shop"), "There is no namespace shop", "Run the role vault"),
    (lambda c: c.hook.update(namespaceSelector={"matchLabels": {"a": "b"}}), "leaves out the namespace shop", "labels"),
    (lambda c: setattr(c, "injects", False), "let through without it", "failing open"),
    (refuse(400, 'admission webhook "vault.hashicorp.com" denied the request: no'), "refused a harmless pod", "log"),
    (refuse(403, "pods is forbidden: exceeded quota"), "No pod can be created in shop", "ResourceQuota"),
    (refuse(403, 'error looking up service account: serviceaccount "default" not found'), "No pod can be created", ""),
    (refuse(500, CALLING + "x509: certificate signed by unknown authority"), "cannot call the injector", "restart the"),
    (refuse(500, CALLING + "connect: connection refused"), "cannot call the injector", "does not listen"),
    (refuse(500, CALLING + "context deadline exceeded"), "cannot call the injector", "firewall"),
    (refuse(500, CALLING + 'no endpoints available for service "x"'), "cannot call the injector", "look at its pods"),
    (refuse(500, CALLING + 'service "x" not found'), "cannot call the injector", "Run the role vault"),
    (refuse(500, CALLING + "EOF"), "cannot call the injector", "pods and log"),
]


@pytest.mark.parametrize(("take_apart", "what", "fix"), PROBLEMS)
def test_problems_have_a_cause_and_a_fix(client, check, take_apart, what, fix):
    take_apart(client)
    failure = check(expect_failure=True)
    assert what in failure["msg"] and fix in failure["msg"] and failure["live"] is False
    assert "defect" not in failure["msg"]
    for options in ({"check": True}, {"required": False}):
        result = check(**options)
        assert result["live"] is False and what in result["msg"]


def test_a_late_injector_is_waited_for(client, check):
    client.refusals = [(500, CALLING + "connection refused"), (500, CALLING + "x509"), (0, "")]
    assert check(timeout=30)["live"] is True
    assert len(client.tried) == 3


@pytest.mark.parametrize("take_apart", [PROBLEMS[6][0], PROBLEMS[8][0], PROBLEMS[9][0]])
def test_what_cannot_get_better_is_not_waited_for(client, check, take_apart):
    take_apart(client)
    check(expect_failure=True, timeout=600)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_label_selectors(selector, selected):
    assert injector_check._selects(selector, {"a": "1"}) is selected


def test_no_cluster_yet(check, monkeypatch):
    monkeypatch.setattr(
        injector_check, "connect", lambda _kubeconfig, _context, check_mode: None if check_mode else 1 / 0
    )
    for options in ({"check": True}, {"required": False}):
        result = check(**options)
        assert (result["live"], result["cluster"], result["changed"]) == (False, "absent", False)
