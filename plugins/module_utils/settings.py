# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with values of the roles' public variables, as far as it can be said before anything is touched.

Types and choices are those of the roles' argument specifications. What they cannot express, such as the form of a
Kubernetes quantity, is in RULES. Pure functions, but for the reading of the specifications.
"""

from __future__ import annotations

import pathlib
import re
from difflib import get_close_matches
from ipaddress import ip_address

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.catalogue.services import ADDRESS, CHECKS, IMAGE
from ansible_collections.cloudcartops.platform.plugins.module_utils.durations import seconds

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
DAY = 86400
SECRET = re.compile(
    r"k3s_(token|registries|variables)|vault_init_(secrets|pgp_keys)"
)  # a value of these stands in no message
WORDS = {dict: "a dictionary", list: "a list", bool: "a truth value", type(None): "empty"}
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
}


def options(roles: pathlib.Path = ROLES) -> dict[str, dict]:
    """Every public variable of every role, with its option of the argument specification."""
    yaml, found = require("yaml"), {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for entry in specs["argument_specs"].values():
            found.update(entry.get("options") or {})
    return found


def errors(known: dict[str, dict], values: dict[str, object]) -> list[str]:
    """What is wrong with ``values``: sentences that begin with the variable. Names that are not known are ignored."""
    found, good, of_all = [], {}, set()
    for name in sorted(set(values) & set(known), key=lambda name: (not name.startswith("cloudcartops_"), name)):
        problem = _problem(name, known[name], values[name])
        if not problem:
            good[name] = values[name]
        elif name.startswith("cloudcartops_"):
            of_all.add(problem)
            found.append(f"{name} {problem}")
        elif problem not in of_all:  # else it is the default that has its value from there
            found.append(f"{name} {problem}")
    return found + _together(known, good)


def unknown(known: dict[str, dict], names) -> list[str]:
    """What is wrong with ``names`` of variables: those of the whole collection that nearly are one."""
    ours = [name for name in known if name.startswith("cloudcartops_")]
    found = []
    for name in names:
        near = get_close_matches(name, ours, 1, 0.8) if name.startswith("cloudcartops_") and name not in known else []
        found += [f"{name} is no variable of this collection. Did you mean {one}? Rename it." for one in near]
    return found


def shown(name: str, value: object) -> str:
    """The value for a message."""
    if SECRET.fullmatch(name):
        return "what it is (not shown)"
    return WORDS.get(type(value)) or f"'{value}'"


def _problem(name: str, option: dict, value: object) -> str:
    if value is None:
        return "is empty (null). Give it a value, or leave it out for its default."
    kind = option.get("type", "str")
    plain = isinstance(value, (str, int)) and not isinstance(value, bool)
    if kind in ("str", "path") and not plain:
        quotes = " Put it in quotes." if isinstance(value, (bool, float)) else ""
        return f"is {shown(name, value)}, and has to be a text.{quotes}"
    bare = {key: option[key] for key in ("type", "choices", "elements", "options") if key in option}
    result = ArgumentSpecValidator({name: bare}).validate({name: value})
    if result.error_messages:
        if "choices" in option:
            return f"is {shown(name, value)}, and has to be one of {', '.join(map(str, option['choices']))}."
        if kind not in ("list", "dict"):
            return f"is {shown(name, value)}, and has to be {KINDS[kind]}."
        reason = "" if SECRET.fullmatch(name) else f": {'; '.join(result.error_messages)}"
        return f"has to be {KINDS[kind]}, as its description says{reason}."
    for pattern, check in RULES:
        if re.fullmatch(pattern, name):
            problem = check(str(value) if kind in ("str", "path") else result.validated_parameters[name])
            return f"is {shown(name, value)}{problem}" if problem.startswith(",") else problem
    return ""


def _together(known: dict[str, dict], values: dict) -> list[str]:
    """What is wrong with variables that are each right by themselves."""
    found, keys = [], values.get("vault_init_pgp_keys")
    names = [f"vault_init_key_{name}" for name in ("shares", "threshold")]
    shares, needed = (int(values.get(name, known[name]["default"])) for name in names)
    if needed > shares or needed == 1 < shares:
        found.append(
            f"vault_init_key_threshold is {needed}, with {shares} as vault_init_key_shares. Take from 2 to "
            "the number of shares, or 1 for a single share."
        )
    if keys and len(keys) != shares:
        found.append(
            f"vault_init_pgp_keys has {len(keys)} keys, with {shares} as vault_init_key_shares. Give one for "
            "each share."
        )
    return found


def _text(pattern: str, wanted: str):
    form = re.compile(pattern)
    return lambda value: "" if form.fullmatch(value) else f", and has to be {wanted}."


def _whole(low: int, high: int):
    """What Ansible takes for a number, from ``low`` to ``high``."""
    return lambda value: "" if low <= int(value) <= high else f", and has to be a whole number from {low} to {high}."


def _not_negative(value) -> str:
    return "" if float(value) >= 0 else ", and has to be a number that is not negative."


def _duration(value) -> str:
    try:
        return "" if seconds("", "", value) else ", which is no time at all. Write seconds, or 90s, 30m, 24h, 7d."
    except PlatformError as e:
        return f", which is no duration. {e.fix}"


def _address(value) -> str:
    try:
        return "" if value == "" or ip_address(value) else ""
    except ValueError:
        return ", and has to be an IP address, as in 192.0.2.10. A name cannot stand there."


def _site_address(value) -> str:
    with_port = ADDRESS.fullmatch(value)
    good = value == "" or re.fullmatch(HOST, value) or (with_port and 1 <= int(with_port[2]) <= 65535)
    return "" if good else ", and has to be host or host:port, without http:// and path."


def _resources(needed: tuple = ()):
    def check(value) -> str:
        problem = CHECKS["resources"](value)
        for part, what in needed:
            if not problem and what not in (value.get(part) or {}):
                return f"has no {part}.{what}, which is needed. Add it, as in 250m (cpu) or 256Mi (memory)."
        return problem

    return check


def _alertmanagers(value) -> str:
    return CHECKS["waits_for"](value).replace("postgres:5432", "alertmanager:9093")


def _each(check, key=None):
    """The first problem of any item of a list, or of one key of its items."""

    def checked(value) -> str:
        for item in value:
            item = item.get(key) if key else item
            problem = check(item) if item is not None else ""
            if problem:
                return f"has '{item}'{problem}"
        return ""

    return checked


def _topics(value) -> str:
    names = [topic["name"] for topic in value]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"has {twice[0]} twice. Leave one of them out."
    return _each(TOPIC, "name")(value) or _each(_whole(1, 10000), "partitions")(value)


def _labels(value) -> str:
    """Names and values as Kubernetes has them: a prefix that is a host's name may stand before the name."""
    for name, text in value.items():
        if not re.fullmatch(rf"({NAME}/)?{LABEL_TEXT}", str(name)) or not re.fullmatch(f"|{LABEL_TEXT}", str(text)):
            return (
                f"has {name}={text}, and has to have names and values of letters, digits, '-', '_' and '.', at most 63."
            )
    return ""


