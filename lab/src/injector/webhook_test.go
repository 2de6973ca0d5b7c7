// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admission "k8s.io/api/admission/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func testSettings(t *testing.T, extra map[string]string) settings {
	t.Helper()
	env := map[string]string{"AGENT_INJECT_VAULT_ADDR": "http://vault:8200", "AGENT_INJECT_TLS_AUTO": "cfg"}
	for name, value := range extra {
		env["AGENT_INJECT_"+name] = value
	}
	cfg, err := loadSettings(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// review sends a pod through the HTTP handler.
func review(t *testing.T, cfg settings, log io.Writer, namespace string, pod []byte) (*admission.AdmissionReview, *admission.AdmissionResponse) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{"uid": "u-1", "namespace": namespace, "operation": "CREATE", "object": json.RawMessage(pod)},
	})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, "/mutate?timeout=30s", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	newHandler(cfg, slog.New(slog.NewTextHandler(log, nil))).ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Fatalf("HTTP %d: %s", recorder.Code, recorder.Body)
	}
	var answer admission.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Response == nil || answer.Response.UID != "u-1" {
		t.Fatalf("no response to request u-1: %s", recorder.Body)
	}
	return &answer, answer.Response
}

func podJSON(t *testing.T, annotations map[string]string, spec any) []byte {
	t.Helper()
	full := map[string]string{}
	for name, value := range annotations {
		full[annotationPrefix+name] = value
	}
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "annotations": full}, "spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type expectedPods struct {
	Cases []struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
		Pod         json.RawMessage   `json:"pod"`
		Config      map[string]any    `json:"config"`
		Expected    json.RawMessage   `json:"expected"`
	} `json:"cases"`
}

func TestTheDoubleNotTheProductInjectsAsTheContractSays(t *testing.T) {
	raw, err := os.ReadFile("testdata/pods.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all expectedPods
	if err := yaml.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Cases {
		t.Run(c.Name, func(t *testing.T) {
			annotations := map[string]string{"agent-inject": "true"}
			for name, value := range c.Annotations {
				annotations[name] = value
			}
			pod := podJSON(t, annotations, c.Pod)
			var log bytes.Buffer
			_, response := review(t, testSettings(t, nil), &log, "cloudcart", pod)
			if !response.Allowed || response.PatchType == nil || *response.PatchType != admission.PatchTypeJSONPatch {
				t.Fatalf("not patched: %+v", response)
			}
			if strings.Contains(log.String(), "annotation without effect") {
				t.Errorf("annotations were not understood: %s", &log)
			}
			patch, err := jsonpatch.DecodePatch(response.Patch)
			if err != nil {
				t.Fatal(err)
			}
			injected, err := patch.Apply(pod)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Metadata struct{ Annotations map[string]string }
				Spec     map[string]any
			}
			if err := json.Unmarshal(injected, &got); err != nil {
				t.Fatal(err)
			}
			if got.Metadata.Annotations["vault.hashicorp.com/agent-inject-status"] != "injected" || len(got.Metadata.Annotations) != len(annotations)+1 {
				t.Errorf("annotations: %v", got.Metadata.Annotations)
			}
			compareConfigs(t, got.Spec, c.Config)
			var want map[string]any
			if err := json.Unmarshal(c.Expected, &want); err != nil {
				t.Fatal(err)
			}
			compare(t, "pod", got.Spec, withoutNulls(want))

			// Once injected, never again.
			if _, again := review(t, testSettings(t, nil), io.Discard, "cloudcart", injected); !again.Allowed || again.Patch != nil {
				t.Errorf("injected twice: %+v", again)
			}
		})
	}
}

// compareConfigs checks the decoded VAULT_CONFIG of each agent and replaces it with the word "(config)".
func compareConfigs(t *testing.T, spec map[string]any, want map[string]any) {
	t.Helper()
	for _, kind := range []string{"initContainers", "containers"} {
		containers, _ := spec[kind].([]any)
		for _, container := range containers {
			fields := container.(map[string]any)
			env, _ := fields["env"].([]any)
			for _, entry := range env {
				variable := entry.(map[string]any)
				if variable["name"] != "VAULT_CONFIG" {
					continue
				}
				raw, err := base64.StdEncoding.DecodeString(variable["value"].(string))
				if err != nil {
					t.Fatal(err)
				}
				var got map[string]any
				if err := json.Unmarshal(raw, &got); err != nil {
					t.Fatal(err)
				}
				if got["exit_after_auth"] != (fields["name"] == initName) {
					t.Errorf("%s: exit_after_auth is %v", fields["name"], got["exit_after_auth"])
				}
				delete(got, "exit_after_auth")
				compare(t, "config of "+fields["name"].(string), sortTemplates(got), sortTemplates(want))
				variable["value"] = "(config)"
			}
		}
	}
}

// sortTemplates removes the order of the templates, which the product does not keep.
func sortTemplates(config map[string]any) map[string]any {
	templates, _ := config["template"].([]any)
	slices.SortFunc(templates, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["destination"].(string), b.(map[string]any)["destination"].(string))
	})
	return config
}

