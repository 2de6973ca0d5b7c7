# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a KV secret shall hold: fields that are given, generated once, or derived from the others.

Everything here is pure: values go in, values come out, nothing is read, written or printed.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from urllib.parse import quote

from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.errors import VaultError

ALPHABETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
}
MIN_LENGTH = 32


def rule(what, options):
    """Check how a field shall be generated, and complete it to ``length`` and ``alphabet``."""
    options = {} if options is None else options
    if isinstance(options, dict) and not set(options) - {"length", "alphabet"}:
        length, alphabet = options.get("length", MIN_LENGTH), options.get("alphabet", "alphanumeric")
        if str(length).isdecimal() and MIN_LENGTH <= int(length) <= 1024 and alphabet in list(ALPHABETS):
            return {"length": int(length), "alphabet": alphabet}
    raise VaultError(
        f"{what} is {options!r}.",
        f"Write {{length: N, alphabet: A}} with N of at least {MIN_LENGTH} (the default) and at most 1024, and A one "
        f"of {', '.join(ALPHABETS)}; or {{}}.",
    )


def random_value(length, alphabet="alphanumeric"):
    """A random string of ``length`` characters from the operating system's CSPRNG."""
    return "".join(secrets.choice(ALPHABETS[alphabet]) for _unused in range(length))


@dataclass
class SecretChange:
    """What one secret shall become.

    ``values`` is the full new content, ``fields`` says per field that is new or different why ("generated", …),
    ``seed`` holds the generated fields' values, for the store that outlives a dev-mode server.
    """

    values: dict = field(repr=False)
    fields: dict
    seed: dict = field(repr=False)


def merge_secret(declared, live, seed, generate=random_value):
    """Work out a secret's content.

    :param declared: dict with ``data``, ``sensitive_data``, ``generate`` and ``derive``, see vault_configuration.
    :param live: what Vault holds now (empty dict: nothing).
    :param seed: generated values kept outside of Vault (empty dict: none).
    :returns: a SecretChange. A generated value in Vault always wins over the seed and over a new one, because a
        database may already use it; fields nobody declared are kept.
    """
    values = dict(live)
    reasons = {}
    kept = {}
    given = {**(declared.get("data") or {}), **(declared.get("sensitive_data") or {})}
    for name, value in given.items():
        values[name] = str(value)
        reasons[name] = "given"
    for name, options in (declared.get("generate") or {}).items():
        if not live.get(name):
            values[name] = seed.get(name) or generate(**options)
            reasons[name] = "restored from the seed" if seed.get(name) else "generated"
        kept[name] = values[name]
    own = {name: values[name] for name in (*given, *kept)}
    for name, template in (declared.get("derive") or {}).items():
        values[name] = fill_template(template, own)
        reasons[name] = "derived"
    fields = {name: reason for name, reason in reasons.items() if values[name] != live.get(name)}
    return SecretChange(values=values, fields=fields, seed=kept)


def template_fields(template):
    """Names of the fields a template such as ``redis://{host}:{port}`` refers to.

    Only plain ``{name}`` is a reference (no attributes, indexes, conversions or formats); ``{{`` and ``}}`` are braces.
    """
    names = []
    try:
        for _literal, name, spec, conversion in string.Formatter().parse(template):
            if name is None:
                continue
            if not name.isidentifier() or spec or conversion:
                raise VaultError(
                    f"The template {template!r} refers to {{{name}}} in a way that is not supported.",
                    "Write the plain name of a field of the same secret, as in {postgres_user}; double other braces.",
                )
            names.append(name)
    except ValueError as error:
        raise VaultError(f"The template {template!r} cannot be read: {error}.", "Close each { with a }.") from error
    return names


def fill_template(template, values):
    """Fill a template; every value is quoted for use in a URL, so that a password cannot change its structure."""
    for name in template_fields(template):
        if name not in values:
            raise VaultError(
                f"The template {template!r} refers to {{{name}}}, which the same secret does not declare.",
                f"Add {name} to data, sensitive_data or generate of that secret; it has {', '.join(sorted(values))}.",
            )
    return template.format_map({name: quote(str(value), safe="") for name, value in values.items()})
