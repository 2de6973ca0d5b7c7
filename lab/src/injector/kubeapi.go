// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// kubeAPI is the little of the Kubernetes API that the injector needs.
type kubeAPI struct {
	base   string
	client *http.Client
	token  func() (string, error) // read again for each request: projected tokens rotate
}

type webhookConfig struct {
	Webhooks []struct {
		ClientConfig struct {
			CABundle []byte `json:"caBundle"`
		} `json:"clientConfig"`
	} `json:"webhooks"`
}

type webhookConfigList struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []webhookConfig `json:"items"`
}

func inCluster(getenv func(string) string) (*kubeAPI, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined")
	}
	ca, err := os.ReadFile(accountDir + "/ca.crt")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s/ca.crt holds no certificate", accountDir)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ResponseHeaderTimeout: 30 * time.Second}
	return &kubeAPI{
		base:   "https://" + net.JoinHostPort(host, port),
		client: &http.Client{Transport: transport},
		token: func() (string, error) {
			raw, err := os.ReadFile(accountDir + "/token")
			return strings.TrimSpace(string(raw)), err
		},
	}, nil
}

func (k *kubeAPI) do(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	const resource = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	request, err := http.NewRequestWithContext(ctx, method, k.base+resource+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	token, err := k.token()
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json-patch+json")
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return nil, fmt.Errorf("%s %s: %s: %s", method, request.URL.Path, response.Status, bytes.TrimSpace(text))
	}
	return response, nil
}

func (k *kubeAPI) listWebhookConfig(ctx context.Context, name string) (list webhookConfigList, err error) {
	response, err := k.do(ctx, http.MethodGet, "", url.Values{"fieldSelector": {"metadata.name=" + name}}, nil)
	if err != nil {
		return list, err
	}
	defer response.Body.Close()
	return list, json.NewDecoder(response.Body).Decode(&list)
}

// watchWebhookConfig calls changed for each addition and change after version, until the server ends the watch.
func (k *kubeAPI) watchWebhookConfig(ctx context.Context, name, version string, length time.Duration, changed func(webhookConfig) error) error {
	response, err := k.do(ctx, http.MethodGet, "", url.Values{
		"watch":           {"true"},
		"fieldSelector":   {"metadata.name=" + name},
		"resourceVersion": {version},
		"timeoutSeconds":  {strconv.Itoa(int(length.Seconds()))},
	}, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		switch event.Type {
		case "ADDED", "MODIFIED":
			var config webhookConfig
			if err := json.Unmarshal(event.Object, &config); err != nil {
				return err
			}
			if err := changed(config); err != nil {
				return err
			}
		case "ERROR":
			return fmt.Errorf("watch failed: %s", event.Object)
		}
	}
}

func (k *kubeAPI) patchCABundle(ctx context.Context, name string, bundle []byte) error {
	// "add" also replaces; an empty caBundle is not stored at all, so "replace" would fail on it.
	body, err := json.Marshal([]map[string]any{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}})
	if err != nil {
		return err
	}
	response, err := k.do(ctx, http.MethodPatch, "/"+url.PathEscape(name), nil, body)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
