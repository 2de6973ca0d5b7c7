# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's modules are imported from the checkout, and its cache is a temporary folder."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))


@pytest.fixture(autouse=True)
def lab_cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("CLOUDCARTOPS_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
