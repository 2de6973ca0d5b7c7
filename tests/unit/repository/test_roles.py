# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conventions of roles: what a person reads in the documentation is what the role does."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLES = sorted(p.name for p in (ROOT / "roles").iterdir() if p.is_dir())
TASK_FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml")) + sorted((ROOT / "roles").glob("*/handlers/*.yml"))


class Loader(yaml.SafeLoader):
    """YAML as Ansible writes it: !vault and !unsafe are text here."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))


def load(path: pathlib.Path):
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader) if path.exists() else None


def specs(role: str) -> dict:
    return (load(ROOT / "roles" / role / "meta/argument_specs.yml") or {}).get("argument_specs", {})


def tasks(items) -> list[dict]:
    """Every task of a task list, those inside blocks too."""
    found = []
    for item in items or []:
        found.append(item)
        for key in ("block", "rescue", "always"):
            found += tasks(item.get(key))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_agree(role):
    defaults = load(ROOT / "roles" / role / "defaults/main.yml") or {}
    options = {}
    for entry in specs(role).values():
        options.update(entry.get("options", {}))
    public = {name for name in defaults if not name.startswith("__")}
    assert public == {n for n in options if "default" in options[n] or n in defaults}
    for name in public:
        template = isinstance(defaults[name], str) and "{{" in defaults[name]
        if template and options[name]["type"] not in ("str", "path", "raw"):
            # A specification holds no template for a number or a dictionary, so the description tells the default.
            assert "default" not in options[name], name
            assert "default" in str(options[name]["description"]), f"the description of {name} tells no default"
        else:
            assert options[name]["default"] == defaults[name], name
        assert not options[name].get("required"), f"{name} has a default and is required"


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_role_name(role):
    prefix = "cloudcartops" if role == "catalog" else role
    names = list(load(ROOT / "roles" / role / "defaults/main.yml") or {})
    names += list(load(ROOT / "roles" / role / "vars/main.yml") or {})
    for entry in specs(role).values():
        names += entry.get("options", {})
    for path in (ROOT / "roles" / role).glob("tasks/*.yml"):
        for task in tasks(load(path)):
            names += [task["register"]] if "register" in task else []
            names += list(task.get("ansible.builtin.set_fact", {}))
    names = [n for n in names if n not in ("cacheable",)]
    assert [n for n in names if not re.match(rf"(__)?{prefix}_", n) and n != prefix] == []


@pytest.mark.parametrize("role", ROLES)
def test_entry_points_are_documented(role):
    documented = set(specs(role))
    text = "\n".join(
        p.read_text(encoding="utf-8") for top in ("playbooks", "roles") for p in (ROOT / top).rglob("*.yml")
    )
    # Both orders of the two keys, in one task.
    name, entry = rf"name: cloudcartops\.platform\.{role}\b", r"tasks_from: (\w+)"
    used = set(re.findall(rf"{name}\n\s+{entry}", text)) | set(re.findall(rf"{entry}(?:\.yml)?\n\s+{name}", text))
    existing = {p.stem for p in (ROOT / "roles" / role / "tasks").glob("*.yml")}
    assert used <= documented
    assert documented <= existing or (role == "catalog" and documented == {"main"})
    assert "main" in documented or "main" not in existing


@pytest.mark.parametrize("role", ROLES)
def test_main_is_a_table_of_contents(role):
    path = ROOT / "roles" / role / "tasks/main.yml"
    assert not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) <= 20


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"catalog"}))
def test_only_defaults_read_collection_wide_variables(role):
    found = []
    for path in (ROOT / "roles" / role).rglob("*"):
        if path.is_file() and path.suffix != ".md" and path.parent.name not in ("defaults", "meta", "files"):
            for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if re.search(r"\bcloudcartops_", line):
                    found.append(f"{path.relative_to(ROOT)}:{n}: {line}")
    assert found == []


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_tasks_follow_the_house_style(path):
    role = path.parts[-3]
    title = role.replace("_", " ").lower()
    for task in tasks(load(path)):
        name = task.get("name", "")
        head, bar, rest = name.partition(" | ")
        assert head.lower().replace("_", " ") == title and bar and rest, f"not 'Role | does this': {name or task}"
        assert "ignore_errors" not in task, name
        assert task.get("changed_when") not in (True, "true"), name
        conditions = task.get("when", [])
        conditions = conditions if isinstance(conditions, list) else [conditions]
        assert "not ansible_check_mode" not in [str(c).strip() for c in conditions], name
        assert not {"ansible.builtin.shell", "ansible.builtin.pause", "ansible.builtin.raw"} & set(task), name


def test_live_tests_name_tasks_that_exist():
    """They need machines to run, so a task that gets another name would be found late."""
    names = [task["name"] for path in TASK_FILES for task in tasks(load(path)) if "name" in task]
    pattern = re.compile(r'"(?:[\w.]+ : )?([A-Z]\w+(?: \w+)? \| [^"]+)"')
    files = sorted((ROOT / "tests/live").glob("*.py"))
    named = {name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 8
    assert [name for name in sorted(named) if not any(task.startswith(name) for task in names)] == []
