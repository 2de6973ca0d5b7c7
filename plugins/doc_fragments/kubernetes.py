# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to the Kubernetes API."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file that names the cluster and the credentials.
      - Client certificates, tokens, exec plugins and OIDC work.
    type: path
    required: true
  context:
    description:
      - Name of a context in O(kubeconfig). The file's current context when not given.
    type: str
requirements:
  - requests
  - PyYAML
  - kubernetes (only for a kubeconfig with an exec plugin or an auth provider such as OIDC)
notes:
  - Runs on the control node, as a task of the host that stands for the cluster.
  - In check mode, when the cluster does not exist yet (there is no kubeconfig, or nothing listens at its address),
    the module returns a plan instead of failing. Any other error fails in check mode too.
"""
