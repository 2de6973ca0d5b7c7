// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

const (
	containerdSocket = "/run/k3s/containerd/containerd.sock"
	nodePasswordFile = "/etc/rancher/node/password"
)

// A machine is the node part of a server or an agent: containerd, kubelet, kube-proxy and the pod network.
type machine struct {
	config   Config
	children *children
	dataDir  string
	name     string
	ip       string
	api      *api // with the node's own rights; set when the kubelet has them
}

// clusterSettings is what a node learns from its cluster.
type clusterSettings struct {
	clusterCIDR, clusterDNS, clusterDomain string
}

func newMachine(config Config, bin string) (*machine, error) {
	m := &machine{config: config, children: newChildren(bin), dataDir: config.last("data-dir")}
	var err error
	if m.name = strings.ToLower(config.last("node-name")); m.name == "" {
		if m.name, err = os.Hostname(); err != nil {
			return nil, err
		}
		m.name = strings.ToLower(m.name)
	}
	if addresses := config.list("node-ip"); len(addresses) > 0 {
		m.ip = addresses[0]
	} else if m.ip, err = defaultAddress(); err != nil {
		return nil, err
	}
	if net.ParseIP(m.ip) == nil {
		return nil, fmt.Errorf("invalid node-ip: %s", m.ip)
	}
	return m, m.prepare()
}

// defaultAddress is the address with which this host speaks to others.
func defaultAddress() (string, error) {
	if connection, err := net.Dial("udp4", "192.0.2.1:9"); err == nil { // sends nothing
		defer connection.Close()
		return connection.LocalAddr().(*net.UDPAddr).IP.String(), nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String(), nil
		}
	}
	return "", errors.New("no default route found and no address to use: set node-ip")
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.dataDir, "agent"}, parts...)...)
}

// prepare makes directories and marks, and readies the kernel's switches.
func (m *machine) prepare() error {
	logInfo("Starting k3s %s (standin)", version)
	logWarn("%s", standinMark)
	if err := makeDirs(0o755, m.dataDir, m.path(), m.path("etc/containerd"), m.path("etc/cni/net.d"), m.path("etc/kubelet.conf.d"),
		m.path("containerd"), m.path("images"), "/etc/rancher/k3s", "/etc/rancher/node", "/run/k3s/containerd"); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(m.dataDir, "STANDIN"), []byte(standinMark+"\n"), 0o644); err != nil {
		return err
	}
	if !fileExists(nodePasswordFile) {
		if err := writeFile(nodePasswordFile, []byte(randomHex(16)+"\n"), 0o600); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1", "net/ipv4/conf/all/forwarding": "1",
	} {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			logWarn("Failed to set sysctl %s: %v", name, err)
		}
	}
	return nil
}

