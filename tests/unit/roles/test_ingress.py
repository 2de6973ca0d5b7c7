# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes, what is refused, and the names in /etc/hosts."""

from __future__ import annotations

import json

import pytest

PROD = {"cloudcartops_environment": "prod"}
FILES = {"ingress_tls_certificate": "/certificate.pem", "ingress_tls_key": "/key.pem"}
NAMES = ["cloudcart.local", "prometheus.cloudcart.local", "vault.cloudcart.local"]


@pytest.fixture
def ingress(rendered):
    """A function: the Ingress."""

    def render(**over):
        [found] = rendered("ingress", "__ingress_objects", **over)
        return found

    return render


def routes(ingress) -> dict[str, str]:
    return {
        rule["host"] + path["path"]: "{name}:{port[number]}".format(**path["backend"]["service"])
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    }


def test_routes(ingress):
    made = ingress()
    assert routes(made) == {
        "cloudcart.local/api": "api-gateway:3000",
        "cloudcart.local/": "frontend:80",
        "prometheus.cloudcart.local/": "prometheus:9090",
        "vault.cloudcart.local/": "vault:8200",
    }
    assert made["metadata"]["annotations"] == {"traefik.ingress.kubernetes.io/router.entrypoints": "web"}
    assert made["spec"]["ingressClassName"] == "traefik" and "tls" not in made["spec"]
    assert [rule["host"] for rule in made["spec"]["rules"]] == NAMES


def test_ports_and_names_are_the_inventorys(ingress):
    made = ingress(
        cloudcartops_domain="shop.example.com", cloudcartops_services_override={"api-gateway": {"port": 3001}}
    )
    assert routes(made)["shop.example.com/api"] == "api-gateway:3001"
    assert "vault.shop.example.com/" in routes(made)


@pytest.mark.parametrize("over", [FILES, {"ingress_tls_secret": "shop-tls"}])
def test_with_a_certificate_all_is_encrypted(ingress, over):
    made = ingress(**PROD, **over)
    assert made["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.entrypoints"] == "websecure"
    assert made["spec"]["tls"] == [{"secretName": over.get("ingress_tls_secret", "cloudcart-tls"), "hosts": NAMES}]
    assert "vault.cloudcart.local/" in routes(made)


def test_prod_without_tls_has_no_route_to_vault(ingress, rendered):
    assert not any("vault" in route for route in routes(ingress(**PROD)))
    assert not any("vault" in ask["host"] for ask in rendered("ingress", "__ingress_asked", **PROD))
    assert rendered("ingress", "__ingress_errors", **PROD) == []


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({**PROD, "ingress_vault": True}, "without TLS"),
        ({**PROD, "ingress_vault": "yes", "ingress_entrypoint": "websecure"}, "without TLS"),
        ({"ingress_tls_certificate": "/certificate.pem"}, "only one is set"),
        ({"ingress_tls_key": "/key.pem"}, "only one is set"),
        ({**FILES, "ingress_tls_secret": "shop-tls"}, "set one"),
        ({"ingress_tls_secret": "cloudcart-tls"}, "Give your Secret another name"),
        ({**FILES, "ingress_entrypoint": "web"}, "nobody would see it"),
    ],
)
def test_what_is_refused(rendered, over, said):
    [error] = rendered("ingress", "__ingress_errors", **over)
    assert said in error


def test_every_route_is_asked_for_what_only_its_service_says(rendered):
    asked = rendered("ingress", "__ingress_asked")
    assert [ask["host"] + ask["path"] for ask in asked] == [
        "cloudcart.local/api/auth/validate",
        "cloudcart.local/",
        "prometheus.cloudcart.local/-/ready",
        "vault.cloudcart.local/v1/sys/health?standbyok=true",
    ]
    assert all(ask["status"] != [200] or ask["contains"] for ask in asked)


def test_the_key_is_in_the_secret_alone(rendered, tmp_path):
    for name, text in (("c.pem", "the certificate\n"), ("k.pem", "the key\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    over = {"ingress_tls_certificate": str(tmp_path / "c.pem"), "ingress_tls_key": str(tmp_path / "k.pem")}
    [secret] = rendered("ingress", "__ingress_secrets", **over)
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["stringData"] == {"tls.crt": "the certificate\n", "tls.key": "the key\n"}
    assert "the key" not in json.dumps(rendered("ingress", "__ingress_objects", **over))
    assert (
        rendered("ingress", "__ingress_secrets")
        == rendered("ingress", "__ingress_secrets", ingress_tls_secret="x")
        == []
    )


@pytest.mark.parametrize(
    ("over", "shop", "vault"),
    [
        ({}, "http://cloudcart.local", "http://vault.cloudcart.local"),
        ({**PROD, **FILES}, "https://cloudcart.local", "https://vault.cloudcart.local"),
        (
            PROD,
            "http://cloudcart.local",
            "kubectl -n cloudcart port-forward service/vault 8200, then http://127.0.0.1:8200",
        ),
    ],
)
def test_where_everything_is_told_to_be(rendered, over, shop, vault):
    answers = {"address": "192.0.2.1"}
    site = rendered("ingress", "__ingress_site", cloudcartops_kubeconfig="/k", __ingress_answers=answers, **over)
    assert (site["addresses"]["shop"], site["addresses"]["vault"]) == (shop, vault)
    assert (site["address"], site["kubeconfig"]) == ("192.0.2.1", "/k")
    assert site["names"] == (NAMES if vault.startswith("http") else NAMES[:2])
    assert rendered("ingress", "__ingress_site", ingress_hosts_address="192.0.2.7")["address"] == "192.0.2.7"
