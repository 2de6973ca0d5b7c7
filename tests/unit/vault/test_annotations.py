# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter vault_annotation_errors: annotations that fit, and each way in which they do not."""

from __future__ import annotations

import copy
import os
import pathlib
import subprocess
import sys

import pytest
import yaml
from ansible_collections.cloudcartops.platform.plugins.filter.vault_annotation_errors import vault_annotation_errors
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.catalogue import vault_spec

ROOT = pathlib.Path(__file__).resolve().parents[3]
PREFIX = "vault.hashicorp.com/"
TEMPLATE = (
    '{{- with secret "kv/data/one" -}}\n'
    'export A="{{ .Data.data.user }}" B={{ index .Data.data "pass-word" }}\n{{ end }}'
)
SECRETS = {"one": {"data": {"user": "x"}, "generate": {"pass-word": {}}, "derive": {"url": "{user}"}}, "two": {}}
SERVICES = {"shop": {"secrets": ["one"]}}
SPEC = vault_spec(SECRETS, SERVICES, "kv", "cloudcart", "https://kubernetes.default.svc", "24h")


def deployment(account="shop", namespace=None, kind="Deployment", **annotations):
    given = {"agent-inject": "true", "role": "shop", "agent-inject-secret-one": "kv/data/one"}
    given |= {"agent-inject-template-one": TEMPLATE} | annotations
    template = {
        "metadata": {"annotations": {PREFIX + key: v for key, v in given.items() if v is not None}},
        "spec": {"serviceAccountName": account} if account else {},
    }
    manifest = {"kind": kind, "metadata": {"name": "x"} | ({"namespace": namespace} if namespace else {})}
    if kind == "Pod":
        return manifest | {"spec": template["spec"], "metadata": manifest["metadata"] | template["metadata"]}
    spec = {"template": template}
    return manifest | {"spec": {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec}


def errors(*manifests, spec=SPEC):
    return vault_annotation_errors(manifests, spec, "cloudcart")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"])
def test_what_fits(kind):
    assert errors(deployment(kind=kind), {"kind": "Service"}, {"kind": "ConfigMap", "data": {}}) == []
    assert errors(deployment(kind=kind, role="nobody")) == [
        f"{kind} x: there is no role nobody in auth/kubernetes; there are shop."
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agent-inject": True}, "agent-inject is True, and annotations are texts: put it in quotes"),
        ({"agent-inject": None}, "but not vault.hashicorp.com/agent-inject, which turns it on"),
        ({"role": None}, "it has no vault.hashicorp.com/role"),
        ({"auth-path": "auth/other"}, "there is no role shop in auth/other; there are none"),
        ({"account": "other"}, "the role shop is not for its account other, but for shop"),
        ({"account": None}, "the role shop is not for its account default"),
        ({"namespace": "other"}, "the role shop is not for its namespace other, but for cloudcart"),
        ({"agent-inject-secret-one": "kv/one"}, "it reads kv/one, but kv is a KV version 2 engine: write kv/data/one"),
        ({"agent-inject-secret-two": "kv/data/two"}, "no policy of the role shop allows to read kv/data/two"),
        (
            {"agent-inject-template-one": TEMPLATE.replace("user", "usr")},
            "takes the key usr of kv/data/one, which has user,",
        ),
        ({"agent-inject-template-one": TEMPLATE.replace("pass-word", "x")}, "takes the key x of kv/data/one"),
        ({"agent-inject-template-one": TEMPLATE.replace(".data.user", ".user")}, "has it at .Data.data.user"),
        ({"agent-inject-template-one": TEMPLATE.replace("kv/data/one", "kv/data/two")}, "allows to read kv/data/two"),
        ({"agent-inject-template-b": '{{ with secret "kv/data/one" }}{{ .Data.data.b }}{{ end }}'}, "takes the key b"),
    ],
)
def test_what_does_not(change, message):
    found = errors(deployment(**change))
    assert len(found) >= 1 and message in " ".join(found), found
    assert all(error.startswith("Deployment x: ") for error in found)


