# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations, and what is none."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.durations import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3600, 3600), ("3600", 3600), ("90s", 90), ("30m", 1800), ("24h", 86400), ("1h30m", 5400), ("7d", 604800), (0, 0)],
)
def test_durations(value, expected):
    assert seconds("x", "ttl", value) == expected


@pytest.mark.parametrize("value", ["", "h", "1w", "1h x", "-5", "1.5h", None])
def test_no_durations(value):
    with pytest.raises(PlatformError, match="no duration"):
        seconds("The role x", "ttl", value)
