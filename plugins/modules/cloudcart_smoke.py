#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shop once in the platform."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cloudcart_smoke
short_description: Shop once in CloudCart, and see that everything works together
version_added: "0.1.0"
description:
  - Goes a customer's way through the shop, over the ingress and by host name, from the control node. It registers a
    user, logs in, orders one piece, pays, and sees the stock fall and the order ship.
  - Tokens that are forged, and signed with keys that are well known, have to be refused.
  - At the end it sees in the counters of the workers that the events of all this went through Kafka. Services answer
    the same when they lost Kafka.
  - Each run leaves one user and one order of one piece in the database. It sends fewer than 40 requests; the gateway
    allows one address 100 a minute.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
  - cloudcartops.platform.site
attributes:
  check_mode:
    support: full
    details:
      - Does nothing in check mode and returns no steps.
  diff_mode:
    support: N/A
    details:
      - The module changes nothing that is configured.
notes:
  - RV(ignore:changed) is always false, because the state that playbooks describe does not change.
options:
  namespace:
    description:
      - Namespace of the platform.
    type: str
    required: true
  products:
    description:
      - How many products there have to be.
    type: int
    default: 7
  fresh:
    description:
      - Whether more than O(products) products are an error, as they are in a database that nobody added any to.
    type: bool
    default: false
  jobs:
    description:
      - Names of the jobs whose targets have to be up in Prometheus. Without any, Prometheus is not asked.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - How long to wait for events to be consumed, and for Prometheus to scrape its targets, in seconds.
    type: int
    default: 90
  required:
    description:
      - Whether the module fails when a step does.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Shop once
  cloudcartops.platform.cloudcart_smoke:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    address: 192.0.2.10
"""

RETURN = r"""
cluster:
  description: V(present), or in check mode V(absent) when the cluster does not exist yet.
  returned: always
  type: str
steps:
  description: The steps in order; empty in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the step.
      type: str
      sample: Pay
    ok:
      description: Whether it went as it should.
      type: bool
    detail:
      description: What was seen.
      type: str
      sample: the order is confirmed
    fix:
      description: What to do when it did not. Empty when it did, or when it was not tried.
      type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.smoke import OPTIONS, cloudcart_smoke


def main():
    run(cloudcart_smoke, OPTIONS, KUBERNETES)


if __name__ == "__main__":
    main()
