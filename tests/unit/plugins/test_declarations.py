# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared of the modules agrees with what they are."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils import _argspec
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODULES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "plugins/modules").glob("*.py")}
RUNTIME = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))


def documentation(source: str) -> dict:
    return yaml.safe_load(source.partition('DOCUMENTATION = r"""')[2].partition('"""')[0])


def names(fragment: str) -> list[str]:
    """The modules that use the fragment of this collection."""
    wanted = f"cloudcartops.platform.{fragment}"
    fragments = {m: documentation(s).get("extends_documentation_fragment", []) for m, s in MODULES.items()}
    return sorted(m for m, used in fragments.items() if wanted in used)


def test_action_groups_hold_what_can_use_them():
    groups = RUNTIME["action_groups"]
    assert set(groups) == {"k8s", "vault"}
    assert sorted(groups["k8s"]) == names("attributes.k8s_group")
    assert sorted(groups["vault"]) == names("attributes.vault_group")
    assert set(names("kubernetes")) <= {*groups["k8s"], *groups["vault"]}, "kubeconfig can come from module_defaults"
    assert {m for m in MODULES if m.startswith("vault_")} == set(groups["vault"])


@pytest.mark.parametrize("name", MODULES)
def test_main_is_short_and_documentation_complete(name):
    source = MODULES[name]
    main = re.search(r"\ndef main\(\).*?:\n(.*?)\n\n\nif __name__", source, re.S)[1]
    assert len(main.splitlines()) <= 15
    described = documentation(source)
    assert described["module"] == name and described["version_added"]
    assert "EXAMPLES = r" in source and "RETURN = r" in source


def run(capsys, logic):
    with patch_module_args({"a": "1"}), pytest.raises(SystemExit) as stop:
        _argspec.run(logic, {"a": {"type": "int"}})
    return stop.value.code, json.loads(capsys.readouterr().out)


def test_run_ends_every_module_in_one_way(capsys):
    code, result = run(capsys, lambda params, check: {"changed": check, "got": params["a"]})
    assert (code, result["changed"], result["got"]) == (0, False, 1)

    def refuse(_params, _check):
        raise PlatformError("It is wrong.", "Do it right.", where="here")

    code, result = run(capsys, refuse)
    assert (code, result["msg"], result["where"]) == (1, "It is wrong. Do it right.", "here")

    code, result = run(capsys, lambda params, check: 1 / 0)
    assert code == 1 and result["msg"] == "A defect of this module: ZeroDivisionError: division by zero"
