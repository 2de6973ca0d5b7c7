#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask every part of the platform whether it works."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudcart_health_info
short_description: Ask every part of CloudCart whether it does its work
version_added: "0.1.0"
description:
  - Asks, all at the same time, the nodes whether they are ready, the injector whether it would inject, PostgreSQL for
    the products, Redis for an answer, Kafka for its topics, every service of the catalogue for its health, Prometheus
    for its targets, and the ingress for what stands behind its host name.
  - What does not work is a result, not a failure of the module.
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
      - A service with C(health) and C(port) is asked for that path.
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
  timeout:
    description:
      - How long Prometheus and the ingress may take to get to know what they serve, and the cluster's DNS the address
        of a new PostgreSQL, in seconds.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Look at the platform
  cloudcartops.platform.cloudcart_health_info:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    address: 192.0.2.10
    services:
      api-gateway: {image: cloudcartops-api-gateway, port: 3000, health: /health}
    topics: [order.created]
    jobs: [api-gateway, prometheus]
  register: health
"""

RETURN = r"""
cluster:
  description: V(present), or in check mode V(absent) when the cluster does not exist yet.
  returned: always
  type: str
checks:
  description: The checks; empty without a cluster.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What was asked.
      type: str
      sample: Redis
    ok:
      description: Whether it works.
      type: bool
    detail:
      description: What was seen.
      type: str
      sample: 1 of 1 ready, answers a ping
    fix:
      description: What to do when it does not work; else empty.
      type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.health import OPTIONS, cloudcart_health_info


def main():
    run(cloudcart_health_info, OPTIONS, KUBERNETES)


if __name__ == "__main__":
    main()
