# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server's refusals mean and what to do about them.

Status objects: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import re

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

IMMUTABLE = re.compile(r"field is immutable|updates to .* are forbidden|may not change once set|cannot change roleRef")


class ApiError(PlatformError):
    """The API server refused a request. ``status`` is the HTTP status, ``reason`` the API's word for it."""

    def __init__(self, status: int, reason: str, what: str, fix: str = "", namespace_missing: bool = False) -> None:
        super().__init__(what, fix, status=status, reason=reason)
        self.status, self.reason, self.namespace_missing = status, reason, namespace_missing


def api_error(status: int, body: dict, doing: str) -> ApiError:
    """Explain a failed response. ``doing`` says what was tried: "apply Service cloudcart/vault"."""
    reason = body.get("reason") or ""
    message = (body.get("message") or f"HTTP {status}").strip()
    message = re.sub(r"Invalid value: \{.*\}: ", "", message)  # a whole pod template, say
    details = body.get("details") or {}
    causes = [c for c in details.get("causes") or [] if c.get("message")]
    what = f"The cluster refused to {doing}: {message.rstrip('.')}."
    namespace_missing = status == 404 and details.get("kind") == "namespaces"
    fix = "Create the namespace first." if namespace_missing else fix_of(status, message, causes)
    return ApiError(status, reason, what, fix, namespace_missing)


def fix_of(status: int, message: str, causes: list) -> str:
    """What to do about a refusal with this message."""
    if status == 401:
        return "The kubeconfig's credentials are not valid (any more): fetch it from the cluster again, or log in."
    if "failed calling webhook" in message:
        hook = _quoted(message)
        return (
            f"The admission webhook {hook} does not answer: look at the pods behind it, or, if its service is gone for "
            "good, delete its webhook configuration; then run again."
        )
    if "admission webhook" in message:
        return f"The admission webhook {_quoted(message)} does not allow this object: change what it objects to."
    if "being terminated" in message or "is terminating" in message:
        return "Wait until its deletion is finished ('kubectl get namespace' no longer lists it), then run again."
    if "exceeded quota" in message:
        return "Raise the ResourceQuota of the namespace, or lower what the object asks for."
    if status == 403:
        return "The kubeconfig's user lacks this right: use one that may administer the namespace, or extend its role."
    if IMMUTABLE.search(message):
        return (
            "A live object cannot be changed there. Keep the old value, or delete the object and run again "
            "(a StatefulSet with 'kubectl delete --cascade=orphan', which keeps its pods and volumes; "
            "a Job or Pod can simply be deleted)."
        )
    if status in (400, 422):
        fields = ", ".join(dict.fromkeys(c["field"] for c in causes if c.get("field") not in (None, "<nil>")))
        return f"Correct {fields} of the object." if fields else "Correct the object."
    if (
        "typed patch object" in message or "unable to convert" in message
    ):  # the API calls its refusal an error of its own
        return "Correct that field of the object."
    if status == 409:
        return "Another client changed the object at the same time: run again."
    if status in (429, 503, 504):
        return "The API server is overloaded or still starting: run again when it is ready."
    return ""


def _quoted(message: str) -> str:
    found = re.search(r'"([^"]+)"', message)
    return found[1] if found else "in question"
