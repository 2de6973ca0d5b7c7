# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the service catalogue to Kubernetes objects: accounts, Services and Deployments. Pure functions."""

from __future__ import annotations

import re
import shlex

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.annotations import PREFIX

FINGERPRINT = "cloudcartops.platform/secret-"
# Escapes a value for the double quotes of a shell; a function of the agent's templates.
_ESCAPE = r'''regexReplaceAll "([\\\\\"$`])" "\\$1"'''
# `nc -e` runs a program once it is connected: every build of busybox has that, which cannot be said of `nc -z`. A line
# tells what is waited for, when that changes.
WAIT = """\
for address in "$@"; do
    told=
    until nc -w 2 "${address%:*}" "${address##*:}" -e true 2>/dev/null; do
        [ "$told" ] || echo "Waiting until $address accepts connections."
        told=1
        sleep 1
    done
done
"""
# What a server needs that starts as root, opens a port below 1024 and goes on as another user, as nginx does.
_LOW_PORT = ["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"]


def image_reference(image, registry, tag):
    """The whole reference of ``image``, which may have a registry or a tag of its own."""
    first, slash, _rest = image.partition("/")
    own_registry = slash and (re.search("[.:]", first) or first == "localhost")
    own_tag = "@" in image or ":" in image.rpartition("/")[2]
    return f"{'' if own_registry else registry + '/'}{image}{'' if own_tag else ':' + tag}"


def workloads(services):
    """The services that run here: those with an image."""
    return {name: entry for name, entry in services.items() if entry.get("image")}


def manifests(services, settings):
    """The objects of all workloads.

    :param services: the merged catalogue, see ``services.merged``.
    :param settings: registry, tag, pull_policy, wait_image, replicas, resources, vault_mount, vault_agent_resources and
        fingerprints (by name of the secret).
    """
    ours = workloads(services)
    elsewhere = {_account(name, entry) for name, entry in services.items() if name not in ours} | {"default"}
    accounts = dict.fromkeys(_account(name, entry) for name, entry in ours.items())
    return [
        *(_service_account(account) for account in accounts if account not in elsewhere),
        *(_service(name, entry) for name, entry in ours.items() if "port" in entry),
        *(_deployment(name, entry, settings) for name, entry in ours.items()),
    ]


def _account(name, entry):
    return entry.get("service_account") or name


def _service_account(name):
    # A pod mounts the token where it logs in to Vault with it, and says so itself.
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name},
        "automountServiceAccountToken": False,
    }


def _service(name, entry):
    port = {"name": "http", "port": int(entry["port"]), "targetPort": "http"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"type": entry.get("service_type") or "ClusterIP", "selector": {"app": name}, "ports": [port]},
    }


def _deployment(name, entry, settings):
    replicas = int(entry.get("replicas", settings["replicas"]))
    # Never two pods of what is to be one: it has its state in memory, or runs on a machine that has no room for two.
    surge = {"maxSurge": 1, "maxUnavailable": 0} if replicas > 1 else {"maxSurge": 0, "maxUnavailable": 1}
    annotations = _vault_annotations(name, entry, settings) | _fingerprints(entry, settings["fingerprints"])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": surge},
            "template": {
                "metadata": {"labels": {"app": name}} | ({"annotations": annotations} if annotations else {}),
                "spec": _pod(name, entry, settings, replicas),
            },
        },
    }


def _pod(name, entry, settings, replicas):
    pod = {
        "serviceAccountName": _account(name, entry),
        "automountServiceAccountToken": bool(entry.get("secrets")),  # the injector's agent logs in with it
        "enableServiceLinks": False,
        # Process 1 of Node and Python ignores the signal to end. What it answers takes it no longer than this.
        "terminationGracePeriodSeconds": 10,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(name, entry, settings)],
    }
    if entry.get("waits_for"):
        pod["initContainers"] = [_wait(entry["waits_for"], settings["wait_image"])]
    if replicas > 1:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": name}},
            }
        ]
    return pod