def test_each_path_of_a_template_has_its_own_keys():
    two = TEMPLATE + '{{ with secret "kv/data/two" }}{{ .Data.data.other }}{{ end }}'
    spec = vault_spec(SECRETS, {"shop": {"secrets": ["one", "two"]}}, "kv", "cloudcart", "", "24h")
    assert errors(deployment(**{"agent-inject-template-one": two}), spec=spec) == [
        "Deployment x: its template takes the key other of kv/data/two, which has none."
    ]


def test_a_policy_without_data_and_a_secret_nobody_declares():
    spec = copy.deepcopy(SPEC)
    spec["policies"][0]["policy"] = 'path "kv/one" { capabilities = ["read"] }'
    assert "no policy of the role shop allows to read kv/data/one" in errors(deployment(), spec=spec)[0]
    spec["policies"][0]["policy"] = 'path "kv/data/*" { capabilities = ["read"] }'
    assert errors(deployment(), spec=spec) == []
    assert "there is no secret kv/data/z; there are kv/data/one, kv/data/two" in str(
        errors(deployment(**{"agent-inject-secret-z": "kv/data/z"}), spec=spec)
    )
    spec["roles"][0]["fields"] |= {"bound_service_account_names": "sh*,other", "token_policies": "one-policy"}
    assert errors(deployment(), spec=spec) == []


def playbook(path, tmp_path, *arguments):
    """Run a playbook with an inventory whose cluster does not exist; returns its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventories/dev", str(path), *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "HOME": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, " ".join(done.stdout.split()) + done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], ""),
        (["-e", "postgresql_vault_secret=cloudcart/database"], "write cloudcart/data/database"),
        (["-e", "postgresql_vault_role=postgre"], "StatefulSet postgres: there is no role postgre"),
        (
            ["-e", '{"cloudcartops_services_override": {"postgres": {"secrets": ["jwt"]}}}'],
            "allows to read cloudcart/data/da",
        ),
        (["-e", '{"cloudcartops_services_override": {"postgres": {"secrets": ["x"]}}}'], "there is no such secret"),
        (
            [
                "-e",
                '{"cloudcartops_services_override": {"user-service": {"secrets": {"redis": {"REDIS_URL": "uri"}}}}}',
            ],
            "Deployment user-service: its template takes the key uri of cloudcart/data/redis, which has url.",
        ),
        (
            ["-e", '{"cloudcartops_services_override": {"frontend": {"port": "http"}}}'],
            "cloudcartops_services_override.frontend.port is the text 'http', and has to be a whole number from",
        ),
    ],
)
def test_playbook(options, message, tmp_path):
    status, shown = playbook("playbooks/lint.yml", tmp_path, *options)
    assert (status == 0) == (not message), shown
    assert message in shown


def test_the_examples_run(tmp_path):
    (tmp_path / "deployment.yml").write_text(yaml.safe_dump_all(EXAMPLE))
    tasks = []
    for name in ("vault_spec", "vault_logins", "vault_annotation_errors"):
        # Not imported: that brings in Ansible's controller, to which modules in this process would then leave warnings.
        source = (ROOT / f"plugins/filter/{name}.py").read_text(encoding="utf-8")
        tasks += yaml.safe_load(source.partition('EXAMPLES = r"""')[2].partition('"""')[0])
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "platform", "gather_facts": False, "tasks": tasks}]))
    status, shown = playbook(tmp_path / "play.yml", tmp_path)
    assert status == 0, shown
    assert "database-policy" in shown and "cloudcart/data/jwt" in shown and "ok=3" in shown


EXAMPLE = [
    {"kind": "Service", "metadata": {"name": "x"}},
    deployment(
        **{
            "agent-inject-secret-one": "cloudcart/data/database",
            "agent-inject-template-one": TEMPLATE.replace("kv/data/one", "cloudcart/data/database")
            .replace("user", "password")
            .replace("pass-word", "password"),
        }
    ),
]
