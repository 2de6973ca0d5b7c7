# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of images, from the stand-in of a registry."""

from __future__ import annotations

import urllib.request

import pytest
from ansible_collections.cloudcartops.platform.plugins.module_utils import registry
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError


def open_url(url, headers=None, timeout=10):
    """As Ansible's, which reads all certificates of the system for each address."""
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout)


def refused(ref) -> str:
    with pytest.raises(PlatformError) as error:
        registry.digests(ref, open_url)
    return str(error.value)


def test_a_digest_for_each_architecture_with_a_token_for_everybody(sources):
    found = registry.digests(sources.image("library/redis:7-alpine"), open_url)
    assert {found[f"linux-{a}"] for a in ("amd64", "arm64")} == {f"sha256:{n * 64}" for n in "12"}
    scope = "scope=repository%3Alibrary%2Fredis%3Apull"
    assert [path.partition("?")[0] for path in sources.asked][1:] == ["/token", "/v2/library/redis/manifests/7-alpine"]
    assert scope in sources.asked[1] and "service=stand-in" in sources.asked[1]


@pytest.mark.parametrize(
    "ref", ["redis", "redis:7", "library/redis:7", "docker.io/redis", "docker.io/Redis:7", "a.b/c@d"]
)
def test_a_reference_must_be_whole(ref):
    assert f"'{ref}' is not a whole reference. Write REGISTRY/NAME:TAG" in refused(ref)


def test_what_registries_are_called():
    assert registry.split("docker.io/library/redis:7") == ("docker.io", "library/redis", "7")
    assert registry.split("localhost:5000/a/b:v1.0_x") == ("localhost:5000", "a/b", "v1.0_x")


def test_an_image_that_is_not_there(sources):
    said = refused(f"{sources.host}/nothing:1")
    assert "/v2/nothing/manifests/1 answered 404. See whether the image is still published" in said


def test_an_image_for_one_architecture(sources):
    ref = sources.image("one:1", {"config": {}}, registry.MANIFESTS[0])
    assert f"{ref} is an image for one architecture only" in refused(ref)


def test_a_manifest_that_is_not_the_published_one(sources):
    ref = sources.image("one:1", **{"Docker-Content-Digest": f"sha256:{'f' * 64}"})
    assert f"is said to be sha256:{'f' * 64}, and is sha256:" in refused(ref)


def test_a_registry_that_wants_a_login(sources):
    sources.handler.challenge = 'Basic realm="shop"'
    assert "wants a login. Name an image that everybody may read." in refused(sources.image("one:1"))


def test_a_registry_that_gives_no_token(sources):
    sources.handler.challenge = 'Bearer realm="{url}/absent",service="x"'
    assert "/absent gave no token for one." in refused(sources.image("one:1"))


def test_an_answer_that_is_no_manifest(sources):
    assert "cannot be read: " in refused(sources.image("one:1", b"<html>"))


def test_nobody_there():
    assert "http://127.0.0.1:1/v2/a/manifests/1 cannot be read: " in refused("127.0.0.1:1/a:1")


def test_digests_that_are_none_do_not_count(sources):
    index = {"manifests": [{"digest": "sha256:1", "platform": {"os": "linux", "architecture": "arm64"}}]}
    assert registry.digests(sources.image("one:1", index), open_url) == {}