// startContainerd starts containerd and imports the images that lie ready; the kubelet must not start before.
func (m *machine) startContainerd(ctx context.Context) error {
	if err := m.writeContainerdConfig(); err != nil {
		return err
	}
	crictl := doc{"runtime-endpoint": "unix://" + containerdSocket, "image-endpoint": "unix://" + containerdSocket}
	if err := writeYAML(m.path("etc/crictl.yaml"), 0o644, crictl); err != nil {
		return err
	}
	log, err := os.OpenFile(m.path("containerd/containerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := m.children.start("containerd", log, []string{"--config", m.path("etc/containerd/config.toml")}); err != nil {
		return err
	}
	err = waitFor(ctx, 50*time.Millisecond, "containerd", func() error {
		return finish(m.children.command(ctx, "ctr", "--address", containerdSocket, "--connect-timeout", "1s", "version"))
	})
	if err != nil {
		return err
	}
	if err := m.importImages(ctx); err != nil {
		return err
	}
	go m.watchImages(ctx)
	return nil
}

// The settings that a machine without all rights needs: cgroupfs, and no attempt to lower an OOM score.
var containerdConfig = template.Must(template.New("containerd").Parse(`# Written by the stand-in at each start.
version = 2
root = "{{ .Dir }}/containerd"
state = "/run/k3s/containerd"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{ .Dir }}/containerd"
[grpc]
  address = "{{ .Socket }}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{ .Pause }}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{ .Bin }}"
    conf_dir = "{{ .Dir }}/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`))

func (m *machine) writeContainerdConfig() error {
	var text bytes.Buffer
	err := containerdConfig.Execute(&text, map[string]string{
		"Dir": m.path(), "Bin": m.children.bin, "Socket": containerdSocket, "Pause": m.config.last("pause-image"),
	})
	if err != nil {
		return err
	}
	return writeFile(m.path("etc/containerd/config.toml"), text.Bytes(), 0o600)
}

func (m *machine) startKubelet(settings clusterSettings, extra ...string) error {
	kubelet := doc{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": doc{
			"anonymous": doc{"enabled": false}, "webhook": doc{"enabled": true}, "x509": doc{"clientCAFile": m.path("client-ca.crt")},
		},
		"authorization":               doc{"mode": "Webhook"},
		"cgroupDriver":                "cgroupfs",
		"clusterDNS":                  []string{settings.clusterDNS},
		"clusterDomain":               settings.clusterDomain,
		"containerRuntimeEndpoint":    "unix://" + containerdSocket,
		"evictionHard":                doc{"imagefs.available": "5%", "nodefs.available": "5%"},
		"failSwapOn":                  false,
		"healthzBindAddress":          "127.0.0.1",
		"imageGCHighThresholdPercent": 100, // never: what was imported cannot be pulled again
		"maxOpenFiles":                openFilesLimit(),
		"protectKernelDefaults":       m.config.yes("protect-kernel-defaults"),
		"providerID":                  "k3s://" + m.name,
		"resolvConf":                  m.resolvConf(),
		"rotateCertificates":          true,
		"serializeImagePulls":         false,
	}
	drop := m.path("etc/kubelet.conf.d")
	if err := writeYAML(filepath.Join(drop, "00-k3s-defaults.conf"), 0o600, kubelet); err != nil {
		return err
	}
	labels := append([]string{"node.kubernetes.io/instance-type=k3s"}, m.config.list("node-label")...)
	arguments := map[string]string{
		"config-dir":        drop,
		"kubeconfig":        m.kubeletKubeconfig(),
		"cert-dir":          m.path("pki"),
		"hostname-override": m.name,
		"node-ip":           m.ip,
		"node-labels":       strings.Join(labels, ","),
	}
	if taints := m.config.list("node-taint"); len(taints) > 0 {
		arguments["register-with-taints"] = strings.Join(taints, ",")
	}
	for _, argument := range extra {
		name, value, _ := strings.Cut(argument, "=")
		arguments[name] = value
	}
	return m.children.start("kubelet", os.Stderr, commandLine(arguments, m.config.arguments("kubelet-arg")))
}

func (m *machine) kubeletKubeconfig() string { return m.path("kubelet.kubeconfig") }

// commandLine makes the arguments of a component; what the user gave wins.
func commandLine(arguments, given map[string]string) []string {
	for name, value := range given {
		arguments[name] = value
	}
	var line []string
	for _, name := range sortedKeys(arguments) {
		line = append(line, "--"+name+"="+arguments[name])
	}
	return line
}

// openFilesLimit is what the kubelet may ask for: a container's limit cannot be raised.
func openFilesLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max > 1_000_000 {
		return 1_000_000
	}
	return limit.Max
}

// resolvConf is the host's, unless all its name servers are on the loopback interface, which pods cannot reach.
func (m *machine) resolvConf() string {
	if path := m.config.last("resolv-conf"); path != "" {
		return path
	}
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		content, _ := os.ReadFile(path)
		for _, line := range strings.Split(string(content), "\n") {
			fields := strings.Fields(line)
			if len(fields) > 1 && fields[0] == "nameserver" {
				if ip := net.ParseIP(fields[1]); ip != nil && ip.IsGlobalUnicast() {
					return path
				}
			}
		}
	}
	path := m.path("etc/resolv.conf")
	if err := writeFile(path, []byte("nameserver 8.8.8.8\n"), 0o644); err != nil {
		logError("%v", err)
	}
	return path
}

// waitForNode returns when the kubelet serves and the node is registered.
func (m *machine) waitForNode(ctx context.Context) error {
	return waitFor(ctx, 100*time.Millisecond, "the kubelet", func() error {
		answer, err := http.Get("http://127.0.0.1:10248/healthz")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("kubelet: %s", answer.Status)
		}
		if m.api == nil {
			connection, err := apiOf(m.kubeletKubeconfig())
			if err != nil {
				return err
			}
			m.api = connection
		}
		return m.api.get(ctx, "/api/v1/nodes/"+m.name, nil)
	})
}

