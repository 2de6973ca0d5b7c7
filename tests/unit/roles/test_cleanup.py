# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role cleanup removes, refuses and tells; and that render has all there is to remove."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible.template import trust_as_template as trusted

ROOT = pathlib.Path(__file__).resolve().parents[3]


def roles_with_a_component() -> set[str]:
    found = set()
    for path in (ROOT / "roles").glob("*/tasks/*.yml"):
        found |= set(re.findall(r"^\s+component: ([a-z]+)$", path.read_text(encoding="utf-8"), re.M))
    return found


def test_every_component_has_its_turn(rendered):
    order = rendered("cleanup", "__cleanup_order")
    assert roles_with_a_component() <= set(order)
    assert order.index("ingress") < order.index("apps") < order.index("kafka") and order[-1] == "postgresql"


def test_every_component_is_rendered():
    play = yaml.safe_load((ROOT / "playbooks/render.yml").read_text(encoding="utf-8"))[0]
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/render.yml").read_text(encoding="utf-8"))
    rendered_roles = {task["ansible.builtin.import_role"]["name"].rpartition(".")[2] for task in tasks[:-1]}
    assert rendered_roles == set(play["vars"]["__render_parts"])
    all_of_them = tasks[-1]["ansible.builtin.set_fact"]["__platform_manifests"]
    assert set(re.findall(r"(\w+)_manifests", all_of_them)) == rendered_roles
    assert roles_with_a_component() | {"vault"} <= rendered_roles


@pytest.mark.parametrize(
    ("environment", "data", "named", "allowed"),
    [
        ("dev", True, "", True),
        ("prod", "false", "", True),
        ("prod", "true", "", False),
        ("prod", False, "", True),
        ("prod", True, "", False),
        ("prod", True, "another", False),
        ("prod", True, "shop", True),
    ],
)
def test_data_of_production_needs_a_second_word(rendered, environment, data, named, allowed):
    (task,) = yaml.safe_load((ROOT / "roles/cleanup/tasks/check.yml").read_text(encoding="utf-8"))
    condition = task["ansible.builtin.assert"]["that"]
    over = {"cleanup_environment": environment, "cleanup_data": data, "cleanup_data_namespace": named}
    assert rendered("cleanup", "x", x=trusted("{{ " + condition + " }}"), cleanup_namespace="shop", **over) is allowed


def test_the_report_names_what_goes_and_what_stays(rendered):
    objects = {"objects": [{"kind": "Service", "name": "a"}, {"kind": "Secret", "name": "b"}]}
    namespace = {"objects": [{"kind": "Namespace", "name": "shop"}]}
    known = {"__cleanup_objects": objects, "__cleanup_namespace": namespace, "__cleanup_release": {"changed": False}}
    lines = rendered("cleanup", "__cleanup_report", ansible_check_mode=True, **known)
    assert lines[:2] == ["would delete Service a", "would delete Secret b"] and "vault-seed" in lines[2]
    known["__cleanup_release"] = {"changed": True}
    lines = rendered("cleanup", "__cleanup_report", ansible_check_mode=False, cleanup_data=True, **known)
    assert lines[2:4] == ["deleted Helm release vault", "deleted Namespace shop"]
    assert "The data is gone" in lines[4] and len(lines) == 5
