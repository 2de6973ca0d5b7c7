# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of the platform is where it does not belong. Runs last: it searches what all the runs before it printed."""

from __future__ import annotations

import base64
import json
import pathlib
import stat

import pytest
import yaml


@pytest.fixture(scope="module")
def secrets(platform) -> set[str]:
    """Every secret value of the platform that is long enough to be told from other text."""
    found = {platform.ssh("cat /var/lib/rancher/k3s/server/token").strip().rpartition(":")[2]}
    items = json.loads(platform.ssh("kubectl -n cloudcart get secrets -o json"))["items"]
    for item in items:
        if item["type"] == "Opaque":
            found |= {base64.b64decode(value).decode(errors="replace") for value in item["data"].values()}
    entry = json.loads(platform.vault("kv get -mount=cloudcart -format=json database"))["data"]["data"]
    found |= {entry["postgres_password"], entry["database_url"]}
    found = {line for value in found for line in value.splitlines() if len(line) >= 16 and not line.startswith("-----")}
    assert entry["postgres_password"] in found
    return found


def kubeconfig(platform) -> pathlib.Path:
    inventory = yaml.safe_load(platform.inventory.read_text(encoding="utf-8"))
    return pathlib.Path(inventory["all"]["children"]["platform"]["hosts"]["cluster"]["cloudcartops_kubeconfig"])


def test_output_of_every_run(platform, secrets):
    key = yaml.safe_load(kubeconfig(platform).read_text(encoding="utf-8"))["users"][0]["user"]["client-key-data"]
    for number, run in enumerate(platform.runs):
        leaks = [value for value in secrets | {key} if value in run.text]
        assert leaks == [], f"run {number} printed {len(leaks)} secrets"


def test_journal_of_the_machine(platform, secrets):
    journal = platform.ssh("journalctl --no-pager -o cat")
    assert [value[:4] + "..." for value in secrets if value in journal] == []


def test_files_of_the_machine(platform, secrets):
    """Another user of the machine finds none of them in a file, but does find what was put there to be found."""
    platform.ssh("umask 022; echo a-secret-that-everybody-may-read >/tmp/control")
    another = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    # Not the programs and the images: they are large, and the same on every machine.
    search = f"{another} grep -rlsF -D skip --exclude-dir=data --exclude-dir=images -f - /etc /opt /root /run /tmp /var"
    patterns = "\n".join([*secrets, "a-secret-that-everybody-may-read"])
    assert platform.ssh(f"{search} || test $? = 2", text=patterns).splitlines() == ["/tmp/control"]


def test_kubeconfig_is_for_its_owner_only(platform):
    assert stat.S_IMODE(kubeconfig(platform).stat().st_mode) == 0o600
