// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	joinToken   = "join token of the server (standin)"
	secretsPath = "/api/v1/namespaces/kube-system/secrets"
)

// A server is a machine that also runs the control plane.
type server struct {
	*machine
	settings                clusterSettings
	password, agentPassword string
	port                    string
	admin                   *api
	kubeadmConfig           string
}

func serverMain(args []string) error {
	config, err := loadConfig("server", args)
	if err != nil {
		return err
	}
	if err := isRoot("server"); err != nil {
		return err
	}
	if err := refuseWhatIsMissing(config); err != nil {
		return err
	}
	s := &server{port: config.last("https-listen-port")}
	if s.settings, err = settingsOf(config); err != nil {
		return err
	}
	dataDir := config.last("data-dir")
	if s.password, err = serverPassword(filepath.Join(dataDir, "server"), config.last("token")); err != nil {
		return err
	}
	if text := config.last("agent-token"); text != "" {
		token, err := parseToken(text)
		if err != nil {
			return err
		}
		s.agentPassword = token.password
	}
	bin, err := unpack(dataDir)
	if err != nil {
		return err
	}
	if s.machine, err = newMachine(config, bin); err != nil {
		return err
	}
	s.kubeadmConfig = s.serverPath("cred/kubeadm.yaml")
	return s.untilStopped(s.run)
}

func refuseWhatIsMissing(config Config) error {
	for _, key := range []string{"server", "cluster-reset", "datastore-endpoint"} {
		if value := config.last(key); value != "" && value != "false" {
			return fmt.Errorf("the stand-in has no --%s for a server yet", key)
		}
	}
	return nil
}

// settingsOf derives the addresses that K3s derives.
func settingsOf(config Config) (clusterSettings, error) {
	settings := clusterSettings{config.last("cluster-cidr"), config.last("cluster-dns"), config.last("cluster-domain")}
	services, err := netip.ParsePrefix(config.last("service-cidr"))
	if err != nil {
		return settings, fmt.Errorf("invalid service-cidr: %w", err)
	}
	if _, err := netip.ParsePrefix(settings.clusterCIDR); err != nil {
		return settings, fmt.Errorf("invalid cluster-cidr: %w", err)
	}
	if settings.clusterDNS == "" {
		address := services.Masked().Addr()
		for range 10 {
			address = address.Next()
		}
		settings.clusterDNS = address.String()
	}
	return settings, nil
}

func (s *server) serverPath(parts ...string) string {
	return filepath.Join(append([]string{s.dataDir, "server"}, parts...)...)
}

func (s *server) tls(name string) string  { return s.serverPath("tls", name) }
func (s *server) cred(name string) string { return s.serverPath("cred", name) }

func (s *server) run(ctx context.Context) error {
	if err := makeDirs(0o700, s.serverPath(), s.serverPath("tls"), s.serverPath("cred"), s.serverPath("manifests"),
		s.serverPath("db"), s.serverPath("db/etcd")); err != nil {
		return err
	}
	node := make(chan error, 1)
	go func() { node <- s.startContainerd(ctx) }()
	if err := s.makeCredentials(ctx); err != nil {
		return err
	}
	if err := s.startControlPlane(ctx); err != nil {
		return err
	}
	uploads := make(chan error, 1)
	go func() { uploads <- s.upload(ctx) }()
	if err := <-node; err != nil {
		return err
	}
	if err := s.startKubelet(s.settings); err != nil {
		return err
	}
	if err := s.startProxy(s.settings); err != nil {
		return err
	}
	if err := s.waitForNode(ctx); err != nil {
		return err
	}
	go s.keepNetwork(ctx, s.settings)
	labels := doc{"node-role.kubernetes.io/control-plane": "true"}
	if s.config.yes("cluster-init") {
		labels["node-role.kubernetes.io/etcd"] = "true"
	}
	err := s.admin.patch(ctx, "/api/v1/nodes/"+s.name, doc{"metadata": doc{"labels": labels}})
	if err := errors.Join(<-uploads, s.annotate(ctx, "server"), err); err != nil {
		return err
	}
	go s.keepManifests(ctx)
	go s.keepLoadBalancers(ctx)
	notifyReady()
	return nil
}

