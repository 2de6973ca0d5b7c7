# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module of that name, and a warm start for the tasks after it.

Ansible loads an action plugin with the name of a module before it forks a process for the task. What is imported then
is there for every later task, whose process would otherwise import it anew.
"""

from __future__ import annotations

import contextlib
from importlib import import_module

from ansible.plugins.loader import filter_loader
from ansible_collections.cloudcartops.platform.plugins.action.in_process import ActionModule
from ansible_collections.cloudcartops.platform.plugins.modules.control_packages import PACKAGES

__all__ = ["ActionModule"]

# Between them they import most of what the modules for the control node do.
MODULES = (
    "cloudcart_health_info",
    "helm_release",
    "k8s_apply",
    "k8s_capacity_check",
    "k8s_rollout",
    "kafka_topic",
    "kubeconfig",
    "vault_configuration",
    "vault_operator",
)

for name in PACKAGES:
    with contextlib.suppress(ImportError):  # the module says so
        import_module(name)
for name in MODULES:
    import_module(f"ansible_collections.cloudcartops.platform.plugins.modules.{name}")
for name in ("ansible.builtin.combine", "cloudcartops.platform.k8s_yaml"):  # with each come those of its collection
    filter_loader.get(name)
