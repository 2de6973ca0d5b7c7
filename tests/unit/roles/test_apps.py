# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role apps makes of its variables, by Ansible's own templating."""

from __future__ import annotations

import json

import pytest


def deployments(objects):
    return {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "Deployment"}


@pytest.mark.parametrize(("environment", "pods", "cpu"), [("dev", 1, "100m"), ("prod", 2, "250m")])
def test_the_environment_decides_the_size(rendered, environment, pods, cpu):
    objects = json.loads(json.dumps(rendered("apps", "__apps_manifests", cloudcartops_environment=environment)))
    found = deployments(objects)
    assert len(found) == 8
    assert {name: spec["replicas"] for name, spec in found.items()} == {
        **dict.fromkeys(found, pods),
        "chaos-service": 1,
        "metrics-generator": 1,
    }
    for spec in found.values():
        (container,) = spec["template"]["spec"]["containers"]
        assert container["resources"]["requests"]["cpu"] == cpu
        assert container["imagePullPolicy"] == "Always" and container["image"].endswith(":latest")
        waits = spec["template"]["spec"]["initContainers"]
        assert [w["image"] for w in waits] == [rendered("apps", "apps_wait_image")]


def test_registry_tag_and_pull_policy(rendered):
    def image(**over):
        spec = deployments(rendered("apps", "__apps_manifests", **over))["frontend"]
        (container,) = spec["template"]["spec"]["containers"]
        return container["image"], container["imagePullPolicy"]

    assert image() == ("docker.io/anisingh28/cloudcartops-frontend:latest", "Always")
    assert image(cloudcartops_image_tag="1.2") == ("docker.io/anisingh28/cloudcartops-frontend:1.2", "IfNotPresent")
    assert image(cloudcartops_bundle="/b", apps_bundle="")[1] == "IfNotPresent"
    assert image(cloudcartops_image_registry="r.example")[0] == "r.example/cloudcartops-frontend:latest"


def test_a_ninth_service_is_one_entry(rendered):
    shop = {"image": "shop", "port": 8010, "waits_for": ["redis:6379", "outside.example.com:80", "api-gateway:3000"]}
    over = {"cloudcartops_services_override": {"shop": shop, "metrics-generator": None}}
    found = {(o["kind"], o["metadata"]["name"]) for o in rendered("apps", "__apps_manifests", **over)}
    assert {("ServiceAccount", "shop"), ("Service", "shop"), ("Deployment", "shop")} <= found
    assert not [name for _kind, name in found if name == "metrics-generator"]


def test_what_is_waited_for(rendered):
    needs = rendered("apps", "__apps_needs")
    assert {(n["kind"], n["name"], n["namespace"]) for n in needs} == {
        ("Service", name, "cloudcart") for name in ("postgres", "kafka", "redis")
    }
    assert {n["origin"] for n in needs} == {"The play cloudcartops.platform.data"}
    ready = rendered("apps", "__apps_deployments")
    assert [(d["kind"], d["name"], d["namespace"]) for d in ready] == [
        ("Deployment", name, "cloudcart") for name in deployments(rendered("apps", "__apps_manifests"))
    ]
    alone = {"cloudcartops_services": {"shop": {"image": "shop", "waits_for": ["db.example.com:5432"]}}}
    assert rendered("apps", "__apps_needs", **alone) == []


def test_the_fingerprints_of_the_run_are_in_the_pods(rendered):
    taken = {"fingerprints": {"database": "d1", "jwt": "j1", "kafka": "", "redis": "r1"}}
    pods = deployments(rendered("apps", "__apps_manifests", __apps_secrets=taken))
    marks = {
        name: {k: v for k, v in spec["template"]["metadata"].get("annotations", {}).items() if "/secret-" in k}
        for name, spec in pods.items()
    }
    assert marks["api-gateway"] == {
        "cloudcartops.platform/secret-jwt": "j1",
        "cloudcartops.platform/secret-redis": "r1",
    }
    assert marks["user-service"] == {"cloudcartops.platform/secret-database": "d1"}
    assert marks["notification-worker"] == marks["chaos-service"] == {}


@pytest.mark.parametrize(("mode", "used"), [("dev", "token"), ("standalone", "login")])
def test_how_vault_is_asked(rendered, mode, used):
    given = {
        part: rendered("apps", f"__apps_vault_{part}", cloudcartops_vault_mode=mode) for part in ("token", "login")
    }
    assert given.pop(used)["namespace"] == "cloudcart"
    assert list(given.values()) == [{}]


def test_a_mistake_in_the_catalogue_is_named(rendered):
    with pytest.raises(Exception, match="cloudcartops_services_override.frontend.prot: there is no such key. Did you "):
        rendered("apps", "__apps_manifests", cloudcartops_services_override={"frontend": {"prot": 81}})


@pytest.mark.parametrize("name", ["vault_mount", "operator", "token_secret"])
def test_vault_is_where_vault_init_puts_it(rendered, name):
    theirs = name.removeprefix("vault_")
    ours = name if name == "vault_mount" else f"vault_{name}"
    assert rendered("apps", f"apps_{ours}") == rendered("vault_init", f"vault_init_{theirs}")
