# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a login with a service account's token fails, from what can be read in Vault and in Kubernetes.

Vault answers most failures with "permission denied" and keeps the reason for its own log at level debug. What each
answer can mean was read in the Kubernetes auth plugin and tried with OpenBao.
"""

from __future__ import annotations

import base64
import json
import re
import time
from urllib.parse import urlsplit

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import reviewer
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultAbsent, VaultError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.hcl import policy_meaning

RUN_INIT = "run the role vault_init again"
_API_HOSTS = re.compile(r"kubernetes\.default(\.svc(\..+)?)?\Z")
_PEM = re.compile("-----BEGIN [A-Z ]+-----(.*?)-----END", re.DOTALL)


def why_absent(params, cluster, error):
    """The error to raise when no server answers: behind a Service, a sealed one looks like none at all."""
    service = params["service"]
    where = f"{service['namespace']}/{service['name']}"
    pods = _server_pods(cluster, service)
    for pod in pods:
        name = pod["metadata"]["name"]
        url = cluster.pod_proxy_url(service["namespace"], service["scheme"], name, service["port"])
        status = _json(cluster.proxy(url, "/v1/sys/seal-status", timeout=10))
        if status.get("initialized") is False:
            return VaultAbsent(f"Vault in the pod {name} is not initialised.", "Initialise it (vault operator init).")
        if status.get("sealed"):
            return VaultAbsent(
                f"Vault in the pod {name} is sealed, so that the Service {where} has no server.",
                f"Unseal it with {status.get('t', 'enough')} of its key shares (vault operator unseal).",
            )
    if pods or cluster.get("Service", service["name"], service["namespace"]) is None:
        return error
    return VaultAbsent(
        f"{error.what} There is no pod behind the Service {where}.", "Look at its StatefulSet or Deployment."
    )


def why_no_login(server, cluster, params, login, status, errors):
    """The cause of a refused login, and what to do."""
    mount, account = login["mount"], f"{login['namespace']}/{login['service_account']}"
    try:
        role = server.read(f"auth/{mount}/role/{login['role']}") or {}
    except VaultError:
        role = {}
    if "invalid role name" in errors:
        return f"There is no such role: {RUN_INIT}, or correct the name."
    if "service account name not authorized" in errors:
        return f"The role is not for this account: its bound_service_account_names has {_names(role, 'names')}."
    if "namespace not authorized" in errors:
        return f"The role is not for this namespace: bound_service_account_namespaces has {_names(role, 'namespaces')}."
    if "invalid audience" in errors:
        return (
            f"The role asks for the audience {role.get('audience')}, which the token does not have: give the pod a "
            "projected token with that audience (and this check the option audiences), or take it from the role."
        )
    if "invalid issuer" in errors:
        return _wrong_issuer(server, cluster, mount)
    if "could not load backend configuration" in errors:
        return f"The auth method has no configuration: {RUN_INIT}."
    if status == 503 and "sealed" in errors:
        return "Unseal it (vault operator unseal)."
    if status == 403:
        try:
            return _why_denied(server, cluster, params, login, role)
        except VaultError as e:
            return f"The cause cannot be looked for: {e}"
        except ApiError as e:
            return f"The cause cannot be looked for in Kubernetes: {e}"
    return f"The server's log says more. The account was {account}."


def why_not_readable(server, login, path):
    """Why a role that logs in may not read a path."""
    hint = f"Give the role {login['role']} a policy that allows it."
    try:
        if wrong := _without_data(server, path):
            return wrong
        role = server.read(f"auth/{login['mount']}/role/{login['role']}") or {}
        policies = role.get("token_policies") or role.get("policies") or []
        texts = {name: server.read(f"sys/policies/acl/{name}") for name in policies}
    except VaultError as e:
        return f"{hint} Why it has none cannot be looked for: {e}"
    if not policies:
        return f"The role has no policy. {hint}"
    missing = [name for name, found in texts.items() if found is None]
    if missing:
        return f"Its policy {', '.join(missing)} does not exist: {RUN_INIT}, or correct the role's token_policies."
    mount, _slash, rest = path.partition("/data/")
    for name, found in texts.items():
        rules = rules_of(found["policy"])
        if rule := matching(rules, f"{mount}/{rest}"):
            return (
                f'Its policy {name} allows "{rule}", but the engine is KV version 2, whose secrets are read under '
                f'"{path}": write data/ after the mount in the policy.'
            )
        if rule := matching(rules, path):
            return f'Its policy {name} has "{rule}" with {", ".join(rules[rule]) or "nothing"}: it needs read.'
    return f"None of its policies ({', '.join(policies)}) has that path. {hint}"


def rules_of(text):
    """The rules of a policy: capabilities by path. Empty when the text cannot be read."""
    meaning = policy_meaning(text)
    paths = meaning.get("path") if isinstance(meaning, dict) else None
    rules = {}
    for path, rule in (paths if isinstance(paths, dict) else {}).items():
        found = rule.get("capabilities", []) if isinstance(rule, dict) else []
        rules[path] = [json.loads(item) for item in found] if isinstance(found, list) else []
    return rules


def matching(rules, path):
    """The rule that Vault applies to a path: the longest that fits. ``+`` is one segment, a last ``*`` any text.

    https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax
    """
    fitting = [rule for rule in rules if _fits(rule.lstrip("/"), path)]
    return max(fitting, key=lambda rule: (len(re.split(r"[+*]", rule)[0]), len(rule)), default="")


def _fits(rule, path):
    pattern = "/".join("[^/]+" if part == "+" else re.escape(part) for part in rule.removesuffix("*").split("/"))
    return re.fullmatch(pattern + (".*" if rule.endswith("*") else ""), path) is not None


def _without_data(server, path):
    """What is wrong when a path of a KV version 2 engine lacks ``data/``."""
    mounts = server.read("sys/mounts") or {}
    for mount, found in mounts.items():
        if path.startswith(mount) and (found.get("options") or {}).get("version") == "2":
            rest = path.removeprefix(mount)
            if not rest.startswith("data/"):
                return f"{mount} is a KV version 2 engine, which has data/ after the mount: read {mount}data/{rest}."
    if not any(path.startswith(mount) for mount in mounts):
        return f"There is no secrets engine that the path could belong to; there are {', '.join(sorted(mounts))}."
    return ""


def _names(role, what):
    return ", ".join(role.get(f"bound_service_account_{what}") or []) or "nothing that can be read"


def _wrong_issuer(server, cluster, mount):
    config = server.read(f"auth/{mount}/config") or {}
    document = cluster.call("GET", "/.well-known/openid-configuration", doing="tell its issuer").json()
    return (
        f"The cluster's issuer is {document.get('issuer')}, the auth method expects "
        f"{config.get('issuer') or 'kubernetes/serviceaccount'}: set disable_iss_validation to true in its "
        "configuration (Kubernetes checks the token anyway), or issuer to the cluster's."
    )


# -- "permission denied" -----------------------------------------------------------------------------------------------


def _why_denied(server, cluster, params, login, role):
    mount = login["mount"]
    methods = server.read("sys/auth") or {}
    method = methods.get(f"{mount}/")
    if method is None:
        there = ", ".join(sorted(name.rstrip("/") for name, found in methods.items() if found["type"] == "kubernetes"))
        return (
            f"There is no auth method at auth/{mount} (of type kubernetes there is {there or 'none'}): correct the "
            f"mount, or {RUN_INIT}."
        )
    if method.get("type") != "kubernetes":
        return f"The auth method at auth/{mount} is of type {method.get('type')}, not kubernetes: correct the mount."
    config = server.read(f"auth/{mount}/config") or {}
    for cause in (
        _keys(cluster, config),
        _host(cluster, params, config),
        _ca(cluster, config, login["namespace"]),
        _reviewer(cluster, params, login, config, method.get("options") or {}),
    ):
        if cause:
            return cause
    return "Look at the server's log at level debug, where the reason is."


def _keys(cluster, config):
    if not config.get("pem_keys"):
        return ""
    answer = cluster.proxy(cluster.server, "/openid/v1/jwks", headers={"Accept": "application/jwk-set+json"})
    keys = _json(answer).get("keys", [])
    known = [_bytes(key.get("n") or key.get("x") or "") for key in keys]
    if any(number and number in key for number in known for text in config["pem_keys"] for key in _ders(text)):
        return ""
    return "The pem_keys in the auth method's configuration hold none of the cluster's keys: correct or remove them."


def _host(cluster, params, config):
    """An address at which a Vault in the cluster cannot reach the API, as far as that shows."""
    text = config.get("kubernetes_host", "")
    url = urlsplit(text)
    if not params.get("service"):
        return ""  # who knows what can be reached from where Vault is
    api = cluster.get("Service", "kubernetes", "default") or {"spec": {}}
    ports = {port["port"] for port in api["spec"].get("ports", [])}
    inside = _API_HOSTS.match(url.hostname or "") or url.hostname in api["spec"].get("clusterIPs", [])
    wrong = url.scheme != "https" or url.hostname in (None, "localhost") or url.hostname.startswith("127.")
    if not wrong and inside:
        wrong = (url.port or 443) not in ports
    elif not wrong and _is_service(url.hostname):
        name, namespace = url.hostname.split(".")[:2]
        wrong = cluster.get("Service", name, namespace) is None
    if not wrong:
        return ""
    return (
        f"Vault cannot reach the Kubernetes API at the kubernetes_host {text!r} of the auth method's configuration: "
        "https://kubernetes.default.svc is right for a Vault in the cluster."
    )


def _is_service(hostname):
    return re.fullmatch(r"[^.]+\.[^.]+\.svc(\..+)?", hostname or "") is not None


def _ca(cluster, config, namespace):
    """A CA certificate in the configuration that is none of the cluster's."""
    inside = _API_HOSTS.match(urlsplit(config.get("kubernetes_host", "")).hostname or "")
    given = config.get("kubernetes_ca_cert")
    if not inside or (not given and not config.get("disable_local_ca_jwt")):
        return ""  # the address may have a certificate of its own; without a CA Vault takes the one of its pod
    found = cluster.get("ConfigMap", "kube-root-ca.crt", namespace)
    ours = _ders((found or {}).get("data", {}).get("ca.crt", ""))
    if not ours or set(ours) & set(_ders(given or "")):
        return ""
    what = "kubernetes_ca_cert is not the CA of this cluster" if given else "there is no kubernetes_ca_cert"
    return (
        f"Vault cannot verify the Kubernetes API: {what}. Put in the one from the ConfigMap kube-root-ca.crt, or leave "
        "both it and disable_local_ca_jwt out, so that Vault uses its pod's."
    )


