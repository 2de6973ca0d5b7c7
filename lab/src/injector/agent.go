// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	initName    = "vault-agent-init"
	sidecarName = "vault-agent"

	homeDir   = "/home/vault"
	tokenFile = homeDir + "/.vault-token"
	configDir = "/vault/configs"
)

// agent is what one pod asked for.
type agent struct {
	annotations
	pod            *core.Pod
	caCertBytes    string
	secrets        []secret
	accountToken   core.VolumeMount
	tokenPath      string
	withInit       bool
	withSidecar    bool
	initFirst      bool
	setSecurity    bool
	user, group    int64
	shareProcesses *bool
	config         map[string]any // of the sidecar; the init container's differs in exit_after_auth
	revoke         bool
	revokeGrace    int64
	skipVerify     bool
}

// newAgent reads the annotations of a pod. Its errors are the texts of the product where the contract gives them.
func newAgent(pod *core.Pod, notes annotations, cfg settings) (*agent, error) {
	a := &agent{annotations: notes, pod: pod, caCertBytes: cfg.caCertBytes}
	if err := a.findAccountToken(); err != nil {
		return nil, err
	}
	r := &reader{annotations: notes}
	a.secrets = r.secrets()
	only := r.bool("agent-pre-populate-only")
	a.withInit = r.bool("agent-pre-populate")
	a.withSidecar = !only
	a.initFirst = r.bool("agent-init-first")
	a.setSecurity = r.bool("agent-set-security-context")
	a.user, a.group = r.int("agent-run-as-user"), r.int("agent-run-as-group")
	a.revoke, a.revokeGrace = r.bool("agent-revoke-on-shutdown"), r.int("agent-revoke-grace")
	a.skipVerify = r.bool("tls-skip-verify")
	if r.annotations["agent-share-process-namespace"] != "" {
		share := r.bool("agent-share-process-namespace")
		a.shareProcesses = &share
	}
	if r.bool("agent-run-as-same-user") {
		user, err := sameUser(pod)
		r.keep(err)
		a.user = user
	}
	a.config = a.agentConfig(r)
	return a, r.err
}

// findAccountToken finds the ServiceAccount token the agent logs in with: the named projected volume, or the first mount
// of an app container whose path looks like one.
func (a *agent) findAccountToken() error {
	a.tokenPath = "token"
	if wanted := a.annotations["agent-service-account-token-volume-name"]; wanted != "" {
		for _, volume := range a.pod.Spec.Volumes {
			if volume.Name != wanted || volume.Projected == nil {
				continue
			}
			for _, source := range volume.Projected.Sources {
				if source.ServiceAccountToken == nil {
					continue
				}
				a.tokenPath = source.ServiceAccountToken.Path
				a.accountToken = core.VolumeMount{
					Name: wanted, ReadOnly: true, MountPath: "/var/run/secrets/vault.hashicorp.com/serviceaccount",
				}
				if mount := a.findMount(func(m core.VolumeMount) bool { return m.Name == wanted }); mount != nil {
					a.accountToken.MountPath = mount.MountPath
				}
				return nil
			}
		}
		return fmt.Errorf("failed to find service account volume %q", wanted)
	}
	mount := a.findMount(func(m core.VolumeMount) bool { return strings.Contains(m.MountPath, "serviceaccount") })
	if mount == nil {
		return errors.New("failed to find service account volume mount")
	}
	a.accountToken = core.VolumeMount{Name: mount.Name, ReadOnly: true, MountPath: mount.MountPath}
	return nil
}

func (a *agent) findMount(matches func(core.VolumeMount) bool) *core.VolumeMount {
	for _, container := range a.pod.Spec.Containers {
		if i := slices.IndexFunc(container.VolumeMounts, matches); i >= 0 {
			return &container.VolumeMounts[i]
		}
	}
	return nil
}