func withoutNulls(value map[string]any) map[string]any {
	for key, inner := range value {
		switch inner := inner.(type) {
		case nil:
			delete(value, key)
		case map[string]any:
			withoutNulls(inner)
		case []any:
			for _, item := range inner {
				if fields, is := item.(map[string]any); is {
					withoutNulls(fields)
				}
			}
		}
	}
	return value
}

func compare(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := yaml.Marshal(got)
		w, _ := yaml.Marshal(want)
		t.Errorf("%s is\n%s\ninstead of\n%s", what, g, w)
	}
}

const plainSpec = `{"containers": [{"name": "app", "volumeMounts": [{"name": "t", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]}`

func TestDenialsAndPodsLeftAlone(t *testing.T) {
	spec := json.RawMessage(plainSpec)
	bare := json.RawMessage(`{"containers": [{"name": "app"}]}`)
	pending := `{"metadata": {"annotations": {"vault.hashicorp.com/agent-inject": "true"}}, "status": {"phase": %PHASE%}, "spec": ` + plainSpec + `}`
	phase := func(name string) []byte { return []byte(strings.ReplaceAll(pending, "%PHASE%", `"`+name+`"`)) }
	cases := []struct {
		name, namespace string
		pod             []byte
		denial          string // exact, or a prefix if it ends in "..."; empty: allowed without a patch
	}{
		{"no annotation", "default", podJSON(t, map[string]string{"role": "app"}, spec), ""},
		{"switched off", "default", podJSON(t, map[string]string{"agent-inject": "F"}, spec), ""},
		{"empty is false", "default", podJSON(t, map[string]string{"agent-inject": ""}, spec), ""},
		{"already injected", "kube-system", podJSON(t, map[string]string{"agent-inject": "true", "agent-inject-status": "injected"}, spec), ""},
		{"running", "kube-system", phase("Running"), ""},
		{"no annotation in kube-system", "kube-system", podJSON(t, nil, spec), ""},

		{"pending", "default", phase("Pending"), "error validating agent configuration: no Vault role found"},
		{"no role", "default", podJSON(t, map[string]string{"agent-inject": "true"}, spec), "error validating agent configuration: no Vault role found"},
		{"status update", "default", podJSON(t, map[string]string{"agent-inject": "true", "agent-inject-status": "update"}, spec),
			"error validating agent configuration: no Vault role found"},
		{"kube-system", "kube-system", podJSON(t, map[string]string{"agent-inject": "true", "role": "app"}, spec),
			"error with request namespace: cannot inject into system namespaces: kube-system"},
		{"kube-public", "kube-public", podJSON(t, map[string]string{"agent-inject": "true", "role": "app"}, spec),
			"error with request namespace: cannot inject into system namespaces: kube-public"},
		{"no token", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app"}, bare),
			"error creating new agent sidecar: failed to find service account volume mount"},
		{"named token", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app", "agent-service-account-token-volume-name": "x"}, spec),
			`error creating new agent sidecar: failed to find service account volume "x"`},
		{"default template", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app", "agent-inject-default-template": "yaml"}, spec),
			"error creating new agent sidecar: invalid default template type: yaml"},
		{"same user", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app", "agent-run-as-same-user": "true"}, spec),
			"error creating new agent sidecar: No SecurityContext found for Container 0"},
		{"bad switch", "default", podJSON(t, map[string]string{"agent-inject": "maybe"}, spec),
			"error checking if should inject agent: cannot parse '' as bool: ..."},
		{"bad boolean", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app", "agent-init-first": "maybe"}, spec),
			"error creating new agent sidecar: cannot parse '' as bool: ..."},
		{"bad quantity", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app", "agent-limits-cpu": "much"}, spec),
			"error creating patch for agent: quantities must match the regular expression ..."},
		{"bad JSON patch", "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app", "agent-json-patch": "{"}, spec),
			"error adding default annotations: error parsing JSON patch for annotation vault.hashicorp.com/agent-json-patch..."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, response := review(t, testSettings(t, nil), io.Discard, c.namespace, c.pod)
			if response.Patch != nil {
				t.Fatalf("patched: %s", response.Patch)
			}
			if c.denial == "" {
				if !response.Allowed {
					t.Fatalf("denied: %s", response.Result.Message)
				}
				return
			}
			prefix, isPrefix := strings.CutSuffix(c.denial, "...")
			if response.Allowed || response.Result == nil {
				t.Fatalf("not denied: %+v", response)
			}
			if got := response.Result.Message; got != c.denial && !(isPrefix && strings.HasPrefix(got, prefix)) {
				t.Errorf("denied with %q instead of %q", got, c.denial)
			}
		})
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	good := `{"apiVersion": "admission.k8s.io/%s", "kind": "AdmissionReview", "request": {"uid": "u", "object": {}}}`
	cases := []struct {
		name, contentType, body string
		code                    int
		text                    string
	}{
		{"content type", "text/plain", good, 400, "Invalid content-type"},
		{"no body", "application/json", "", 400, "Empty request body"},
		{"no JSON", "application/json", "pod", 500, "error decoding admission request"},
		{"unknown version", "application/json", strings.ReplaceAll(good, "%s", "v7"), 500, "error decoding admission request"},
		{"v1", "application/json", strings.ReplaceAll(good, "%s", "v1"), 200, `"apiVersion":"admission.k8s.io/v1",`},
		{"v1beta1", "application/json", strings.ReplaceAll(good, "%s", "v1beta1"), 200, `"apiVersion":"admission.k8s.io/v1beta1"`},
	}
	handler := newHandler(testSettings(t, nil), slog.New(slog.DiscardHandler))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			request := httptest.NewRequest(http.MethodPost, "/mutate", strings.NewReader(c.body))
			request.Header.Set("Content-Type", c.contentType)
			handler.ServeHTTP(recorder, request)
			if recorder.Code != c.code || !strings.Contains(recorder.Body.String(), c.text) {
				t.Errorf("HTTP %d %s", recorder.Code, recorder.Body)
			}
		})
	}
}