// makeCredentials has kubeadm make the certificates and kubeconfigs; leafs anew for a changed configuration, and when one
// ends soon.
func (s *server) makeCredentials(ctx context.Context) error {
	before, _ := os.ReadFile(s.kubeadmConfig)
	if err := writeYAML(s.kubeadmConfig, 0o600, s.kubeadmDocuments()...); err != nil {
		return err
	}
	now, err := os.ReadFile(s.kubeadmConfig)
	if err != nil {
		return err
	}
	complete := s.cred("complete")
	if !bytes.Equal(before, now) || !fileExists(complete) || endsSoon(s.tls("apiserver.crt")) {
		for _, leaf := range []string{"apiserver", "etcd/server", "etcd/peer"} {
			if err := errors.Join(os.RemoveAll(s.tls(leaf+".crt")), os.RemoveAll(s.tls(leaf+".key"))); err != nil {
				return err
			}
		}
		for _, phase := range [][]string{{"certs", "all"}, {"kubeconfig", "all", "--kubeconfig-dir", s.serverPath("cred")}} {
			if err := s.kubeadm(ctx, phase...); err != nil {
				return err
			}
		}
		if err := s.linkCertificates(); err != nil {
			return err
		}
		if err := writeFile(complete, nil, 0o600); err != nil {
			return err
		}
	}
	return s.writeNodeCredentials()
}