func sameUser(pod *core.Pod) (int64, error) {
	if len(pod.Spec.Containers) == 0 {
		return 0, errors.New("No containers found in Pod Spec") //nolint:staticcheck // the product's wording
	}
	context := pod.Spec.Containers[0].SecurityContext
	switch {
	case context == nil:
		return 0, errors.New("No SecurityContext found for Container 0") //nolint:staticcheck // the product's wording
	case context.RunAsUser == nil:
		return 0, errors.New("RunAsUser is nil for Container 0's SecurityContext")
	case *context.RunAsUser == 0:
		return 0, errors.New("container not allowed to run as root")
	}
	return *context.RunAsUser, nil
}

func (a *agent) validate() error {
	switch {
	case a.annotations["agent-image"] == "":
		return errors.New("no Vault image found")
	case a.annotations["agent-configmap"] != "":
		return nil
	case a.annotations["auth-type"] == "":
		return errors.New("no Vault Auth Type found")
	case a.annotations["auth-type"] == "kubernetes" && a.annotations["role"] == "" && a.annotations["auth-config-role"] == "":
		return errors.New("no Vault role found")
	case a.annotations["service"] == "":
		return errors.New("no Vault address found")
	}
	return nil
}

// kind names the containers that are added, as the product's metric does.
func (a *agent) kind() string {
	switch {
	case a.withInit && !a.withSidecar:
		return "init_only"
	case !a.withInit && a.withSidecar:
		return "sidecar_only"
	}
	return "all"
}

// agentConfig is the configuration file of the agent, without exit_after_auth.
func (a *agent) agentConfig(r *reader) map[string]any {
	login := map[string]any{}
	for name, value := range a.family("auth-config-") {
		login[strings.ReplaceAll(name, "-", "_")] = value
	}
	put(login, "role", a.annotations["role"])
	if _, given := login["token_path"]; !given && a.annotations["auth-type"] == "kubernetes" {
		login["token_path"] = path.Join(a.accountToken.MountPath, a.tokenPath)
	}
	method := map[string]any{"type": a.annotations["auth-type"], "mount_path": a.annotations["auth-path"], "config": login}
	put(method, "namespace", a.annotations["namespace"])
	for _, name := range []string{"min-backoff", "max-backoff"} {
		value := a.annotations["auth-"+name]
		if value != "" {
			_, err := time.ParseDuration(value)
			r.keep(err)
		}
		put(method, strings.ReplaceAll(name, "-", "_"), value)
	}
	put(method, "exit_on_err", r.bool("agent-auto-auth-exit-on-err"))

	sink := func(path string) map[string]any {
		return map[string]any{"type": "file", "config": map[string]any{"path": path}}
	}
	sinks := []any{sink(tokenFile)}
	if r.bool("agent-inject-token") {
		sinks = append(sinks, sink(path.Join(a.annotations["secret-volume-path"], "token")))
	}

	vault := map[string]any{"address": a.annotations["service"]}
	put(vault, "ca_cert", a.annotations["ca-cert"])
	put(vault, "ca_path", a.annotations["ca-key"])
	put(vault, "client_cert", a.annotations["client-cert"])
	put(vault, "client_key", a.annotations["client-key"])
	put(vault, "tls_server_name", a.annotations["tls-server-name"])
	put(vault, "tls_skip_verify", a.skipVerify)

	rendering := map[string]any{"exit_on_retry_failure": r.bool("template-config-exit-on-retry-failure")}
	put(rendering, "static_secret_render_interval", a.annotations["template-static-secret-render-interval"])
	put(rendering, "max_connections_per_host", r.int("template-max-connections-per-host"))
	if raw := a.annotations["template-lease-renewal-threshold"]; raw != "" {
		threshold, err := strconv.ParseFloat(raw, 64)
		r.keep(err)
		put(rendering, "lease_renewal_threshold", threshold)
	}

	var templates []any
	for _, s := range a.secrets {
		template := map[string]any{"destination": s.destination, "left_delimiter": s.left, "right_delimiter": s.right}
		put(template, "contents", s.contents)
		put(template, "source", s.source)
		put(template, "command", s.command)
		put(template, "perms", s.perms)
		put(template, "error_on_missing_key", s.errorMissing)
		templates = append(templates, template)
	}

	config := map[string]any{
		"auto_auth":       map[string]any{"method": method, "sink": sinks},
		"pid_file":        homeDir + "/.pid",
		"vault":           vault,
		"template_config": rendering,
	}
	if templates != nil {
		config["template"] = templates
	}
	for _, name := range []string{"disable-idle-connections", "disable-keep-alives"} {
		if list := a.list("agent-" + name); len(list) > 0 {
			config[strings.ReplaceAll(name, "-", "_")] = list
		}
	}
	return config
}

