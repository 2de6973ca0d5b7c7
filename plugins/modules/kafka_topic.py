#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create and correct topics of Kafka."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_topic
short_description: Topics of a Kafka broker in Kubernetes
version_added: "0.1.0"
description:
  - Creates topics that are missing, adds partitions to those that have too few, and corrects the settings that are
    given. Settings that are not given are left as they are, and so are topics that are not named.
  - Speaks Kafka's protocol with the broker in a pod, through a port forward of the API server. Nothing of Kafka is
    needed on the control node but the Python package, and no port of the cluster is opened.
  - The broker is asked whether it would take all the changes before the first one is made, in check mode too.
  - Waits while the broker starts or elects a controller, and ends when the broker shows the wanted state.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.k8s_group
  - cloudcartops.platform.kubernetes
requirements:
  - websocket-client
  - kafka-python >= 3.0.12
notes:
  - Kafka 3.5 to 3.9 with ZooKeeper is what it is made for. The broker in the pod must be the controller, which it is
    when there is only one.
  - The listener must be PLAINTEXT, without a login.
  - In check mode a broker that does not run yet is taken for one without topics.
attributes:
  check_mode:
    support: full
    details:
      - The broker itself checks the changes (it validates them only).
  diff_mode:
    support: full
    details:
      - Of the settings only those that were given are shown.
options:
  namespace:
    description:
      - Namespace of the broker's pod.
    type: str
    required: true
  pod:
    description:
      - Name of the broker's pod.
    type: str
    default: kafka-0
  port:
    description:
      - Port of the PLAINTEXT listener in the pod.
    type: int
    default: 29092
  topics:
    description:
      - The topics.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the topic.
        type: str
        required: true
      partitions:
        description:
          - How many partitions the topic has. Kafka cannot take partitions away, so less than it has is an error.
        type: int
        default: 1
      config:
        description:
          - Settings of the topic by name, for instance C(retention.ms). See Kafka's documentation of topic configs.
        type: dict
        default: {}
  timeout:
    description:
      - How long to wait for a broker that is not ready, in seconds.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Two topics
  cloudcartops.platform.kafka_topic:
    kubeconfig: ~/.kube/cloudcart-dev.yaml
    namespace: cloudcart
    topics:
      - name: order.created
        partitions: 3
        config:
          retention.ms: 604800000
      - name: stock.low
"""

RETURN = r"""
topics:
  description: What became of each topic, or would become of it in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the topic.
      type: str
    action:
      description: V(created), V(updated) or V(unchanged).
      type: str
  sample: [{"name": "order.created", "action": "updated"}, {"name": "stock.low", "action": "unchanged"}]
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
  sample: ["grow topic order.created from 1 to 3 partitions"]
cluster:
  description: Whether the cluster answered (V(present)) or does not exist yet (V(absent)).
  returned: in check mode
  type: str
broker:
  description: Whether the broker answered (V(present)) or does not run yet (V(absent)).
  returned: in check mode
  type: str
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import KUBERNETES, run
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.topics import kafka_topic

TOPIC = {
    "name": {"type": "str", "required": True},
    "partitions": {"type": "int", "default": 1},
    "config": {"type": "dict", "default": {}},
}


def main():
    options = {
        "namespace": {"type": "str", "required": True},
        "pod": {"type": "str", "default": "kafka-0"},
        "port": {"type": "int", "default": 29092},
        "topics": {"type": "list", "elements": "dict", "required": True, "options": TOPIC},
        "timeout": {"type": "int", "default": 60},
    }
    run(kafka_topic, options, KUBERNETES)


if __name__ == "__main__":
    main()
