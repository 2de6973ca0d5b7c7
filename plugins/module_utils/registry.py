# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a reference stands for, by the registry's own word. Reads manifests only, without credentials.

Protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md, and for tokens
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import hashlib
import json
import re
from urllib.error import HTTPError
from urllib.parse import urlencode

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT = ", ".join(INDEXES + MANIFESTS)
DIGEST = re.compile("sha256:[0-9a-f]{64}")


def split(ref: str) -> tuple[str, str, str]:
    """Registry, name and tag of a full reference, such as docker.io/library/redis:7-alpine."""
    found = re.fullmatch(r"([^/]+\.[^/]+|localhost|[^/]+:[0-9]+)/([a-z0-9][-._/a-z0-9]*):([\w][-.\w]{0,127})", ref)
    if not found:
        raise PlatformError(
            f"'{ref}' is not a whole reference.", "Write REGISTRY/NAME:TAG, as in docker.io/library/redis:7."
        )
    return found[1], found[2], found[3]


def digests(ref: str, open_url) -> dict[str, str]:
    """The digest of the image for each operating system and architecture, as in {"linux-arm64": "sha256:..."}.

    ``open_url`` takes a URL and the keyword ``headers``, as that of ``ansible.module_utils.urls`` does.
    """
    registry, name, tag = split(ref)
    index, kind = _manifest(registry, name, tag, open_url)
    if kind not in INDEXES:
        raise PlatformError(
            f"{ref} is an image for one architecture only ({kind or 'of no known kind'}).",
            "Name an image that is published for linux/amd64 and linux/arm64.",
        )
    found = {}
    for entry in index.get("manifests", []):
        platform = "{os}-{architecture}".format(**{"os": "", "architecture": "", **entry.get("platform", {})})
        if DIGEST.fullmatch(str(entry.get("digest"))):
            found.setdefault(platform, entry["digest"])
    return found


def _manifest(registry: str, name: str, tag: str, open_url) -> tuple[dict, str]:
    host = "registry-1.docker.io" if registry == "docker.io" else registry
    scheme = "http" if re.fullmatch(r"(localhost|127\.0\.0\.1)(:[0-9]+)?", host) else "https"  # as all clients have it
    url = f"{scheme}://{host}/v2/{name}/manifests/{tag}"
    headers = {"Accept": ACCEPT}
    try:
        response = _open(url, headers, open_url)
        if response.status == 401:
            token = _token(response.headers.get("WWW-Authenticate") or "", name, url, open_url)
            response = _open(url, {**headers, "Authorization": f"Bearer {token}"}, open_url)
        if response.status != 200:
            raise PlatformError(
                f"{url} answered {response.status}.",
                "See whether the image is still published under that tag, and whether the registry wants a login or "
                "limits how often it may be asked.",
            )
        body, published = response.read(), response.headers.get("Docker-Content-Digest")
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if published and published != digest:
            raise PlatformError(f"{url} is said to be {published}, and is {digest}.", "Try again, without a proxy.")
        return json.loads(body), response.headers.get("Content-Type", "").partition(";")[0]
    except (OSError, ValueError) as e:
        raise PlatformError(
            f"{url} cannot be read: {getattr(e, 'reason', None) or e}.", "Check the network and https_proxy."
        ) from e


def _open(url: str, headers: dict, open_url):
    try:
        return open_url(url, headers=headers)
    except HTTPError as e:
        return e  # it has all that a response has


def _token(challenge: str, name: str, url: str, open_url) -> str:
    """A token for everybody, from where the registry says."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.lower().startswith("bearer ") or "realm" not in fields:
        raise PlatformError(f"{url} wants a login.", "Name an image that everybody may read.")
    query = {key: fields[key] for key in ("service",) if key in fields} | {"scope": f"repository:{name}:pull"}
    response = _open(f"{fields['realm']}?{urlencode(query)}", {}, open_url)
    answer = json.loads(response.read()) if response.status == 200 else {}
    token = answer.get("token") or answer.get("access_token")
    if not token:
        raise PlatformError(f"{fields['realm']} gave no token for {name}.", "Name an image that everybody may read.")
    return token
