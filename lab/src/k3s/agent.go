// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	joinRetry       = 2 * time.Second
	clusterInfoPath = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
	systemConfigMap = "/api/v1/namespaces/kube-system/configmaps/"
)

func agentMain(args []string) error {
	config, err := loadConfig("agent", args)
	if err != nil {
		return err
	}
	if err := isRoot("agent"); err != nil {
		return err
	}
	if config.last("server") == "" {
		return errors.New("--server is required")
	}
	if target, err := url.Parse(config.last("server")); err != nil || target.Scheme != "https" || target.Host == "" {
		return fmt.Errorf("only https:// URLs are supported, invalid scheme: %s", config.last("server"))
	}
	if config.last("token") == "" {
		return errors.New("--token is required")
	}
	token, err := parseToken(config.last("token"))
	if err != nil {
		return err
	}
	bin, err := unpack(config.last("data-dir"))
	if err != nil {
		return err
	}
	m, err := newMachine(config, bin)
	if err != nil {
		return err
	}
	return m.untilStopped(func(ctx context.Context) error { return m.runAgent(ctx, token) })
}

// untilStopped runs start, then waits for a signal or the end of a component, and ends all components.
func (m *machine) untilStopped(start func(context.Context) error) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	ctx, failed := context.WithCancelCause(ctx)
	go func() {
		select {
		case err := <-m.children.failed:
			failed(err)
		case <-ctx.Done():
		}
	}()
	err := start(ctx)
	if err == nil {
		<-ctx.Done()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	m.children.stop()
	if errors.Is(err, context.Canceled) {
		logInfo("Stopped")
		return nil
	}
	return err
}

func (m *machine) runAgent(ctx context.Context, token clusterToken) error {
	images := make(chan error, 1)
	go func() { images <- m.startContainerd(ctx) }()
	settings, err := m.join(ctx, token)
	if err := errors.Join(err, <-images); err != nil {
		return err
	}
	if err := m.startKubelet(settings, "bootstrap-kubeconfig="+m.path("bootstrap-kubelet.kubeconfig")); err != nil {
		return err
	}
	if err := m.waitForNode(ctx); err != nil {
		return err
	}
	if err := m.annotate(ctx, "agent"); err != nil {
		return err
	}
	go m.keepNetwork(ctx, settings)
	if err := m.startProxy(settings); err != nil {
		return err
	}
	notifyReady()
	return nil
}

// join asks the server until it accepts the token, and writes what the kubelet needs to get its own certificate.
func (m *machine) join(ctx context.Context, token clusterToken) (clusterSettings, error) {
	server := strings.TrimSuffix(m.config.last("server"), "/")
	var settings clusterSettings
	err := retry(ctx, joinRetry, func() error {
		ca, err := fetchCA(ctx, server)
		if err == nil {
			err = token.checkCA(ca)
		}
		if err != nil {
			logError("Failed to validate connection to cluster at %s: %v", server, err)
			return err
		}
		bootstrap := bootstrapToken(token.password)
		connection := newAPI(server, bootstrap, trusting(ca))
		if settings, err = fetchSettings(ctx, connection); err != nil {
			logInfo("Waiting to retrieve agent configuration; server is not ready: failed to retrieve configuration from server: %v", err)
			return err
		}
		return m.writeJoinFiles(server, bootstrap, ca)
	})
	return settings, err
}

func retry(ctx context.Context, every time.Duration, act func() error) error {
	for act() != nil {
		pause(ctx, every)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// fetchCA gets the cluster's CA from the one object that the API server shows to everybody.
func fetchCA(ctx context.Context, server string) ([]byte, error) {
	unverified := newAPI(server, "", &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) // #nosec G402: gets what to verify with
	defer unverified.client.CloseIdleConnections()
	var info struct {
		Data map[string]string `json:"data"`
	}
	if err := unverified.get(ctx, clusterInfoPath, &info); err != nil {
		return nil, err
	}
	var config kubeconfig
	if err := yaml.Unmarshal([]byte(info.Data["kubeconfig"]), &config); err != nil {
		return nil, err
	}
	if len(config.Clusters) == 0 {
		return nil, errors.New("cluster-info names no cluster")
	}
	return base64.StdEncoding.DecodeString(config.Clusters[0].Cluster.CAData)
}

// fetchSettings reads what kubeadm has put into the cluster for nodes that join.
func fetchSettings(ctx context.Context, connection *api) (clusterSettings, error) {
	var kubelet, cluster struct {
		Data map[string]string `json:"data"`
	}
	if err := connection.get(ctx, systemConfigMap+"kubelet-config", &kubelet); err != nil {
		return clusterSettings{}, err
	}
	if err := connection.get(ctx, systemConfigMap+"kubeadm-config", &cluster); err != nil {
		return clusterSettings{}, err
	}
	var kubeletConfig struct {
		ClusterDNS    []string `yaml:"clusterDNS"`
		ClusterDomain string   `yaml:"clusterDomain"`
	}
	var clusterConfig struct {
		Networking struct {
			PodSubnet string `yaml:"podSubnet"`
		} `yaml:"networking"`
	}
	err := errors.Join(yaml.Unmarshal([]byte(kubelet.Data["kubelet"]), &kubeletConfig),
		yaml.Unmarshal([]byte(cluster.Data["ClusterConfiguration"]), &clusterConfig))
	if err == nil && len(kubeletConfig.ClusterDNS) == 0 {
		err = errors.New("the cluster's kubelet-config has no clusterDNS")
	}
	if err != nil {
		return clusterSettings{}, err
	}
	return clusterSettings{clusterConfig.Networking.PodSubnet, kubeletConfig.ClusterDNS[0], kubeletConfig.ClusterDomain}, nil
}

func (m *machine) writeJoinFiles(server, bootstrap string, ca []byte) error {
	caFile := m.path("server-ca.crt")
	if before, err := os.ReadFile(caFile); err == nil && string(before) != string(ca) {
		logWarn("The cluster's CA has changed: this node asks for a new certificate")
		if err := errors.Join(os.RemoveAll(m.path("pki")), os.RemoveAll(m.kubeletKubeconfig())); err != nil {
			return err
		}
	}
	for _, name := range []string{"server-ca.crt", "client-ca.crt"} {
		if err := writeFile(m.path(name), ca, 0o600); err != nil {
			return err
		}
	}
	return writeYAML(m.path("bootstrap-kubelet.kubeconfig"), 0o600,
		kubeconfigOf(server, ca, doc{"token": bootstrap}))
}

// kubeconfigOf is a kubeconfig in which every name is "default".
func kubeconfigOf(server string, ca []byte, user doc) doc {
	return doc{
		"apiVersion": "v1", "kind": "Config", "preferences": doc{}, "current-context": "default",
		"clusters": []any{doc{"name": "default", "cluster": doc{
			"server": server, "certificate-authority-data": base64.StdEncoding.EncodeToString(ca)}}},
		"contexts": []any{doc{"name": "default", "context": doc{"cluster": "default", "user": "default"}}},
		"users":    []any{doc{"name": "default", "user": user}},
	}
}
