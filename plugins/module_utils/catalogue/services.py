# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service catalogue: merging in what an inventory changes, and finding what would not work. Pure functions."""

from __future__ import annotations

import re
from difflib import get_close_matches

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

WHERE = "cloudcartops_services_override"
# A name becomes that of a Service (RFC 1035), a file name part of an annotation's (63 characters with its prefix).
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
FILE = re.compile(r"[a-z0-9]([-._a-z0-9]{0,38}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # what a template can take with a dot
IMAGE = re.compile(r"[a-z0-9]([-._/:@a-zA-Z0-9]*[a-zA-Z0-9])?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
ADDRESS = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?:([0-9]{1,5})")


def merged(services, override, secrets=None):
    """The services with ``override`` merged in at every level; raises a PlatformError that lists all that is wrong.

    A value of None leaves the service, or the key, out. A list of names for ``secrets`` keeps these of a dictionary.
    :param secrets: names of the secrets that there are; None when they are not known here.
    """
    for where, value in (("cloudcartops_services", services), (WHERE, override)):
        if not isinstance(value, dict):
            raise PlatformError(f"{where} is {_kind(value)}, and has to be a dictionary of services by name.")
    result = _merge(services, override)
    errors = [error for name, entry in result.items() for error in service_errors(name, entry, secrets)]
    if errors:
        raise PlatformError("\n- ".join(["The service catalogue has errors:", *errors]))
    return result


def _merge(base, over, key=""):
    base = base if isinstance(base, dict) else _by_name(base) if key == "secrets" else {}
    if key == "secrets" and isinstance(over, list):
        return {name: base.get(name) or {} for name in over} if _by_name(over) else over
    if not isinstance(over, dict):
        return over
    both = {name: _merge(base.get(name), over.get(name, base.get(name)), name) for name in {**base, **over}}
    return {name: value for name, value in both.items() if value is not None}


def _by_name(value):
    """A list of names as a dictionary; empty for anything else."""
    names = value if isinstance(value, list) and all(isinstance(name, str) for name in value) else []
    return {name: {} for name in names}


def service_errors(name, entry, secrets=None):
    """What is wrong with one service: a list of sentences that each begin with the variable."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return [
            f"{WHERE}.{name}: the name of a service has lower-case letters, digits and hyphens, begins with a letter, "
            "ends with a letter or digit and is no longer than 63. Rename it."
        ]
    if not isinstance(entry, dict):
        return [f"{WHERE}.{name} is {_kind(entry)}, and has to be a dictionary, or null to leave the service out."]
    errors = []
    for key, value in entry.items():
        if key not in CHECKS:
            close = get_close_matches(str(key), CHECKS, 1)
            there = f"Did you mean {close[0]}?" if close else f"There are {', '.join(sorted(CHECKS))}."
            errors.append(f"{WHERE}.{name}.{key}: there is no such key. {there}")
            continue
        problem = CHECKS[key](value)
        errors += [f"{WHERE}.{name}.{key} {problem}"] if problem else []
    return errors or [f"{WHERE}.{name}.{key} {problem}" for key, problem in _together(entry, secrets)]


def _together(entry, secrets):
    """What is wrong with keys that are each right by themselves."""
    reads, files, workload = entry.get("secrets") or {}, entry.get("secret_files") or {}, "image" in entry
    for secret in reads:
        if secrets is not None and secret not in secrets:
            yield (
                f"secrets.{secret}",
                f"and there is no such secret. Correct the name, or declare the secret in vault_init_secrets; "
                f"there are {', '.join(secrets) or 'none'}.",
            )
        if workload and not reads[secret]:
            yield (
                f"secrets.{secret}",
                "says not which variables the service gets. Write {VARIABLE: key of the secret, ...}.",
            )
    variables = [variable for taken in reads.values() for variable in taken]
    for variable in sorted({v for v in variables if variables.count(v) > 1 or v in (entry.get("environment") or {})}):
        yield "secrets", f"gives {variable}, which it is given a second time. Leave one of them out."
    if reads and workload and not entry.get("command"):
        yield (
            "command",
            "is missing. A shell reads the secrets and then runs it, so write what the image would start.",
        )
    names = [files.get(secret) or secret.replace("/", "-") for secret in reads]
    for file in sorted(set(names)):
        if names.count(file) > 1:
            yield "secret_files", f"has {file} for two secrets. Give each a name of its own."
        if not FILE.fullmatch(file):
            yield (
                "secret_files",
                f"has to give a file name for the secret {file}: lower-case letters, digits, hyphens and dots, "
                "no longer than 40.",
            )
    for key in ("health", "metrics", "service_type"):
        if entry.get(key) and "port" not in entry:
            yield key, "needs a port. Set port as well."
    for key in sorted(set(entry) - {"service_account", "secrets"}):
        if not workload:
            yield key, "needs an image, because nothing runs without one. Set image as well."


def _kind(value):
    names = {type(None): "empty", bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), f"the text '{value}'")


def _text(pattern, wanted):
    def check(value):
        good = isinstance(value, str) and pattern.fullmatch(value)
        return "" if good else f"is {_kind(value)}, and has to be {wanted}."

    return check


def _number(low, high):
    def check(value):
        digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
        good = re.fullmatch(r"[0-9]{1,9}", digits) and low <= int(digits) <= high
        return "" if good else f"is {_kind_of_number(value)}, and has to be a whole number from {low} to {high}."

    return check


def _kind_of_number(value):
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _kind(value)


def _texts(wanted, pattern=re.compile(r".+", re.DOTALL), least=0):
    def check(value):
        if not isinstance(value, list) or len(value) < least:
            return f"is {_kind(value) if value != [] else 'empty'}, and has to be a list of {wanted}."
        bad = [item for item in value if not (isinstance(item, str) and pattern.fullmatch(item))]
        return f"has '{bad[0]}', and each has to be one of {wanted}." if bad else ""

    return check


def _command(value):
    return _texts("texts, the program and its arguments", least=1)(value)


def _waits_for(value):
    problem = _texts("addresses, as in [postgres:5432]", ADDRESS)(value)
    far = [] if problem else [item for item in value if not 1 <= int(ADDRESS.fullmatch(item)[2]) <= 65535]
    return f"has '{far[0]}', and a port is a number from 1 to 65535." if far else problem


def _secrets(value):
    if not isinstance(value, dict):
        return f"is {_kind(value)}, and has to be {{secret: {{VARIABLE: key of the secret}}}}."
    for secret, taken in value.items():
        if not isinstance(taken, dict):
            return f"has {_kind(taken)} for {secret}, and it has to be {{VARIABLE: key of the secret}}."
        for variable, key in taken.items():
            if not VARIABLE.fullmatch(str(variable)):
                return f"has '{variable}' for {secret}, which is no name of a variable: letters, digits and _."
            if not isinstance(key, str) or not KEY.fullmatch(key):
                return f"has '{key}' for {secret}.{variable}, and the name of a key has letters, digits and _."
    return ""


def _secret_files(value):
    if not isinstance(value, dict):
        return f"is {_kind(value)}, and has to be {{secret: name of its file}}."
    bad = [file for file in value.values() if not (isinstance(file, str) and FILE.fullmatch(file))]
    wanted = "lower-case letters, digits, hyphens and dots, no longer than 40"
    return f"has '{bad[0]}', and a file name is of {wanted}." if bad else ""


def _environment(value):
    if not isinstance(value, dict):
        return f"is {_kind(value)}, and has to be {{VARIABLE: value}}."
    for variable, content in value.items():
        if not VARIABLE.fullmatch(str(variable)):
            return f"has '{variable}', which is no name of a variable: letters, digits and _."
        if not isinstance(content, (str, int, float)):
            return f"has {_kind(content)} for {variable}, and a variable is a text. Put it in quotes."
    return ""


def _resources(value):
    if not isinstance(value, dict):
        return f"is {_kind(value)}, and has to be {{requests: ..., limits: ...}}."
    for part, sizes in value.items():
        if part not in ("requests", "limits"):
            return f"has '{part}', and has to have nothing but requests and limits."
        if not isinstance(sizes, dict):
            return f"has {_kind(sizes)} for {part}, and it has to be as in {{cpu: 100m, memory: 128Mi}}."
        for what, size in sizes.items():
            if isinstance(size, bool) or not QUANTITY.fullmatch(str(size)):
                return f"has '{size}' for {part}.{what}, and a quantity is as in 250m (CPU) or 256Mi (memory)."
    return ""


_PATH = _text(re.compile(r"/\S*"), "a path that begins with /, as in /health")
CHECKS = {
    "image": _text(IMAGE, "the name of an image, without the registry"),
    "port": _number(1, 65535),
    "command": _command,
    "secrets": _secrets,
    "secret_files": _secret_files,
    "environment": _environment,
    "health": _PATH,
    "metrics": _PATH,
    "waits_for": _waits_for,
    "replicas": _number(0, 100),
    "resources": _resources,
    "service_type": _text(re.compile("ClusterIP|NodePort|LoadBalancer"), "ClusterIP, NodePort or LoadBalancer"),
    "service_account": _text(NAME, "the name of a ServiceAccount"),
}