// endsSoon tells whether a certificate is valid for less than the 120 days with which K3s renews it at a start.
func endsSoon(path string) bool {
	content, _ := os.ReadFile(path)
	block, _ := pem.Decode(content)
	if block == nil {
		return false
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err == nil && time.Until(certificate.NotAfter) < 120*24*time.Hour
}

func (s *server) kubeadm(ctx context.Context, phase ...string) error {
	arguments := append([]string{"init", "phase"}, phase...)
	return finish(s.children.command(ctx, "kubeadm", append(arguments, "--config", s.kubeadmConfig)...))
}

func (s *server) kubeadmDocuments() []any {
	names := append([]string{"localhost", "127.0.0.1", s.ip, s.name}, s.config.list("node-external-ip")...)
	names = append(names, s.config.list("tls-san")...)
	port, _ := strconv.Atoi(s.port) // checked with the flag
	tokens := []any{}
	for _, password := range []string{s.password, s.agentPassword} {
		if password != "" {
			tokens = append(tokens, doc{"token": bootstrapToken(password), "description": joinToken, "ttl": "0s", "usages": []string{"signing", "authentication"},
				"groups": []string{"system:bootstrappers:kubeadm:default-node-token"}})
		}
	}
	plain, _, _ := strings.Cut(version, "+")
	return []any{
		doc{
			"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "InitConfiguration",
			"localAPIEndpoint": doc{"advertiseAddress": s.advertised(), "bindPort": port},
			"nodeRegistration": doc{"name": s.name, "criSocket": "unix://" + containerdSocket, "taints": []any{}},
			"bootstrapTokens":  tokens,
		},
		doc{
			"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration",
			"kubernetesVersion":    plain,
			"certificatesDir":      s.serverPath("tls"),
			"encryptionAlgorithm":  "ECDSA-P256",
			"controlPlaneEndpoint": net.JoinHostPort("127.0.0.1", s.port),
			"networking": doc{"podSubnet": s.settings.clusterCIDR, "serviceSubnet": s.config.last("service-cidr"),
				"dnsDomain": s.settings.clusterDomain},
			"apiServer": doc{"certSANs": names},
			"etcd":      doc{"local": doc{"dataDir": s.serverPath("db/etcd"), "serverCertSANs": []string{s.ip}, "peerCertSANs": []string{s.ip}}},
		},
		doc{
			"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
			"cgroupDriver": "cgroupfs", "clusterDNS": []string{s.settings.clusterDNS}, "clusterDomain": s.settings.clusterDomain,
		},
	}
}

func (s *server) advertised() string {
	if address := s.config.last("advertise-address"); address != "" {
		return address
	}
	return s.ip
}

// linkCertificates gives kubeadm's files the names that K3s has for them.
func (s *server) linkCertificates() error {
	for link, target := range map[string]string{
		"server-ca": "ca", "client-ca": "ca", "request-header-ca": "front-proxy-ca", "serving-kube-apiserver": "apiserver",
		"etcd/server-ca": "ca", "etcd/peer-ca": "ca", "etcd/client": "../apiserver-etcd-client",
	} {
		for _, suffix := range []string{".crt", ".key"} {
			if err := replaceLink(target+suffix, s.tls(link+suffix)); err != nil {
				return err
			}
		}
	}
	return replaceLink("sa.key", s.tls("service.key"))
}

// writeNodeCredentials writes the tokens, the administrator's kubeconfig and what the server's own kubelet needs.
func (s *server) writeNodeCredentials() error {
	ca, err := os.ReadFile(s.tls("ca.crt"))
	if err != nil {
		return err
	}
	if err := writeTokens(s.serverPath(), s.password, s.agentPassword, ca); err != nil {
		return err
	}
	for _, name := range []string{"server-ca.crt", "client-ca.crt"} {
		if err := writeFile(s.path(name), ca, 0o600); err != nil {
			return err
		}
	}
	kubelet, err := os.ReadFile(s.cred("kubelet.conf"))
	if err != nil {
		return err
	}
	if err := writeFile(s.kubeletKubeconfig(), kubelet, 0o600); err != nil {
		return err
	}
	if s.admin, err = apiOf(s.cred("super-admin.conf")); err != nil {
		return err
	}
	return s.writeKubeconfig(ca)
}

func (s *server) writeKubeconfig(ca []byte) error {
	admin, err := readKubeconfig(s.cred("super-admin.conf"))
	if err != nil {
		return err
	}
	user := admin.Users[0].User
	content := kubeconfigOf("https://"+net.JoinHostPort("127.0.0.1", s.port), ca,
		doc{"client-certificate-data": user.CertData, "client-key-data": user.KeyData})
	if err := writeYAML(s.cred("admin.kubeconfig"), 0o600, content); err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if text := s.config.last("write-kubeconfig-mode"); text != "" {
		if number, err := strconv.ParseUint(text, 8, 9); err == nil {
			mode = os.FileMode(number)
		} else {
			logError("Failed to set %s to mode %s: not an octal mode", defaultKubeconfig, text)
		}
	}
	path := s.config.last("write-kubeconfig")
	if path == "" || path == defaultKubeconfig {
		return writeYAML(defaultKubeconfig, mode, content)
	}
	if err := writeYAML(path, mode, content); err != nil {
		return err
	}
	return replaceLink(path, defaultKubeconfig)
}

func (s *server) startControlPlane(ctx context.Context) error {
	if err := s.startEtcd(ctx); err != nil {
		return err
	}
	if err := s.startAPIServer(); err != nil {
		return err
	}
	err := waitFor(ctx, 100*time.Millisecond, "kube-apiserver", func() error { return s.admin.get(ctx, "/readyz", nil) })
	if err != nil {
		return err
	}
	controllers := map[string]string{
		"allocate-node-cidrs":              "true",
		"authentication-kubeconfig":        s.cred("controller-manager.conf"),
		"authorization-kubeconfig":         s.cred("controller-manager.conf"),
		"bind-address":                     "127.0.0.1",
		"client-ca-file":                   s.tls("ca.crt"),
		"cluster-cidr":                     s.settings.clusterCIDR,
		"cluster-signing-cert-file":        s.tls("ca.crt"),
		"cluster-signing-key-file":         s.tls("ca.key"),
		"controllers":                      "*,bootstrapsigner,tokencleaner",
		"kubeconfig":                       s.cred("controller-manager.conf"),
		"leader-elect":                     "false",
		"profiling":                        "false",
		"requestheader-client-ca-file":     s.tls("front-proxy-ca.crt"),
		"root-ca-file":                     s.tls("ca.crt"),
		"service-account-private-key-file": s.tls("sa.key"),
		"service-cluster-ip-range":         s.config.last("service-cidr"),
		"use-service-account-credentials":  "true",
	}
	scheduler := map[string]string{
		"authentication-kubeconfig": s.cred("scheduler.conf"),
		"authorization-kubeconfig":  s.cred("scheduler.conf"),
		"bind-address":              "127.0.0.1",
		"kubeconfig":                s.cred("scheduler.conf"),
		"leader-elect":              "false",
		"profiling":                 "false",
	}
	return errors.Join(s.startComponent("kube-controller-manager", controllers), s.startComponent("kube-scheduler", scheduler))
}

// startComponent starts a part of the control plane with what its --x-arg adds.
func (s *server) startComponent(name string, arguments map[string]string) error {
	return s.children.start(name, os.Stderr, commandLine(arguments, s.config.arguments(name+"-arg")))
}

func (s *server) startEtcd(ctx context.Context) error {
	nameFile := s.serverPath("db/etcd/name")
	if !fileExists(nameFile) {
		if err := writeFile(nameFile, []byte(s.name+"-"+randomHex(4)), 0o600); err != nil {
			return err
		}
	}
	name, err := os.ReadFile(nameFile)
	if err != nil {
		return err
	}
	peer := "https://" + net.JoinHostPort(s.ip, "2380")
	arguments := map[string]string{
		"advertise-client-urls":       "https://" + net.JoinHostPort(s.ip, "2379"),
		"cert-file":                   s.tls("etcd/server.crt"),
		"client-cert-auth":            "true",
		"data-dir":                    s.serverPath("db/etcd"),
		"initial-advertise-peer-urls": peer,
		"initial-cluster":             string(name) + "=" + peer,
		"key-file":                    s.tls("etcd/server.key"),
		"listen-client-urls":          "https://127.0.0.1:2379,https://" + net.JoinHostPort(s.ip, "2379"),
		"listen-metrics-urls":         "http://127.0.0.1:2381",
		"listen-peer-urls":            peer,
		"log-level":                   "warn",
		"name":                        string(name),
		"peer-cert-file":              s.tls("etcd/peer.crt"),
		"peer-client-cert-auth":       "true",
		"peer-key-file":               s.tls("etcd/peer.key"),
		"peer-trusted-ca-file":        s.tls("etcd/ca.crt"),
		"trusted-ca-file":             s.tls("etcd/ca.crt"),
	}
	if err := s.startComponent("etcd", arguments); err != nil {
		return err
	}
	return waitFor(ctx, 50*time.Millisecond, "etcd", func() error {
		answer, err := http.Get("http://127.0.0.1:2381/readyz")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New("etcd: " + answer.Status)
		}
		return nil
	})
}

