# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let plain pytest import ansible_collections.cloudcartops.platform from the checkout."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
import types
from unittest import mock

import pytest
from ansible import template
from ansible.module_utils import basic
from ansible.module_utils.common import warnings
from ansible.parsing.dataloader import DataLoader
from ansible.release import __version__
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = pathlib.Path(__file__).resolve().parents[2]
_AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()  # holds the link to ROOT
OLD = __version__.startswith("2.18.")  # which templates every text, and has nothing for tests of modules


@contextlib.contextmanager
def patch_module_args(args: dict | None = None):
    """What ansible.module_utils.testing has from 2.19 on."""
    given = json.dumps({"ANSIBLE_MODULE_ARGS": args or {}}).encode()
    with mock.patch.object(basic, "_ANSIBLE_ARGS", given):
        yield


if OLD:
    sys.modules["ansible.module_utils.testing"] = types.ModuleType("ansible.module_utils.testing")
    sys.modules["ansible.module_utils.testing"].patch_module_args = patch_module_args
    template.trust_as_template = str
    load_from_file = DataLoader.load_from_file
    DataLoader.load_from_file = lambda self, path, trusted_as_template=True: load_from_file(self, path)


@pytest.fixture
def warnings_in_results(monkeypatch):
    """Modules put their warnings into their results, also where another test has brought in Ansible's controller."""
    if not OLD:
        from ansible.module_utils import _internal

        monkeypatch.setattr(_internal, "is_controller", False)
    monkeypatch.setattr(warnings, "_global_warnings", [] if OLD else {})
