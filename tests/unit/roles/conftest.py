# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of a role come to, by Ansible's own templating."""

from __future__ import annotations

import pathlib

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"


@pytest.fixture
def rendered():
    """A function: the value of variable `name` of `role`, with the given variables set over its own."""

    def render(role: str, name: str, **over):
        loader = DataLoader()
        variables = {"role_path": str(ROLES / role)}
        for path in ("catalog/defaults", f"{role}/defaults", f"{role}/vars"):
            variables |= loader.load_from_file(str(ROLES / path / "main.yml"), trusted_as_template=True)
        variables |= over
        return Templar(loader, variables=variables).template(variables[name])

    return render
