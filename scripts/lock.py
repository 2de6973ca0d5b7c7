#!/usr/bin/env python3
# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the published checksums of every artifact, and the digests of every image, into the lock file.

Each publisher has its own place for them. A checksum that is in the lock file already is never replaced by another one:
a release that changed under its name is what the lock file is there to notice. --update raises the versions first.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
import urllib.request
from urllib.parse import quote

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.cloudcartops.platform.plugins.module_utils import registry  # noqa: E402
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError  # noqa: E402

LOCK = ROOT / "roles/catalog/files/lock.yml"
UNRESOLVED = "unresolved"
CHANNELS = "https://update.k3s.io/v1-release/channels"  # the newest release of each minor version of K3s
HELM = "https://get.helm.sh/helm3-latest-version"


class Refused(Exception):
    """Why an entry cannot be resolved."""


def open_url(url: str, headers: dict | None = None):
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=60)


def read(url: str) -> str:
    """The text at ``url``."""
    try:
        with open_url(url) as response:
            return response.read().decode("utf-8")
    except (OSError, ValueError) as e:
        raise Refused(f"{url} cannot be read: {getattr(e, 'reason', None) or e}") from e


def from_list(listing: str, name: str, source: str) -> str:
    """The checksum of ``name`` in the output of sha256sum."""
    found = re.findall(rf"^([0-9a-f]{{64}})\s+\*?{re.escape(name)}$", listing, re.MULTILINE)
    if len(found) != 1:
        raise Refused(f"{source} has {len(found)} checksums for {name}")
    return found[0]


def published(artifact: str, version: str, platform: str, url: str) -> str:
    """The checksum that the publisher of ``artifact`` gives for the file at ``url``."""
    folder, _slash, name = url.rpartition("/")
    if artifact.startswith("k3s"):
        source = f"{folder}/sha256sum-{platform.rpartition('-')[2]}.txt"
        return from_list(read(source), name, source)
    if artifact == "helm":
        source = f"{url}.sha256sum"
        return from_list(read(source), name, source)
    source = f"{folder}/index.yaml"
    digest = charts(source, artifact).get(version) or ""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise Refused(f"{source} has no digest for {artifact.removesuffix('-chart')} {version}")
    return digest


def charts(source: str, artifact: str) -> dict[str, str]:
    """The digest of each version of a chart, by the index of its repository."""
    try:
        index = yaml.load(read(source), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {str(e["version"]): e.get("digest") for e in index["entries"].get(artifact.removesuffix("-chart"), [])}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as e:
        raise Refused(f"{source} is not the index of a chart repository") from e


def newest(artifact: str, entry: dict) -> str:
    """The newest version that its publisher names: of K3s in the same minor version, of Helm in version 3."""
    if artifact.startswith("k3s"):
        channel = ".".join(entry["version"].split(".")[:2])
        try:
            found = {c["id"]: c.get("latest") for c in json.loads(read(CHANNELS))["data"]}.get(channel)
        except (ValueError, KeyError, TypeError) as e:
            raise Refused(f"{CHANNELS} is not the list of channels") from e
        source, form = f"{CHANNELS} ({channel})", r"v\d+\.\d+\.\d+\+k3s\d+"
    elif artifact == "helm":
        found, source, form = read(HELM).strip(), HELM, r"v3\.\d+\.\d+"
    else:
        source, form = f"{entry['files']['any']['url'].rpartition('/')[0]}/index.yaml", r"\d+\.\d+\.\d+"
        found = max(filter(re.compile(form).fullmatch, charts(source, artifact)), key=numbers, default="")
    if not re.fullmatch(form, found or ""):
        raise Refused(f"{source} names no version, but '{found}'")
    return found


def numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]


def update(text: str) -> tuple[str, list[str]]:
    """The text of a lock file with the newest versions, whose checksums are not known yet; and the problems."""
    content, problems = yaml.safe_load(text), []
    for artifact, entry in content["artifacts"].items():
        try:
            found = newest(artifact, entry)
        except Refused as e:
            problems.append(f"{artifact}: {e}")
            continue
        if numbers(found) <= numbers(entry["version"]):
            continue
        print(f"lock: {artifact}: {entry['version']} becomes {found}")
        place = re.compile(rf"(\n  {re.escape(artifact)}:\n    version: \"?){re.escape(entry['version'])}(\"?\n)")
        text = place.sub(lambda match, found=found: f"{match[1]}{found}{match[2]}", text)
        for file in entry["files"].values():
            url = file["url"].replace(quote(entry["version"]), quote(found))
            old = re.compile(rf"url: {re.escape(file['url'])}\n( +)sha256: \S+")
            text = old.sub(lambda match, url=url: f"url: {url}\n{match[1]}sha256: {UNRESOLVED}", text)
    for entry in content["images"].values():  # a tag may have moved
        for platform in entry.get("digests", {}):
            text = digest_of(entry["ref"], platform).sub(rf"\g<1>{UNRESOLVED}", text)
    return text, problems


def digest_of(ref: str, platform: str) -> re.Pattern:
    """The place of a digest."""
    return re.compile(rf"(ref: {re.escape(ref)}\n +digests:\n(?: +[a-z0-9-]+: \S+\n)*? +{platform}: )\S+")


def resolve(text: str) -> tuple[str, list[str]]:
    """The text of a lock file with what was published, and the problems that are left."""
    content, problems = yaml.safe_load(text), []
    for artifact, entry in content["artifacts"].items():
        for platform, file in entry["files"].items():
            try:
                if quote(entry["version"]) not in file["url"]:
                    raise Refused(f"its version is {entry['version']}, which is not that of {file['url']}")
                found = published(artifact, entry["version"], platform, file["url"])
                if file["sha256"] not in (UNRESOLVED, found):
                    raise Refused(f"{file['url']} is now published with {found}, and was locked with {file['sha256']}")
            except Refused as e:
                problems.append(f"{artifact} {platform}: {e}")
                continue
            place = re.compile(rf"(url: {re.escape(file['url'])}\n +sha256: )\S+")
            text = place.sub(rf"\g<1>{found}", text)
    for name, entry in content.get("images", {}).items():
        wanted = entry.get("digests", {})
        try:
            found = registry.digests(entry["ref"], open_url) if wanted else {}
        except PlatformError as e:
            problems.append(f"images/{name}: {e}")
            continue
        for platform, locked in wanted.items():
            if platform not in found:
                problems.append(f"images/{name}: {entry['ref']} is not published for {platform}")
            elif locked == UNRESOLVED:
                text = digest_of(entry["ref"], platform).sub(rf"\g<1>{found[platform]}", text)
            elif locked != found[platform]:
                print(f"lock: images/{name}: {entry['ref']} has moved on {platform}; --update takes {found[platform]}")
    return text, problems


def main(path: pathlib.Path, arguments: list[str]) -> int:
    """Rewrite the lock file; 1 if something is left to do."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--update", action="store_true", help="raise versions to the newest, and follow tags that moved"
    )
    before, problems = path.read_text(encoding="utf-8"), []
    after = before
    if parser.parse_args(arguments).update:
        after, problems = update(after)
    after, more = resolve(after)
    if after != before:
        path.write_text(after, encoding="utf-8")
    for problem in problems + more:
        print(f"lock: {problem}", file=sys.stderr)
    print(f"lock: {path} " + ("changed" if after != before else "not changed"))
    return 1 if problems + more else 0


if __name__ == "__main__":
    sys.exit(main(LOCK, sys.argv[1:]))
