# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal of the API comes with what to do about it."""

from __future__ import annotations

import re

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import api_error

WEBHOOK = 'failed calling webhook "vault.hashicorp.com": failed to call webhook: Post "https://v.shop.svc:443/mutate": '
IMMUTABLE = "--cascade=orphan.*a Job or Pod can simply be deleted"
CAUSE = {"field": "spec.ports[0].port", "message": "Invalid value: 0"}


@pytest.mark.parametrize(
    ("status", "message", "details", "fix"),
    [
        (401, "Unauthorized", {}, "credentials are not valid"),
        (403, 'pods is forbidden: User "u" cannot list', {}, "lacks this right"),
        (403, "pods p is forbidden: exceeded quota: compute", {}, "Raise the ResourceQuota"),
        (403, "because it is being terminated", {}, "Wait until its deletion is finished"),
        (404, 'namespaces "n" not found', {"kind": "namespaces"}, "Create the namespace first"),
        (500, WEBHOOK + "connect: connection refused", {}, "admission webhook vault.hashicorp.com does not answer"),
        (400, 'admission webhook "v.io" denied the request: no Vault role found', {}, "webhook v.io does not allow"),
        (422, "invalid", {"causes": [CAUSE, CAUSE]}, r"Correct spec\.ports\[0\]\.port of the object\.$"),
        (422, 'Job.batch "j" is invalid: spec.template: Invalid value: x: field is immutable', {}, IMMUTABLE),
        (422, "updates to statefulset spec for fields other than 'replicas' are forbidden", {}, IMMUTABLE),
        (422, "roleRef: Invalid value: cannot change roleRef", {}, IMMUTABLE),
        (422, "spec.clusterIPs[0]: Invalid value: may not change once set", {}, IMMUTABLE),
        (400, 'unknown field "spec.replicaz"', {}, "Correct the object"),
        (500, "failed to create typed patch object: .spec.replicaz: field not declared", {}, "Correct that field"),
        (500, "unable to convert unstructured object: illegal base64 data at input byte 0", {}, "Correct that field"),
        (409, "the object has been modified", {}, "run again"),
        (503, "etcdserver: leader changed", {}, "still starting"),
    ],
)
def test_fix(status, message, details, fix):
    error = api_error(status, {"message": message, "details": details}, "apply Service shop/web")
    assert str(error).startswith(f"The cluster refused to apply Service shop/web: {message}")
    assert error.status == status and re.search(fix, error.fix)


def test_dumped_values_are_left_out():
    message = (
        'Job "j" is invalid: spec.template: Invalid value: {"Spec":{"Env":[{"Value":"s3cr3t"}]}}: field is immutable'
    )
    assert 'refused to apply Job j: Job "j" is invalid: spec.template: field is immutable.' in str(
        api_error(422, {"message": message}, "apply Job j")
    )


def test_nothing_to_say():
    error = api_error(418, {}, "read Pod a")
    assert str(error) == "The cluster refused to read Pod a: HTTP 418."
