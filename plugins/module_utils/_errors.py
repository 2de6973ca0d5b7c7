# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of error that module_utils raise and modules turn into ``fail_json``."""

from __future__ import annotations


class PlatformError(Exception):
    """An error for people: what was wrong and where, then what to do about it.

    ``what`` and ``fix`` are sentences; ``facts`` are extra keys of the module's result.
    """

    def __init__(self, what: str, fix: str = "", **facts) -> None:
        super().__init__(f"{what}{'' if fix.startswith(chr(10)) else ' '}{fix}".strip())
        self.what, self.fix, self.facts = what, fix, facts


def require(name: str):
    """Import and return the Python package ``name``, or say how to install it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as e:
        import sys

        module = name.partition(".")[0]
        package = {"yaml": "PyYAML", "websocket": "websocket-client", "kafka": "kafka-python"}.get(module, module)
        raise PlatformError(
            f"The Python package {package} cannot be imported by {sys.executable} ({e}).",
            f"Install it with '{sys.executable} -m pip install {package}', or set ansible_python_interpreter of this "
            "host to a Python that has it.",
        ) from e
