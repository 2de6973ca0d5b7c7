# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a K3s node: what crictl says (recorded from version 1.34 and containerd 2), and what is made of it."""

from __future__ import annotations

import json

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.host import images
from ansible_collections.cloudcartops.platform.plugins.modules import k3s_image

HERE = "linux/amd64"
INSPECTED = {
    "info": {
        "chainID": "sha256:3cfdc235dd88952af413d8431346af6da97902886e6f8574b566f53e79937794",
        "imageSpec": {"architecture": "amd64", "config": {"Cmd": ["sh"]}, "os": "linux"},
    },
    "status": {
        "id": "sha256:363ab6f4562c5020373ff8f5009584721cf65af91c3808f04516f62491c8a05f",
        "pinned": False,
        "repoTags": ["shop/busybox:1"],
        "size": "2130641",
    },
}
TIME = 'time="2026-11-25T00:07:34Z" level=fatal msg='


def inspected(architecture="amd64", number="363a"):
    spec = {**INSPECTED["info"]["imageSpec"], "architecture": architecture}
    return json.dumps({"info": {"imageSpec": spec}, "status": {**INSPECTED["status"], "id": f"sha256:{number}"}})


def refused(name, reason):
    """What `crictl pull` prints: a line of its log, then the message, both with the reason."""
    text = f'failed to pull and unpack image \\"{name}\\": {reason}'
    log = f'E1125 00:07:40.483156    1613 log.go:32] "PullImage from image service failed" err="rpc error: {text}"\n'
    return f'{log}{TIME}"pulling image: {text}"\n'


class Crictl:
    """Stands in for crictl: a store, and what a registry would answer."""

    executable, installed = "/usr/local/bin/k3s", True

    def __init__(self, store=(), registry=()):
        self.store, self.registry, self.pulls = dict(store), dict(registry), []

    def __call__(self, verb, *arguments):
        name = arguments[-1]
        if verb == "inspecti":
            assert arguments[:2] == ("-o", "json")
            if name in self.store:
                return 0, self.store[name], ""
            return 1, "", f'{TIME}"no such image \\"{name}\\" present"\n'
        assert verb == "pull"
        self.pulls.append(name)
        answer = self.registry[name]
        if answer.startswith("{"):
            self.store[name] = answer
            return 0, f"Image is up to date for {name}\n", ""
        return 1, "", refused(name, answer)


def ensure(crictl, *names, **options):
    return images.ensure(crictl, names, here=HERE, **options)


def test_what_is_there_is_left_alone():
    crictl = Crictl({"a:1": inspected(), "b:1": inspected(number="b")})
    result = ensure(crictl, "a:1", "b:1", "a:1")
    assert not result["changed"] and crictl.pulls == [] and result["diff"] == {"before": "", "after": ""}
    assert [(i["name"], i["id"], i["platform"], i["action"]) for i in result["images"]] == [
        ("a:1", "sha256:363a", HERE, "none"),
        ("b:1", "sha256:b", HERE, "none"),
    ]


def test_what_is_missing_is_pulled_once():
    crictl = Crictl({"a:1": inspected()}, {"b:1": inspected(number="b")})
    result = ensure(crictl, "a:1", "b:1")
    assert result["changed"] and crictl.pulls == ["b:1"]
    assert [i["action"] for i in result["images"]] == ["none", "pulled"]
    assert result["diff"] == {"before": "b:1: missing\n", "after": "b:1: sha256:b\n"}
    assert not ensure(crictl, "a:1", "b:1")["changed"] and crictl.pulls == ["b:1"]


def test_a_tag_that_moves_is_pulled_and_changed_only_when_it_moved():
    crictl = Crictl({"a:latest": inspected(number="old")}, {"a:latest": inspected(number="new")})
    assert ensure(crictl, "a:latest", renew=["a:latest"])["diff"]["before"] == "a:latest: sha256:old\n"
    result = ensure(crictl, "a:latest", renew=["a:latest"])
    assert not result["changed"] and crictl.pulls == ["a:latest"] * 2


def test_check_mode_pulls_nothing():
    crictl = Crictl({"a:1": inspected()}, {})
    result = ensure(crictl, "a:1", "b:1", renew=["a:1"], check_mode=True)
    assert result["changed"] and crictl.pulls == []
    assert [i["action"] for i in result["images"]] == ["none", "pulled"]
    assert result["diff"]["after"] == "b:1: pulled\n"


def test_a_machine_without_k3s(tmp_path):
    crictl = images.Crictl(str(tmp_path / "k3s"), 10)
    with pytest.raises(PlatformError, match="There is no K3s at .* Run the play cloudcartops.platform.setup first."):
        ensure(crictl, "a:1")
    result = ensure(crictl, "a:1", check_mode=True)
    assert result["changed"] and result["images"][0]["action"] == "pulled"


