# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in the store of a K3s node, by `k3s crictl`: present, pulled, and for the machine's architecture."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.preflight_rules import ARCHITECTURES

PULLS, LOOKS = 3, 8  # at the same time
ABSENT = "no such image"
# What an operator does about it; the first that matches. `{node}` is the node's platform.
FIXES = (
    (
        "no match for platform",
        "There is no variant of it for {node}. Build it for that too (docker buildx build --platform), or take another "
        "tag or image.",
    ),
    (
        "toomanyrequests|429 Too Many",
        "The registry limits anonymous pulls. Give it a login in k3s_registries, or use a mirror.",
    ),
    (
        "pull access denied|insufficient_scope",
        "It does not exist, or is private. Correct its name (cloudcartops_image_registry), or give the registry a "
        "login in k3s_registries.",
    ),
    (
        r"\b40[13]\b|unauthorized|authorization failed|denied",
        "The registry wants a (different) login: write it into k3s_registries and run the play setup.",
    ),
    (
        "no such host|name resolution|server misbehaving",
        "The node cannot find the address of the registry. Correct the name of the registry or the node's DNS, or, "
        "without a way out, use a bundle (cloudcartops_bundle) that has the image.",
    ),
    ("x509:|certificate", "Give the CA certificate of the registry as ca_file in k3s_registries."),
    (
        "server gave HTTP response to HTTPS client",
        "The registry speaks plain HTTP: give it an http:// endpoint in k3s_registries.",
    ),
    (
        "connection refused|i/o timeout|deadline exceeded|no route to host|network is unreachable|connection reset",
        "Let the node reach the registry (firewall, proxy in k3s_variables), or use a bundle "
        "(cloudcartops_bundle) that has the image.",
    ),
    (": not found", "The registry has no such image or tag. Correct the name or the tag (cloudcartops_image_tag)."),
)


class Crictl:
    """`k3s crictl` of this machine."""

    def __init__(self, executable, timeout):
        self.executable, self.timeout = executable, timeout

    @property
    def installed(self):
        return os.access(self.executable, os.X_OK)

    def __call__(self, *arguments):
        """Exit status, standard output and standard error of a command."""
        try:
            done = subprocess.run(
                [self.executable, "crictl", *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, "", f"it took longer than {self.timeout} s: deadline exceeded"
        except OSError as e:
            raise PlatformError(f"{self.executable} cannot be run: {e.strerror}.", SETUP) from e
        return done.returncode, done.stdout, done.stderr


SETUP = "Run the play cloudcartops.platform.setup first."


def node_platform():
    """The machine as images name it."""
    machine = platform.machine()
    return f"linux/{ARCHITECTURES.get(machine, machine)}"


def ensure(crictl, names, renew=(), check_mode=False, here=""):
    """Have every image of ``names`` in the store; pull those that are missing, and those of ``renew`` in any case.

    Raises PlatformError with a line for each image that cannot be had or is for another platform than ``here``.
    """
    here = here or node_platform()
    names = list(dict.fromkeys(names))
    if not crictl.installed:
        if not check_mode:
            raise PlatformError(f"There is no K3s at {crictl.executable}, so no images can be pulled.", SETUP)
        return _result([{"name": name, "id": "", "platform": "", "action": "pulled"} for name in names], {})
    with ThreadPoolExecutor(LOOKS) as pool:
        before = dict(zip(names, pool.map(lambda name: inspect(crictl, name), names)))
    wanted = [name for name in names if name in renew or not before[name]]
    # What would be renewed may be the newest already, which only a pull tells.
    if check_mode:
        wanted = [name for name in wanted if not before[name]]
        after, failed = dict(before), {}
    else:
        with ThreadPoolExecutor(PULLS) as pool:
            failed = {n: error for n, error in zip(wanted, pool.map(lambda n: pull(crictl, n, here), wanted)) if error}
        pulled = [name for name in wanted if name not in failed]
        after = {**before, **{name: inspect(crictl, name) for name in pulled}}
        wanted = [name for name in pulled if after[name] != before[name]]
    failed.update({name: wrong(name, image, here) for name, image in after.items() if wrong(name, image, here)})
    if failed:
        node = platform.node()
        raise PlatformError(
            "\n- ".join([f"Images that {node} ({here}) cannot run:", *failed.values()]), unusable=sorted(failed)
        )
    images = [
        {
            "name": name,
            "id": (after[name] or {}).get("id", ""),
            "platform": (after[name] or {}).get("platform", ""),
            "action": "pulled" if name in wanted else "none",
        }
        for name in names
    ]
    return _result(images, before)


def _result(images, before):
    changed = [image["name"] for image in images if image["action"] == "pulled"]
    old = "".join(f"{n}: {before[n]['id'] if before.get(n) else 'missing'}\n" for n in changed)
    new = "".join(f"{i['name']}: {i['id'] or 'pulled'}\n" for i in images if i["name"] in changed)
    return {"changed": bool(changed), "images": images, "diff": {"before": old, "after": new}}


def inspect(crictl, name):
    """Id and platform of an image in the store, or None."""
    status, output, error = crictl("inspecti", "-o", "json", name)
    if status != 0 and ABSENT in error:
        return None
    try:
        if status != 0:
            raise ValueError(last_line(error))
        found = json.loads(output)
        spec = (found.get("info") or {}).get("imageSpec") or {}
        system, architecture = spec.get("os") or "", spec.get("architecture") or ""
        return {"id": found["status"]["id"], "platform": f"{system}/{architecture}" if architecture else ""}
    except (ValueError, KeyError, AttributeError, TypeError) as e:
        raise PlatformError(
            f"The image store of {platform.node()} cannot be asked for {name}: {e}.",
            "See with 'systemctl status k3s' (k3s-agent on an agent) whether K3s runs there.",
        ) from e


def wrong(name, image, here):
    """What keeps the machine from running the image: a sentence, or an empty text."""
    if not image or image["platform"] in ("", here):
        return ""
    return (
        f"{name} is for {image['platform']}, and the node is {here}. Build or choose one that is for {here} as well, "
        f"and remove this one from the node: k3s crictl rmi {name}"
    )


def pull(crictl, name, here):
    """Pull an image; what went wrong, with the fix, or an empty text."""
    status, _output, error = crictl("pull", name)
    if status == 0:
        return ""
    reason = last_line(error)
    fix = next((fix for sign, fix in FIXES if re.search(sign, reason)), "Correct what the message names.")
    return f"{name} cannot be pulled: {reason}. {fix.format(node=here)}"


def last_line(text):
    """The reason in what crictl printed, without its frame and without the queries of URLs, some of them signed."""
    line = (text.strip().splitlines() or ["no reason was given"])[-1]
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    line = found.group(1).replace('\\"', '"') if found else line
    line = re.sub(r"^(pulling image: )?(failed to pull and unpack image \"[^\"]*\": )?", "", line)
    return re.sub(r"(https?://[^\s\"?]*)\?[^\s\"]*", r"\1?...", line).rstrip(".")
