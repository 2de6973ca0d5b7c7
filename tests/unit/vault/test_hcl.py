# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies are compared by what they mean."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.hcl import policy_meaning

BASE = 'path "cloudcart/data/database" { capabilities = ["read", "list"] }'


@pytest.mark.parametrize(
    "same",
    [
        'path   "cloudcart/data/database"\n{\n\tcapabilities=["read","list"]\n}\n\n',
        'path "cloudcart/data/database" { capabilities = ["list", "read", "read",] }',
        '# who\npath "cloudcart/data/database" { // why\n capabilities = ["read", /* both */ "list"] }',
        '"path" "cloudcart/data/database" { "capabilities" = ["read", "list"] }',
        'path = { "cloudcart/data/database" = { capabilities = ["read", "list"] } }',
        '{"path": {"cloudcart/data/database": {"capabilities": ["list", "read"]}}}',
        '{"path": [{"cloudcart/data/database": {"capabilities": ["list"]}},'
        ' {"cloudcart/data/database": {"capabilities": ["read"]}}]}',
        'path "cloudcart/data/database" { capabilities = ["read"] }\n'
        'path "cloudcart/data/database" { capabilities = ["list"] }',
    ],
)
def test_the_same(same):
    assert policy_meaning(same) == policy_meaning(BASE)


@pytest.mark.parametrize(
    "other",
    [
        "",
        'path "cloudcart/data/database" { capabilities = ["read"] }',
        'path "cloudcart/data/Database" { capabilities = ["read", "list"] }',
        'path "cloudcart/data/ database" { capabilities = ["read", "list"] }',
        'path "cloudcart/data/database" { capabilities = ["read", "list"]  min_wrapping_ttl = "1s" }',
        BASE + '\npath "x" { capabilities = ["read"] }',
        '# path "cloudcart/data/database" { capabilities = ["read", "list"] }',
        BASE + " }",
        'path "cloudcart/data/database" { capabilities = ["read", "list" }',
    ],
)
def test_different(other):
    assert policy_meaning(other) != policy_meaning(BASE)


def test_a_comment_sign_inside_a_string_is_text():
    assert policy_meaning('path "a#b//c" { capabilities = ["read"] }') != policy_meaning(
        'path "a" { capabilities = ["read"] }'
    )


def test_order_of_paths_and_parameters_does_not_count():
    one = 'path "a" { allowed_parameters = { "x" = ["1", "2"]  "y" = [] } }\npath "b" { capabilities = ["deny"] }'
    two = 'path "b" { capabilities = ["deny"] }\npath "a" { allowed_parameters = { y = [], x = ["2", "1"] } }'
    assert policy_meaning(one) == policy_meaning(two)


def test_numbers_and_booleans_are_not_texts():
    assert policy_meaning('path "a" { x = 5 y = true }') != policy_meaning('path "a" { x = "5" y = "true" }')


def test_a_here_document_is_a_text():
    assert policy_meaning('path "a" { x = <<EOT\nhello\nEOT\n }') == policy_meaning('path "a" { x = "hello" }')


@pytest.mark.parametrize(
    "broken", ["path x", 'path "x" {', '{"path": ', 'path "x" { capabilities = ["read" }', "}", "€{"]
)
def test_an_unreadable_policy_equals_only_itself(broken):
    assert policy_meaning(broken) == policy_meaning(broken + "\n")
    assert policy_meaning(broken) != policy_meaning(BASE)
