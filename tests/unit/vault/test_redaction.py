# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret value in anything that Ansible shows, at any verbosity, nor in the arguments of a process."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
SUPPLIED = "Marker-Supplied-Value"
CLAIMS = base64.urlsafe_b64encode(json.dumps({"iat": 1, "exp": 2**40, "sub": "marker"}).encode()).decode().rstrip("=")
REVIEWER = f"eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.TWFya2VyU2lnbmF0dXJl"
USER = "Marker-User"


def play(tmp_path, openbao, names, *arguments):
    """Run vault_configuration by ansible-playbook; returns everything it prints, and what it registered."""
    task = {
        "url": openbao.url,
        "token": "{{ lookup('env', 'TEST_VAULT_TOKEN') }}",
        "spec": {
            "mounts": [{"path": names.kv, "options": {"version": "2"}}],
            "auth_methods": [{"path": names.auth}],
            "kubernetes_auth_config": [
                {
                    "mount": names.auth,
                    "fields": {"kubernetes_host": "https://x", "disable_local_ca_jwt": True, "kubernetes_ca_cert": "x"},
                    "token_reviewer_jwt": "{{ lookup('file', '" + str(tmp_path / "reviewer.jwt") + "') }}",
                }
            ],
            "secrets": [
                {
                    "mount": names.kv,
                    "path": "app",
                    "data": {"user": USER},
                    "sensitive_data": {"api_key": SUPPLIED},
                    "generate": {"password": {}},
                    "derive": {"url": "x://{user}:{password}@{api_key}"},
                }
            ],
        },
    }
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {"cloudcartops.platform.vault_configuration": task, "register": "result", "name": "Configure"},
                {"ansible.builtin.copy": {"content": "{{ result }}", "dest": str(tmp_path / "result")}, "diff": False},
                {"ansible.builtin.debug": {"var": "result"}},
                {"ansible.builtin.set_fact": {"kept": "{{ result }}", "cacheable": True}},
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
    (tmp_path / "reviewer.jwt").write_text(REVIEWER)
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_LOCAL_TEMP": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "cache"),
        "TEST_VAULT_TOKEN": openbao.token,
    }
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        str(tmp_path / "play.yml"),
    ]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-vvvv", "--diff", *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        seen = threading.Thread(target=watch, args=(process, shown := set()))
        seen.start()
        output = process.communicate(timeout=120)[0]
        seen.join()
    assert process.returncode == 0, output
    assert any("ansible" in line for line in shown), "the list of processes was read"
    left = [path for folder in ("cache", "home") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert "--check" in arguments or any("cache" in path.parts for path in left), "facts were kept"
    left += [tmp_path / "result"] if "--check" not in arguments else []
    return output + "\n".join(shown) + "".join(path.read_text(errors="replace") for path in left)


def watch(process, shown):
    """Collect what `ps` shows of every process on the machine while ``process`` runs."""
    while process.returncode is None:
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                shown.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


def test_nothing_is_shown(tmp_path, openbao, names):
    shown = play(tmp_path, openbao, names, "--check") + play(tmp_path, openbao, names)
    live = openbao("GET", f"{names.kv}/data/app")["data"]
    openbao("POST", f"{names.kv}/data/app", {"data": {**live, "user": "by-hand"}})
    shown += play(tmp_path, openbao, names)
    assert "generated" in shown  # it is the output we think it is
    for secret in (SUPPLIED, USER, live["password"], live["url"], openbao.token, REVIEWER, "TWFya2VyU2lnbmF0dXJl"):
        assert secret not in shown
        assert json.dumps(secret)[1:-1] not in shown
