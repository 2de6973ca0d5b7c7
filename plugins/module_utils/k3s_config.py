# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in the configuration file of a K3s node. Pure functions.

Source of the names: the command line flags of K3s (``pkg/cli/cmds/server.go`` and ``agent.go``, and the pages
"k3s server" and "k3s agent" of its documentation). A server ignores a name it does not know with a warning in its log;
an agent exits.
"""

from __future__ import annotations

import difflib

# Of both kinds of node.
NODE_KEYS = frozenset(
    [
        "alsologtostderr", "bind-address", "container-runtime-endpoint", "debug", "default-runtime",
        "disable-default-registry-endpoint", "docker", "enable-pprof", "flannel-cni-conf", "flannel-conf",
        "flannel-iface", "image-credential-provider-bin-dir", "image-credential-provider-config",
        "image-service-endpoint", "kube-proxy-arg", "kubelet-arg", "lb-server-port", "log", "node-external-dns",
        "node-external-ip", "node-internal-dns", "node-ip", "node-label", "node-name", "node-taint",
        "nonroot-devices", "pause-image", "prefer-bundled-bin", "private-registry", "protect-kernel-defaults",
        "resolv-conf", "rootless", "selinux", "snapshotter", "v", "vmodule", "vpn-auth", "vpn-auth-file",
        "with-node-id",
    ]
)  # fmt: skip
# Of servers only.
SERVER_KEYS = frozenset(
    [
        "advertise-address", "advertise-port", "agent-token", "agent-token-file", "cluster-cidr", "cluster-dns",
        "cluster-domain", "cluster-init", "datastore-cafile", "datastore-certfile", "datastore-endpoint",
        "datastore-keyfile", "default-local-storage-path", "disable", "disable-agent", "disable-apiserver",
        "disable-cloud-controller", "disable-controller-manager", "disable-etcd", "disable-helm-controller",
        "disable-kube-proxy", "disable-network-policy", "disable-scheduler", "egress-selector-mode",
        "embedded-registry", "etcd-arg", "etcd-disable-snapshots", "etcd-expose-metrics", "etcd-s3",
        "etcd-s3-access-key", "etcd-s3-bucket", "etcd-s3-bucket-lookup-type", "etcd-s3-config-secret",
        "etcd-s3-endpoint", "etcd-s3-endpoint-ca", "etcd-s3-folder", "etcd-s3-insecure", "etcd-s3-proxy",
        "etcd-s3-region", "etcd-s3-retention", "etcd-s3-secret-key", "etcd-s3-session-token",
        "etcd-s3-skip-ssl-verify", "etcd-s3-timeout", "etcd-snapshot-compress", "etcd-snapshot-dir",
        "etcd-snapshot-name", "etcd-snapshot-retention", "etcd-snapshot-schedule-cron", "flannel-backend",
        "flannel-external-ip", "flannel-ipv6-masq", "helm-controller-arg", "helm-job-image", "https-listen-port",
        "kube-apiserver-arg", "kube-cloud-controller-manager-arg", "kube-controller-manager-arg",
        "kube-scheduler-arg", "secrets-encryption", "secrets-encryption-provider", "service-cidr",
        "service-node-port-range", "servicelb-namespace", "supervisor-metrics", "system-default-registry",
        "tls-san", "tls-san-security", "write-kubeconfig", "write-kubeconfig-group", "write-kubeconfig-mode",
        "write-kubeconfig-name",
    ]
)  # fmt: skip
# What the role writes itself, and what must never be kept in a file.
OURS = {
    "token": "Set k3s_token.",
    "token-file": "Set k3s_token.",
    "server": "Set k3s_server_url.",
    "data-dir": "Set k3s_data_dir.",
    "config": "The role writes the one file; put more files into /etc/rancher/k3s/config.yaml.d on the host.",
    "cluster-reset": "It would reset the cluster at each start: run 'k3s server --cluster-reset' by hand.",
    "cluster-reset-restore-path": "It would restore at each start: run 'k3s server --cluster-reset' by hand.",
}


def errors(host: str, kind: str, config) -> list[str]:
    """What is wrong with the extra configuration of ``host``, a node of ``kind`` 'server' or 'agent'."""
    variable = f"k3s_{kind}_config"
    if not isinstance(config, dict):
        return [
            f"{host}: {variable} is not a dictionary of K3s options, but {type(config).__name__}. "
            "Write it as 'name: value' lines."
        ]
    allowed = NODE_KEYS | SERVER_KEYS if kind == "server" else NODE_KEYS
    found = []
    for key in config:
        name = str(key).rstrip("+")
        if name in OURS:
            found.append(f"{host}: {variable} must not have '{key}'. {OURS[name]}")
        elif name in allowed:
            continue
        elif name in SERVER_KEYS:
            found.append(
                f"{host}: {variable} has '{key}', which is an option of servers, and an agent does not start with it. "
                "Move it to k3s_server_config."
            )
        else:
            near = difflib.get_close_matches(name.replace("_", "-"), allowed, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"See 'k3s {kind} --help'."
            found.append(
                f"{host}: {variable} has '{key}', which is no option of K3s this collection knows. {hint} "
                "An option that is newer belongs into a file in /etc/rancher/k3s/config.yaml.d on the host."
            )
    return found
