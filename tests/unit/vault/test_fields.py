# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of roles and configurations: names, spellings, drift."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import fields
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError


def test_normalise():
    names = ["y", "x"]
    given = {
        "ttl": "1h",
        "policies": "B, a",
        "bound_service_account_names": names,
        "audience": None,
        "token_type": "x ",
    }
    assert fields.normalise("x", given) == {
        "token_ttl": 3600,
        "token_policies": ["a", "b"],
        "bound_service_account_names": ["x", "y"],
        "token_type": "x",
    }


def test_one_field_under_two_names():
    with pytest.raises(VaultError, match="both ttl and token_ttl"):
        fields.normalise("x", {"token_ttl": 1, "ttl": 1})


def test_live_fields_without_the_old_names():
    live = {"ttl": 60, "token_ttl": 60, "policies": ["a"], "token_policies": ["A"]}
    assert fields.live_fields(live) == {"token_ttl": 60, "token_policies": ["a"]}


@pytest.mark.parametrize(
    ("desired", "live", "expected"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 1, "token_max_ttl": 0, "audience": "", "token_bound_cidrs": [], "y": None}, {}),
        ({"a": 1}, {"a": 1, "token_max_ttl": 60, "token_bound_cidrs": ["10.0.0.0/8"], "token_no_default_policy": True},
         {"token_max_ttl": 0, "token_bound_cidrs": [], "token_no_default_policy": False}),
        ({"a": 1}, {"a": 1, "alias_name_source": "serviceaccount_uid", "token_type": "default"}, {}),
        ({"a": 1}, {"a": 1, "alias_name_source": "serviceaccount_name"}, {"alias_name_source": "serviceaccount_uid"}),
    ],
)  # fmt: skip
def test_drift(desired, live, expected):
    assert fields.drift(desired, live) == expected


@pytest.mark.parametrize(
    ("name", "hint"),
    [("policy", "Did you mean policies"), ("bound_audiences", "Did you mean"), ("zzz", "It knows alias_metadata")],
)
def test_unknown_names(name, hint):
    with pytest.raises(VaultError, match=f"The role x has a field {name}, .*{hint}"):
        fields.check_names("The role x", {name: 1}, fields.ROLE_FIELDS)
