// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fakeAPI holds one MutatingWebhookConfiguration (none while bundle is nil) and serves list, watch and JSON patch.
type fakeAPI struct {
	t *testing.T

	mutex   sync.Mutex
	bundle  []byte
	exists  bool
	version int
	failing bool
	changed chan struct{} // closed and replaced at each change
}

func newFakeAPI(t *testing.T, exists bool) (*fakeAPI, *kubeAPI) {
	fake := &fakeAPI{t: t, exists: exists, changed: make(chan struct{})}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return fake, &kubeAPI{base: server.URL, client: server.Client(), token: func() (string, error) { return "account-token", nil }}
}

func (f *fakeAPI) set(change func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	change()
	f.version++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAPI) object() map[string]any {
	client := map[string]any{}
	if len(f.bundle) > 0 {
		client["caBundle"] = f.bundle
	}
	return map[string]any{"metadata": map[string]any{"name": "cfg"}, "webhooks": []any{map[string]any{"clientConfig": client}}}
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	if r.Header.Get("Authorization") != "Bearer account-token" {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	f.mutex.Lock()
	failing := f.failing
	f.mutex.Unlock()
	switch {
	case failing:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case r.Method == http.MethodPatch && r.URL.Path == path+"/cfg":
		var ops []struct {
			Op, Path string
			Value    []byte
		}
		if err := json.NewDecoder(r.Body).Decode(&ops); err != nil || len(ops) != 1 || ops[0].Op != "add" || ops[0].Path != "/webhooks/0/clientConfig/caBundle" ||
			r.Header.Get("Content-Type") != "application/json-patch+json" {
			f.t.Errorf("patch: %+v %v", ops, err)
		}
		f.set(func() { f.bundle = ops[0].Value })
		fmt.Fprint(w, "{}")
	case r.Method == http.MethodGet && r.URL.Path == path && r.URL.Query().Get("fieldSelector") == "metadata.name=cfg":
		if r.URL.Query().Get("watch") == "" {
			f.mutex.Lock()
			defer f.mutex.Unlock()
			items := []any{}
			if f.exists {
				items = append(items, f.object())
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"resourceVersion": fmt.Sprint(f.version)}, "items": items})
			return
		}
		f.watch(w, r)
	default:
		f.t.Errorf("unexpected %s %s", r.Method, r.URL)
	}
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	var seen int
	if _, err := fmt.Sscan(r.URL.Query().Get("resourceVersion"), &seen); err != nil {
		f.t.Errorf("resourceVersion: %v", err)
	}
	for {
		f.mutex.Lock()
		version, changed, exists, object := f.version, f.changed, f.exists, f.object()
		f.mutex.Unlock()
		if version > seen && exists {
			seen = version
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": object})
			w.(http.Flusher).Flush()
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// wait blocks until the bundle satisfies the condition.
func (f *fakeAPI) wait(what string, condition func(bundle []byte) bool) {
	f.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		f.mutex.Lock()
		bundle, changed := f.bundle, f.changed
		f.mutex.Unlock()
		if condition(bundle) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			f.t.Fatalf("%s: the bundle is %q", what, bundle)
		}
	}
}