func TestAnnotationsWithoutEffectAreLogged(t *testing.T) {
	var log bytes.Buffer
	review(t, testSettings(t, nil), &log, "default", podJSON(t, map[string]string{
		"agent-inject": "true", "role": "app", "agent-cache-enable": "true", "agent-inject-secert-x": "secret/x", "agent-inject-secret-y": "secret/y",
	}, json.RawMessage(plainSpec)))
	for _, line := range []string{
		`this stand-in does not implement it" annotation=vault.hashicorp.com/agent-cache-enable`,
		`vault-k8s does not know it either" annotation=vault.hashicorp.com/agent-inject-secert-x`,
	} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("no %q in:\n%s", line, &log)
		}
	}
	if strings.Contains(log.String(), "annotation=vault.hashicorp.com/agent-inject-secret-y") {
		t.Errorf("an implemented annotation is reported:\n%s", &log)
	}
}

func TestEnvironmentSetsTheDefaultsOfPods(t *testing.T) {
	cfg := testSettings(t, map[string]string{
		"CPU_LIMIT": "1", "MEM_LIMIT": "", "VAULT_IMAGE": "bao:1", "VAULT_AUTH_PATH": "auth/k", "VAULT_CACERT_BYTES": "PEM", "SET_SECURITY_CONTEXT": "false",
	})
	_, response := review(t, cfg, io.Discard, "default", podJSON(t, map[string]string{"agent-inject": "true", "role": "app"}, json.RawMessage(plainSpec)))
	var operations []struct {
		Path  string
		Value json.RawMessage
	}
	if err := json.Unmarshal(response.Patch, &operations); err != nil {
		t.Fatal(err)
	}
	var sidecar core.Container
	for _, operation := range operations {
		if operation.Path == "/spec/containers/-" {
			if err := json.Unmarshal(operation.Value, &sidecar); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sidecar.Image != "bao:1" || sidecar.SecurityContext != nil || sidecar.Resources.Limits.Cpu().String() != "1" || sidecar.Resources.Limits.Memory().String() != "128Mi" {
		t.Errorf("sidecar: %+v", sidecar)
	}
	if last := sidecar.Env[len(sidecar.Env)-1]; last != (core.EnvVar{Name: "VAULT_CACERT_BYTES", Value: "PEM"}) {
		t.Errorf("last variable: %+v", last)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for text, env := range map[string]map[string]string{
		"No Vault service configured":         {},
		"invalid default template type: yaml": {"AGENT_INJECT_VAULT_ADDR": "x", "AGENT_INJECT_DEFAULT_TEMPLATE": "yaml"},
		"AGENT_INJECT_TLS_AUTO":               {"AGENT_INJECT_VAULT_ADDR": "x"},
		"AGENT_INJECT_TLS_MIN_VERSION":        {"AGENT_INJECT_VAULT_ADDR": "x", "AGENT_INJECT_TLS_MIN_VERSION": "ssl3"},
		"Error loading in-cluster K8S config": {"AGENT_INJECT_VAULT_ADDR": "x", "AGENT_INJECT_TLS_AUTO": "cfg"},
	} {
		err := run(t.Context(), func(name string) string { return env[name] }, io.Discard)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", env, err)
		}
	}
}

func TestMetricsOnRequest(t *testing.T) {
	handler := newHandler(testSettings(t, map[string]string{"TELEMETRY_PATH": "/metrics"}), slog.New(slog.DiscardHandler))
	for _, role := range []string{"app", ""} {
		body, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": map[string]any{
			"namespace": "shop", "object": json.RawMessage(podJSON(t, map[string]string{"agent-inject": "true", "role": role}, json.RawMessage(plainSpec)))}})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, "/mutate", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		"vault_agent_injector_request_queue_length 0\n",
		"vault_agent_injector_request_processing_duration_ms_count 2\n",
		"vault_agent_injector_injections_by_namespace_total{injection_type=\"all\",namespace=\"shop\"} 1\n",
		"vault_agent_injector_failed_injections_by_namespace_total{namespace=\"shop\"} 1\n",
	} {
		if !strings.Contains(recorder.Body.String(), line) {
			t.Errorf("no %q in:\n%s", line, recorder.Body)
		}
	}
}
