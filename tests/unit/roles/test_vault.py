# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the role vault, the chart's values, and the spec of the role vault_init."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.spec import ITEMS, prepare

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"

UID = "uid-2"


@pytest.fixture
def objects(rendered):
    def render(**over):
        over |= {
            "__vault_token": {"uid": "uid-1"},
            "__vault_account": {"objects": [{"kind": "ServiceAccount", "uid": UID}]},
        }
        lists = [rendered("vault", f"__vault_{part}_objects", **over) for part in ("account", "server")]
        return {o["kind"]: o for o in lists[0] + lists[1]}

    return render


def container(objects):
    return objects["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("distribution", "program", "prefix"), [("openbao", "bao", "BAO"), ("vault", "vault", "VAULT")]
)
def test_the_root_token_reaches_the_server_and_nothing_else(objects, distribution, program, prefix):
    server = container(objects(vault_distribution=distribution, vault_image="x/y:1"))
    assert server["command"] == ["/bin/sh", "-c", f"exec {program} server -dev -dev-no-store-token >/dev/null"]
    source = {"secretKeyRef": {"name": "vault-root-token", "key": "token"}}
    assert {"name": f"{prefix}_DEV_ROOT_TOKEN_ID", "valueFrom": source} in server["env"]


def test_a_new_root_token_or_account_restarts_the_server(objects):
    template = objects(vault_image="x")["StatefulSet"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {
        "cloudcartops.platform/token-secret": "uid-1",
        "cloudcartops.platform/service-account": UID,
    }


def test_the_server_has_no_privileges(objects):
    everything = objects(vault_image="x")
    pod = everything["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 100
    security = container(everything)["securityContext"]
    assert security["allowPrivilegeEscalation"] is False and security["capabilities"] == {"drop": ["ALL"]}
    assert set(container(everything)["resources"]) == {"requests", "limits"}


def test_service_and_pods_match(objects):
    everything = objects(vault_image="x")
    labels = everything["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert everything["Service"]["spec"]["selector"] == labels == {"app": "vault"}
    assert everything["Service"]["spec"]["ports"][0]["port"] == 8200


def test_two_namespaces_do_not_share_a_binding(objects):
    one, two = (objects(vault_image="x", vault_namespace=name)["ClusterRoleBinding"] for name in ("one", "two"))
    assert one["metadata"]["name"] != two["metadata"]["name"]
    assert one["subjects"][0]["namespace"] == "one"


@pytest.mark.parametrize(
    ("image", "repository", "tag"),
    [
        ("docker.io/hashicorp/vault-k8s:1.7.6", "docker.io/hashicorp/vault-k8s", "1.7.6"),
        ("registry.example:5000/vault-k8s:1.7", "registry.example:5000/vault-k8s", "1.7"),
        ("registry.example:5000/vault-k8s", "registry.example:5000/vault-k8s", "latest"),
        ("x/vault-k8s@sha256:abc", "x/vault-k8s@sha256", "abc"),
    ],
)
def test_images_in_the_chart_values(rendered, image, repository, tag):
    values = rendered("vault", "__vault_chart_values", vault_image=image, vault_injector_image=image)
    assert values["injector"]["image"] == {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}
    assert values["injector"]["agentImage"] == {"repository": repository, "tag": tag}


def test_chart_values(rendered):
    values = rendered(
        "vault", "__vault_chart_values", vault_image="a:1", vault_injector_image="b:2", vault_namespace="shop"
    )
    assert values["global"] == {"externalVaultAddr": "http://vault.shop.svc:8200"}
    assert values["server"] == {
        "enabled": False,
        "serviceAccount": {"create": False},
        "authDelegator": {"enabled": False},
    }
    webhook = values["injector"]["webhook"]
    assert webhook["failurePolicy"] == "Fail"  # which would be dangerous for any other namespace
    assert webhook["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
    assert values["injector"]["agentDefaults"]["cpuRequest"] == "25m"


def test_vault_init_spec(rendered):
    spec = rendered("vault_init", "__vault_init_spec")
    assert {item["name"]: item["policy"] for item in spec["policies"]} == {
        f"{name}-policy": f'path "cloudcart/data/{name}" {{\n  capabilities = ["read"]\n}}\n'
        for name in ("database", "jwt", "kafka", "redis")
    }
    assert spec["roles"][0] == {
        "name": "postgres",
        "fields": {
            "bound_service_account_names": ["postgres"],
            "bound_service_account_namespaces": ["cloudcart"],
            "token_policies": ["database-policy"],
            "token_ttl": "24h",
        },
    }
    assert {role["name"]: role["fields"]["token_policies"] for role in spec["roles"][1:]} == {
        "api-gateway": ["jwt-policy", "redis-policy"],
        "user-service": ["database-policy", "kafka-policy"],
        "product-service": ["database-policy", "kafka-policy"],
        "order-service": ["database-policy", "kafka-policy"],
        "notification-worker": ["kafka-policy"],
    }
    assert spec["kubernetes_auth_config"] == [{"fields": {"kubernetes_host": "https://kubernetes.default.svc"}}]
    secrets = {secret["path"]: secret for secret in spec["secrets"]}
    assert all(secret["mount"] == "cloudcart" for secret in secrets.values())
    assert secrets["database"]["data"]["postgres_host"] == "postgres.cloudcart.svc.cluster.local"
    assert secrets["database"]["derive"]["database_url"].endswith("?sslmode=disable")
    assert "password" not in json.dumps(secrets["database"]["data"])
    assert secrets["jwt"]["generate"] == {"secret": {"length": 64}}
    assert secrets["kafka"]["data"] == {"bootstrap_servers": "kafka.cloudcart.svc.cluster.local:9092"}
    assert secrets["redis"]["data"] == {"url": "redis://redis.cloudcart.svc.cluster.local:6379"}
    assert prepare({**{part: [] for part in ITEMS}, **complete(spec)})["roles"]


def complete(spec):
    """The spec as the module gets it: with the defaults of its options."""
    return {
        part: [{**{name: rule.get("default") for name, rule in ITEMS[part].items()}, **item} for item in items]
        for part, items in spec.items()
    }


def test_an_override_changes_one_value_and_adds_a_service(rendered):
    override = {"api-gateway": {"secrets": ["jwt"]}, "shop": {"secrets": ["redis"]}, "idle": {"image": "x"}}
    spec = rendered("vault_init", "__vault_init_spec", cloudcartops_services_override=override)
    roles = {role["name"]: role["fields"] for role in spec["roles"]}
    assert roles["api-gateway"]["token_policies"] == ["jwt-policy"]
    assert roles["api-gateway"]["bound_service_account_names"] == ["api-gateway"]
    assert roles["shop"]["bound_service_account_names"] == ["shop"]
    assert "user-service" in roles and "idle" not in roles


def test_vault_init_names_a_secret_that_does_not_exist(rendered):
    with pytest.raises(Exception, match="The service shop reads databse, and there is no such secret. Correct the na"):
        rendered("vault_init", "__vault_init_spec", vault_init_services={"shop": {"secrets": ["databse"]}})


def test_each_service_must_read_its_secrets_and_no_others(rendered):
    tasks = DataLoader().load_from_file(str(ROLES / "vault_init/tasks/logins.yml"), trusted_as_template=True)
    logins = rendered("vault_init", "logins", logins=tasks[0]["cloudcartops.platform.vault_login_check"]["logins"])
    assert logins[0] == {
        "role": "postgres",
        "service_account": "postgres",
        "namespace": "cloudcart",
        "reads": ["cloudcart/data/database"],
        "denied": ["cloudcart/data/jwt", "cloudcart/data/kafka", "cloudcart/data/redis"],
    }
    assert len(logins) == 6


def test_reviewer(rendered, tmp_path):
    """Where Vault is to review with a token of its own, it is in what goes to Vault, and nowhere else."""
    path = tmp_path / "cluster.yaml.reviewer.jwt"
    options = {"vault_init_kubeconfig": str(tmp_path / "cluster.yaml")}
    assert rendered("vault_init", "__vault_init_spec_with_reviewer", **options) == rendered(
        "vault_init", "__vault_init_spec", **options
    )
    options["vault_init_reviewer"] = "token"
    still_to_come = rendered("vault_init", "__vault_init_spec_with_reviewer", **options)
    assert still_to_come["kubernetes_auth_config"][0]["token_reviewer_jwt"] == ""
    path.write_text("a.b.c")
    spec = rendered("vault_init", "__vault_init_spec_with_reviewer", **options)
    assert spec["kubernetes_auth_config"] == [
        {
            "fields": {"kubernetes_host": "https://kubernetes.default.svc", "disable_iss_validation": True},
            "token_reviewer_jwt": "a.b.c",
        }
    ]
    assert "a.b.c" not in json.dumps(rendered("vault_init", "__vault_init_spec", **options))


def test_seed_is_optional(rendered):
    assert rendered("vault_init", "__vault_init_seed") == {"namespace": "cloudcart", "name": "vault-seed"}
    assert rendered("vault_init", "__vault_init_seed", vault_init_seed_secret="") == {}


@pytest.fixture
def standalone(rendered):
    def render(**over):
        over |= {"vault_mode": "standalone", "vault_image": "x", "__vault_token": {"skipped": True}}
        over["__vault_account"] = {"objects": [{"kind": "ServiceAccount", "uid": UID}]}
        return {o["kind"]: o for o in rendered("vault", "__vault_standalone_objects", **over)}

    return render


def test_a_standalone_server_keeps_what_it_holds(standalone):
    everything = standalone(vault_storage_size="2Gi")
    pod = everything["StatefulSet"]["spec"]["template"]["spec"]
    server = pod["containers"][0]
    assert {v["name"]: v for v in pod["volumes"]}["data"]["persistentVolumeClaim"] == {"claimName": "vault-data"}
    claim = everything["PersistentVolumeClaim"]["spec"]
    assert claim == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    config = json.loads(everything["ConfigMap"]["data"]["vault.json"])
    assert config["storage"]["raft"]["path"] in [mount["mountPath"] for mount in server["volumeMounts"]]
    assert server["env"] == [] and "-dev" not in json.dumps(server)
    assert [port["port"] for port in everything["Service"]["spec"]["ports"]] == [8200, 8201]
    assert standalone(vault_storage_class="fast")["PersistentVolumeClaim"]["spec"]["storageClassName"] == "fast"


def test_a_sealed_server_lives_but_is_not_ready_and_nothing_restarts_it(standalone):
    stateful_set = standalone()["StatefulSet"]["spec"]
    server = stateful_set["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["path"].endswith("&sealedcode=204&uninitcode=204")
    assert server["readinessProbe"]["httpGet"]["path"] == "/v1/sys/health"
    assert stateful_set["updateStrategy"] == {"type": "OnDelete"}
    assert stateful_set["template"]["metadata"]["annotations"]["cloudcartops.platform/token-secret"] == ""


@pytest.mark.parametrize(("distribution", "mlock"), [("vault", True), ("openbao", None)])
def test_memory_locks_are_for_vault_only(rendered, distribution, mlock):
    assert rendered("vault", "__vault_config", vault_distribution=distribution).get("disable_mlock") is mlock


@pytest.mark.parametrize(("environment", "mode", "seed"), [("dev", "dev", "vault-seed"), ("prod", "standalone", "")])
def test_mode_by_environment(rendered, environment, mode, seed):
    over = {"cloudcartops_environment": environment}
    assert rendered("vault", "vault_mode", **over) == rendered("vault_init", "vault_init_mode", **over) == mode
    assert rendered("vault_init", "vault_init_seed_secret", **over) == seed


def test_how_the_role_authenticates(rendered):
    dev, other = ({"cloudcartops_vault_mode": mode} for mode in ("dev", "standalone"))
    assert rendered("vault_init", "__vault_init_token", **dev)["name"] == "vault-root-token"
    assert rendered("vault_init", "__vault_init_login", **dev) == {}
    assert rendered("vault_init", "__vault_init_token", **other) == {}
    login = {"namespace": "cloudcart", "role": "cloudcartops-operator"}
    assert rendered("vault_init", "__vault_init_login", **other) == login


def test_the_operator_has_no_more_than_it_needs(rendered):
    spec = rendered("vault_init", "__vault_init_operator_spec", vault_init_mount="shop")
    policy = policy_paths(spec["policies"][0]["policy"])
    assert policy["auth/kubernetes/role/cloudcartops-operator"] == policy["sys/policies/acl/cloudcartops-operator"]
    assert policy["sys/policies/acl/cloudcartops-operator"] == ["read"]
    assert {path.split("/")[0] for path in policy} == {"sys", "auth", "shop"}
    assert not any("sudo" in capabilities for capabilities in policy.values())
    [role] = spec["roles"]
    assert role["fields"]["bound_service_account_names"] == ["cloudcartops-operator"]
    assert role["fields"]["bound_service_account_namespaces"] == ["cloudcart"]


def policy_paths(text):
    found = re.findall(r'path "([^"]+)" \{ capabilities = (\[[^]]*\]) \}', text)
    assert len(found) == text.count("path ")
    return {path: json.loads(capabilities) for path, capabilities in found}
