#!/usr/bin/python
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enable, tune and disable a secrets engine of a Vault or OpenBao server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_mount
short_description: A secrets engine of a Vault server
version_added: "0.1.0"
description:
  - Enables a secrets engine, tunes it, and disables it.
  - Disabling an engine destroys everything in it. It is refused while there is something, unless O(force) says so.
author:
  - CloudCartOps contributors (@cloudcartops)
extends_documentation_fragment:
  - cloudcartops.platform.attributes
  - cloudcartops.platform.attributes.vault_group
  - cloudcartops.platform.vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  path:
    description: Path of the engine.
    type: str
    required: true
  type:
    description: Type of the engine. That of one that exists cannot be changed and is an error.
    type: str
    default: kv
  description:
    description: Text for people. An empty one leaves what is there.
    type: str
    default: ""
  options:
    description:
      - 'Options of the engine, such as C({version: "2"}) for a KV engine with versions.'
      - Those of one that exists cannot be changed and are an error.
    type: dict
    default: {}
  config:
    description:
      - What can be tuned, in the names of Vault's API, such as C(default_lease_ttl), C(max_lease_ttl) and
        C(listing_visibility). What is not given is left as it is.
    type: dict
    default: {}
  state:
    description: Whether the engine shall be there.
    type: str
    choices: [present, absent]
    default: present
  force:
    description:
      - With O(state=absent), whether what is in the engine may be lost for ever.
      - Only KV engines can be asked whether they are empty; any other engine needs it.
    type: bool
    default: false
seealso:
  - module: cloudcartops.platform.vault_configuration
"""

EXAMPLES = r"""
- name: A KV engine with versions
  cloudcartops.platform.vault_mount:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    path: shop
    options: {version: "2"}
    description: Secrets of the shop
    config: {max_lease_ttl: 48h}

- name: An engine that is empty goes; one with something in it is an error
  cloudcartops.platform.vault_mount:
    url: https://vault.example.com:8200
    token: "{{ lookup('ansible.builtin.env', 'VAULT_TOKEN') }}"
    path: shop-old
    state: absent
"""

RETURN = r"""
plan:
  description: What was done, or would be in check mode. Empty when everything is as it should be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Always V(mount).
      type: str
    name:
      description: Name of the object, after its mount where it has one.
      type: str
    action:
      description: One of V(create), V(update), V(delete).
      type: str
    fields:
      description: Names of what differs, of an update.
      type: list
      elements: str
  sample:
    - {kind: mount, name: shop, action: create}
cluster:
  description: Whether the Kubernetes cluster exists. V(absent) only in check mode.
  returned: success
  type: str
  sample: present
vault:
  description: Whether the server exists. V(absent) only in check mode.
  returned: success
  type: str
  sample: present
"""

from ansible_collections.cloudcartops.platform.plugins.module_utils._argspec import run
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import connection, spec
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.configuration import single


def main():
    run(single("mounts"), spec.ITEMS["mounts"], connection.OPTIONS, **connection.RULES)


if __name__ == "__main__":
    main()
