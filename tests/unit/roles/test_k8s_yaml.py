# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s_yaml: what is written is what would be applied."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudcartops.platform.plugins.filter.k8s_yaml import FilterModule
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.apply import COMPONENT, PART_OF, prepare

k8s_yaml = FilterModule().filters()["k8s_yaml"]
LABELS = {"app": "a"}
OBJECTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": LABELS}, "spec": {"selector": LABELS}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"script": "set -e\necho $HOME\n", "yes": "on", "number": "07", "long": "x " * 200},
    },
]


def test_it_is_what_k8s_apply_would_send():
    text = k8s_yaml(OBJECTS, "shop", part_of="cloudcart", component="apps")
    assert list(yaml.safe_load_all(text)) == prepare(OBJECTS, {PART_OF: "cloudcart", COMPONENT: "apps"}, "shop")
    assert text == k8s_yaml(OBJECTS, "shop", part_of="cloudcart", component="apps")


def test_a_person_can_read_it():
    text = k8s_yaml(OBJECTS, "shop")
    assert "  script: |\n    set -e\n    echo $HOME\n" in text
    assert "&id" not in text and max(map(len, text.splitlines())) > 400, "no references, no folded lines"


def test_no_secret_is_in_it():
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hunter2"}}
    text = k8s_yaml([secret, *OBJECTS], "shop")
    assert "Secret" not in text and "hunter2" not in text and "aHVudGVyMg" not in text


def test_values_of_ansible_are_plain_text(rendered):
    text = k8s_yaml(rendered("vault", "__vault_account_objects"), "shop")
    assert [obj["kind"] for obj in yaml.safe_load_all(text)] == ["ServiceAccount", "ClusterRoleBinding"]
    assert "!!" not in text


def test_an_object_that_cannot_be_right():
    with pytest.raises(AnsibleFilterError, match="Definition 1 of 1 has no kind"):
        k8s_yaml([{"apiVersion": "v1", "metadata": {"name": "x"}}], "shop")
