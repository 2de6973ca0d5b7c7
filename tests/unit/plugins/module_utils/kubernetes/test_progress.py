# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions that are no conditions of the object's status."""

from __future__ import annotations

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import progress


@pytest.mark.parametrize(
    ("statuses", "done", "text"),
    [
        ([], False, "0 of 1 containers started"),
        ([{"started": False, "ready": False}], False, "0 of 1 containers started"),
        ([{"started": True, "ready": False}], True, "1 of 1 containers started"),  # as a sealed Vault is
    ],
)
def test_a_pod_that_has_started(statuses, done, text):
    pod = {"spec": {"containers": [{}]}, "status": {"containerStatuses": statuses}}
    assert progress("Pod", "Started", pod) == (done, text)
