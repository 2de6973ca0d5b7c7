# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A marked block with names for an address, in hosts(5) and in what it is made of."""

from __future__ import annotations

import os
import re
import stat

from ansible_collections.cloudcartops.platform.plugins.module_utils.host.files import (
    default_address,
    read_text,
    replace,
    text_diff,
)

NEW = (0o644, 0, 0)  # mode and owner of a file that is not there yet


def block_of(mark):
    """The pattern of the block, with its last line end."""
    return re.compile(rf"^# BEGIN {re.escape(mark)}\n(?:.*\n)*?# END {re.escape(mark)}(?:\n|\Z)", re.MULTILINE)


def with_block(text, mark, line):
    """``text`` with the block that says ``line``, where it had one or at its end; without one for no line."""
    pattern = block_of(mark)
    block = f"# BEGIN {mark}\n{line}\n# END {mark}\n" if line else ""
    if not block or not pattern.search(text):
        text = pattern.sub("", text)
        return text + ("\n" if block and text and not text.endswith("\n") else "") + block
    before, after = pattern.split(text, maxsplit=1)
    return before + block + pattern.sub("", after)


def foreign(text, mark, names):
    """The entries outside of the block that have one of the names, as (line, its address, its names)."""
    found = []
    for line in block_of(mark).sub("", text).splitlines():
        line = line.partition("#")[0].strip()
        address, *has = line.split() or [""]
        if set(has) & set(names):
            found.append((line, address, has))
    return found


def ensure(paths, names, mark, address, absent, check_mode):
    """Have the block in the first of ``paths``, and in those of the others that there are; or remove it.

    A name that the first has an entry for outside of the block keeps that one.
    """
    address = address or default_address() or "127.0.0.1"
    paths = [os.path.realpath(path) for path in paths]
    texts = {path: read_text(path) for path in paths}
    others = foreign(texts[paths[0]] or "", mark, names)
    left = [name for name in names if not any(name in has for _line, _address, has in others)]
    line = "" if absent or not left else f"{address} {' '.join(left)}"
    elsewhere = [] if absent else [line for line, leads_to, _names in others if leads_to != address]
    wanted = {
        path: with_block(text or "", mark, line)
        for path, text in texts.items()
        if text is not None or path == paths[0]
    }  # fmt: skip
    changed = {path: text for path, text in wanted.items() if text != (texts[path] or "")}
    for path, text in changed.items() if not check_mode else ():
        status = None if texts[path] is None else os.stat(path)
        attributes = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) if status else NEW
        replace(path, text, *attributes)
    warning = (
        f"{paths[0]} of {os.uname().nodename} has entries that are not ours, and were left as they are. Their names do "
        f"not lead to {address}: {'; '.join(elsewhere)}. Remove them if they should, and run again."
    )
    return {
        "changed": bool(changed),
        "address": address,
        "elsewhere": elsewhere,
        "warnings": [warning] if elsewhere else [],
        "diff": [text_diff(path, texts[path], text) for path, text in changed.items()],
    }
