# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab promises about its machines."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

NO_SERVICE = "10.43.255.254"  # in the range of the cluster's Services, and none has it


CONFORM = pathlib.Path(__file__).resolve().parents[1] / "conform"


@pytest.mark.soak
def test_its_k3s_honours_what_its_readme_says(pair):
    environment = os.environ | {"INVENTORY": str(pair.inventory)}
    subprocess.run([sys.executable, "-m", "pytest", str(CONFORM)], env=environment, check=True)


def test_nothing_outside_answers_for_an_address_of_the_cluster(platform):
    found = platform.ssh(
        f"python3 - {NO_SERVICE} 2>&1 || true",
        text="import socket, sys\nsocket.create_connection((sys.argv[1], 443), 5)\n",
    )
    assert "Error" in found.splitlines()[-1]


def test_every_api_is_served(platform):
    """A namespace cannot be deleted while one is not."""
    platform.until("! kubectl get apiservices --no-headers | grep -qv True")
