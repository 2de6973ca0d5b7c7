// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// settings are the injector's own options, each read from AGENT_INJECT_<NAME>.
type settings struct {
	listen, logLevel, logFormat string
	webhookConfig               string // MutatingWebhookConfiguration to keep the CA of; empty: certFile and keyFile
	autoHosts                   []string
	certFile, keyFile           string
	tlsMinVersion               uint16
	leaderElector               bool
	telemetryPath               string
	caCertBytes                 string
	maxConnectionsPerHost       int
	annotations                 map[string]string // what a pod's annotations default to, without the prefix
}

var tlsVersions = map[string]uint16{"tls12": tls.VersionTLS12, "tls13": tls.VersionTLS13}

// loadSettings reads the environment; an empty variable counts as unset.
func loadSettings(getenv func(string) string) (settings, error) {
	get := func(name, fallback string) string {
		if value := getenv("AGENT_INJECT_" + name); value != "" {
			return value
		}
		return fallback
	}
	cfg := settings{
		listen:        get("LISTEN", ":8080"),
		logLevel:      get("LOG_LEVEL", "info"),
		logFormat:     get("LOG_FORMAT", "standard"),
		webhookConfig: get("TLS_AUTO", ""),
		autoHosts:     strings.FieldsFunc(get("TLS_AUTO_HOSTS", ""), func(r rune) bool { return r == ',' || r == ' ' }),
		certFile:      get("TLS_CERT_FILE", ""),
		keyFile:       get("TLS_KEY_FILE", ""),
		telemetryPath: get("TELEMETRY_PATH", ""),
		caCertBytes:   get("VAULT_CACERT_BYTES", ""),
		annotations: map[string]string{
			"service":                                get("VAULT_ADDR", ""),
			"auth-type":                              get("VAULT_AUTH_TYPE", "kubernetes"),
			"auth-path":                              get("VAULT_AUTH_PATH", "auth/kubernetes"),
			"namespace":                              get("VAULT_NAMESPACE", ""),
			"proxy-address":                          get("PROXY_ADDR", ""),
			"agent-image":                            get("VAULT_IMAGE", "hashicorp/vault:2.0.4"),
			"agent-pre-populate":                     "true",
			"agent-run-as-user":                      get("RUN_AS_USER", "100"),
			"agent-run-as-group":                     get("RUN_AS_GROUP", "1000"),
			"agent-run-as-same-user":                 get("RUN_AS_SAME_USER", "false"),
			"agent-set-security-context":             get("SET_SECURITY_CONTEXT", "true"),
			"agent-requests-cpu":                     get("CPU_REQUEST", "250m"),
			"agent-requests-mem":                     get("MEM_REQUEST", "64Mi"),
			"agent-requests-ephemeral":               get("EPHEMERAL_REQUEST", ""),
			"agent-limits-cpu":                       get("CPU_LIMIT", "500m"),
			"agent-limits-mem":                       get("MEM_LIMIT", "128Mi"),
			"agent-limits-ephemeral":                 get("EPHEMERAL_LIMIT", ""),
			"agent-revoke-on-shutdown":               get("REVOKE_ON_SHUTDOWN", "false"),
			"agent-revoke-grace":                     "5",
			"agent-inject-default-template":          get("DEFAULT_TEMPLATE", "map"),
			"auth-min-backoff":                       get("AUTH_MIN_BACKOFF", ""),
			"auth-max-backoff":                       get("AUTH_MAX_BACKOFF", ""),
			"secret-volume-path":                     "/vault/secrets",
			"log-level":                              "info",
			"log-format":                             "standard",
			"template-config-exit-on-retry-failure":  get("TEMPLATE_CONFIG_EXIT_ON_RETRY_FAILURE", "true"),
			"template-static-secret-render-interval": get("TEMPLATE_STATIC_SECRET_RENDER_INTERVAL", ""),
			"template-max-connections-per-host":      get("TEMPLATE_MAX_CONNECTIONS_PER_HOST", ""),
			"agent-disable-idle-connections":         get("DISABLE_IDLE_CONNECTIONS", ""),
			"agent-disable-keep-alives":              get("DISABLE_KEEP_ALIVES", ""),
		},
	}
	if cfg.annotations["service"] == "" {
		return cfg, errors.New("No Vault service configured") //nolint:staticcheck // the product's wording
	}
	if _, err := defaultTemplate(cfg.annotations["agent-inject-default-template"]); err != nil {
		return cfg, err
	}
	var known bool
	if cfg.tlsMinVersion, known = tlsVersions[get("TLS_MIN_VERSION", "tls12")]; !known {
		return cfg, fmt.Errorf("AGENT_INJECT_TLS_MIN_VERSION: %q is neither tls12 nor tls13", get("TLS_MIN_VERSION", ""))
	}
	var err error
	if cfg.leaderElector, err = strconv.ParseBool(get("USE_LEADER_ELECTOR", "false")); err != nil {
		return cfg, fmt.Errorf("AGENT_INJECT_USE_LEADER_ELECTOR: %w", err)
	}
	if cfg.webhookConfig == "" && (cfg.certFile == "" || cfg.keyFile == "") {
		return cfg, errors.New("either AGENT_INJECT_TLS_AUTO or both AGENT_INJECT_TLS_CERT_FILE and AGENT_INJECT_TLS_KEY_FILE must be set")
	}
	return cfg, nil
}
