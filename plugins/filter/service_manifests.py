# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that makes Kubernetes objects of the service catalogue."""

from __future__ import annotations

DOCUMENTATION = r"""
name: service_manifests
short_description: Make ServiceAccounts, Services and Deployments of the service catalogue
version_added: 0.1.0
author: CloudCartOps contributors (@cloudcartops)
description:
  - Returns the objects of every service that has an C(image), for the option
    O(cloudcartops.platform.k8s_apply#module:definitions).
  - Secrets reach a container through the files of the Vault injector, which a shell reads before it runs the service's
    own program. There is no secret in the objects, only a fingerprint of each.
options:
  _input:
    description: The services by name, as P(cloudcartops.platform.service_catalogue#filter) returns them.
    type: dict
    required: true
  registry:
    description: Comes before the name of an image that has no registry of its own.
    type: str
    required: true
  tag:
    description: Tag of images that have none of their own.
    type: str
    required: true
  pull_policy:
    description: When nodes pull the images of the services.
    type: str
    default: IfNotPresent
  wait_image:
    description: Image with C(sh) and the C(nc) of busybox, for the container that waits for what the service needs.
    type: str
    required: true
  replicas:
    description: How many pods a service has that does not say it itself.
    type: int
    default: 1
  resources:
    description: C(requests) and C(limits) of a container, as far as the service does not say them itself.
    type: dict
    default: {}
  vault_mount:
    description: Path of the KV version 2 engine that holds the secrets.
    type: str
    default: cloudcart
  vault_agent_resources:
    description: C(requests) and C(limits) of the agent that fetches the secrets. The injector's own when empty.
    type: dict
    default: {}
  fingerprints:
    description:
      - By name of the secret, a text that changes when the secret does, as
        M(cloudcartops.platform.vault_kv2_fingerprint_info) returns it. Pods that read the secret are replaced then.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the objects of one service
  ansible.builtin.debug:
    msg: "{{ services | cloudcartops.platform.service_manifests(**images) }}"
  vars:
    services:
      shop: {image: shop, port: 8080, health: /health, waits_for: ["database:5432"]}
    images:
      registry: docker.io/example
      tag: "1.0"
      wait_image: docker.io/library/busybox:1.37
"""

RETURN = r"""
_value:
  description: The objects.
  type: list
  elements: dict
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue.manifests import manifests


def service_manifests(
    services,
    registry,
    tag,
    wait_image,
    pull_policy="IfNotPresent",
    replicas=1,
    resources=None,
    vault_mount="cloudcart",
    vault_agent_resources=None,
    fingerprints=None,
):
    settings = {
        "registry": registry,
        "tag": tag,
        "wait_image": wait_image,
        "pull_policy": pull_policy,
        "replicas": replicas,
        "resources": resources or {},
        "vault_mount": vault_mount,
        "vault_agent_resources": vault_agent_resources or {},
        "fingerprints": fingerprints or {},
    }
    return manifests(services, settings)


class FilterModule:
    def filters(self):
        return {"service_manifests": service_manifests}