// put sets a field unless the value is its type's zero.
func put[T comparable](fields map[string]any, name string, value T) {
	var zero T
	if value != zero {
		fields[name] = value
	}
}

// container is the init container or the sidecar.
func (a *agent) container(isInit bool) (core.Container, error) {
	name, home, configFile, patchName := sidecarName, "home-sidecar", "config.hcl", "agent-json-patch"
	if isInit {
		name, home, configFile, patchName = initName, "home-init", "config-init.hcl", "agent-init-json-patch"
	}
	resources, err := a.resources()
	if err != nil {
		return core.Container{}, err
	}
	env, err := a.env(isInit)
	if err != nil {
		return core.Container{}, err
	}
	script := `echo "${VAULT_CONFIG?}" | base64 -d > ` + homeDir + `/config.json && vault agent -config=` + homeDir + `/config.json`
	if a.annotations["agent-configmap"] != "" {
		script = fmt.Sprintf("touch %s && vault agent -config=%s/%s", tokenFile, configDir, configFile)
	}
	homeMount := core.VolumeMount{Name: home, MountPath: homeDir}
	mounts := []core.VolumeMount{a.accountToken, homeMount}
	if isInit {
		mounts = []core.VolumeMount{homeMount, a.accountToken}
	}
	mounts = append(mounts, a.secretMounts()...)
	for _, extra := range a.extraVolumes() {
		mounts = append(mounts, core.VolumeMount{Name: extra.volume.Name, MountPath: extra.path, ReadOnly: true})
	}
	container := core.Container{
		Name:         name,
		Image:        a.annotations["agent-image"],
		Command:      []string{"/bin/sh", "-ec"},
		Args:         []string{script},
		Env:          env,
		Resources:    resources,
		VolumeMounts: append(mounts, a.copiedMounts()...),
	}
	if !isInit {
		container.Lifecycle = a.lifecycle()
	}
	if a.setSecurity {
		container.SecurityContext = a.securityContext()
	}
	return a.patched(container, patchName)
}

func (a *agent) env(isInit bool) ([]core.EnvVar, error) {
	field := func(name, path string) core.EnvVar {
		return core.EnvVar{Name: name, ValueFrom: &core.EnvVarSource{FieldRef: &core.ObjectFieldSelector{FieldPath: path}}}
	}
	env := []core.EnvVar{
		field("NAMESPACE", "metadata.namespace"), field("HOST_IP", "status.hostIP"), field("POD_IP", "status.podIP"),
	}
	add := func(name, value string) {
		if value != "" {
			env = append(env, core.EnvVar{Name: name, Value: value})
		}
	}
	add("GOMAXPROCS", a.annotations["go-max-procs"])
	add("VAULT_CLIENT_TIMEOUT", a.annotations["client-timeout"])
	add("VAULT_MAX_RETRIES", a.annotations["client-max-retries"])
	add("VAULT_LOG_LEVEL", a.annotations["log-level"])
	add("VAULT_LOG_FORMAT", a.annotations["log-format"])
	add("HTTPS_PROXY", a.annotations["proxy-address"])
	if a.annotations["agent-configmap"] != "" {
		add("VAULT_ADDR", a.annotations["service"])
		add("VAULT_CACERT", a.annotations["ca-cert"])
		add("VAULT_CAPATH", a.annotations["ca-key"])
		add("VAULT_CLIENT_CERT", a.annotations["client-cert"])
		add("VAULT_CLIENT_KEY", a.annotations["client-key"])
		add("VAULT_SKIP_VERIFY", strconv.FormatBool(a.skipVerify))
		add("VAULT_TLS_SERVER_NAME", a.annotations["tls-server-name"])
	} else {
		a.config["exit_after_auth"] = isInit
		config, err := json.Marshal(a.config)
		if err != nil {
			return nil, err
		}
		add("VAULT_CONFIG", base64.StdEncoding.EncodeToString(config))
	}
	add("VAULT_CACERT_BYTES", a.caCertBytes)
	return env, nil
}

