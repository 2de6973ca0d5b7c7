# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the vault modules, in words an operator can act on."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError


class VaultError(PlatformError):
    """Vault refused, or was asked for something that cannot be right."""


class VaultAbsent(VaultError):
    """There is no Vault server to talk to yet: no Service, no token Secret or no ready pod."""


class VaultConflict(VaultError):
    """Somebody else changed the same thing at the same moment: read again and decide again."""
