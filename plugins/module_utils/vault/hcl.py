# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The meaning of a Vault policy, so that two texts can be compared by what they grant.

Vault keeps policy text verbatim and accepts HCL (version 1) and JSON. Comments, white space, the order of paths and of
list items, and the choice between HCL and JSON do not change what a policy grants.
"""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
    |(?P<heredoc><<-?(?P<mark>\w+)\n(?P<body>.*?)\n\s*(?P=mark)(?=\s))
    |(?P<string>"(?:\\.|[^"\\])*")
    |(?P<mark_sign>[{}\[\]=:,])
    |(?P<bare>[^\s{}\[\]=:,"]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {"true": True, "false": False}


def policy_meaning(text):
    """Return a value that is equal for two policy texts exactly when they say the same.

    A text that cannot be parsed is returned as it is (Vault will name the mistake): it equals only itself.
    """
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else _Parser(text).document()
    except ValueError:
        return text.strip()
    return _canonical(document)


def _canonical(value):
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):
            merged = {}
            for item in value:
                _merge(merged, item)
            return _canonical(merged)
        return sorted({json.dumps(_canonical(item), sort_keys=True) for item in value})
    return value


def _merge(target, addition):
    """Add ``addition`` to ``target``: blocks of one name are joined and their lists concatenated, as Vault does."""
    for key, value in addition.items():
        known = target.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            known.extend(value)
        else:
            target[key] = value


class _Parser:
    """The part of HCL 1 that policies use: blocks with labels, attributes, scalars, lists and objects."""

    def __init__(self, text):
        self.tokens = list(self._tokenise(text))
        self.at = 0

    @staticmethod
    def _tokenise(text):
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if not match:
                raise ValueError("unreadable character")
            at = match.end()
            if match["string"]:
                yield "value", json.loads(match["string"], strict=False)
            elif match["heredoc"]:
                yield "value", match["body"]
            elif match["bare"]:
                yield "bare", match["bare"]
            elif match["mark_sign"]:
                yield "sign", match["mark_sign"]

    def _peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", None)

    def _take(self):
        token = self._peek()
        self.at += 1
        return token

    def document(self):
        return self._members("end", None)

    def _members(self, *closing):
        """Read ``key = value`` and ``key "label" { … }`` up to the closing token."""
        result = {}
        while self._peek() != closing:
            if self._peek() == ("sign", ","):
                self._take()
                continue
            names = []
            while self._peek()[0] in ("value", "bare"):
                names.append(self._take()[1])
            if not names:
                raise ValueError("name expected")
            if self._peek() in (("sign", "="), ("sign", ":")):
                self._take()
            value = self._value()
            for name in reversed(names):
                value = {name: value}
            _merge(result, value)
        self._take()
        return result

    def _value(self):
        kind, value = self._take()
        if (kind, value) == ("sign", "{"):
            return self._members("sign", "}")
        if (kind, value) == ("sign", "["):
            items = []
            while self._peek() != ("sign", "]"):
                if self._peek() == ("sign", ","):
                    self._take()
                else:
                    items.append(self._value())
            self._take()
            return items
        if kind == "bare":
            return _CONSTANTS.get(value, int(value) if value.isdecimal() else value)
        if kind == "value":
            return value
        raise ValueError("value expected")
