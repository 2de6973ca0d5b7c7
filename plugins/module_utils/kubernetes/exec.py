# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command in a container, through the exec subresource of the API server.

The channels are: 1 standard output, 2 standard error, and at the end on 3 a Status object with the exit code.
https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand
"""

from __future__ import annotations

from contextlib import closing
from time import monotonic
from urllib.parse import urlencode

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.channels import (
    as_json,
    broken,
    open_channels,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import Client, connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import Resource, ref

STDOUT, STDERR, STATUS = 1, 2, 3


def k8s_exec_info(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    client = connect(params["kubeconfig"], params["context"], check_mode)
    result = {"changed": False, "cluster": "absent" if client is None else "present"}
    exit_code, stdout, stderr = None, "", ""
    if client is not None:
        try:
            exit_code, stdout, stderr = run_in_container(
                client, params["namespace"], params["pod"], params["command"], params["container"], params["timeout"]
            )
        except ApiError as e:
            if e.status in (401, 403):
                raise
            stderr = e.what  # no such pod, or the container does not run: what the caller wants to know
    return {**result, "exit_code": exit_code, "stdout": stdout.rstrip("\n"), "stderr": stderr.rstrip("\n")}


def run_in_container(
    client: Client, namespace: str, pod: str, command: list[str], container: str | None = None, timeout: float = 30
) -> tuple[int | None, str, str]:
    """Run ``command`` and return its exit code, standard output and standard error.

    The exit code is None when the command could not be started; standard error then says why.

    :raises ApiError: the API server refused, for instance because there is no such pod.
    :raises PlatformError: the command did not end within ``timeout`` seconds, or the connection broke.
    """
    websocket = require("websocket")
    path = Resource("v1", "Pod", "pods", True).path(namespace, pod) + "/exec"
    query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true")]
    query += [("container", container)] if container else []
    what = f"run a command in {ref('Pod', pod, namespace)}"
    end = monotonic() + timeout
    output = {STDOUT: b"", STDERR: b"", STATUS: b""}
    try:
        with closing(open_channels(client, f"{path}?{urlencode(query)}", what)) as connection:
            while not output[STATUS]:
                connection.settimeout(max(end - monotonic(), 0.01))
                opcode, message = connection.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    break
                if message and message[0] in output:
                    output[message[0]] += message[1:]
    except websocket.WebSocketTimeoutException as e:
        raise PlatformError(
            f"The command in {ref('Pod', pod, namespace)} did not end within {timeout} s.",
            "Look at the pod, or raise the timeout.",
        ) from e
    except (websocket.WebSocketException, OSError) as e:
        raise broken(client, what, e) from e
    status = as_json(output[STATUS])
    stdout, stderr = (output[n].decode(errors="replace") for n in (STDOUT, STDERR))
    if status.get("status") == "Success":
        return 0, stdout, stderr
    causes = (status.get("details") or {}).get("causes") or []
    code = next((int(c["message"]) for c in causes if c.get("reason") == "ExitCode"), None)
    return code, stdout, stderr or status.get("message") or "The connection ended before the command did."
