# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad values of public variables: each is refused with the variable, what is wrong with it, and what it has to be.

The cases of argument specifications are made from the specifications: a new variable has its cases without a new test.
"""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.cloudcartops.platform.plugins.module_utils import settings

ROOT = pathlib.Path(__file__).resolve().parents[3]
SPECS = {
    # Without the defaults: what Ansible validates are the values that they come to.
    (path.parts[-3], entry): {
        name: {key: value for key, value in option.items() if key != "default"}
        for name, option in (spec.get("options") or {}).items()
    }
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml"))
    for entry, spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items()
}
KNOWN = settings.options()
NO_VALUE = {"int": "many", "float": "some", "bool": "perhaps", "dict": "word", "list": {"a": "dictionary"}}


def good(option: dict):
    """A value that the option takes."""
    if "choices" in option:
        return option["choices"][0]
    if option.get("type") == "dict" or option.get("elements") == "dict":
        item = {key: good(o) for key, o in option.get("options", {}).items() if o.get("required")}
        return [item] if option["type"] == "list" else item
    return {"int": 1, "float": 1, "bool": True, "list": []}.get(option.get("type"), "word")


def bad(name: str, option: dict):
    """Bad values, one or more for each constraint of an option: (constraint, value, what the message has)."""
    kind = option.get("type", "str")
    if kind in NO_VALUE:
        yield f"{name}-type", NO_VALUE[kind], (name, kind if kind != "dict" else "convert to dict")
    if "choices" in option:
        yield f"{name}-choices", "none of them", (name, "none of them", *map(str, option["choices"]))
        yield f"{name}-choices-case", str(option["choices"][0]).swapcase(), (name, *map(str, option["choices"]))
    if kind == "list" and option.get("elements", "str") != "str":
        yield f"{name}-elements", ["word"], (name, option["elements"])
    if "options" in option:
        item = good(option)[0] if kind == "list" else good(option)
        wrap = (lambda value: [value]) if kind == "list" else (lambda value: value)
        yield f"{name}-unknown", wrap({**item, "no_such_key": 1}), (name, "no_such_key")
        for key, sub in option["options"].items():
            if sub.get("required"):
                yield f"{name}.{key}-required", wrap({k: v for k, v in item.items() if k != key}), (name, key)
            for label, value, words in bad(key, sub):
                yield f"{name}.{label}", wrap({**item, key: value}), words


CASES = [
    pytest.param(spec, name, value, words, id=f"{role}-{entry}-{label}")
    for (role, entry), spec in SPECS.items()
    for name, option in spec.items()
    for label, value, words in bad(name, option)
]


@pytest.mark.parametrize(("spec", "name", "value", "words"), CASES)
def test_the_role_refuses_it(spec, name, value, words):
    """By the validator that Ansible puts before each entry point of a role."""
    required = {n: good(option) for n, option in spec.items() if option.get("required")}
    assert ArgumentSpecValidator(spec).validate(required).error_messages == []
    messages = ArgumentSpecValidator(spec).validate({**required, name: value}).error_messages
    assert messages and [word for word in words if word not in "\n".join(messages)] == []


@pytest.mark.parametrize(("spec", "name", "value", "words"), CASES)
def test_it_is_refused_before_anything_is_touched(spec, name, value, words):
    problems = settings.errors(KNOWN, {name: value})
    assert len(problems) == 1 and problems[0].startswith(f"{name} ") and problems[0].endswith(".")


@pytest.mark.parametrize(
    ("role", "entry", "name"),
    [(role, entry, name) for (role, entry), spec in SPECS.items() for name, o in spec.items() if o.get("required")],
)
def test_what_is_required_is(role, entry, name):
    messages = ArgumentSpecValidator(SPECS[role, entry]).validate({}).error_messages
    assert any("missing required arguments" in message and name in message for message in messages)


@pytest.mark.parametrize("name", KNOWN)
def test_no_variable_may_be_null(name):
    assert settings.errors(KNOWN, {name: None}) == [
        f"{name} is empty (null). Give it a value, or leave it out for its default."
    ]


TEXTS = [name for name, option in KNOWN.items() if option["type"] in ("str", "path") and "choices" not in option]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    ("value", "say"), [(True, "a truth value"), (1.1, "'1.1'"), ({}, "a dictionary"), ([], "a list")]
)
def test_a_text_is_a_text(name, value, say):
    """Ansible would make one of anything: a tag 1.10 that is not in quotes would be 1.1."""
    say = "what it is (not shown)" if settings.SECRET.fullmatch(name) else say
    [problem] = settings.errors(KNOWN, {name: value})
    assert problem.startswith(f"{name} is {say}, and has to be a text.")


def test_each_form_that_a_specification_cannot_express_has_a_rule():
    plain = ("bool",)  # what these hold, the type says
    open_by_nature = {
        "k3s_server_config",
        "k3s_agent_config",
        "k3s_registries",
        "vault_init_secrets",
        "vault_init_manifests",
    }  # by filters
    preflight = {"preflight_environment", "preflight_vault_mode"}  # by the filter preflight_errors
    without = {
        name
        for name, option in KNOWN.items()
        if option["type"] not in plain
        and "choices" not in option
        and not any(re.fullmatch(pattern, name) for pattern, _check in settings.RULES)
    }
    assert without == open_by_nature | preflight
    assert [p for p, _check in settings.RULES if not any(re.fullmatch(p, name) for name in KNOWN)] == []


FORMS = {
    "cloudcartops_namespace": ("Shop", "my_shop", "a" * 64, "-a", "a.b", ""),
    "cleanup_data_namespace": ("Shop",),
    "cloudcartops_kubeconfig": ("", " "),
    "cloudcartops_bundle": ("bundle", "./bundle"),
    "k3s_data_dir": ("data", "/", "~/data"),
    "helm_directory": ("bin",),
    "vault_init_keys_file": ("keys.json",),
    "verify_report_file": ("rows.json",),
    "verify_diagnosis_file": ("found.json",),
    "ingress_tls_key": (" ",),
    "helm_binary": ("helm --debug",),
    "vault_helm_binary": ("",),
    "vault_timeout": (0, -1, 86401),
    "postgresql_uid": (0, -1, 2**31),
    "apps_replicas": (-1, 101),
    "vault_init_key_shares": (0, 256),
    "vault_init_purge_limit": (-1,),
    "vault_init_pgp_keys": (["-----BEGIN PGP"],),
    "kafka_topic_partitions": (0,),
    "kafka_topic_retention_ms": (-2,),
    "preflight_min_disk_gib": (-0.5,),
    "preflight_patience": (-1,),
    "preflight_server_url": ("192.0.2.10:6443", "http://192.0.2.10:6443"),
    "k3s_uninstall_environment": ("test",),
    "k3s_node_labels": ({"a b": "c"}, {"disk": "very fast"}, {"-a": ""}, {"a": "x" * 64}),
    "k3s_node_taints": ([{"key": "a"}], [{"effect": "NoExecute"}], [{"key": "a", "effect": "Never"}]),
    "k3s_variables": ({"HTTP-PROXY": "x"}, {"HTTP_PROXY": "a\nb"}),
    "kafka_storage_size": ("5", "5GB", "5 Gi", "0Gi", "-1Gi", "5gi", ""),
    "vault_storage_class": ("Fast Disk",),
    "postgresql_storage_class": ("",),
    "redis_resources": ({}, {"limits": {"cpu": "1"}}, {"limits": {"memory": "1 GB"}}),
    "vault_agent_resources": ({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"memory": "1Mi"}},),
    "monitoring_resources": ({"limit": {}}, {"limits": {"memory": "lots"}}, {"limits": "1Gi"}),
    "cloudcartops_domain": ("http://shop.example.com", "shop.example.com:80", "Shop", "shop..com", ".local", ""),
    "cloudcartops_image_registry": ("https://docker.io/shop", "docker.io/shop/", "Docker.io", ""),
    "cloudcartops_image_tag": ("v1:2", "", "-1", "a" * 129, "a b"),
    "redis_image": ("", "Redis", "redis:7 alpine", "redis/"),
    "pull_images": (["Redis"], [""]),
    "vault_init_mount": ("/cloudcart", "cloudcart/", ""),
    "postgresql_vault_secret": ("/cloudcart/data/database",),
    "ingress_tls_secret": ("Shop_TLS",),
    "vault_token_secret": ("", "Root"),
    "k3s_context": ("", "a b"),
    "vault_init_role_ttl": ("a day", "1.5h", "", "-1h", 0),
    "monitoring_retention": ("15", "two weeks", "1.5d", "0d"),
    "monitoring_retention_size": ("8Gi", "8", "8 GB"),
    "monitoring_alertmanagers": (["http://alert:9093"], ["alert"], ["alert:99999"]),
    "kafka_topics": ([{"name": "a b"}], [{"name": "."}], [{"name": "a"}, {"name": "a"}],
                     [{"name": "a", "partitions": 0}]),
    "verify_topics": (["a b"], [""]),
    "ingress_hosts_address": ("vm-1", "300.1.1.1", "192.0.2.1:80"),
    "verify_address": ("http://192.0.2.1", "192.0.2.1:99999", "192.0.2.1/path"),
    "k3s_api_endpoint": ("https://vm-1", "vm-1:6443", ""),
    "k3s_server_url": ("192.0.2.1:6443", "http://192.0.2.1:6443", "https://192.0.2.1:6443/", ""),
    "vault_init_kubernetes_host": ("kubernetes.default.svc", ""),
    "k3s_token": ("a b", "a\nb"),
    "verify_services": ({"shop": "image"},),
}  # fmt: skip


def test_each_rule_has_bad_values_here():
    decides = {next(p for p, _check in settings.RULES if re.fullmatch(p, name)) for name in FORMS}
    assert decides == {p for p, _check in settings.RULES} - {"cloudcartops_services(_override)?"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FORMS.items() for value in values])
def test_a_wrong_form_is_refused(name, value):
    [problem] = settings.errors(KNOWN, {name: value})
    assert re.fullmatch(rf"{name} (is|has) .+, (and|which) .+\.|{name} has \S+ twice\. .+\.", problem), problem
    if isinstance(value, (str, int)) and name != "k3s_token":
        assert f"'{value}'" in problem
    if name == "k3s_token":
        assert value not in problem and "not shown" in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k3s_api_endpoint", "2001:db8::1"), ("k3s_api_endpoint", "VM-1.example.com"), ("verify_address", "vm-1:8080"),
        ("k3s_server_url", "https://[2001:db8::1]:6443"), ("vault_init_role_ttl", 3600), ("apps_replicas", "2"),
        ("ingress_hosts_address", "2001:db8::1"), ("cloudcartops_image_registry", "localhost:5000"), ("redis_uid", "9"),
        ("redis_image", f"docker.io/library/redis:7@sha256:{'a' * 64}"), ("monitoring_retention", "1d12h"),
        ("kafka_topic_retention_ms", -1), ("cloudcartops_domain", "localhost"), ("cloudcartops_bundle", "~/bundle"),
        ("monitoring_alertmanagers", ["alert.example.com:9093"]), ("cloudcartops_image_tag", 5),
        ("kafka_storage_size", "1.5Ti"),
    ],
)  # fmt: skip
def test_what_is_right_is_not_refused(name, value):
    assert settings.errors(KNOWN, {name: value}) == []


@pytest.mark.parametrize(("shares", "needed"), [(3, 4), (3, 1)])
def test_shares_and_threshold(shares, needed):
    [problem] = settings.errors(KNOWN, {"vault_init_key_shares": shares, "vault_init_key_threshold": needed})
    assert problem.startswith(f"vault_init_key_threshold is {needed}, with {shares} as vault_init_key_shares. Take ")
    assert settings.errors(KNOWN, {"vault_init_key_shares": 1, "vault_init_key_threshold": 1}) == []


def test_a_pgp_key_for_each_share():
    [problem] = settings.errors(KNOWN, {"vault_init_key_shares": 3, "vault_init_pgp_keys": ["mQEN"]})
    assert problem.startswith("vault_init_pgp_keys has 1 keys, with 3 as vault_init_key_shares. Give ")


def test_a_value_that_comes_from_the_variable_of_all_is_told_once():
    values = {"vault_namespace": "Shop", "cloudcartops_namespace": "Shop", "redis_namespace": "Cache"}
    assert [p.split()[0] for p in settings.errors(KNOWN, values)] == ["cloudcartops_namespace", "redis_namespace"]


def test_names_that_nearly_are_a_variable():
    assert settings.unknown(KNOWN, ["cloudcartops_domian", "cloudcartops_domain", "cloudcartops_team", "domian"]) == [
        "cloudcartops_domian is no variable of this collection. Did you mean cloudcartops_domain? Rename it."
    ]


def test_one_run_tells_all_of_it_and_does_nothing(tmp_path):
    """Of the host of the platform and of the machines, which it does not reach for."""
    over = {"cloudcartops_domian": "x", "kafka_storage_size": "5", "vault_init_key_threshold": 9, "redis_uid": "many"}
    machine = {"k3s_join_timeout": "soon", "k3s_token": "not a secret", "k3s_data_dir": "{{ not_known_yet }}"}
    local = yaml.safe_load((ROOT / "inventories/dev/group_vars/platform.yml").read_text(encoding="utf-8"))
    inventory = {
        "platform": {"hosts": {"cluster": local | over}},
        "k3s_server": {"hosts": {"vm-1": machine}},
        "k3s_agent": {"hosts": {"vm-2": machine | {"k3s_ready_timeout": 0}}},
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    command = ["ansible-playbook", "playbooks/lint.yml", "--inventory", str(tmp_path / "hosts.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr
    text = done.stdout + done.stderr
    for part in (
        "cluster: cloudcartops_domian is no variable", "cluster: kafka_storage_size is '5'",
        "cluster: redis_uid is 'many'", "vm-1, vm-2: k3s_token is what",
        "cluster: vault_init_key_threshold is 9, with 5 as vault_init_key_shares",
        "vm-1, vm-2: k3s_join_timeout is 'soon'", "vm-2: k3s_ready_timeout is '0'",
    ):  # fmt: skip
        assert part in text, text
    assert "not a secret" not in text and "k3s_data_dir" not in text
    assert " changed=0 " in done.stdout
