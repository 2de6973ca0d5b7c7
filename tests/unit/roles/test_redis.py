# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the role redis, against what the applications expect."""

from __future__ import annotations

import pytest


@pytest.fixture
def objects(rendered):
    return {o["kind"]: o for o in rendered("redis", "__redis_objects")}


@pytest.fixture
def pod(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


def arguments(container):
    program, *options = container["args"]
    assert program == "redis-server"
    return dict(zip(options[::2], options[1::2], strict=True))


def test_names_are_those_of_the_contract(objects):
    assert {k: o["metadata"]["name"] for k, o in objects.items()} == {"Service": "redis", "Deployment": "redis"}
    service, workload = objects["Service"]["spec"], objects["Deployment"]["spec"]
    assert [p["port"] for p in service["ports"]] == [6379]
    assert service["selector"] == workload["template"]["metadata"]["labels"] == {"app": "redis"}
    assert workload["replicas"] == 1


def test_nothing_is_kept(pod):
    options = arguments(pod["containers"][0])
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert "volumes" not in pod
    assert all(isinstance(a, str) for a in pod["containers"][0]["args"])


@pytest.mark.parametrize(("limit", "bytes_for_keys"), [("128Mi", 96 << 20), ("1Gi", 768 << 20), (1000, 750)])
def test_keys_leave_room_below_the_limit(rendered, limit, bytes_for_keys):
    options = rendered("redis", "__redis_arguments", redis_resources={"limits": {"memory": limit}})
    assert options[options.index("--maxmemory") + 1] == f"{bytes_for_keys}b"
    assert options[options.index("--maxmemory-policy") + 1] == "allkeys-lru"


def test_probes_ask_for_an_answer(pod):
    (container,) = pod["containers"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["exec"]["command"] == ["redis-cli", "-h", "127.0.0.1", "-e", "ping"]


def test_the_pod_has_no_rights_it_does_not_need(pod):
    (container,) = pod["containers"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 999)
    assert pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_production_is_bigger(rendered):
    dev, prod = (rendered("redis", "redis_resources", redis_environment=e) for e in ("dev", "prod"))
    assert (dev["limits"]["memory"], prod["limits"]["memory"]) == ("128Mi", "256Mi")
