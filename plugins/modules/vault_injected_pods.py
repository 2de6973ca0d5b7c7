#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace the pods that the Vault Agent Injector missed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_injected_pods
short_description: Replace the pods that the Vault Agent Injector missed
version_added: "0.1.0"
description:
  - A pod that was created while the injector's webhook was gone has no Vault agent, and never gets one. It crashes, or
    runs without its secrets.
  - Deletes the pods of a namespace that ask for the agent and were made without it, so that their controllers make them
    anew. Pods that have ended, and those that are being deleted, are left alone.
  - A pod without a controller is left alone too, with a warning.
  - Make sure that the injector works first, with M(cloudcartops.platform.vault_injector_check).
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.vault_group
  - cloudcartops.platform.kubernetes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  namespace:
    description:
      - Namespace of the pods.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Replace the pods that started while the injector was away
  cloudcartops.platform.vault_injected_pods:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
"""

RETURN = r"""
replaced:
  description: Names of the pods that were deleted, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [order-service-788fd88cc8-wr4cd]
left:
  description: Names of the pods that no controller would make anew.
  returned: always
  type: list
  elements: str
  sample: []
cluster:
  description: V(present), or V(absent) when there is no kubeconfig or nothing listens at its address.
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import injected_pods


def main():
    run(injected_pods.vault_injected_pods, injected_pods.OPTIONS, KUBERNETES)


if __name__ == "__main__":
    main()
