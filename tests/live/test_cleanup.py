# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cleanup removes is gone; what it keeps is enough to have everything again; on request that goes too."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.soak
NAMESPACED = "kubectl -n cloudcart get deployments,statefulsets,jobs,pods,services,ingresses,configmaps,secrets -o name"
OF_THE_CLUSTER = "kubectl get clusterroles,clusterrolebindings,mutatingwebhookconfigurations -o name"
INSERT = "INSERT INTO users (username, email, password_hash) VALUES ('kept', 'kept@example.com', 'none')"
FIND = "SELECT count(*) FROM users WHERE username = 'kept'"


def leftovers(machine) -> set[str]:
    """Everything that is ours, or Helm's, apart from volumes."""
    names = machine.ssh(NAMESPACED).split()
    names += [name for name in machine.ssh(OF_THE_CLUSTER).split() if "vault" in name or "cloudcart" in name]
    return {name for name in names if name != "configmap/kube-root-ca.crt"}


def psql(machine, query: str) -> str:
    """Ask the database over TCP, so that the password from Vault has to be its own."""
    script = (
        '. /vault/secrets/database; export PGPASSWORD="$POSTGRES_PASSWORD" PGHOST=127.0.0.1 PGDATABASE="$POSTGRES_DB"\n'
    )
    script += f'psql -qAtU "$POSTGRES_USER" -c "{query}"\n'
    return machine.ssh("kubectl -n cloudcart exec -i postgres-0 -c postgres -- sh -s", script).strip()


def play(machine, *arguments: str):
    run = machine.site(*arguments, playbook="cleanup")
    assert run.status == 0, run.text[-6000:]
    return run


def test_data_stays_until_it_is_said_to_go(platform):
    psql(platform, INSERT)
    before = leftovers(platform)
    claims = platform.ssh("kubectl -n cloudcart get persistentvolumeclaims -o jsonpath={.items[*].metadata.uid}")
    assert "would delete StatefulSet postgres" in play(platform, "--check").text
    assert leftovers(platform) == before, "check mode deletes nothing"

    assert play(platform).changed
    assert leftovers(platform) == {"secret/vault-seed"}
    assert claims == platform.ssh(
        "kubectl -n cloudcart get persistentvolumeclaims -o jsonpath={.items[*].metadata.uid}"
    )
    assert play(platform).changed == []

    platform.complete()
    assert psql(platform, FIND) == "1", "the same password opens the same data"
    assert platform.complete().changed == []

    play(platform, "--extra-vars", "cleanup_data=true")
    assert platform.ssh("kubectl get namespace cloudcart --ignore-not-found") == ""
    platform.until('test -z "$(kubectl get persistentvolumes -o name)"')
    assert leftovers(platform) == set()
    assert play(platform, "--extra-vars", "cleanup_data=true").changed == []
    platform.complete()
    assert psql(platform, FIND) == "0"