func (s *server) startAPIServer() error {
	// K3s answers 401 to anonymous requests. A joining node must read the CA, so this one object is shown to everybody.
	authentication := doc{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"anonymous": doc{"enabled": true, "conditions": []any{doc{"path": clusterInfoPath}}},
	}
	if err := writeYAML(s.cred("authentication.yaml"), 0o600, authentication); err != nil {
		return err
	}
	arguments := map[string]string{
		"advertise-address":                  s.advertised(),
		"allow-privileged":                   "true",
		"authentication-config":              s.cred("authentication.yaml"),
		"authorization-mode":                 "Node,RBAC",
		"client-ca-file":                     s.tls("ca.crt"),
		"enable-admission-plugins":           "NodeRestriction",
		"enable-bootstrap-token-auth":        "true",
		"etcd-cafile":                        s.tls("etcd/ca.crt"),
		"etcd-certfile":                      s.tls("apiserver-etcd-client.crt"),
		"etcd-keyfile":                       s.tls("apiserver-etcd-client.key"),
		"etcd-servers":                       "https://127.0.0.1:2379",
		"kubelet-client-certificate":         s.tls("apiserver-kubelet-client.crt"),
		"kubelet-client-key":                 s.tls("apiserver-kubelet-client.key"),
		"kubelet-preferred-address-types":    "InternalIP,ExternalIP,Hostname",
		"profiling":                          "false",
		"proxy-client-cert-file":             s.tls("front-proxy-client.crt"),
		"proxy-client-key-file":              s.tls("front-proxy-client.key"),
		"requestheader-allowed-names":        "front-proxy-client",
		"requestheader-client-ca-file":       s.tls("front-proxy-ca.crt"),
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"secure-port":                        s.port,
		"service-account-issuer":             "https://kubernetes.default.svc." + s.settings.clusterDomain,
		"service-account-key-file":           s.tls("sa.pub"),
		"service-account-signing-key-file":   s.tls("sa.key"),
		"service-cluster-ip-range":           s.config.last("service-cidr"),
		"service-node-port-range":            s.config.last("service-node-port-range"),
		"tls-cert-file":                      s.tls("apiserver.crt"),
		"tls-private-key-file":               s.tls("apiserver.key"),
	}
	if address := s.config.last("bind-address"); address != "" {
		arguments["bind-address"] = address
	}
	if s.config.yes("secrets-encryption") {
		arguments["encryption-provider-config"] = s.cred("encryption-config.json")
		if err := s.writeEncryptionConfig(arguments["encryption-provider-config"]); err != nil {
			return err
		}
	}
	return s.startComponent("kube-apiserver", arguments)
}