@pytest.mark.parametrize("check", [False, True])
def test_an_image_for_another_architecture(check):
    with pytest.raises(PlatformError) as error:
        ensure(Crictl({"a:1": inspected("arm64"), "b:1": inspected()}), "a:1", "b:1", check_mode=check)
    assert "- a:1 is for linux/arm64, and the node is linux/amd64." in str(error.value)
    assert "k3s crictl rmi a:1" in str(error.value) and "b:1" not in str(error.value)
    assert error.value.facts == {"unusable": ["a:1"]}
    with pytest.raises(PlatformError, match="a:1 is for linux/arm64"):
        ensure(Crictl({}, {"a:1": inspected("arm64")}), "a:1")


HEAD = 'failed to resolve reference "r.example/a:1": '
ASKED = HEAD + 'failed to do request: Head "https://r.example/v2/a/manifests/1": '
REFUSALS = [
    (HEAD + "r.example/a:1: not found", "The registry has no such image or tag."),
    (
        HEAD + "pull access denied, repository does not exist or may require authorization: authorization failed: no "
        "basic auth credentials",
        "It does not exist, or is private. Correct its name (cloudcartops_image_registry)",
    ),
    (
        HEAD + "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 401 Unauthorized",
        "wants a (d",
    ),
    (
        HEAD + "unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 429 Too Many Requests",
        "limits",
    ),
    (ASKED + "dial tcp: lookup r.example: no such host", "The node cannot find the address of the registry."),
    (ASKED + "dial tcp: lookup r.example: Temporary failure in name resolution", "has the image."),
    (ASKED + "dial tcp 192.0.2.1:443: connect: connection refused", "Let the node reach the registry"),
    (ASKED + "dial tcp 192.0.2.1:443: i/o timeout", "Let the node reach the registry"),
    (ASKED + "tls: failed to verify certificate: x509: certificate signed by unknown authority", "as ca_file in"),
    (ASKED + "http: server gave HTTP response to HTTPS client", "an http:// endpoint"),
    ("no match for platform in manifest: not found", "There is no variant of it for linux/amd64. Build it"),
    ("something new", "Correct what the message names."),
]


@pytest.mark.parametrize(("reason", "fix"), REFUSALS, ids=[reason[-40:] for reason, _fix in REFUSALS])
def test_refusals_are_explained(reason, fix):
    with pytest.raises(PlatformError) as error:
        ensure(Crictl({}, {"r.example/a:1": reason.replace('"', '\\"')}), "r.example/a:1")
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"- r.example/a:1 cannot be pulled: {reason}. ") and fix in line


def test_all_refusals_at_once_and_nothing_signed_in_them():
    signed = 'failed to copy: Get "https://blobs.example/x?X-Signature=5ecret": connection refused'
    crictl = Crictl({"c:1": inspected("s390x")}, {"a:1": signed.replace('"', '\\"'), "b:1": "b:1: not found"})
    with pytest.raises(PlatformError) as error:
        ensure(crictl, "a:1", "b:1", "c:1")
    assert error.value.facts["unusable"] == ["a:1", "b:1", "c:1"]
    assert "5ecret" not in str(error.value) and "https://blobs.example/x?..." in str(error.value)


def test_a_store_that_does_not_answer():
    class Down(Crictl):
        def __call__(self, *arguments):
            return 1, "", f'{TIME}"validate service connection: connect: no such file or directory"\n'

    with pytest.raises(PlatformError, match="cannot be asked for a:1: validate service .*systemctl status k3s"):
        ensure(Down(), "a:1")
    with pytest.raises(PlatformError, match="cannot be asked for a:1"):
        ensure(Crictl({"a:1": "[]"}), "a:1")


def test_an_older_answer_without_details_is_believed():
    old = json.dumps({"status": INSPECTED["status"]})
    assert ensure(Crictl({"a:1": old}), "a:1")["images"][0]["platform"] == ""


def test_the_command_of_the_node(tmp_path):
    k3s = tmp_path / "k3s"
    k3s.write_text('#!/bin/sh\n[ "$2" != pull ] || exec sleep 30\necho "$*"; echo no >&2; exit 3\n')
    k3s.chmod(0o755)
    crictl = images.Crictl(str(k3s), 20)
    assert crictl("inspecti", "a:1") == (3, "crictl inspecti a:1\n", "no\n")
    crictl.timeout = 0.2
    assert "took longer than 0.2 s" in crictl("pull", "a:1")[2]
    k3s.write_text("#!/nowhere\n")
    with pytest.raises(PlatformError, match="cannot be run"):
        crictl("pull", "a:1")


def test_the_machine_is_named_as_images_name_it(monkeypatch):
    for machine, name in (("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("riscv64", "linux/riscv64")):
        monkeypatch.setattr(images.platform, "machine", lambda machine=machine: machine)
        assert images.node_platform() == name


def test_the_module(monkeypatch):
    asked = {}
    monkeypatch.setattr(k3s_image, "ensure", lambda crictl, *rest: asked.update(rest=rest, at=crictl.executable) or {})
    params = {"names": ["a:1"], "renew": [], "timeout": 5, "executable": "/opt/k3s"}
    k3s_image.logic(params, True)
    assert asked == {"rest": (["a:1"], [], True), "at": "/opt/k3s"}
