# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the files of the repository as a whole."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHIPPED = ("playbooks/", "roles/", "plugins/", "inventories/", "meta/", "site.yml", "galaxy.yml", "requirements.txt")
HEADER = (
    "# Copyright (c) 2026 CloudCartOps contributors\n"
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)\n"
    "# SPDX-License-Identifier: GPL-3.0-or-later\n"
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def files(*prefixes: str) -> list[str]:
    """The files git knows or would add, as paths relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [n for n in names if n.startswith(prefixes or "") and (ROOT / n).is_file()]


def matches(pattern: str, *prefixes: str) -> list[str]:
    """FILE:LINE: TEXT for each line of text that the pattern is found in."""
    expression = re.compile(pattern, re.IGNORECASE)
    found = []
    for name in files(*prefixes):
        try:
            text = read(name)
        except UnicodeDecodeError:
            continue
        found += [f"{name}:{n}: {line}" for n, line in enumerate(text.splitlines(), 1) if expression.search(line)]
    return found


def test_what_ships_never_mentions_the_lab():
    assert matches(r"stand-?in\b|lab\.cloudcart\.local|cc-lab|\blab[/_]|\bthe lab\b", *SHIPPED) == []


def test_no_package_registry_is_named():
    hosts = ("pypi.", "files.pythonhosted.", "proxy.golang.", "sum.golang.", "deb.debian.", "security.debian.")
    hosts += ("snapshot.debian.", "archive.ubuntu.", "repo1.maven.", "repo.maven.", "registry.npmjs.", "static.crates.")
    # Put together here, so that this file does not name them either.
    names = "|".join(re.escape(host) + "(org|io|apache|com)" for host in hosts)
    assert matches(rf"\b({names})\b") == []


def test_no_path_of_one_machine_is_named():
    assert matches("(^|[^a-z0-9_.~}])/(" + "work/main|work/shared|opt/wheels|root/build)") == []


@pytest.mark.parametrize("name", [n for n in files("plugins/", "tests/", "lab/") if n.endswith(".py")])
def test_python_files_name_their_licence(name):
    text = read(name)
    assert not text or re.sub(r"\A#!.*\n", "", text).startswith(HEADER)


def test_action_groups_hold_their_modules():
    modules = {pathlib.Path(n).stem for n in files("plugins/modules/") if n.endswith(".py")}
    runtime = yaml.safe_load(read("meta/runtime.yml"))
    groups = {name: set(members) for name, members in runtime["action_groups"].items()}
    assert groups == {
        name: {
            m for m in modules if f"cloudcartops.platform.attributes.{name}_group" in read(f"plugins/modules/{m}.py")
        }
        for name in ("k8s", "vault")
    }


def test_sanity_ignores_give_their_reason():
    lines = [line for n in files("tests/sanity/ignore-") for line in read(n).splitlines()]
    assert [line for line in lines if "#" not in line] == []


def test_dependencies_are_used():
    galaxy = yaml.safe_load(read("galaxy.yml"))
    wanted = yaml.safe_load(read("collections/requirements.yml"))
    core = {"ansible.builtin", "cloudcartops.platform"}
    text = "\n".join(read(n) for n in files("roles/", "playbooks/") if n.endswith(".yml"))
    used = set(re.findall(r"^\s*(?:- )?([a-z_]+\.[a-z_]+)\.[a-z0-9_]+:", text, re.MULTILINE)) - core
    assert set(galaxy["dependencies"]) == used
    assert {c["name"] for c in wanted["collections"]} == used
