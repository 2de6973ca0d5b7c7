# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""K3s that does not start: the run says why instead of waiting, and the next one mends it when the cause is gone."""

from __future__ import annotations

import datetime
import json

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

pytestmark = pytest.mark.soak
TLS = "/var/lib/rancher/k3s/server/tls"
ETC = "/var/lib/rancher/k3s/agent/etc"  # written at each start
UNIT = "/etc/systemd/system/k3s-agent.service.d"
CONFIGURE = "K3s | Configure the service, and wait until it runs with what is on the disk"
TO_THE_SERVER = "OUTPUT -p tcp --dport 6443 -j REJECT"
SLOW = 15  # seconds
OTHER = {"kubelet-arg": ["v=2"]}  # a harmless change, so that it is started again


class Agent:
    """The agent of a cluster, and runs that give its K3s another setting."""

    def __init__(self, pair) -> None:
        groups = yaml.safe_load(pair.inventory.read_text(encoding="utf-8"))["all"]["children"]
        ((self.name, self.host),) = groups["k3s_agent"]["hosts"].items()
        self.pair = pair

    def ssh(self, script: str) -> str:
        return self.pair.ssh(script, host=self.host)

    def drop_in(self, text: str) -> None:
        self.ssh(f"mkdir -p {UNIT} && printf '[Service]\n{text}\n' >{UNIT}/trouble.conf && systemctl daemon-reload")

    def setup(self, **config):
        variables = {"k3s_join_timeout": 10} | ({"k3s_agent_config": config} if config else {})
        return self.pair.site("-e", json.dumps(variables), playbook="setup")

    def refused(self, **config) -> str:
        """What a run says that fails at the start of the agent, on one line."""
        run = self.setup(**config)
        assert run.status != 0 and CONFIGURE in run.text.rpartition("TASK [")[2], run.text[-3000:]
        assert run.seconds < 60, "it does not wait for what cannot come"
        return " ".join(run.text.replace("\\n", " ").split())

    def is_ready(self) -> bool:
        ready = '{.status.conditions[?(@.type=="Ready")].status}'
        return self.pair.ssh(f"kubectl get node {self.name} -o 'jsonpath={ready}'") == "True"


@pytest.fixture(scope="module")
def agent(pair):
    agent = Agent(pair)
    done = agent.setup()
    assert done.status == 0, done.text[-3000:]
    return agent


@pytest.fixture
def mended(agent):
    """Afterwards one run makes all well, and the next changes nothing."""
    yield agent
    agent.ssh(
        f"rm -rf {UNIT}; umount {ETC} 2>/dev/null; iptables -D {TO_THE_SERVER} 2>/dev/null; systemctl daemon-reload"
    )
    run = agent.setup()
    assert run.status == 0 and run.changed, run.text[-3000:]
    assert agent.is_ready() and agent.setup().changed == []


def test_an_argument_that_does_not_exist(mended):
    said = mended.refused(**{"kubelet-arg": ["no-such-flag=1"]})
    assert "k3s-agent.service ended with status 1 instead of becoming ready" in said
    assert "unknown flag: --no-such-flag" in said


def test_a_way_to_the_server_that_closes(mended):
    mended.drop_in(f"ExecStartPre=/usr/sbin/iptables -I {TO_THE_SERVER}")
    said = mended.refused(**OTHER)
    assert "k3s-agent.service has waited" in said and "for its server" in said
    assert "connection refused" in said


def test_a_start_that_is_cut_off(mended):
    mended.drop_in("TimeoutStartSec=200ms")
    assert "instead of becoming ready" in mended.refused(**OTHER)


def test_a_disk_that_is_full(mended):
    mended.ssh(f"mount -t tmpfs -o size=4k tmpfs {ETC} && head -c 4k /dev/zero >{ETC}/all")
    said = mended.refused(**OTHER)
    assert "no space left on device" in said and "Make room, then run again" in said


def test_a_slow_start_is_waited_for(mended):
    mended.drop_in(f"ExecStartPre=/bin/sleep {SLOW}")
    run = mended.setup(**OTHER)
    assert run.status == 0 and run.seconds > SLOW and mended.is_ready(), run.text[-3000:]


def ended(certificate: str, authority: str, key: str) -> str:
    """The same certificate, with an end in the past."""
    old, ca = (x509.load_pem_x509_certificate(text.encode()) for text in (certificate, authority))
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    new = x509.CertificateBuilder(ca.subject, old.subject, old.public_key(), x509.random_serial_number())
    new = new.not_valid_before(yesterday - datetime.timedelta(days=365)).not_valid_after(yesterday)
    for extension in old.extensions:
        new = new.add_extension(extension.value, extension.critical)
    signed = new.sign(serialization.load_pem_private_key(key.encode(), None), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_that_has_expired(agent):
    """As when K3s was not restarted for a year. That a restart renews it is how the stand-in does it, as K3s should."""
    pair = agent.pair
    files = [pair.ssh(f"cat {TLS}/{name}") for name in ("serving-kube-apiserver.crt", "server-ca.crt", "server-ca.key")]
    pair.ssh(f"cat >{TLS}/serving-kube-apiserver.crt", text=ended(*files))
    pair.until("kubectl get nodes 2>&1 | grep -q 'certificate has expired'")
    checked = " ".join(pair.site(playbook="check").text.split())
    assert "/apiserver.crt, which ended on" in checked and "systemctl restart k3s," in checked
    run = agent.setup()
    assert run.status != 0 and run.changed == [] and run.seconds < 60
    said = " ".join(run.text.replace("\\n", " ").split())
    assert "certificate has expired" in said and "'systemctl restart k3s' on the server" in said
    pair.ssh("systemctl restart k3s")
    mended = agent.setup()
    assert mended.status == 0 and mended.changed == [] and agent.is_ready(), mended.text[-3000:]
