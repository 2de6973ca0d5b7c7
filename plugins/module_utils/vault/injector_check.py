# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that the Vault Agent Injector is live, by what only a live one can do, and say why it is not.

Pods that are created while the webhook is not live start without their secrets, silently, and stay that way: with
``failurePolicy: Ignore`` the API server lets them pass. The injector writes its own CA into the webhook configuration
when it starts and after each upgrade of the chart (which empties it), and the API server learns of that a moment later.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.diagnosis import INJECT, is_injected
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

OPTIONS = {
    "namespace": {"type": "str", "required": True},
    "webhook": {"type": "str", "default": "vault-agent-injector-cfg"},
    "service_account": {"type": "str", "default": "default"},
    "timeout": {"type": "int", "default": 60},
    "required": {"type": "bool", "default": True},
}
AGAIN_AFTER = 0.5  # seconds
RUN_AGAIN = "Run the role vault again: it compares every object of the chart with the live ones."


@dataclass
class Problem:
    """Why the injector is not live; ``lasting`` when waiting cannot help."""

    what: str
    fix: str
    lasting: bool = False


def vault_injector_check(params, check_mode):
    """The module vault_injector_check. Returns its result."""
    client = connect(params["kubeconfig"], params.get("context"), check_mode or not params["required"])
    if client is None:
        return {"changed": False, "live": False, "cluster": "absent", "msg": "There is no cluster yet."}
    end = time.monotonic() + (0 if check_mode else params["timeout"])
    while True:
        pod, problem = attempt(client, params)
        if problem is None:
            facts = {"injected": [c["name"] for c in _agents(pod)], "agent_image": _agents(pod)[0]["image"]}
            return {"changed": False, "live": True, "cluster": "present", **facts}
        if problem.lasting or time.monotonic() >= end:
            break
        time.sleep(AGAIN_AFTER)  # how far the API server's own caches are cannot be watched
    if check_mode or not params["required"]:
        text = f"{problem.what} {problem.fix}"
        return {"changed": False, "live": False, "cluster": "present", "msg": text}
    raise VaultError(problem.what, problem.fix, live=False)


def attempt(client, params):
    """Look at what can be looked at, so that a failure has a name, then create a pod without storing it."""
    configuration = client.get("MutatingWebhookConfiguration", params["webhook"])
    problem = _configuration_problem(client, params, configuration)
    if problem:
        return None, problem
    try:
        pod = client.create(_probe(params), dry_run=True)
    except ApiError as e:
        return None, _refusal(params, e)
    if is_injected(pod) and _agents(pod):
        return pod, None
    return None, Problem(
        "A pod that asks for injection is let through without it: the API server could not call the webhook "
        f"{params['webhook']}, whose failurePolicy lets pods pass then, or its objectSelector leaves the pod out.",
        "Look for 'failing open' in the API server's log. It must reach the injector's pods (network, firewall), and "
        "their certificate must be signed by the webhook's caBundle: restart the injector if it is not.",
    )


def _configuration_problem(client, params, configuration):
    name = params["webhook"]
    if configuration is None:
        what = f"There is no MutatingWebhookConfiguration {name}: pods would start without their secrets."
        return Problem(what, RUN_AGAIN)
    hooks = configuration.get("webhooks") or []
    if not hooks or "service" not in hooks[0]["clientConfig"]:
        return Problem(f"The MutatingWebhookConfiguration {name} calls no Service.", RUN_AGAIN, lasting=True)
    service = hooks[0]["clientConfig"]["service"]
    where = f"{service['namespace']}/{service['name']}"
    logs = f"kubectl -n {service['namespace']} logs deployment/{service['name'].removesuffix('-svc')}"
    if not hooks[0]["clientConfig"].get("caBundle"):
        return Problem(
            f"The injector has not written its CA into the MutatingWebhookConfiguration {name} (caBundle is empty).",
            f"See what it says ({logs}); its service account must be allowed to get, list, watch and patch the object.",
        )
    if client.get("Service", service["name"], service["namespace"]) is None:
        return Problem(f"The webhook {name} calls the Service {where}, which does not exist.", RUN_AGAIN)
    labels = f"kubernetes.io/service-name={service['name']}"
    slices = client.list("EndpointSlice", service["namespace"], labels=labels)
    if not any(e.get("conditions", {}).get("ready") for item in slices for e in item.get("endpoints") or []):
        return Problem(
            f"No pod of the injector is ready behind the Service {where}.",
            f"Look at its pods (kubectl -n {service['namespace']} get pods) and at what they say ({logs}).",
        )
    namespace = client.get("Namespace", params["namespace"])
    if namespace is None:
        return Problem(f"There is no namespace {params['namespace']}.", RUN_AGAIN)
    selector = hooks[0].get("namespaceSelector") or {}
    if not _selects(selector, namespace["metadata"].get("labels") or {}):
        return Problem(
            f"The webhook {name} leaves out the namespace {params['namespace']}: its namespaceSelector is {selector}.",
            "Give the namespace the labels it selects, or change injector.webhook.namespaceSelector of the chart.",
            lasting=True,
        )
    return None


def _refusal(params, error):
    message = error.what
    if "denied the request" in message:
        return Problem(f"The injector refused a harmless pod. {message}", "Look at the injector's log.", lasting=True)
    if "failed calling webhook" not in message:
        # a service account's controller may be a moment late; anything else stays as it is
        lasting = "serviceaccount" not in message.lower()
        return Problem(f"No pod can be created in {params['namespace']}. {message}", error.fix, lasting)
    causes = {
        "x509": "The injector serves a certificate of another CA than the webhook's caBundle: restart the injector.",
        "connection refused": "The injector's pod does not listen yet, or no longer: look at it.",
        "deadline exceeded": "The API server does not get through to the pods: look for a firewall between them.",
        "no endpoints": "No pod of the injector is ready: look at its pods.",
        "not found": RUN_AGAIN,
    }
    fix = next((text for sign, text in causes.items() if sign in message), "Look at the injector's pods and log.")
    return Problem(f"The API server cannot call the injector. {message}", fix)


def _agents(pod):
    spec = pod["spec"]
    every = [*(spec.get("initContainers") or []), *spec["containers"]]
    return [container for container in every if container["name"].startswith("vault-agent")]


def _selects(selector, labels):
    """Whether a Kubernetes label selector selects an object with these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        key, values = rule["key"], rule.get("values") or []
        if not {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[rule["operator"]]:
            return False
    return True


def _probe(params):
    """A pod that asks for injection and that even the strictest Pod Security Standard admits."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "vault-injector-probe",
            "namespace": params["namespace"],
            "annotations": {INJECT: "true", "vault.hashicorp.com/role": "probe"},
        },
        "spec": {
            "serviceAccountName": params["service_account"],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": "probe",
                    "resources": {"limits": {"cpu": "1m", "memory": "1Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
