# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role verify."""

from __future__ import annotations

import pytest

WORKS = {"name": "Redis", "ok": True, "detail": "answers a ping", "fix": ""}
FAILS = {"name": "Pay", "ok": False, "detail": "answered 500", "fix": "See what it says."}
NOT_TRIED = {"name": "Stock", "ok": False, "detail": "Not tried, because the step 'Pay' failed.", "fix": ""}


def table(rendered, checks, **smoke) -> list[str]:
    return rendered("verify", "__verify_table", __verify_health={"checks": checks}, **smoke).splitlines()


def test_the_table(rendered):
    assert table(rendered, [WORKS], __verify_smoke={"steps": [FAILS, NOT_TRIED, {**FAILS, "name": "Login"}]}) == [
        "CHECK               STATE   DETAIL",
        "Redis               ok      answers a ping",
        "Pay                 FAILED  answered 500",
        "Stock               FAILED  Not tried, because the step 'Pay' failed.",
        "Login               FAILED  answered 500",
        "",
        "What to do:",
        "- Pay, Login: See what it says.",
    ]


@pytest.mark.parametrize("smoke", [{}, {"__verify_smoke": {"skipped": True}}])
def test_without_shopping(rendered, smoke):
    assert table(rendered, [WORKS], **smoke)[1:] == ["Redis               ok      answers a ping"]


def test_the_targets_come_from_the_catalogue(rendered):
    jobs = rendered("verify", "__verify_jobs", verify_services={"a": {"metrics": "/metrics"}, "b": {}})
    assert jobs == ["a", "prometheus"]


@pytest.mark.parametrize(("environment", "shops"), [("dev", True), ("prod", False)])
def test_nobody_shops_in_production(rendered, environment, shops):
    assert rendered("verify", "verify_smoke", cloudcartops_environment=environment) is shops
