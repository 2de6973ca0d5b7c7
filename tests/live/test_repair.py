# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any one object that someone deletes is there again after the next run."""

from __future__ import annotations

import json
import random

import pytest

# What is told apart by what a user would see broken, rather than by being one of many: always tried.
NAMED = [
    "mutatingwebhookconfiguration.admissionregistration.k8s.io/vault-agent-injector-cfg",
    "service/postgres",
    "statefulset.apps/postgres",
]
VAULT = [
    ("delete auth/kubernetes/role/postgres", "read auth/kubernetes/role/postgres"),
    ("policy delete database-policy", "policy read database-policy"),
    ("kv metadata delete -mount=cloudcart database", "kv get -mount=cloudcart database"),
    ("auth disable kubernetes", "read auth/kubernetes/config"),
    ("secrets disable cloudcart", "kv get -mount=cloudcart database"),
]


def objects(machine) -> list[str]:
    """KIND/NAME of everything that the site applied, the chart's objects included, but for the namespace itself."""
    kinds = machine.ssh(
        "kubectl api-resources --verbs=delete,list -o name | grep -v -e ^events -e ^pods -e ^namespaces"
    ).split()
    listed = []
    for label in ("app.kubernetes.io/part-of=cloudcart", "app.kubernetes.io/instance=vault"):
        listed += machine.ssh(f"kubectl -n cloudcart get {','.join(kinds)} -l {label} -o name").split()
    # What Kubernetes makes from those is not ours.
    derived = ("endpoints/", "endpointslice.", "replicaset.", "controllerrevision.", "job.")
    return sorted(name for name in listed if not name.startswith(derived))


def test_objects(platform, subtests, pytestconfig):
    found = objects(platform)
    assert set(NAMED) <= set(found)
    others = [name for name in found if name not in NAMED]
    sample = pytestconfig.getoption("sample")
    if sample is not None:
        others = random.Random(pytestconfig.getoption("seed")).sample(others, sample)
    for name in NAMED + others:
        with subtests.test(name):
            uid = f"kubectl -n cloudcart get {name} -o jsonpath={{.metadata.uid}}"
            before = platform.ssh(uid)
            owner = platform.ssh(f"kubectl -n cloudcart get {name} -o jsonpath={{.metadata.labels.app}}")
            # What ZooKeeper keeps and what Kafka keeps belong together: see the README of the role.
            both = ["persistentvolumeclaim/kafka-data"] if name == "persistentvolumeclaim/zookeeper-data" else []
            platform.ssh(f"kubectl -n cloudcart delete --wait=false {' '.join([name, *both])}")
            if name.startswith("persistentvolumeclaim/"):  # it is kept for as long as a pod uses it
                platform.ssh(f"kubectl -n cloudcart delete pod -l 'app in ({owner}{', kafka' if both else ''})'")
            run = platform.complete()
            assert run.changed, "the run did not see that something was missing"
            assert platform.ssh(uid) != before
    assert platform.complete().changed == []


def secret(machine, path: str = "database") -> dict:
    return json.loads(machine.vault(f"kv get -mount=cloudcart -format=json {path}"))["data"]["data"]


def test_what_is_in_vault(platform, subtests, pytestconfig):
    before = secret(platform)
    for delete, read in VAULT[: 1 if pytestconfig.getoption("sample") is not None else None]:
        with subtests.test(delete):
            platform.vault(delete)
            assert platform.complete().changed
            platform.vault(read)
            assert secret(platform) == before
    assert platform.complete().changed == []


@pytest.mark.soak
def test_a_vault_that_forgot_everything(platform):
    """What dev mode does when its pod is replaced: the next run fills it with the same values."""
    before = {path: secret(platform, path) for path in ("database", "jwt")}
    platform.ssh("kubectl -n cloudcart delete pod vault-0")
    platform.until("kubectl -n cloudcart wait --for=condition=ready pod/vault-0 --timeout=60s")
    assert "cloudcart/" not in platform.vault("secrets list")
    assert any("Configure secrets, policies and roles" in task for task in platform.complete().changed)
    assert {path: secret(platform, path) for path in before} == before
    platform.vault("read auth/kubernetes/role/postgres")
    assert platform.complete().changed == []


def test_pods_that_were_made_without_the_injector(platform):
    """They lack their secrets. The next run brings the webhook back, and has them made anew."""
    pods = "kubectl -n cloudcart {} pods -l app=order-service"
    platform.ssh(f"kubectl delete {NAMED[0]} && {pods.format('delete')}")
    platform.ssh(f"! {pods.format('get -o yaml')} | grep agent-inject-status")
    run = platform.complete()
    assert "Vault | Replace pods that were made while there was no injector" in str(run.changed)
    assert "agent-inject-status: injected" in platform.ssh(pods.format("get -o yaml"))
    assert platform.complete().changed == []


@pytest.mark.soak
def test_the_whole_namespace(platform):
    delete = "kubectl delete namespace cloudcart --timeout=120s"
    platform.ssh(f"{delete} || {{ kubectl get namespace cloudcart -o yaml; exit 1; }}")
    assert "products, read with the credentials from Vault" in platform.complete().text
    assert platform.complete().changed == []