func (a *agent) resources() (core.ResourceRequirements, error) {
	read := func(kind string) (core.ResourceList, error) {
		list := core.ResourceList{}
		for name, suffix := range map[core.ResourceName]string{
			core.ResourceCPU: "cpu", core.ResourceMemory: "mem", core.ResourceEphemeralStorage: "ephemeral",
		} {
			raw := a.annotations["agent-"+kind+"-"+suffix]
			if raw == "" {
				continue
			}
			quantity, err := resource.ParseQuantity(raw)
			if err != nil {
				return nil, err
			}
			list[name] = quantity
		}
		return list, nil
	}
	limits, err := read("limits")
	if err != nil {
		return core.ResourceRequirements{}, err
	}
	requests, err := read("requests")
	return core.ResourceRequirements{Limits: limits, Requests: requests}, err
}

func (a *agent) securityContext() *core.SecurityContext {
	no, yes, nonRoot := false, true, a.user != 0 && a.group != 0
	return &core.SecurityContext{
		RunAsUser: &a.user, RunAsGroup: &a.group, RunAsNonRoot: &nonRoot,
		ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
		Capabilities: &core.Capabilities{Drop: []core.Capability{"ALL"}},
	}
}

// lifecycle revokes the token of the agent that stops, if that is wanted.
func (a *agent) lifecycle() *core.Lifecycle {
	if !a.revoke {
		return &core.Lifecycle{}
	}
	command := []string{"/bin/vault", "token", "revoke"}
	for _, flag := range [][2]string{{"-address", "service"}, {"-ca-cert", "ca-cert"}, {"-client-cert", "client-cert"}, {"-client-key", "client-key"}} {
		if value := a.annotations[flag[1]]; value != "" {
			command = append(command, flag[0]+"="+value)
		}
	}
	script := fmt.Sprintf("/bin/sleep %d && %s -self", a.revokeGrace, strings.Join(command, " "))
	return &core.Lifecycle{PreStop: &core.LifecycleHandler{Exec: &core.ExecAction{Command: []string{"/bin/sh", "-c", script}}}}
}

// checkPatches reports what is not a JSON patch, which is an error even if no container would use it.
func (a annotations) checkPatches() error {
	for _, name := range []string{"agent-json-patch", "agent-init-json-patch"} {
		if a[name] == "" {
			continue
		}
		if _, err := jsonpatch.DecodePatch([]byte(a[name])); err != nil {
			return fmt.Errorf("error parsing JSON patch for annotation %s%s: %w", annotationPrefix, name, err)
		}
	}
	return nil
}

// patched applies the JSON patch of an annotation to a container.
func (a *agent) patched(container core.Container, annotation string) (core.Container, error) {
	raw := a.annotations[annotation]
	if raw == "" {
		return container, nil
	}
	patch, err := jsonpatch.DecodePatch([]byte(raw))
	if err != nil {
		return container, err
	}
	before, err := json.Marshal(container)
	if err != nil {
		return container, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return container, fmt.Errorf("failed to apply JSON patch: %w", err)
	}
	var changed core.Container
	return changed, json.Unmarshal(after, &changed)
}
