# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the API serves each kind: a table of the built-in ones, so that most runs need no discovery request."""

from __future__ import annotations

from typing import NamedTuple

MANAGED_BY, OWNER = "app.kubernetes.io/managed-by", "cloudcartops"  # the label of what is ours

# Kinds by apiVersion; a leading "-" marks those without a namespace.
_BUILT_IN = {
    "v1": "ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod ReplicationController ResourceQuota Secret "
    "Service ServiceAccount -Namespace -Node -PersistentVolume",
    "apps/v1": "DaemonSet Deployment ReplicaSet StatefulSet",
    "batch/v1": "CronJob Job",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "networking.k8s.io/v1": "Ingress NetworkPolicy -IngressClass",
    "discovery.k8s.io/v1": "EndpointSlice",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding -ClusterRole -ClusterRoleBinding",
    "storage.k8s.io/v1": "-StorageClass -CSIDriver",
    "scheduling.k8s.io/v1": "-PriorityClass",
    "admissionregistration.k8s.io/v1": "-MutatingWebhookConfiguration -ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/v1": "-CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "-APIService",
}


class Resource(NamedTuple):
    """One kind as the API serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of the collection, or of one object."""
        parts = ["/api" if "/" not in self.api_version else "/apis", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *([name] if name else [])])


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("y"):
        return word[:-1] + "ies"
    if word == "endpoints":
        return word
    return word + ("es" if word.endswith("s") else "s")


BUILT_IN = {
    (version, kind): Resource(version, kind, _plural(kind), namespaced=kind == word)
    for version, words in _BUILT_IN.items()
    for word in words.split()
    for kind in (word.lstrip("-"),)
}
API_VERSIONS = {kind: version for version, kind in BUILT_IN}


def ref(kind: str, name: str, namespace: str | None = None) -> str:
    """How messages name an object."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