func startKeeper(t *testing.T, api *kubeAPI, ca []byte, log *slog.Logger) chan struct{} {
	patched := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	keeper := &bundleKeeper{api: api, name: "cfg", ca: ca, log: log, patched: func() { patched <- struct{}{} }}
	go func() { defer close(done); keeper.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return patched
}

func newTestAuthority(t *testing.T) *authority {
	t.Helper()
	a, err := newAuthority([]string{"svc", "svc.ns", "svc.ns.svc"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCABundleIsPatchedAndRepaired(t *testing.T) {
	fake, api := newFakeAPI(t, true)
	old, older, own := newTestAuthority(t).pem, newTestAuthority(t).pem, newTestAuthority(t).pem
	fake.bundle = append(bytes.Clone(older), old...)
	patched := startKeeper(t, api, own, slog.New(slog.DiscardHandler))

	<-patched
	fake.wait("last old CA and the own one", func(b []byte) bool { return bytes.Equal(b, append(bytes.Clone(old), own...)) })
	fake.set(func() { fake.bundle = nil }) // what every helm upgrade does
	fake.wait("repaired after it was emptied", func(b []byte) bool { return bytes.Equal(b, own) })
	other := newTestAuthority(t).pem
	fake.set(func() { fake.bundle = append(bytes.Clone(own), other...) }) // a second replica that starts
	fake.set(func() { fake.bundle = other })
	fake.wait("repaired after it was replaced", func(b []byte) bool { return bytes.Equal(b, append(bytes.Clone(other), own...)) })
}

func TestWebhookConfigurationMayComeLater(t *testing.T) {
	fake, api := newFakeAPI(t, false)
	own := newTestAuthority(t).pem
	patched := startKeeper(t, api, own, slog.New(slog.DiscardHandler))
	fake.set(func() { fake.exists = true })
	<-patched
	fake.wait("patched", func(b []byte) bool { return bytes.Equal(b, own) })
}

func TestAPIErrorsAreRetriedAndNamed(t *testing.T) {
	fake, api := newFakeAPI(t, true)
	fake.failing = true
	lines := make(chan string, 100)
	patched := startKeeper(t, api, newTestAuthority(t).pem, slog.New(slog.NewTextHandler(lineWriter(lines), nil)))
	if line := <-lines; !bytes.Contains([]byte(line), []byte("Error updating MutatingWebhookConfiguration")) || !bytes.Contains([]byte(line), []byte("not now")) {
		t.Errorf("logged %q", line)
	}
	select {
	case <-patched:
		t.Error("said to be patched although the API refused")
	default:
	}
	fake.set(func() { fake.failing = false })
	<-patched
}

type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) { w <- string(line); return len(line), nil }

func TestHandshakeFailsUntilTheBundleIsPatchedAndIsTrustedAfterwards(t *testing.T) {
	certs := &certSource{log: slog.New(slog.DiscardHandler)}
	server := httptest.NewUnstartedServer(newHandler(testSettings(t, nil), slog.New(slog.DiscardHandler)))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get}
	listener := tls.NewListener(server.Listener, server.TLS)
	server.Listener = listener
	server.Start()
	defer server.Close()

	a := newTestAuthority(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.pem)
	ready := func(name string, version uint16) (int, error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, MaxVersion: version}}}
		response, err := client.Get("https://" + listener.Addr().String() + "/health/ready")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	if _, err := ready("svc.ns.svc", 0); err == nil {
		t.Error("ready before the caBundle was patched")
	}
	certs.serve(a)
	for _, name := range a.hosts {
		if code, err := ready(name, 0); err != nil || code != http.StatusNoContent {
			t.Errorf("%s: %d %v", name, code, err)
		}
	}
	if _, err := ready("other", 0); err == nil {
		t.Error("trusted for a name it has no certificate for")
	}
	if _, err := ready("svc", tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 accepted")
	}
}

func TestLeafIsKeptAndRenewedInTime(t *testing.T) {
	a := newTestAuthority(t)
	certs := &certSource{log: slog.New(slog.DiscardHandler)}
	certs.serve(a)
	first, err := certs.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert.Subject.CommonName != "Agent Inject CA" || first.Leaf.Subject.CommonName != "Agent Inject Service" {
		t.Errorf("names: %s, %s", a.cert.Subject, first.Leaf.Subject)
	}
	certs.serve(a)
	if again, _ := certs.get(nil); again != first {
		t.Error("a new leaf although the old one is good")
	}
	first.Leaf.NotAfter = time.Now().Add(leafRenewal - time.Minute)
	if again, _ := certs.get(nil); again == first {
		t.Error("no new leaf although the old one is about to expire")
	}
}

func TestCertificateFilesAreReadAtEachHandshake(t *testing.T) {
	leaf, err := newTestAuthority(t).issue()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certs := &certSource{certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key")}
	if _, err := certs.get(nil); err == nil {
		t.Error("a certificate from no file")
	}
	for path, block := range map[string]*pem.Block{
		certs.certFile: {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, certs.keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := certs.get(nil)
	if err != nil || !bytes.Equal(got.Certificate[0], leaf.Certificate[0]) {
		t.Errorf("%v", err)
	}
}
