# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications that modules merge, and the one way from a module's ``main()`` into its logic."""

from __future__ import annotations

import traceback
from typing import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError

KUBERNETES = {
    "kubeconfig": {"type": "path", "required": True},
    "context": {"type": "str"},
}


def run(
    logic: Callable[[dict, bool], dict],
    options: dict,
    *shared: dict,
    returns_secret: Callable[[dict], bool] = lambda params: False,
    **rules,
) -> None:
    """Make the module, call ``logic(params, check_mode)`` and exit with the result it returns.

    ``options`` is the module's own argument spec, ``shared`` are specs it has in common with others, ``rules`` go to
    AnsibleModule (``mutually_exclusive`` and so on). ``logic`` may rewrite ``params`` in place: what it leaves there is
    what ``-vvv`` shows. A result may carry ``diff`` and ``warnings``; ``changed`` is required. With ``returns_secret``
    true for the params, the task must have ``no_log``, since its result is not to be shown.
    """
    spec: dict = {}
    for part in (*shared, options):
        spec.update(part)
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, **rules)
    if returns_secret(module.params) and not module.no_log:
        module.fail_json(msg="This task returns a secret and would show it. Add 'no_log: true' to the task.")
    try:
        result = logic(module.params, module.check_mode)
    except PlatformError as e:
        module.fail_json(msg=str(e), **e.facts)
    except Exception as e:  # a defect of ours: still one readable failure
        module.fail_json(msg=f"A defect of this module: {type(e).__name__}: {e}", exception=traceback.format_exc())
    for text in result.pop("warnings", ()):
        module.warn(text)
    module.exit_json(**result)