def _reviewer(cluster, params, login, config, kept):
    service = params.get("service")
    pods = _server_pods(cluster, service) if service else []
    own = pods[0]["spec"].get("serviceAccountName", "default") if pods else None
    name, namespace = params["reviewer"] or own or "vault", (service or login)["namespace"]
    given = config.get("token_reviewer_jwt_set")
    expires = kept.get(reviewer.EXPIRES, "")  # vault_configuration keeps it there
    if given and expires.isdecimal() and int(expires) <= time.time():
        return (
            f"The token_reviewer_jwt in the auth method's configuration expired at {reviewer.iso(expires)}: renew it, "
            "or remove it."
        )
    if not given and config.get("disable_local_ca_jwt"):
        name, namespace, pods = login["service_account"], login["namespace"], []  # then each token reviews itself
    user = f"system:serviceaccount:{namespace}:{name}"
    if not _may_review(cluster, user, namespace):
        return (
            f"{user}, as which Vault reviews tokens, may not do that: bind it to the ClusterRole system:auth-delegator "
            "(the role vault does)."
        )
    if given:
        return (
            "The token_reviewer_jwt in the auth method's configuration is not valid (any more), or is of an account "
            f"that may not review tokens ({user} may): renew it, or remove it."
        )
    account = cluster.get("ServiceAccount", name, namespace)
    for pod in pods:
        if account is None or pod["metadata"]["creationTimestamp"] < account["metadata"]["creationTimestamp"]:
            what = "is gone" if account is None else "was made anew after that pod had started"
            return (
                f"The token of Vault's pod {pod['metadata']['name']}, with which it reviews tokens, is void, because "
                f"the ServiceAccount {namespace}/{name} {what}: run the role vault again."
            )
    return (
        f"Vault may review tokens as {user}, so its pod probably cannot reach {config.get('kubernetes_host')}: look "
        "for a NetworkPolicy or a firewall. The server's log says more at level debug."
    )


def _may_review(cluster, user, namespace):
    spec = {"user": user, "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]}
    spec["resourceAttributes"] = {"group": "authentication.k8s.io", "resource": "tokenreviews", "verb": "create"}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = cluster.call("POST", path, doing=f"tell what {user} may do", body=body).json()
    return answer["status"].get("allowed", False)


def _server_pods(cluster, service):
    found = cluster.get("Service", service["name"], service["namespace"]) or {"spec": {}}
    selector = found["spec"].get("selector") or {}
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    return cluster.list("Pod", service["namespace"], labels=labels) if labels else []


def _json(response):
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _bytes(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _ders(pem):
    """The objects of a PEM text, decoded."""
    found = []
    for body in _PEM.findall(pem):
        try:
            found.append(base64.b64decode("".join(body.split())))
        except ValueError:
            continue
    return found
