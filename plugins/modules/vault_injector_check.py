#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that the Vault Agent Injector injects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_injector_check
short_description: Prove that the Vault Agent Injector injects, or say why it does not
version_added: "0.1.0"
description:
  - Pods that are created while the injector's webhook is not live start without their secrets, and nothing says so.
  - Checks that the webhook configuration exists and holds the injector's CA, that a ready pod stands behind its
    Service, and that a pod with the injector's annotations comes back injected from a dry run, which stores nothing.
  - Waits for it for a while, because the API server learns of a new webhook a moment after it was written.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.vault_group
  - cloudcartops.platform.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - The module only reads. In check mode it does not wait, and an injector that is not live is no failure.
options:
  namespace:
    description:
      - Namespace that injected pods are created in. It must exist.
    type: str
    required: true
  webhook:
    description:
      - Name of the MutatingWebhookConfiguration.
    type: str
    default: vault-agent-injector-cfg
  service_account:
    description:
      - ServiceAccount of the pod that is tried.
    type: str
    default: default
  timeout:
    description:
      - Seconds to wait for the injector to become live.
    type: int
    default: 60
  required:
    description:
      - Whether it is a failure when the injector is not live, or the cluster does not exist.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Make sure that pods get their secrets before any is created
  cloudcartops.platform.vault_injector_check:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
"""

RETURN = r"""
live:
  description: Whether the injector injects.
  returned: always
  type: bool
injected:
  description: Names of the containers it put into the pod that was tried.
  returned: when RV(live)
  type: list
  elements: str
  sample: [vault-agent-init, vault-agent]
agent_image:
  description: Image of these containers.
  returned: when RV(live)
  type: str
  sample: docker.io/hashicorp/vault:2.0.4
msg:
  description: Why it is not live and what to do.
  returned: when not RV(live)
  type: str
cluster:
  description: V(present), or V(absent) when there is no kubeconfig or nothing listens at its address.
  returned: always
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import injector_check


def main():
    run(injector_check.vault_injector_check, injector_check.OPTIONS, KUBERNETES)


if __name__ == "__main__":
    main()