def _taints(value) -> str:
    for taint in value:
        problem = (
            _labels({taint.get("key"): taint.get("value") or ""})
            if taint.get("key")
            else "has one without a key, and each needs one."
        )
        if problem or taint.get("effect") not in EFFECTS or set(taint) - {"key", "value", "effect"}:
            return problem or f"has {taint}, and each has a key, an effect ({', '.join(EFFECTS)}), and perhaps a value."
    return ""


def _variables(value) -> str:
    wrong = next((name for name in value if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", str(name))), None)
    lines = next((name for name, text in value.items() if "\n" in str(text)), None)
    if wrong is not None:
        return f"has '{wrong}', which cannot be the name of a variable. Use letters, digits and '_'."
    return "" if lines is None else f"has a line break in {lines}, which one line cannot hold. Take it out."


def _services(value) -> str:
    wrong = next((name for name, entry in value.items() if not isinstance(entry, dict)), None)
    return (
        ""
        if wrong is None
        else f"has no dictionary for {wrong}, and each service is one, as cloudcartops_services is made."
    )


LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
NAME = rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*"  # RFC 1123, as Kubernetes has it
LABEL_TEXT = r"(?=.{1,63}$)[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
HOST = rf"(?i:{NAME}|[0-9a-f:]*:[0-9a-f:]*)"
OBJECT = "a name as Kubernetes has them: lower-case letters, digits, hyphens and dots"
SIZE = r"(?=.*[1-9])[0-9]+(\.[0-9]+)?(M|G|T|Mi|Gi|Ti)"
FILE = _text(r"[/~].*", "an absolute path, as in /srv/file")
TOPIC = _text(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}", "the name of a topic: letters, digits, dots, hyphens and _")
MEMORY_LIMIT = (("limits", "memory"),)
ALL_FOUR = tuple((part, what) for part in ("requests", "limits") for what in ("cpu", "memory"))
# A check returns what is wrong, or "". With a comma first, the value is put before it.
# The first pattern that the name of a variable matches decides.
RULES = (
    ("cleanup_data_namespace", _text(f"|{LABEL}", "empty, or the name of the namespace")),
    (".*_namespace", _text(LABEL, "the name of a namespace: lower-case letters, digits and hyphens, at most 63")),
    (".*_kubeconfig", _text(r".*\S.*", "the path of a kubeconfig file")),
    (".*_bundle", _text(r"|[/~].*", "empty, or the absolute path of a bundle")),
    (".*_data_dir", _text(r"/[^\s/].*", "an absolute path on the machines, as in /var/lib/rancher/k3s")),
    (".*_(directory|keys_file|reviewer_file)", FILE),
    ("verify_(report|diagnosis)_file", _text(r"|[/~].*", "empty, or an absolute path, as in /srv/file")),
    ("ingress_tls_(certificate|key)|verify_ca_cert", _text(r"|\S.*", "empty, or the path of a file in PEM format")),
    ("helm_binary", _text(r"|\S+", "empty, or the path or the name of a program")),
    (".*_binary", _text(r"\S+", "the path or the name of a program")),
    (".*_timeout", _whole(1, DAY)),
    (".*_uid", _whole(1, 2**31 - 1)),
    ("apps_replicas", _whole(0, 100)),
    ("vault_init_key_(shares|threshold)", _whole(1, 255)),
    ("vault_init_purge_limit|verify_products", _whole(0, 10**6)),
    ("vault_init_pgp_keys", _each(_text(r"[A-Za-z0-9+/\s]+=*\s*", "a PGP key in base64, without armor"))),
    ("kafka_topic_partitions", _whole(1, 10000)),
    ("kafka_topic_retention_ms", _whole(-1, 2**63 - 1)),
    ("preflight_(min_.*|max_clock_skew)", _not_negative),
    (".*_storage_size", _text(SIZE, "a size with its unit, as in 5Gi")),
    ("vault_storage_class", _text(f"|{NAME}", f"empty, or {OBJECT}")),
    (".*_storage_class", _text(NAME, OBJECT)),
    ("(kafka|kafka_zookeeper|redis)_resources", _resources(MEMORY_LIMIT)),
    ("vault_agent_resources|apps_vault_agent_resources", _resources(ALL_FOUR)),
    (".*_resources", _resources()),
    (".*_domain", _text(NAME, "a host's name: lower-case letters, digits, hyphens and dots, without http:// and port")),
    (".*_image_registry", _text(r"[a-z0-9]([-._a-z0-9]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]([-._a-z0-9]*[a-z0-9])?)*",
                                "as in registry.example.com:5000/shop: no https:// before it and no slash after it")),
    (".*_image_tag", _text(r"[A-Za-z0-9_][-.A-Za-z0-9_]{0,127}", "a tag: letters, digits, dots, hyphens and _")),
    (".*_image", _text(IMAGE.pattern, "the reference of an image, as in registry.example.com/name:tag")),
    ("pull_(images|renew)", _each(_text(IMAGE.pattern, "the reference of an image"))),
    ("postgresql_vault_secret|.*_mount",
     _text(r"[^\s/]+(/[^\s/]+)*", "a path in Vault, without a slash before and after it")),
    ("(ingress_tls|vault_init_seed)_secret", _text(f"|{NAME}", f"empty, or {OBJECT}")),
    (".*_(secret|operator|class|role|context)", _text(NAME, OBJECT)),
    ("vault_init_(role_ttl|reviewer_expiration)", _duration),
    ("monitoring_retention|monitoring_scrape_interval",
     _text(r"(?=.*[1-9])([0-9]+(ms|[smhdwy]))+", "a duration as Prometheus has them: 15s, 5m, 15d")),
    ("monitoring_retention_size", _text(r"0|[0-9]+(B|KB|MB|GB|TB|PB|EB)", "a size as Prometheus has them: 512MB, 8GB")),
    ("monitoring_alertmanagers", _alertmanagers),
    (".*_topics", lambda value: _topics(value) if value and isinstance(value[0], dict) else _each(TOPIC)(value)),
    ("ingress_hosts_address", _address),
    ("(ingress|verify)_address", _site_address),
    ("k3s_api_endpoint", _text(HOST, "a host's name or address, without https:// and port")),
    ("preflight_server_url", _text(r"|https://[^\s/]+(:[0-9]{1,5})?", "empty, or as in https://192.0.2.10:6443")),
    ("preflight_patience", _whole(0, DAY)),
    ("k3s_(uninstall_)?environment", _text("|dev|prod", "dev or prod")),
    ("k3s_node_labels", _labels),
    ("k3s_node_taints", _taints),
    ("k3s_variables", _variables),
    ("k3s_server_url", _text(r"https://[^\s/]+(:[0-9]{1,5})?", "as in https://192.0.2.10:6443")),
    ("k3s_token", _text(r"|\S+", "a text without spaces and line breaks, or empty")),
    ("vault_init_kubernetes_host", _text(r"https?://[^\s/]+(:[0-9]{1,5})?/?", "as in https://kubernetes.default.svc")),
    ("cloudcartops_services(_override)?", lambda value: ""),  # the filter service_catalogue looks at them
    (".*_services", _services),
)  # fmt: skip
