# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service catalogue: what an override changes, and what is refused."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue.services import merged
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import catalogue

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEFAULTS = yaml.safe_load((ROOT / "roles/catalog/defaults/main.yml").read_text(encoding="utf-8"))
SERVICES = DEFAULTS["cloudcartops_services"]
SECRETS = ["database", "jwt", "kafka", "redis"]
SHOP = {"image": "shop", "port": 80, "command": ["shop"], "secrets": {"jwt": {"KEY": "secret"}}}


def test_the_catalogue_is_that_of_the_contract():
    assert merged(SERVICES, {}, SECRETS) == SERVICES
    assert {name: entry.get("port") for name, entry in SERVICES.items() if "image" in entry} == {
        "api-gateway": 3000,
        "user-service": 8001,
        "product-service": 8002,
        "order-service": 8003,
        "chaos-service": 8004,
        "notification-worker": 8005,
        "metrics-generator": None,
        "frontend": 80,
    }
    assert all(entry["image"] == f"cloudcartops-{name}" for name, entry in SERVICES.items() if "image" in entry)
    assert {name: list(entry["secrets"]) for name, entry in SERVICES.items() if "secrets" in entry} == {
        "postgres": ["database"],
        "api-gateway": ["jwt", "redis"],
        **{name: ["database", "kafka"] for name in ("user-service", "product-service", "order-service")},
        "notification-worker": ["kafka"],
    }
    assert [name for name, entry in SERVICES.items() if entry.get("replicas") == 1] == [
        "chaos-service",
        "metrics-generator",
    ]
    assert len([name for name, entry in SERVICES.items() if entry.get("metrics") == "/metrics"]) == 6


def test_an_override_says_what_differs():
    changed = merged(
        SERVICES,
        {
            "api-gateway": {"replicas": 3, "environment": {"NODE_ENV": "production"}, "secrets": ["jwt"]},
            "user-service": {"health": None, "secrets": {"redis": {"REDIS_URL": "url"}, "kafka": None}},
            "frontend": None,
            "shop": SHOP,
            "account": {"secrets": ["jwt"]},
        },
        SECRETS,
    )
    assert changed["api-gateway"] == {
        **SERVICES["api-gateway"],
        "replicas": 3,
        "environment": {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "NODE_ENV": "production"},
        "secrets": {"jwt": {"JWT_SECRET": "secret"}},
    }
    assert "health" not in changed["user-service"]
    assert changed["user-service"]["secrets"] == {
        "database": {"DATABASE_URL": "database_url"},
        "redis": {"REDIS_URL": "url"},
    }
    assert "frontend" not in changed and changed["shop"] == SHOP
    assert changed["account"] == {"secrets": {"jwt": {}}}
    assert merged({"a": {"secrets": ["jwt", "kafka"]}, "b": None}, {"a": {"secrets": {"jwt": {"K": "k"}}}}) == {
        "a": {"secrets": {"jwt": {"K": "k"}, "kafka": {}}}
    }


