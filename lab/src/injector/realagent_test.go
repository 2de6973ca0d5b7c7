// SPDX-License-Identifier: GPL-3.0-or-later

//go:build realagent

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// The agents that the double injects, run by the real OpenBao (the program that BAO names) against its real server.
// Only the Kubernetes API is fake, and /home/vault, /vault/secrets and the token's path are folders of the test.

func TestRealAgentLogsInAndRenders(t *testing.T) {
	bao := startOpenBao(t)
	agent := bao.agent(t, map[string]string{
		"role":                                   "app",
		"agent-inject-secret-database":           "cloudcart/data/database",
		"agent-inject-template-database":         `{{ with secret "cloudcart/data/database" }}export PASSWORD={{ .Data.data.password }}{{ end }}`,
		"agent-inject-perms-database":            "0400",
		"agent-inject-secret-plain":              "cloudcart/data/database",
		"agent-inject-token":                     "true",
		"error-on-missing-key-database":          "true",
		"auth-min-backoff":                       "1s",
		"auth-max-backoff":                       "5s",
		"agent-auto-auth-exit-on-err":            "true",
		"template-static-secret-render-interval": "10s",
		"template-max-connections-per-host":      "5",
		"template-lease-renewal-threshold":       "0.8",
		"agent-disable-idle-connections":         "auto-auth,templating",
	})
	if output, err := agent.CombinedOutput(); err != nil {
		t.Fatalf("the init container's agent: %v\n%s", err, output)
	}
	rendered, err := os.ReadFile(filepath.Join(bao.dir, "vault/secrets/database"))
	if err != nil || string(rendered) != "export PASSWORD=s3cret" {
		t.Errorf("rendered %q, %v", rendered, err)
	}
	plain, err := os.ReadFile(filepath.Join(bao.dir, "vault/secrets/plain"))
	if err != nil || !strings.Contains(string(plain), "data: map[password:s3cret]") {
		t.Errorf("default template rendered %q, %v", plain, err)
	}
	for name, mode := range map[string]os.FileMode{"vault/secrets/database": 0o400, "vault/secrets/plain": 0o644, "vault/secrets/token": 0o640, "home/vault/.vault-token": 0o640} {
		if info, err := os.Stat(filepath.Join(bao.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestRealAgentExitsOnAMissingKey(t *testing.T) {
	bao := startOpenBao(t)
	agent := bao.agent(t, map[string]string{
		"role":                    "app",
		"agent-inject-template-x": `{{ with secret "cloudcart/data/database" }}{{ .Data.data.nothing }}{{ end }}`,
		"error-on-missing-key-x":  "true",
	})
	output, err := agent.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "map has no entry for key") {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestRealAgentLoopsOnARefusedLogin(t *testing.T) {
	bao := startOpenBao(t)
	agent := bao.agent(t, map[string]string{"role": "unknown", "agent-inject-secret-x": "cloudcart/data/database"})
	output := &lines{wanted: "invalid role name", found: make(chan struct{}, 100)}
	agent.Stdout, agent.Stderr = output, output
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	for seen := 0; seen < 2; seen++ { // it goes on after the first refusal
		select {
		case <-output.found:
		case err := <-ended:
			t.Fatalf("ended: %v\n%s", err, output)
		case <-time.After(20 * time.Second):
			t.Fatalf("%d refusals only:\n%s", seen, output)
		}
	}
}

// lines counts the writes that contain wanted.
type lines struct {
	wanted string
	found  chan struct{}
	mutex  sync.Mutex
	all    bytes.Buffer
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.all.String()
}

func (l *lines) Write(text []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if bytes.Contains(text, []byte(l.wanted)) {
		l.found <- struct{}{}
	}
	return l.all.Write(text)
}

type openBao struct{ address, dir string }

const rootToken = "test-root-token"

// startOpenBao runs a development server with a secret, a policy and a role "app" of the kubernetes auth method.
func startOpenBao(t *testing.T) *openBao {
	t.Helper()
	program := os.Getenv("BAO")
	if program == "" {
		t.Fatal("BAO must name the bao program")
	}
	program, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	bao := &openBao{dir: t.TempDir()}
	for _, dir := range []string{"bin", "home/vault", "vault/secrets", "account"} {
		if err := os.MkdirAll(filepath.Join(bao.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(program, filepath.Join(bao.dir, "bin/vault")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bao.dir, "account/token"), []byte(accountToken(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	kubernetes := httptest.NewServer(http.HandlerFunc(reviewToken))
	t.Cleanup(kubernetes.Close)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	bao.address = "http://" + address
	server := exec.CommandContext(t.Context(), program, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+rootToken, "-dev-listen-address="+address)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() })
	deadline := time.Now().Add(30 * time.Second)
	for {
		if response, err := http.Get(bao.address + "/v1/sys/health"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("bao server did not start:\n%s", &log)
		}
		time.Sleep(20 * time.Millisecond)
	}
	bao.write(t, "sys/mounts/cloudcart", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	bao.write(t, "cloudcart/data/database", map[string]any{"data": map[string]any{"password": "s3cret"}})
	bao.write(t, "sys/policies/acl/database-policy", map[string]any{"policy": `path "cloudcart/data/database" { capabilities = ["read"] }`})
	bao.write(t, "sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	bao.write(t, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": kubernetes.URL, "disable_local_ca_jwt": true, "kubernetes_ca_cert": string(newTestAuthority(t).pem),
	})
	bao.write(t, "auth/kubernetes/role/app", map[string]any{
		"bound_service_account_names": "app", "bound_service_account_namespaces": "cloudcart", "token_policies": "database-policy",
	})
	return bao
}

func (b *openBao) write(t *testing.T, path string, fields map[string]any) {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	var response *http.Response
	deadline := time.Now().Add(10 * time.Second)
	for { // a fresh KV v2 mount answers 400 while it is being set up
		request, err := http.NewRequest(http.MethodPost, b.address+"/v1/"+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Vault-Token", rootToken)
		if response, err = http.DefaultClient.Do(request); err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode < 300 {
			return
		}
		if !strings.Contains(string(text), "Upgrading from non-versioned") || time.Now().After(deadline) {
			t.Fatalf("%s: %s %s", path, response.Status, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// agent is the command of the init container that the double makes of the annotations.
func (b *openBao) agent(t *testing.T, annotations map[string]string) *exec.Cmd {
	t.Helper()
	annotations["agent-inject"] = "true"
	annotations["service"] = b.address
	annotations["agent-init-first"] = "true"
	_, response := review(t, testSettings(t, nil), io.Discard, "cloudcart", podJSON(t, annotations, json.RawMessage(plainSpec)))
	var operations []struct {
		Path  string
		Value json.RawMessage
	}
	if err := json.Unmarshal(response.Patch, &operations); err != nil {
		t.Fatalf("%v: %+v", err, response.Result)
	}
	var containers []core.Container
	for _, operation := range operations {
		if operation.Path == "/spec/initContainers" {
			if err := json.Unmarshal(operation.Value, &containers); err != nil {
				t.Fatal(err)
			}
		}
	}
	container := containers[0]
	here := strings.NewReplacer(
		"/home/vault", b.dir+"/home/vault", "/vault/secrets", b.dir+"/vault/secrets", "/var/run/secrets/kubernetes.io/serviceaccount", b.dir+"/account",
	)
	command := exec.CommandContext(t.Context(), container.Command[0], container.Command[1], here.Replace(container.Args[0]))
	command.Env = []string{"PATH=" + b.dir + "/bin:" + os.Getenv("PATH"), "HOME=" + b.dir}
	for _, variable := range container.Env {
		value := variable.Value
		if variable.Name == "VAULT_CONFIG" {
			config, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			value = base64.StdEncoding.EncodeToString([]byte(here.Replace(string(config))))
		}
		command.Env = append(command.Env, variable.Name+"="+value)
	}
	// The shell's child must die with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	return command
}

// accountToken looks like a token of ServiceAccount cloudcart/app; nobody checks its signature here.
func accountToken(t *testing.T) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"iss": "kubernetes", "sub": "system:serviceaccount:cloudcart:app", "exp": %d, "iat": %d, "nbf": %d,
		"kubernetes.io": {"namespace": "cloudcart", "serviceaccount": {"name": "app", "uid": "uid-1"}}}`,
		time.Now().Add(time.Hour).Unix(), time.Now().Unix(), time.Now().Unix())
	signed := encode([]byte(`{"alg": "ES256", "typ": "JWT"}`)) + "." + encode([]byte(claims))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + encode(signature)
}

func reviewToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {"authenticated": true,
		"user": {"username": "system:serviceaccount:cloudcart:app", "uid": "uid-1", "groups": ["system:serviceaccounts"]}}}`)
}