def _wait(addresses, image):
    return {
        "name": "wait",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", WAIT, "wait", *addresses],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "readOnlyRootFilesystem": True,
            **_security([]),
        },
    }


def _security(capabilities):
    added = {"add": capabilities} if capabilities else {}
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], **added}}


def _container(name, entry, settings):
    port = int(entry.get("port", 0))
    usual, given = settings["resources"], entry.get("resources") or {}
    container = {
        "name": name,
        "image": image_reference(entry["image"], settings["registry"], settings["tag"]),
        "imagePullPolicy": settings["pull_policy"],
        "resources": {part: (usual.get(part) or {}) | (given.get(part) or {}) for part in {**usual, **given}},
        # The images have no user of their own, so they run as root, without what root may do.
        "securityContext": _security(_LOW_PORT if 0 < port < 1024 else []),
    }
    if entry.get("command"):
        container["command"] = _command(entry)
    if entry.get("environment"):
        container["env"] = [{"name": key, "value": _text(value)} for key, value in sorted(entry["environment"].items())]
    if port:
        container["ports"] = [{"name": "http", "containerPort": port}]
        container |= _probes(entry.get("health"))
    return container


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def _command(entry):
    """What the container runs: the files of the secrets are read by a shell, which the program then takes the place of.

    Kubernetes replaces $(NAME) in it, and takes two dollar signs for one.
    """
    if not entry.get("secrets"):
        return [word.replace("$", "$$") for word in entry["command"]]
    read = [f". /vault/secrets/{file}" for file in files_of(entry).values()]
    return ["/bin/sh", "-c", " && ".join([*read, f"exec {shlex.join(entry['command'])}"]).replace("$", "$$")]


def files_of(entry):
    """By secret, the name of its file in /vault/secrets."""
    names = entry.get("secret_files") or {}
    return {secret: names.get(secret) or secret.replace("/", "-") for secret in entry.get("secrets") or {}}


def _probes(health):
    probe = {"httpGet": {"path": health, "port": "http"}} if health else {"tcpSocket": {"port": "http"}}
    return {
        "startupProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 120},
        "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 3},
        "livenessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 5},
    }


def _fingerprints(entry, fingerprints):
    """What changes when a secret does, so that exactly the pods that read it are replaced."""
    return {
        f"{FINGERPRINT}{secret.replace('/', '-')}": fingerprints[secret]
        for secret in entry.get("secrets") or {}
        if fingerprints.get(secret)
    }


def _vault_annotations(name, entry, settings):
    """What makes the injector write the files.

    The agent comes first and `wait` last, so that what the service needs was there a moment ago when it starts. No
    agent runs beside the service, which reads its variables once: a file that is kept fresh would have no reader.
    """
    if not entry.get("secrets"):
        return {}
    said = {"agent-inject": "true", "agent-init-first": "true", "agent-pre-populate-only": "true", "role": name}
    for part, sizes in sorted(settings["vault_agent_resources"].items()):
        said |= {f"agent-{part}-{'mem' if what == 'memory' else what}": str(size) for what, size in sizes.items()}
    for secret, file in files_of(entry).items():
        path = f"{settings['vault_mount']}/data/{secret}"
        said[f"agent-inject-secret-{file}"] = path
        said[f"error-on-missing-key-{file}"] = "true"
        said[f"agent-inject-template-{file}"] = _template(path, entry["secrets"][secret])
    return {PREFIX + key: value for key, value in said.items()}


def _template(path, taken):
    lines = [f'export {variable}="{{{{ .Data.data.{key} | {_ESCAPE} }}}}"' for variable, key in taken.items()]
    return "\n".join([f'{{{{- with secret "{path}" -}}}}', *lines, "{{ end }}", ""])


def secrets_read(services, mount):
    """What the workloads read of Vault, as vault_kv2_fingerprint_info takes it."""
    keys = {}
    for entry in workloads(services).values():
        for secret, taken in (entry.get("secrets") or {}).items():
            keys.setdefault(secret, set()).update(taken.values())
    return [{"mount": mount, "path": secret, "keys": sorted(names)} for secret, names in sorted(keys.items())]
