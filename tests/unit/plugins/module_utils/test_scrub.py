# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in the words of others."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._scrub import HIDDEN, scrub


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://shop:Geheim1@postgres:5432/shop", "Geheim1"),
        ("redis://:Geheim1@redis:6379", "Geheim1"),
        ("token hvs.CAESIJ2x-Geheim1aaaaaaaaaaaaaaaa", "Geheim1"),
        ("X-Vault-Token: s.Geheim1aaaaaaaaaaaaaaaaa", "Geheim1"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJHZWhlaW0xIn0.c2lnbg is refused", "eyJHZWhlaW0xIn0"),
        ("Authorization: Bearer Geheim1Geheim1", "Geheim1"),
        ("password=Geheim1 host=db", "Geheim1"),
        ('{"POSTGRES_PASSWORD": "Geheim1 und mehr", "a": 1}', "Geheim1 und mehr"),
        ("export JWT_SECRET='Geheim1'", "Geheim1"),
        ("api-key: Geheim1", "Geheim1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nGeheim1\n-----END RSA PRIVATE KEY-----", "Geheim1"),
        ("-----BEGIN PRIVATE KEY-----\nGeheim1", "Geheim1"),
    ],
)
def test_what_is_hidden(text, secret):
    assert secret not in scrub(text) and HIDDEN in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        'secret "vault-root-token" not found',
        'password authentication failed for user "shop"',
        "dial tcp 10.42.0.15:3000: connect: connection refused",
        "no secret exists at cloudcart/data/database",
        "http://vault.cloudcart.svc:8200/v1/auth/kubernetes/login",
        "can't open '/vault/secrets/database': No such file",
    ],
)
def test_what_tells_the_cause_stays(text):
    assert scrub(text) == text