func (m *machine) startProxy(settings clusterSettings) error {
	if m.config.yes("disable-kube-proxy") {
		return nil
	}
	proxy := doc{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection":   doc{"kubeconfig": m.kubeletKubeconfig()},
		"clusterCIDR":        settings.clusterCIDR,
		"conntrack":          doc{"maxPerCore": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
		"healthzBindAddress": "127.0.0.1:10256",
		"metricsBindAddress": "127.0.0.1:10249",
		"hostnameOverride":   m.name,
		"mode":               "iptables",
	}
	if err := writeYAML(m.path("etc/kube-proxy.yaml"), 0o600, proxy); err != nil {
		return err
	}
	arguments := map[string]string{"config": m.path("etc/kube-proxy.yaml"), "hostname-override": m.name}
	return m.children.start("kube-proxy", os.Stderr, commandLine(arguments, m.config.arguments("kube-proxy-arg")))
}

// annotate writes what K3s tells about a node, and the stand-in's mark.
func (m *machine) annotate(ctx context.Context, command string) error {
	arguments, err := json.Marshal(append([]string{command}, m.shownArguments()...))
	if err != nil {
		return err
	}
	return m.api.patch(ctx, "/api/v1/nodes/"+m.name, doc{"metadata": doc{"annotations": doc{
		"lab.cloudcart.local/standin": "k3s",
		"k3s.io/hostname":             m.name,
		"k3s.io/internal-ip":          m.ip,
		"k3s.io/node-args":            string(arguments),
	}}})
}

// shownArguments is the configuration as arguments, without secrets.
func (m *machine) shownArguments() []string {
	var arguments []string
	for _, key := range sortedKeys(m.config) {
		for _, value := range m.config[key] {
			if key == "token" || key == "agent-token" || strings.HasSuffix(key, "-key") || key == "datastore-endpoint" {
				value = "********"
			}
			arguments = append(arguments, "--"+key, value)
		}
	}
	return arguments
}

// keepNetwork gives pods their bridge, and keeps a route to the pods of each other node.
func (m *machine) keepNetwork(ctx context.Context, settings clusterSettings) {
	routes := map[string]string{}
	m.api.follow(ctx, "/api/v1/nodes", func() error {
		nodes, err := m.api.nodes(ctx)
		if err != nil {
			return err
		}
		wanted := map[string]string{}
		for _, node := range nodes {
			switch address := node.address("InternalIP"); {
			case node.Spec.PodCIDR == "" || address == "":
			case node.Metadata.Name == m.name:
				if err := m.writeNetworkConfig(node.Spec.PodCIDR, settings.clusterCIDR); err != nil {
					return err
				}
			default:
				wanted[node.Spec.PodCIDR] = address
			}
		}
		return changeRoutes(routes, wanted)
	})
}

func (m *machine) writeNetworkConfig(podCIDR, clusterCIDR string) error {
	bridge := doc{
		"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
		"ipam": doc{
			"type":   "host-local",
			"ranges": []any{[]any{doc{"subnet": podCIDR}}},
			"routes": []any{doc{"dst": "0.0.0.0/0"}},
		},
	}
	portmap := doc{"type": "portmap", "capabilities": doc{"portMappings": true}}
	network := doc{"cniVersion": "0.4.0", "name": "cbr0", "plugins": []any{bridge, portmap}}
	content, err := json.MarshalIndent(network, "", "  ")
	if err != nil {
		return err
	}
	subnet := fmt.Sprintf("FLANNEL_NETWORK=%s\nFLANNEL_SUBNET=%s\n", clusterCIDR, podCIDR)
	if err := errors.Join(makeDirs(0o755, "/run/flannel"), writeFile("/run/flannel/subnet.env", []byte(subnet), 0o644)); err != nil {
		return err
	}
	masquerade := []string{"POSTROUTING", "-s", clusterCIDR, "!", "-d", clusterCIDR,
		"-m", "comment", "--comment", "flanneld masq (standin)", "-j", "MASQUERADE"}
	iptables := func(action string) error {
		return exec.Command("iptables", append([]string{"-w", "-t", "nat", action}, masquerade...)...).Run()
	}
	if iptables("-C") != nil {
		if err := iptables("-A"); err != nil {
			return fmt.Errorf("masquerading for pods: iptables: %w", err)
		}
	}
	return writeFile(m.path("etc/cni/net.d/10-flannel.conflist"), append(content, '\n'), 0o600)
}

// changeRoutes brings the kernel's routes, remembered in have, to what is wanted.
func changeRoutes(have, wanted map[string]string) error {
	for subnet, address := range wanted {
		if have[subnet] != address {
			if err := finish(exec.Command("ip", "route", "replace", subnet, "via", address)); err != nil {
				return fmt.Errorf("route to pods: %w", err)
			}
			have[subnet] = address
		}
	}
	for subnet := range have {
		if wanted[subnet] == "" {
			if err := finish(exec.Command("ip", "route", "del", subnet)); err != nil {
				logWarn("route to pods of a removed node: %v", err)
			}
			delete(have, subnet)
		}
	}
	return nil
}
