# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of what the stand-in for K3s honours is that of the tests."""

from __future__ import annotations

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_the_table_names_every_test_where_it_belongs():
    marks = {}
    for function in ast.parse((ROOT / "tests/conform/test_k3s.py").read_text(encoding="utf-8")).body:
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            marks[function.name] = any(getattr(d, "id", "") == "not_honoured" for d in function.decorator_list)
    told = {}
    for line in (ROOT / "lab/README.md").read_text(encoding="utf-8").splitlines():
        cells = line.split(" | ")
        if line.startswith("| ") and len(cells) == 3:
            for column in (1, 2):
                told.update(dict.fromkeys(re.findall(r"`(test_\w+)`", cells[column]), column == 2))
    assert told == marks


def test_the_other_tests_that_it_names_are_there():
    text = (ROOT / "lab/README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(tests/\S+\.py)`", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"`(\w+_test\.go)`", text):
        assert (ROOT / "lab/src/k3s" / name).is_file(), name
