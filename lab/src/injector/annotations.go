// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
)

const annotationPrefix = "vault.hashicorp.com/"

var (
	// Annotations with an effect here. Those ending in "-" are families: any suffix.
	implemented = []string{
		"agent-inject", "agent-inject-status", "role", "agent-inject-secret-", "agent-inject-template-",
		"agent-inject-template-file-", "agent-inject-default-template", "agent-inject-file-", "agent-inject-perms-",
		"agent-inject-command-", "agent-template-left-delim-", "agent-template-right-delim-", "error-on-missing-key-",
		"secret-volume-path", "secret-volume-path-", "preserve-secret-case", "preserve-secret-case-",
		"agent-inject-containers", "agent-inject-token", "agent-pre-populate", "agent-pre-populate-only", "agent-init-first",
		"agent-image", "agent-configmap", "agent-extra-secret", "agent-copy-volume-mounts",
		"agent-service-account-token-volume-name", "agent-limits-cpu", "agent-limits-mem", "agent-limits-ephemeral",
		"agent-requests-cpu", "agent-requests-mem", "agent-requests-ephemeral", "agent-run-as-user", "agent-run-as-group",
		"agent-run-as-same-user", "agent-set-security-context", "agent-share-process-namespace", "agent-revoke-on-shutdown",
		"agent-revoke-grace", "service", "auth-type", "auth-path", "auth-config-", "auth-min-backoff", "auth-max-backoff",
		"agent-auto-auth-exit-on-err", "namespace", "tls-skip-verify", "tls-secret", "ca-cert", "ca-key", "client-cert",
		"client-key", "tls-server-name", "proxy-address", "client-timeout", "client-max-retries", "go-max-procs", "log-level",
		"log-format", "template-config-exit-on-retry-failure", "template-static-secret-render-interval",
		"template-max-connections-per-host", "template-lease-renewal-threshold", "agent-json-patch", "agent-init-json-patch",
		"agent-disable-idle-connections", "agent-disable-keep-alives", "agent-request-namespace",
	}
	// Annotations that vault-k8s has and the stand-in has not.
	notImplemented = []string{
		"agent-cache-enable", "agent-cache-listener-port", "agent-cache-use-auto-auth-token", "agent-cache-exit-on-err",
		"agent-enable-quit", "agent-telemetry-",
	}
)

// wantsInjection tells whether the pod asks for an agent and has none yet.
func wantsInjection(pod *core.Pod) (bool, error) {
	raw, present := pod.Annotations[annotationPrefix+"agent-inject"]
	if !present {
		return false, nil
	}
	wanted, err := parseBool(raw)
	if err != nil || !wanted {
		return false, err
	}
	if pod.Status.Phase != "" && pod.Status.Phase != core.PodPending {
		return false, nil
	}
	return pod.Annotations[annotationPrefix+"agent-inject-status"] != "injected", nil
}

// unimplemented sorts a pod's annotations of the injector's prefix that have no effect here: those of the product, and
// those nobody knows.
func unimplemented(all map[string]string) (unsupported, unknown []string) {
	listed := func(name string, list []string) bool {
		return slices.ContainsFunc(list, func(entry string) bool {
			return name == entry || strings.HasSuffix(entry, "-") && len(name) > len(entry) && strings.HasPrefix(name, entry)
		})
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		name, ours := strings.CutPrefix(key, annotationPrefix)
		switch {
		case !ours || listed(name, implemented):
		case listed(name, notImplemented):
			unsupported = append(unsupported, key)
		default:
			unknown = append(unknown, key)
		}
	}
	return unsupported, unknown
}

// annotations are a pod's own over the injector's defaults, without the prefix.
type annotations map[string]string

func annotationsOf(pod *core.Pod, cfg settings) annotations {
	merged := maps.Clone(cfg.annotations)
	for key, value := range pod.Annotations {
		if name, ours := strings.CutPrefix(key, annotationPrefix); ours {
			merged[name] = value
		}
	}
	return merged
}

// parseBool takes Go's forms; the empty string is false.
func parseBool(raw string) (bool, error) {
	if raw == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(raw)
	if err != nil {
		return false, fmt.Errorf("cannot parse '' as bool: %w", err)
	}
	return value, nil
}

// reader collects the first error of many typed reads.
type reader struct {
	annotations
	err error
}

func (r *reader) bool(name string) bool {
	value, err := parseBool(r.annotations[name])
	r.keep(err)
	return value
}

// int is 0 for an absent or empty annotation.
func (r *reader) int(name string) int64 {
	if r.annotations[name] == "" {
		return 0
	}
	value, err := strconv.ParseInt(r.annotations[name], 10, 64)
	r.keep(err)
	return value
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (a annotations) list(name string) []string {
	return strings.FieldsFunc(a[name], func(r rune) bool { return r == ',' || r == ' ' })
}

// family is the part of the annotations that starts with prefix, by what follows it.
func (a annotations) family(prefix string) map[string]string {
	found := map[string]string{}
	for name, value := range a {
		if suffix, has := strings.CutPrefix(name, prefix); has && suffix != "" {
			found[suffix] = value
		}
	}
	return found
}

// secret is one file that the agent renders.
type secret struct {
	destination  string
	mountPath    string
	contents     string // or
	source       string
	left, right  string
	command      string
	perms        string
	errorMissing bool
}

func defaultTemplate(kind string) (string, error) {
	switch kind {
	case "map":
		return "{{ with secret %q }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}", nil
	case "json":
		return "{{ with secret %q }}{{ .Data | toJSON }}\n{{ end }}", nil
	}
	return "", fmt.Errorf("invalid default template type: %s", kind)
}

// secrets are the files asked for, sorted by annotation suffix (the product has no order).
func (r *reader) secrets() []secret {
	fallback, err := defaultTemplate(r.annotations["agent-inject-default-template"])
	r.keep(err)
	paths, templates := r.family("agent-inject-secret-"), r.family("agent-inject-template-")
	names := slices.Collect(maps.Keys(paths))
	for name := range templates {
		_, declared := paths[name]
		// agent-inject-template-file-NAME is a family inside this one; it declares no secret.
		if !declared && !strings.HasPrefix(name, "file-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var found []secret
	for _, suffix := range names {
		name := suffix
		if !r.bool("preserve-secret-case") && !r.bool("preserve-secret-case-"+suffix) {
			name = strings.ToLower(suffix)
		}
		s := secret{
			mountPath:    r.get("secret-volume-path-"+suffix, r.annotations["secret-volume-path"]),
			contents:     templates[suffix],
			left:         r.get("agent-template-left-delim-"+suffix, "{{"),
			right:        r.get("agent-template-right-delim-"+suffix, "}}"),
			command:      r.annotations["agent-inject-command-"+suffix],
			perms:        r.annotations["agent-inject-perms-"+suffix],
			errorMissing: r.bool("error-on-missing-key-" + suffix),
		}
		s.destination = path.Join(s.mountPath, r.get("agent-inject-file-"+suffix, name))
		if s.contents == "" {
			s.source = r.annotations["agent-inject-template-file-"+suffix]
		}
		if s.contents == "" && s.source == "" {
			s.contents = fmt.Sprintf(fallback, paths[suffix])
		}
		found = append(found, s)
	}
	return found
}

func (a annotations) get(name, fallback string) string {
	if value := a[name]; value != "" {
		return value
	}
	return fallback
}
