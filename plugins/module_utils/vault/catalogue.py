# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From secrets and who reads them to the spec of vault_configuration: a policy per secret, a role per account."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError


def vault_spec(secrets, services, mount, namespace, kubernetes_host, ttl):
    """Build the spec.

    :param secrets: dict by name; each value as an entry of ``secrets`` in vault_configuration, without mount and path.
    :param services: dict by name; each value has ``secrets``, the names of what the service reads, and may have
        ``service_account`` (default: the service's name). Other keys are for other readers of the catalogue.
    """
    return {
        "mounts": [{"path": mount, "options": {"version": "2"}}],
        "auth_methods": [{"path": "kubernetes"}],
        # Without a reviewer's token Vault reviews logins with the token of its own pod, which Kubernetes renews.
        "kubernetes_auth_config": [{"fields": {"kubernetes_host": kubernetes_host}}],
        "policies": [{"name": policy_name(name), "policy": policy(mount, name)} for name in secrets],
        "roles": [
            {
                "name": name,
                "fields": {
                    "bound_service_account_names": [account],
                    "bound_service_account_namespaces": [namespace],
                    "token_policies": [policy_name(secret) for secret in read],
                    "token_ttl": ttl,
                },
            }
            for name, account, read in _readers(secrets, services)
        ],
        "secrets": [{"mount": mount, "path": name, **fields} for name, fields in secrets.items()],
    }


def vault_logins(secrets, services, mount, namespace):
    """The logins that vault_login_check is to try: each reader gets what it shall read, and is denied the rest."""
    return [
        {
            "role": name,
            "service_account": account,
            "namespace": namespace,
            "reads": [f"{mount}/data/{secret}" for secret in read],
            "denied": [f"{mount}/data/{secret}" for secret in secrets if secret not in read],
        }
        for name, account, read in _readers(secrets, services)
    ]


def _readers(secrets, services):
    """Name, service account and secrets of each service that reads any."""
    for name, service in services.items():
        service = service or {}
        read = list(service.get("secrets") or [])  # names, or a dictionary by name
        unknown = [secret for secret in read if secret not in secrets]
        if unknown:
            raise VaultError(
                f"The service {name} reads {', '.join(unknown)}, and there is no such secret.",
                f"Correct the name, or declare the secret; there are {', '.join(secrets) or 'none'}.",
            )
        if read:
            yield name, service.get("service_account") or name, read


def policy_name(secret):
    """Name of the policy that lets one secret be read."""
    return f"{secret.replace('/', '-')}-policy"


def policy(mount, secret):
    """Policy that lets one secret of a KV version 2 engine be read, and nothing else."""
    return f'path "{mount}/data/{secret}" {{\n  capabilities = ["read"]\n}}\n'
