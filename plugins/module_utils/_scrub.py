# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take out of text that others wrote what looks like a secret, before anybody is shown it."""

from __future__ import annotations

import re

HIDDEN = "********"
_PATTERNS = (
    (re.compile(r"(://[^/\s:@]*:)[^\s/]+@"), rf"\1{HIDDEN}@"),  # user:password@ of a URL
    (re.compile(r"\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}"), HIDDEN),  # Vault's tokens
    (re.compile(r"\bK10[0-9a-f]{64}::\S+"), HIDDEN),  # tokens that nodes of K3s join with
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),  # JSON web tokens
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}", re.I), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"""(\b[\w-]*(?:passw(?:or)?d|passwd|token|secret|api[_-]?key)["']?\s*[=:]\s*)(?:"[^"]*"|'[^']*'|[^\s,;&}"']+)""",
            re.I,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.S), HIDDEN),
)


def scrub(text: str) -> str:
    """``text`` without passwords in URLs, tokens, private keys and what is given to a name like password or secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
