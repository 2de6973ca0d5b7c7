# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which upgrades of K3s are refused, and what is said."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils import k3s_version


def test_versions_are_in_order():
    ordered = [
        *("v1.33.7+k3s1", "v1.33.7+k3s3", "v1.33.10+k3s1", "v1.34.0-alpha1+k3s1", "v1.34.0-rc1+k3s1"),
        *("v1.34.0-rc2+k3s1", "v1.34.0+k3s1", "v1.34.4+k3s1", "v1.34.4+k3s2", "v1.34.4+k3s10", "v2.0.0+k3s1"),
    ]
    parsed = list(map(k3s_version.parse, ordered))
    assert None not in parsed and parsed == sorted(parsed) and len(set(parsed)) == len(parsed)
    assert k3s_version.parse("v1.34.4+k3s1.mine") == k3s_version.parse("v1.34.4+k3s1")
    assert k3s_version.parse("v1.34.4") is None and k3s_version.parse("latest") is None


@pytest.mark.parametrize(
    ("installed", "target"),
    [
        ("", "v1.34.4+k3s1"),
        ("v1.34.4+k3s1", "v1.34.4+k3s1"),
        ("v1.34.4+k3s1", "v1.34.4+k3s2"),
        ("v1.34.4-rc1+k3s1", "v1.34.4+k3s1"),
        ("v1.34.4+k3s1", "v1.34.5+k3s1"),
        ("v1.34.4+k3s1", "v1.35.0+k3s1"),
    ],
)
def test_what_is_allowed(installed, target):
    assert k3s_version.errors(installed, target) == []


@pytest.mark.parametrize(
    ("installed", "target", "says"),
    [
        ("v1.34.4+k3s2", "v1.34.4+k3s1", ["the older v1.34.4+k3s1", "v1.34.4+k3s2 or later"]),
        ("v1.35.0+k3s1", "v1.34.9+k3s1", ["does not go back"]),
        ("v1.33.7+k3s3", "v1.35.1+k3s1", ["must not be left out", "Go to v1.34 first"]),
        ("v1.34.4+k3s1", "v2.34.4+k3s1", ["must not be left out"]),
        ("v1.34.4", "v1.34.4+k3s1", ["'v1.34.4', which cannot be compared"]),
        ("v1.34.4+k3s1", "1.34.4", ["'1.34.4', which is no version", "lock file"]),
    ],
)
def test_what_is_refused(installed, target, says):
    [error] = k3s_version.errors(installed, target)
    assert [part for part in says if part not in error] == []


def test_agents_follow_their_server():
    assert k3s_version.errors("v1.34.4+k3s1", "v1.34.4+k3s2", server="v1.34.4+k3s2") == []
    [error] = k3s_version.errors("", "v1.34.4+k3s2", server="v1.34.4+k3s1")
    assert "an agent must not be newer" in error and "Upgrade the server first" in error
    assert k3s_version.errors("", "v1.34.4+k3s2", server="") == []


def test_the_step_of_etcd():
    [error] = k3s_version.errors("v1.33.7+k3s1", "v1.34.1+k3s1", etcd=True)
    assert "v1.33.7+k3s3 or a later 1.33 first" in error
    assert k3s_version.errors("v1.33.7+k3s1", "v1.34.1+k3s1", etcd=False) == []
    assert k3s_version.errors("v1.33.7+k3s3", "v1.34.1+k3s1", etcd=True) == []
    assert k3s_version.errors("v1.33.5+k3s1", "v1.33.7+k3s3", etcd=True) == []
