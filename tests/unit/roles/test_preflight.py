# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ports and which server the role preflight has each host looked at for."""

from __future__ import annotations

import pytest

NODE = [6444, 10010, 10248, 10249, 10250, 10256]
SERVER = [6443, 10257, 10258, 10259]
WEB = [80, 443]


@pytest.fixture
def value(rendered):
    """A function: a variable of the role, as it is for the agent vm-2, or for the server vm-1."""

    def value(name, server=None, agent=None, group="k3s_agent", groups=None, **over):
        groups = groups or {"k3s_server": ["vm-1"], "k3s_agent": ["vm-2"]}
        host = "vm-1" if group == "k3s_server" else "vm-2"
        known = {"hostvars": {"vm-1": server or {}, "vm-2": agent or {}}, "groups": groups, "group_names": [group]}
        return rendered("preflight", name, inventory_hostname=host, **known, **over)

    return value


@pytest.mark.parametrize(
    ("group", "config", "ports"),
    [
        ("k3s_agent", {}, NODE + WEB),
        ("k3s_server", {}, SERVER + NODE + WEB),
        ("k3s_server", {"https-listen-port": 8443}, [8443, *SERVER[1:]] + NODE + WEB),
        ("k3s_server", {"cluster-init": True}, [*SERVER, 2379, 2380, 2381] + NODE + WEB),
        ("k3s_agent", {"disable": ["traefik", "metrics-server"]}, NODE),
        ("k3s_agent", {"disable": "servicelb"}, NODE),
    ],
)
def test_ports(value, group, config, ports):
    assert value("__preflight_ports", server={"k3s_server_config": config}, group=group) == ports


@pytest.mark.parametrize(
    ("server", "agent", "url"),
    [
        ({"ansible_host": "192.0.2.11"}, {}, "https://192.0.2.11:6443"),
        ({"ansible_host": "2001:db8::11"}, {}, "https://[2001:db8::11]:6443"),
        ({}, {}, "https://vm-1:6443"),
        ({"ansible_connection": "local"}, {}, ""),
        ({"ansible_connection": "local"}, {"k3s_api_endpoint": "shop.example"}, "https://shop.example:6443"),
        ({"k3s_server_config": {"https-listen-port": 8443}}, {}, "https://vm-1:8443"),
        ({}, {"k3s_server_url": "https://10.0.0.1:6443"}, "https://10.0.0.1:6443"),
    ],
)
def test_the_server_that_agents_must_reach(value, server, agent, url):
    assert value("preflight_server_url", server=server, agent=agent) == url


def test_without_a_server_there_is_none_to_reach(value):
    assert value("preflight_server_url", groups={"k3s_server": [], "k3s_agent": ["vm-2"]}) == ""


@pytest.mark.parametrize(("environment", "skew", "instances"), [("dev", "120", "256"), ("prod", "30", "1024")])
def test_limits_by_environment(value, environment, skew, instances):
    assert str(value("preflight_max_clock_skew", preflight_environment=environment)) == skew
    assert str(value("preflight_min_inotify_instances", preflight_environment=environment)) == instances
