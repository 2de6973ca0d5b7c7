# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the modules' documentation work, each as it stands, but for how server and cluster are reached."""

from __future__ import annotations

import importlib

import pytest
import yaml

# In an order in which each finds what it needs.
MODULES = (
    "vault_mount",
    "vault_auth_method",
    "vault_policy",
    "vault_kubernetes_auth_config",
    "vault_kubernetes_auth_role",
    "vault_kv2_secret",
    "vault_configuration",
)
CONNECTION = ("url", "token", "kubeconfig", "context", "service", "token_secret")
# What the examples read from files: {"alg": "RS256"}.{"exp": 4102444800}.sig
JWT = "eyJhbGciOiAiUlMyNTYifQ.eyJleHAiOiA0MTAyNDQ0ODAwfQ.c2ln"


@pytest.fixture
def server(openbao):
    """The server with the auth method that the examples take for granted; what they made goes away again."""
    openbao("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    yield openbao
    for auth in ("kubernetes", "kubernetes-staging"):
        openbao("DELETE", f"sys/auth/{auth}")
    for mount in ("shop", "cloudcart"):
        openbao("DELETE", f"sys/mounts/{mount}")
    for policy in ("shop-database", "database-policy", "audit"):
        openbao("DELETE", f"sys/policies/acl/{policy}")


def examples(name):
    module = importlib.import_module(f"ansible_collections.cloudcartops.platform.plugins.modules.{name}")
    for task in yaml.safe_load(module.EXAMPLES):
        options = task[f"cloudcartops.platform.{name}"]
        options = {key: value for key, value in options.items() if key not in CONNECTION}
        for holder in (options, options.get("fields", {})):
            for key, value in holder.items():
                if isinstance(value, str) and "lookup(" in value:
                    holder[key] = JWT if key == "token_reviewer_jwt" else "a certificate"
        for item in (options, *options.get("spec", {}).get("kubernetes_auth_config", [])):
            if "kubernetes_host" in item.get("fields", {}):  # this server is in no pod that has the cluster's CA
                item["fields"] |= {"kubernetes_ca_cert": "a certificate", "disable_local_ca_jwt": True}
        yield options, task.get("check_mode", False)


def test_examples(run_module, server):
    for name in MODULES:
        for options, check in examples(name):
            planned = run_module(name, options, check=True)
            if not check:
                assert run_module(name, options)["plan"] == planned["plan"]
                assert run_module(name, options)["changed"] is False
    assert server("GET", "shop/data/database")["data"]["user"] == "shop"
    assert server("GET", "auth/kubernetes/role/shop")["token_policies"] == ["shop-database"]
    assert server("GET", "auth/kubernetes-staging/config")["token_reviewer_jwt_set"] is True
