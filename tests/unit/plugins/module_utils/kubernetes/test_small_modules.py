# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_random_secret and k8s_cluster_info."""

from __future__ import annotations

import base64
import json

import pytest

PATH = "/api/v1/namespaces/shop/secrets/s"
ASK = {"name": "s", "namespace": "shop"}


def values(api):
    return {k: base64.b64decode(v).decode() for k, v in api.objects[PATH]["data"].items()}


def test_created_once_and_never_shown(api, run_module, kubeconfig):
    api.namespace("shop")
    fields = {"token": {"length": 40}, "pin": {"length": 16, "alphabet": "digits"}, "key": {"alphabet": "hex"}}
    first = run_module("k8s_random_secret", kubeconfig=kubeconfig, fields=fields, part_of="cloudcart", **ASK)
    made = values(api)
    assert (first["changed"], first["created"]) == (True, ["token", "pin", "key"])
    assert {k: len(v) for k, v in made.items()} == {"token": 40, "pin": 16, "key": 32}
    assert made["token"].isalnum() and made["pin"].isdigit() and set(made["key"]) <= set("0123456789abcdef")
    assert api.objects[PATH]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "cloudcart"
    fields["token"] = {"length": 99}
    second = run_module("k8s_random_secret", kubeconfig=kubeconfig, fields=fields, **ASK)
    assert (second["changed"], second["created"], values(api)) == (False, [], made)
    for value in made.values():
        assert value not in json.dumps([first, second])
        assert base64.b64encode(value.encode()).decode() not in json.dumps([first, second])


def test_only_missing_fields_are_added(api, run_module, kubeconfig):
    api.namespace("shop")
    api.put(PATH, {"data": {"old": "b2xk", "empty": ""}})
    result = run_module("k8s_random_secret", kubeconfig=kubeconfig, fields={"old": {}, "new": {}, "empty": None}, **ASK)
    assert result["created"] == ["new", "empty"] and values(api)["old"] == "old" and len(values(api)["empty"]) == 32
    assert result["diff"]["after"] == "new: <generated>\nempty: <generated>\n"


@pytest.mark.parametrize("live", [True, False])
def test_a_value_made_by_another_run_meanwhile_stays(api, run_module, kubeconfig, live):
    api.namespace("shop")
    if live:
        api.put(PATH, {"data": {}})
    original, method = api.answer, "PATCH" if live else "POST"

    def other_run_first(*request):
        if request[0] == method:
            api.answer = original
            api.put(PATH, {"data": {"token": "dGhlaXJz"}})
        return original(*request)

    api.answer = other_run_first
    result = run_module("k8s_random_secret", kubeconfig=kubeconfig, fields={"token": {}}, **ASK)
    assert (result["failed"], result["changed"], values(api)) == (False, False, {"token": "theirs"})


def test_a_secret_that_keeps_changing(api, run_module, kubeconfig):
    api.fail("POST", "secrets", 409, "conflict")
    result = run_module("k8s_random_secret", kubeconfig=kubeconfig, fields={"a": {}}, **ASK)
    assert result["failed"] and "kept changing" in result["msg"]


def test_errors_carry_no_value(api, run_module, kubeconfig):
    sent = []
    original = api.answer
    api.answer = lambda *request: (
        (sent.append(request[3]) or (400, {"message": f"cannot handle {request[3]['data']}", "reason": "BadRequest"}))
        if request[0] == "POST"
        else original(*request)
    )
    result = run_module("k8s_random_secret", kubeconfig=kubeconfig, fields={"token": {}}, **ASK)
    assert result["failed"] and "Secret shop/s cannot be written (BadRequest)" in result["msg"]
    assert sent[0]["data"]["token"] not in json.dumps(result)


def test_check_mode(api, run_module, kubeconfig, absent):
    api.namespace("shop")
    result = run_module("k8s_random_secret", check=True, kubeconfig=kubeconfig, fields={"token": {}}, **ASK)
    assert result["plan"] == ["generate token of Secret shop/s"] and PATH not in api.objects
    result = run_module("k8s_random_secret", check=True, kubeconfig=absent, fields={"token": {}}, **ASK)
    assert (result["changed"], result["cluster"]) == (True, "absent")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"length": 8}, "length of the field f is 8.*16 to 1024"),
        ({"length": "long"}, "length of the field f is 'long'"),
        ({"alphabet": "runes"}, "alphabet of the field f is 'runes'.*alphanumeric, hex, digits"),
        ({"size": 3}, "rule of the field f is not understood"),
        ("32", "rule of the field f is not understood"),
    ],
)
def test_rules_that_cannot_be_right(run_module, absent, rule, message):
    import re

    result = run_module("k8s_random_secret", kubeconfig=absent, fields={"f": rule}, **ASK)
    assert result["failed"] and re.search(message, result["msg"])


def test_cluster_info(api, run_module, kubeconfig, absent):
    node = {
        "metadata": {"labels": {"kubernetes.io/arch": "amd64", "node-role.kubernetes.io/control-plane": "true"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.34.4+k3s1"},
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            "allocatable": {"cpu": "2"},
        },
    }
    api.put("/api/v1/nodes/one", node)
    api.put("/api/v1/nodes/two", {})
    result = run_module("k8s_cluster_info", kubeconfig=kubeconfig)
    assert (result["changed"], result["cluster"], result["version"]) == (False, "present", "v1.34.4")
    assert result["nodes"][0] == {
        "name": "one",
        "ready": True,
        "roles": ["control-plane"],
        "architecture": "amd64",
        "version": "v1.34.4+k3s1",
        "addresses": {"InternalIP": "192.0.2.1"},
        "allocatable": {"cpu": "2"},
    }
    assert result["nodes"][1]["ready"] is False
    assert run_module("k8s_cluster_info", check=True, kubeconfig=absent)["cluster"] == "absent"
    assert run_module("k8s_cluster_info", kubeconfig=absent, required=False)["cluster"] == "absent"
    assert run_module("k8s_cluster_info", kubeconfig=absent)["failed"]
    api.fail("GET", "/version", 401, "Unauthorized")
    assert run_module("k8s_cluster_info", kubeconfig=kubeconfig, required=False)["failed"], "not absent, but broken"