// writeEncryptionConfig makes the key with which Secrets are stored, once.
func (s *server) writeEncryptionConfig(path string) error {
	if fileExists(path) {
		return nil
	}
	key := base64.StdEncoding.EncodeToString([]byte(randomHex(16)))
	return writeYAML(path, 0o600, doc{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
		"resources": []any{doc{"resources": []string{"secrets"}, "providers": []any{
			doc{"aescbc": doc{"keys": []any{doc{"name": "aescbckey", "secret": key}}}},
			doc{"identity": doc{}},
		}}},
	})
}

// upload puts into the cluster what nodes need before this server is ready: bindings, and kubeadm's tokens and configuration.
func (s *server) upload(ctx context.Context) error {
	if err := s.writePackaged(); err != nil {
		return err
	}
	phases := [][]string{{"bootstrap-token"}, {"upload-config", "kubeadm"}, {"upload-config", "kubelet"}}
	failures := make([]error, len(phases)+1)
	var all sync.WaitGroup
	all.Go(func() { failures[len(phases)] = s.apply(ctx, s.serverPath("manifests/rolebindings.yaml")) })
	for i, phase := range phases {
		all.Go(func() {
			failures[i] = s.kubeadm(ctx, append(phase, "--kubeconfig", s.cred("super-admin.conf"))...)
		})
	}
	all.Wait()
	return errors.Join(append(failures, s.admin.dropTokens(ctx, s.password, s.agentPassword))...)
}

// dropTokens deletes what earlier starts have put into the cluster for other tokens than the passwords: they were rotated.
func (a *api) dropTokens(ctx context.Context, passwords ...string) error {
	var list struct {
		Items []struct {
			Metadata metadata          `json:"metadata"`
			Data     map[string][]byte `json:"data"`
		} `json:"items"`
	}
	if err := a.get(ctx, secretsPath+"?fieldSelector=type=bootstrap.kubernetes.io/token", &list); err != nil {
		return err
	}
	for _, secret := range list.Items {
		token := string(secret.Data["token-id"]) + "." + string(secret.Data["token-secret"])
		kept := slices.ContainsFunc(passwords, func(password string) bool { return bootstrapToken(password) == token })
		if kept || string(secret.Data["description"]) != joinToken {
			continue
		}
		if err := a.do(ctx, http.MethodDelete, secretsPath+"/"+secret.Metadata.Name, "", nil, nil); err != nil {
			return err
		}
	}
	return nil
}