WRONG = [
    ({"Shop": {}}, "Shop: the name of a service has lower-case letters"),
    ({"s" * 64: {}}, "is no longer than 63"),
    ({7: {}}, "7: the name of a service"),
    ({"shop": []}, "shop is a list, and has to be a dictionary, or null"),
    ({"shop": {"prot": 80}}, "shop.prot: there is no such key. Did you mean port?"),
    ({"shop": {"xyzzy": 80}}, "shop.xyzzy: there is no such key. There are command, "),
    ({"shop": {"image": "Shop Window"}}, "shop.image is the text 'Shop Window', and has to be the name of an image"),
    ({"shop": {"image": 1}}, "shop.image is a number, and"),
    *[
        ({"shop": {"port": port}}, f"shop.port is {shown}, and has to be a whole number from 1 to 65535.")
        for port, shown in (
            (0, "0"),
            (65536, "65536"),
            (True, "a truth value"),
            ("http", "the text 'http'"),
            (8.5, "a number"),
            (-1, "-1"),
        )
    ],
    ({"shop": {"replicas": "many"}}, "shop.replicas is the text 'many'"),
    ({"shop": {"command": "run me"}}, "shop.command is the text 'run me', and has to be a list of texts"),
    ({"shop": {"command": []}}, "shop.command is empty, and"),
    ({"shop": {"command": ["run", 1]}}, "shop.command has '1', and each"),
    ({"shop": {"secrets": "jwt"}}, "shop.secrets is the text 'jwt', and has to be {secret: {VARIABLE: key"),
    ({"shop": {"secrets": [1]}}, "shop.secrets is a list, and"),
    ({"shop": {"secrets": {"jwt": "secret"}}}, "shop.secrets has the text 'secret' for jwt, and"),
    ({"shop": {"secrets": {"jwt": {"MY-KEY": "secret"}}}}, "shop.secrets has 'MY-KEY' for jwt, which is no name"),
    ({"shop": {"secrets": {"jwt": {"KEY": "a b"}}}}, "shop.secrets has 'a b' for jwt.KEY, and"),
    ({"shop": {"secrets": {"jwt": {"KEY": 1}}}}, "shop.secrets has '1' for jwt.KEY, and"),
    ({"shop": {"secret_files": ["jwt"]}}, "shop.secret_files is a list, and"),
    ({"shop": {"secret_files": {"jwt": "../x"}}}, "shop.secret_files has '../x', and"),
    ({"shop": {"environment": ["A=b"]}}, "shop.environment is a list, and"),
    ({"shop": {"environment": {"A B": "c"}}}, "shop.environment has 'A B', which is no name"),
    ({"shop": {"environment": {"A": ["c"]}}}, "shop.environment has a list for A, and a variable is a text"),
    ({"shop": {"health": "health"}}, "shop.health is the text 'health', and has to be a path that begins with /"),
    ({"shop": {"metrics": True}}, "shop.metrics is a truth value, and"),
    ({"shop": {"waits_for": "kafka:9092"}}, "shop.waits_for is the text 'kafka:9092', and has to be a list"),
    ({"shop": {"waits_for": ["kafka"]}}, "shop.waits_for has 'kafka', and each has to be one of addresses"),
    ({"shop": {"waits_for": ["kafka:0"]}}, "shop.waits_for has 'kafka:0', and a port is a number from 1 to 65535."),
    ({"shop": {"resources": "small"}}, "shop.resources is the text 'small', and"),
    ({"shop": {"resources": {"cpu": "1"}}}, "shop.resources has 'cpu', and has to have nothing but requests and"),
    ({"shop": {"resources": {"limits": "1"}}}, "shop.resources has the text '1' for limits, and"),
    ({"shop": {"resources": {"limits": {"cpu": "1 core"}}}}, "shop.resources has '1 core' for limits.cpu, and"),
    ({"shop": {"service_type": "Ingress"}}, "shop.service_type is the text 'Ingress', and has to be ClusterIP, Nod"),
    ({"shop": {"service_account": "A"}}, "shop.service_account is the text 'A', and"),
    # Keys that are right by themselves.
    ({"shop": {"image": "shop", "health": "/health"}}, "shop.health needs a port. Set port as well."),
    ({"shop": {"image": "shop", "service_type": "NodePort"}}, "shop.service_type needs a port."),
    ({"shop": {"port": 80}}, "shop.port needs an image, because nothing runs without one."),
    (
        {"shop": {"secrets": ["jtw"]}},
        "shop.secrets.jtw and there is no such secret. Correct the name, or declare the secret in vault_init_secrets; "
        "there are database, jwt, kafka, redis.",
    ),
    ({"shop": {**SHOP, "secrets": ["jwt"]}}, "shop.secrets.jwt says not which variables the service gets."),
    ({"shop": {**SHOP, "command": None}}, "shop.command is missing. A shell reads the secrets"),
    ({"shop": {**SHOP, "environment": {"KEY": ""}}}, "shop.secrets gives KEY, which it is given a second time."),
    (
        {"shop": {**SHOP, "secrets": {"jwt": {"KEY": "secret"}, "redis": {"KEY": "url"}}}},
        "shop.secrets gives KEY, which it is given a second time.",
    ),
    (
        {"user-service": {"secret_files": {"kafka": "database"}}},
        "user-service.secret_files has database for two secrets.",
    ),
    ({"shop": "null"}, "shop is the text 'null', and has to be a dictionary"),
]


@pytest.mark.parametrize(("override", "message"), WRONG, ids=[message[:40] for _override, message in WRONG])
def test_what_is_wrong_is_named_with_its_variable(override, message):
    with pytest.raises(PlatformError) as error:
        merged(SERVICES, override, SECRETS)
    assert f"- cloudcartops_services_override.{message}" in str(error.value) or message in str(error.value)
    assert "cloudcartops_services_override." in str(error.value)


def test_a_secret_whose_name_is_no_file_name():
    with pytest.raises(PlatformError, match="shop.secret_files has to give a file name for the secret MyKey"):
        merged({}, {"shop": {**SHOP, "secrets": {"MyKey": {"KEY": "secret"}}}})
    merged({}, {"shop": {**SHOP, "secrets": {"MyKey": {"KEY": "secret"}}, "secret_files": {"MyKey": "my-key"}}})
    merged({}, {"shop": {**SHOP, "secrets": {"team/key": {"KEY": "secret"}}}})


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(PlatformError) as error:
        merged(SERVICES, {"shop": {"port": 0, "image": ""}, "api-gateway": {"port": "x"}})
    assert str(error.value).count("\n- ") == 3


@pytest.mark.parametrize("value", [None, [], "x"])
def test_both_are_dictionaries(value):
    with pytest.raises(PlatformError, match="cloudcartops_services_override is .*dictionary of services by name"):
        merged({}, value)
    with pytest.raises(PlatformError, match="cloudcartops_services is "):
        merged(value, {})


def test_vault_gets_the_same_roles_from_names_and_from_what_is_taken_of_them():
    taken = {"shop": {"secrets": {"jwt": {"KEY": "secret"}}}}
    for build in (catalogue.vault_spec, catalogue.vault_logins):
        more = ("https://k", "1h") if build is catalogue.vault_spec else ()
        assert build({"jwt": {}}, taken, "kv", "ns", *more) == build(
            {"jwt": {}}, {"shop": {"secrets": ["jwt"]}}, "kv", "ns", *more
        )
