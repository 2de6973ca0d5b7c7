# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role k3s removes only when it is meant, and what it tells of it."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.template import trust_as_template as trusted

TASKS = pathlib.Path(__file__).resolve().parents[3] / "roles/k3s/tasks"


def first(file: str) -> str:
    """The condition of the first task of a file."""
    task = yaml.safe_load((TASKS / file).read_text(encoding="utf-8"))[0]
    return trusted("{{ " + task["ansible.builtin.assert"]["that"] + " }}")


@pytest.mark.parametrize(
    ("environment", "word", "check", "allowed"),
    [
        ("dev", "", False, False),
        ("dev", "prod", False, False),
        ("prod", "dev", False, False),
        ("prod", "true", False, False),
        ("dev", "dev", False, True),
        ("prod", "prod", False, True),
        ("prod", "", True, True),
    ],
)
def test_an_uninstallation_needs_the_name_of_the_environment(rendered, environment, word, check, allowed):
    over = {"k3s_environment": environment, "k3s_uninstall_environment": word, "ansible_check_mode": check}
    assert rendered("k3s", "x", x=first("uninstall.yml"), **over) is allowed


@pytest.mark.parametrize(
    ("groups", "allowed"),
    [(["k3s_removed"], True), (["k3s_removed", "amd64"], True), (["k3s_agent", "k3s_removed"], False)],
)
def test_a_host_leaves_only_when_it_is_in_no_other_group(rendered, groups, allowed):
    assert rendered("k3s", "x", x=first("remove.yml"), group_names=groups) is allowed


def test_the_report_of_an_uninstallation(rendered):
    found = {"removed": ["unit k3s.service", "interface cni0"], "kept_volumes": [{"path": "/var/lib/x/pvc-1_a_b"}]}
    lines = rendered("k3s", "__k3s_uninstall_report", __k3s_uninstalled=found, ansible_check_mode=True)
    assert lines[:2] == ["would remove unit k3s.service", "would remove interface cni0"]
    assert lines[2].startswith("/var/lib/x/pvc-1_a_b stays") and "k3s_uninstall_volumes" in lines[2]
    lines = rendered("k3s", "__k3s_uninstall_report", __k3s_uninstalled=found, ansible_check_mode=False)
    assert lines[0] == "removed unit k3s.service"


HOSTS = {"groups": {"k3s_server": ["vm-1"], "k3s_agent": ["vm-2"]}, "group_names": ["k3s_agent"]}
HOSTS["hostvars"] = {"vm-1": {"ansible_host": "192.0.2.11"}, "vm-2": {"ansible_host": "192.0.2.12"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"GODEBUG": "x"}, {"GODEBUG": "x"}),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "mine"}, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "mine"}),
        (
            {"https_proxy": "http://p:3128"},
            {"https_proxy": "http://p:3128", "NO_PROXY": "127.0.0.0/8,::1,localhost,192.0.2.11,192.0.2.12"},
        ),
    ],
)
def test_the_way_between_nodes_does_not_lead_through_a_proxy(rendered, given, expected):
    assert rendered("k3s", "__k3s_variables_all", k3s_variables=given, **HOSTS) == expected


def test_variables_are_quoted_for_systemd(rendered):
    template = (TASKS.parent / "templates/variables.env.j2").read_text(encoding="utf-8")
    text = rendered("k3s", "x", x=trusted(template), k3s_variables={"A": 'b "c" \\d', "N": 1}, **HOSTS)
    assert text.splitlines()[1:] == ['A="b \\"c\\" \\\\d"', 'N="1"']


@pytest.mark.parametrize("registries", [{}, {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}}}])
def test_registries_are_named_only_while_there_are_any(rendered, registries):
    options = rendered("k3s", "__k3s_common_options", k3s_registries=registries)
    assert options == ({"private-registry": "/etc/rancher/k3s/registries.ansible.yaml"} if registries else {})


def test_names_that_are_none_are_refused(rendered):
    tasks = yaml.safe_load((TASKS / "check.yml").read_text(encoding="utf-8"))
    task = next(t for t in tasks if t["name"] == "K3s | Refuse options that K3s would not take")
    over = {
        "x": trusted(task["vars"]["__k3s_errors"]),
        "__k3s_no_name": trusted(task["vars"]["__k3s_no_name"]),
        "inventory_hostname": "vm-2",
    }
    assert rendered("k3s", "x", **over, k3s_variables={"HTTP_PROXY": "x", "_a1": "y"}, **HOSTS) == []
    [error] = rendered("k3s", "x", **over, k3s_variables={"HTTP-PROXY": "x"}, **HOSTS)
    assert error == (
        "vm-2: k3s_variables has 'HTTP-PROXY', which cannot be the name of a variable. Use letters, digits and '_'."
    )
