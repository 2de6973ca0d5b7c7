# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that talks to a Vault or OpenBao server."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the server, such as V(https://vault.example.com:8200), when it can be reached directly.
      - One of O(url) and O(service) is required.
    type: str
  ca_cert:
    description:
      - Path of the CA certificates (PEM) that the server's certificate at O(url) is verified with.
      - The system's CA certificates are used when not given.
    type: path
  validate_certs:
    description:
      - Whether the server's certificate at O(url) is verified.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait for an answer of the server.
    type: int
    default: 30
  namespace:
    description:
      - Namespace of Vault (not of Kubernetes) to work in, where the server has namespaces.
    type: str
  kubeconfig:
    description:
      - Path of the kubeconfig file for O(service), O(token_secret), and any other Kubernetes object an option names.
      - Client certificates, tokens, exec plugins and OIDC work.
    type: path
  context:
    description:
      - Name of a context in O(kubeconfig). The file's current context when not given.
    type: str
  service:
    description:
      - Service of the server in Kubernetes, reached through the API server's proxy with nothing but O(kubeconfig).
      - The API server does not verify the certificate of what it is a proxy for, so prefer O(url) in production.
    type: dict
    suboptions:
      namespace:
        description: Namespace of the Service.
        type: str
        required: true
      name:
        description: Name of the Service.
        type: str
        default: vault
      port:
        description: Port of the Service.
        type: int
        default: 8200
      scheme:
        description: What the server speaks at that port.
        type: str
        choices: [http, https]
        default: http
  token:
    description:
      - Token to authenticate with.
      - One of O(token), O(token_secret), O(keys_file) and O(login) is required.
    type: str
  token_secret:
    description:
      - Kubernetes Secret that holds the token. It is read by the module itself, so it is in no variable.
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
        description: Key of the Secret's data that holds the token.
        type: str
        default: token
  keys_file:
    description:
      - Path of the file that M(cloudcartops.platform.vault_operator) keeps the keys in, to use the root token in it. It
        is read by the module itself, so it is in no variable.
    type: path
  login:
    description:
      - Log in with a short-lived token of a Kubernetes service account, which the module makes itself by the
        TokenRequest API, so that there is no token to keep.
    type: dict
    suboptions:
      role:
        description: Name of the role of the Kubernetes auth method.
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
requirements:
  - requests
  - PyYAML
  - kubernetes (only for a kubeconfig with an exec plugin or an auth provider such as OIDC)
notes:
  - Runs on the control node, as a task of the host that stands for the cluster.
  - HashiCorp Vault and OpenBao are both supported, over the API they share.
  - In check mode, when the cluster or the server does not exist yet, the module returns the plan for an empty server
    instead of failing. Any other error fails in check mode too.
"""
