// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"go.yaml.in/yaml/v3"
)

// An api is a connection to the API server.
type api struct {
	url, token string
	client     *http.Client
}

type statusError struct {
	code int
	url  string
	body string
}

func (e *statusError) Error() string {
	if e.code == http.StatusUnauthorized {
		return fmt.Sprintf("%s: 401 Unauthorized", e.url)
	}
	return fmt.Sprintf("%s: %d %s: %s", e.url, e.code, http.StatusText(e.code), e.body)
}

func newAPI(url, token string, config *tls.Config) *api {
	return &api{url, token, &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}}
}

func trusting(ca []byte) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// A kubeconfig, as kubeadm and the kubelet write it: one cluster, one user.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
			CAData string `yaml:"certificate-authority-data"`
			CAFile string `yaml:"certificate-authority"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			CertData string `yaml:"client-certificate-data"`
			KeyData  string `yaml:"client-key-data"`
			CertFile string `yaml:"client-certificate"`
			KeyFile  string `yaml:"client-key"`
		} `yaml:"user"`
	} `yaml:"users"`
}

func readKubeconfig(path string) (*kubeconfig, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := &kubeconfig{}
	if err := yaml.Unmarshal(content, config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		return nil, fmt.Errorf("%s: one cluster and one user expected", path)
	}
	return config, nil
}

// apiOf connects as a kubeconfig says; certificates in files are read again for each connection, as they are renewed.
func apiOf(path string) (*api, error) {
	config, err := readKubeconfig(path)
	if err != nil {
		return nil, err
	}
	cluster, user := config.Clusters[0].Cluster, config.Users[0].User
	ca, err := dataOrFile(cluster.CAData, cluster.CAFile)
	if err != nil {
		return nil, err
	}
	settings := trusting(ca)
	settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certificate, err1 := dataOrFile(user.CertData, user.CertFile)
		key, err2 := dataOrFile(user.KeyData, user.KeyFile)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		return &pair, err
	}
	return newAPI(cluster.Server, "", settings), nil
}

func dataOrFile(data, file string) ([]byte, error) {
	if data != "" {
		return base64.StdEncoding.DecodeString(data)
	}
	return os.ReadFile(file)
}

const (
	mergePatch     = "application/merge-patch+json"
	requestTimeout = 10 * time.Second
)

func (a *api) get(ctx context.Context, path string, out any) error {
	return a.do(ctx, http.MethodGet, path, "", nil, out)
}

func (a *api) patch(ctx context.Context, path string, change any) error {
	return a.do(ctx, http.MethodPatch, path, mergePatch, change, nil)
}

func (a *api) do(ctx context.Context, method, path, contentType string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	answer, err := a.open(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(out)
}

func (a *api) open(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		return nil, &statusError{answer.StatusCode, a.url + path, string(text)}
	}
	return answer, nil
}

// follow calls act at once and after each change of the objects at path, until the context ends.
func (a *api) follow(ctx context.Context, path string, act func() error) {
	changes := make(chan struct{}, 1)
	go func() {
		for ctx.Err() == nil {
			if err := a.signalChanges(ctx, path, changes); err != nil && ctx.Err() == nil {
				logWarn("Watching %s: %v", path, err)
			}
			pause(ctx, 2*time.Second)
		}
	}()
	for ctx.Err() == nil {
		if err := act(); err != nil && ctx.Err() == nil {
			logWarn("%v", err)
			pause(ctx, 2*time.Second)
			continue
		}
		select {
		case <-ctx.Done():
		case <-changes:
		}
	}
}

func (a *api) signalChanges(ctx context.Context, path string, changes chan<- struct{}) error {
	answer, err := a.open(ctx, http.MethodGet, path+"?watch=true", "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for {
		_, isPrefix, err := lines.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !isPrefix {
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}
}

func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}

type metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
}

type node struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		PodCIDR string `json:"podCIDR"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (n node) address(kind string) string {
	for _, address := range n.Status.Addresses {
		if address.Type == kind {
			return address.Address
		}
	}
	return ""
}

func (n node) ready() bool {
	for _, condition := range n.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True"
		}
	}
	return false
}

func (a *api) nodes(ctx context.Context) ([]node, error) {
	var list struct {
		Items []node `json:"items"`
	}
	err := a.get(ctx, "/api/v1/nodes", &list)
	return list.Items, err
}
