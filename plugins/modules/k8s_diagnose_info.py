#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong with the platform, and why."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_diagnose_info
short_description: Find out what is wrong with CloudCart, root causes first
version_added: "0.1.0"
description:
  - Applies the rules of M(cloudcartops.platform.k8s_rollout) to every pod and workload of a namespace, and looks at
    what they stand on, which is nodes, clocks, DNS, the injector, Vault, volumes, injected files and routes. It
    looks whether events are read, and asks every part as M(cloudcartops.platform.cloudcart_health_info) does.
  - What follows from something else is listed below that, so that one missing injector is one finding.
  - What is wrong is a result, not a failure of the module. It changes nothing.
  - Of files with secrets it reads no more than their names, and whether a placeholder is in them. In messages and
    logs of others it hides what looks like a secret.
  - With O(token_secret) or O(login) it also compares the secrets that pods were started with to those in Vault, and,
    when an agent is refused, tries its login to find out why.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
  - cloudcartops.platform.site
requirements:
  - websocket-client
  - kafka-python >= 3.0.12
options:
  namespace:
    description:
      - Namespace of the platform.
    type: str
    required: true
  services:
    description:
      - The service catalogue, by name. Entries without C(image) are left out.
    type: dict
    default: {}
  topics:
    description:
      - Topics that Kafka has to have.
    type: list
    elements: str
    default: []
  jobs:
    description:
      - Names of the jobs whose targets have to be up in Prometheus. Without any, Prometheus is not asked.
    type: list
    elements: str
    default: []
  vault_mount:
    description:
      - Mount of the secrets engine that the services read.
    type: str
    default: cloudcart
  token_secret:
    description:
      - Kubernetes Secret with a token that may look into Vault.
    type: dict
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      namespace:
        description: Namespace of the Secret.
        type: str
        required: true
      key:
        description: Key of the token in the Secret.
        type: str
        default: token
  login:
    description:
      - Role to log in to Vault with, as a service account.
    type: dict
    suboptions:
      role:
        description: Name of the role.
        type: str
        required: true
      namespace:
        description: Namespace of the ServiceAccount.
        type: str
        required: true
      service_account:
        description: Name of the ServiceAccount. The role's name when not given.
        type: str
      mount:
        description: Path of the auth method, without C(auth/).
        type: str
        default: kubernetes
seealso:
  - module: cloudcartops.platform.k8s_rollout
"""

EXAMPLES = r"""
- name: Find out what is wrong
  cloudcartops.platform.k8s_diagnose_info:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    token_secret: {namespace: cloudcart, name: vault-root-token}
  register: diagnosis
"""

RETURN = r"""
cluster:
  description: V(present), or in check mode V(absent) when the cluster does not exist yet.
  returned: always
  type: str
healthy:
  description: Whether nothing was found.
  returned: always
  type: bool
findings:
  description: The root causes, that on which most depends first.
  returned: always
  type: list
  elements: dict
  contains:
    rank:
      description: Its place in the list, from 1.
      type: int
    rule:
      description: Short name of the rule that found it.
      type: str
      sample: injector
    objects:
      description: What has it.
      type: list
      elements: str
      sample: [MutatingWebhookConfiguration vault-agent-injector-cfg]
    cause:
      description: What is wrong.
      type: str
    evidence:
      description: The event, condition or lines of a log that show it; empty where the cause says all.
      type: str
    fix:
      description: What to do about it.
      type: str
    command:
      description: A command that does it; empty where it takes a decision.
      type: str
      sample: ansible-playbook cloudcartops.platform.install_vault_injector
    consequences:
      description: What follows from it, with C(rule), C(objects), C(cause) and C(command).
      type: list
      elements: dict
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.diagnose import OPTIONS, k8s_diagnose_info


def main():
    run(k8s_diagnose_info, OPTIONS, KUBERNETES)


if __name__ == "__main__":
    main()
