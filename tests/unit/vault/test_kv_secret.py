# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret becomes: given, generated, derived and foreign fields, with and without a seed."""

from __future__ import annotations

import re

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.kv_secret import (
    fill_template,
    merge_secret,
    random_value,
)

DECLARED = {
    "data": {"user": "shop", "port": 5432},
    "generate": {"password": {"length": 32}},
    "derive": {"url": "postgresql://{user}:{password}@db:{port}/{{x}}"},
}


def merge(live, seed, declared=None):
    return merge_secret(declared or DECLARED, live, seed, generate=lambda length, **_alphabet: f"new{length}")


# Vault has | the seed has | -> the value, why it is written, what the seed holds then
@pytest.mark.parametrize(
    ("live", "seed", "value", "reason"),
    [
        (None, None, "new32", "generated"),
        (None, "seeded", "seeded", "restored from the seed"),
        ("live", None, "live", None),
        ("live", "live", "live", None),
        ("live", "other", "live", None),
        ("", None, "new32", "generated"),
        ("", "seeded", "seeded", "restored from the seed"),
    ],
)
def test_generated_field(live, seed, value, reason):
    change = merge({} if live is None else {"password": live}, {} if seed is None else {"password": seed})
    assert change.values["password"] == value
    assert change.fields.get("password") == reason
    assert change.seed == {"password": value}


def test_everything_is_composed():
    change = merge({}, {})
    assert change.values == {
        "user": "shop",
        "port": "5432",
        "password": "new32",
        "url": "postgresql://shop:new32@db:5432/{x}",
    }
    assert change.fields == {"user": "given", "port": "given", "password": "generated", "url": "derived"}


def test_nothing_differs_the_second_time():
    assert merge(merge({}, {}).values, {}).fields == {}


def test_foreign_fields_are_kept():
    change = merge({"password": "p", "by_hand": "x"}, {})
    assert change.values["by_hand"] == "x"
    assert "by_hand" not in change.fields


def test_a_changed_value_changes_what_derives_from_it():
    live = merge({}, {}).values
    change = merge(live, {}, {**DECLARED, "data": {"user": "new", "port": 5432}})
    assert change.fields == {"user": "given", "url": "derived"}
    assert change.values["password"] == live["password"]


def test_sensitive_data_is_given_too():
    change = merge({}, {}, {"sensitive_data": {"password": "p@:/"}, "derive": {"url": "x://{password}"}})
    assert change.values == {"password": "p@:/", "url": "x://p%40%3A%2F"}
    assert change.seed == {}


def test_random_values():
    values = {random_value(40) for _unused in range(50)}
    assert len(values) == 50
    assert all(re.fullmatch("[A-Za-z0-9]{40}", value) for value in values)


@pytest.mark.parametrize("template", ["{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{}", "{0}", "{a", "a}"])
def test_only_plain_names_are_allowed_in_templates(template):
    with pytest.raises(VaultError) as error:
        fill_template(template, {"a": "value"})
    assert template in str(error.value)
    assert "value" not in str(error.value)


def test_an_unknown_name_in_a_template_is_named():
    with pytest.raises(VaultError, match=r"refers to \{b\}.*it has a\."):
        fill_template("{b}", {"a": "value"})


def test_values_are_not_in_the_representation():
    assert "new32" not in repr(merge({}, {}))
