# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them."""

from __future__ import annotations

import re

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(what, name, value):
    """A duration in seconds: 3600, "3600", "1h", "1h30m", "2d". ``what`` has it under ``name``, for the error."""
    text = str(value).strip()
    parts = re.findall(r"(\d+)([smhd])", text)
    if text.isdecimal():
        return int(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise PlatformError(
            f"{what}: {name} is {value!r}, which is no duration.", "Write seconds, or 90s, 30m, 24h, 7d."
        )
    return sum(int(number) * _UNITS[unit] for number, unit in parts)
