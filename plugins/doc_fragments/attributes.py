# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes that the modules of this collection document."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode and returns the changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
"""

    INFO_MODULE = r"""
attributes:
  check_mode:
    support: full
    details:
      - The module only reads.
  diff_mode:
    support: N/A
    details:
      - The module only reads.
"""

    K8S_GROUP = r"""
attributes:
  action_group:
    description: Use C(group/cloudcartops.platform.k8s) in C(module_defaults) to set options for this module.
    support: full
    membership:
      - cloudcartops.platform.k8s
"""

    VAULT_GROUP = r"""
attributes:
  action_group:
    description: Use C(group/cloudcartops.platform.vault) in C(module_defaults) to set options for this module.
    support: full
    membership:
      - cloudcartops.platform.vault
"""
