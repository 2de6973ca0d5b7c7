#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command that only reads in a container."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_exec_info
short_description: Ask a program in a Kubernetes pod
version_added: "0.1.0"
description:
  - Runs a command in a container of a pod, without a shell, and returns what it prints.
  - The command must change nothing. It runs in check mode too.
  - A command that fails, a pod that does not exist and a container that does not run are results, not failures of the
    module.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.info_module
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
requirements:
  - websocket-client
notes:
  - The command is shown in logs and audit trails, so no secret may stand in it. Let a shell in the container read the
    secret.
options:
  namespace:
    description:
      - Namespace of the pod.
    type: str
    required: true
  pod:
    description:
      - Name of the pod.
    type: str
    required: true
  container:
    description:
      - Name of the container. The first one when not given.
    type: str
  command:
    description:
      - The program and its arguments.
    type: list
    elements: str
    required: true
  timeout:
    description:
      - How long the command may take, in seconds.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Ask PostgreSQL for its version
  cloudcartops.platform.k8s_exec_info:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    pod: postgres-0
    container: postgres
    command: [postgres, --version]
  register: postgres_version
"""

RETURN = r"""
cluster:
  description: V(present), or in check mode V(absent) when the cluster does not exist yet.
  returned: always
  type: str
exit_code:
  description: Exit code of the command; null when it did not run.
  returned: always
  type: int
  sample: 0
stdout:
  description: What the command printed.
  returned: always
  type: str
  sample: postgres (PostgreSQL) 15.14
stderr:
  description: What the command printed as errors, or why it did not run.
  returned: always
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.exec import k8s_exec_info


def main():
    options = {
        "namespace": {"type": "str", "required": True},
        "pod": {"type": "str", "required": True},
        "container": {"type": "str"},
        "command": {"type": "list", "elements": "str", "required": True},
        "timeout": {"type": "int", "default": 30},
    }
    run(k8s_exec_info, options, KUBERNETES)


if __name__ == "__main__":
    main()
