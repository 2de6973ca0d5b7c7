#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install, upgrade or uninstall a Helm release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release
short_description: Install a Helm chart, keep its release as wanted, or uninstall it
version_added: "0.1.0"
description:
  - Runs helm only when the release is not as wanted, that is, when the chart, its contents or the values differ, when
    the last attempt failed, when any object of the release is gone from the cluster, or when somebody has changed
    there what the chart sets. What it sets to nothing may have any value, as the caBundle of a webhook that its server
    fills in.
  - A release that a killed run has left pending, which helm refuses to touch, is freed first. It goes back to the
    revision that is deployed, or, when there is none, the record of the attempt is removed. A helm that still runs is
    waited for.
  - Deletes pods of the release that are older than their ServiceAccount, as they are when that was deleted and made
    anew. The API server refuses the tokens of such pods, and does not give them others.
  - With O(state=absent), runs helm only when the cluster remembers the release, in whatever status it is.
  - Does not wait for the pods; M(cloudcartops.platform.k8s_rollout) does.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
requirements:
  - Helm 3.8 or newer, but not 4
attributes:
  check_mode:
    support: full
    details:
      - A chart file that does not exist (yet) is no error in check mode.
  diff_mode:
    support: full
    details:
      - Shows the chart's version and the values.
options:
  name:
    description:
      - Name of the release.
    type: str
    required: true
  namespace:
    description:
      - Namespace of the release. It must exist.
    type: str
    required: true
  state:
    description:
      - Whether the release shall be there.
    type: str
    choices: [present, absent]
    default: present
  chart:
    description:
      - Path of the chart, a C(.tgz) file. Needed with O(state=present).
    type: path
  values:
    description:
      - The values, complete; those of an earlier revision do not count.
      - They are shown in diffs and kept in the cluster as they are. Secrets do not belong here.
    type: dict
    default: {}
  helm_binary:
    description:
      - Path of the helm program, or its name if it is in C(PATH).
    type: str
    default: helm
  timeout:
    description:
      - Seconds that helm may take.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Install the Vault agent injector
  cloudcartops.platform.helm_release:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    name: vault
    namespace: cloudcart
    chart: /var/cache/charts/vault-0.34.1.tgz
    values:
      server:
        enabled: false
      injector:
        externalVaultAddr: http://vault:8200

- name: Remove it again
  cloudcartops.platform.helm_release:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    name: vault
    namespace: cloudcart
    state: absent
"""

RETURN = r"""
reasons:
  description: Why the release was changed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["MutatingWebhookConfiguration vault-agent-injector-cfg is gone"]
status:
  description: Status of the release as helm names it.
  returned: when the release exists and O(state=present)
  type: str
  sample: deployed
revision:
  description: Number of its last revision.
  returned: when the release exists and O(state=present)
  type: int
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.helm import helm_release


def main():
    options = {
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "chart": {"type": "path"},
        "values": {"type": "dict", "default": {}},
        "helm_binary": {"type": "str", "default": "helm"},
        "timeout": {"type": "int", "default": 300},
    }
    run(helm_release, options, KUBERNETES, required_if=[("state", "present", ["chart"])])


if __name__ == "__main__":
    main()
