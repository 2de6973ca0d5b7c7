# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root causes swallow what follows from them."""

from __future__ import annotations

from ansible_collections.cloudcartops.platform.plugins.module_utils.findings import Finding, ranked


def finding(rule, name, because=(), **more):
    return Finding(rule, [name], f"{name} is broken", "Mend it.", names={name}, because=set(because), **more)


def tree(*findings):
    return [(f["rule"], f["objects"], [c["rule"] for c in f["consequences"]]) for f in ranked(list(findings))]


def test_one_missing_injector_is_one_finding():
    pods = [finding("not-injected", f"pod-{n}", ["injector"], group="missed", command=f"d{n}") for n in range(15)]
    (found,) = ranked([*pods, finding("injector", "injector")])
    assert (found["rank"], found["rule"], found["cause"]) == (1, "injector", "injector is broken")
    (follows,) = found["consequences"]
    assert len(follows["objects"]) == 15 and follows["command"].count(" && ") == 14


def test_what_follows_from_what_follows():
    assert tree(
        finding("check", "ingress", ["gateway"]),
        finding("waits", "gateway", ["redis"]),
        finding("crash", "redis", ["node"]),
        finding("node", "node"),
    ) == [("node", ["node"], ["crash", "waits", "check"])]


def test_without_the_cause_each_stands_for_itself():
    assert tree(finding("check", "b", ["node"]), finding("not-injected", "a", ["injector"])) == [
        ("not-injected", ["a"], []),
        ("check", ["b"], []),
    ]


def test_those_that_explain_each_other_have_the_heavier_as_cause():
    assert tree(finding("probe", "a", ["b"]), finding("vault", "b", ["a"]), finding("waits", "c", ["a"])) == [
        ("vault", ["b"], ["probe", "waits"])
    ]


def test_nothing_explains_itself():
    assert tree(finding("crash", "a", ["a"])) == [("crash", ["a"], [])]


def test_equal_rules_of_different_groups_stay_apart():
    assert len(ranked([finding("image", "a", group="x"), finding("image", "b", group="y")])) == 2
    assert len(ranked([finding("check", "a"), finding("check", "b")])) == 2


def test_one_command_for_all_is_named_once():
    (found,) = ranked([finding("config", n, group="s", command="play apps") for n in "ab"])
    assert found["command"] == "play apps"
    assert ranked([]) == []
