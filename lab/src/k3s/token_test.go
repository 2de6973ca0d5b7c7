// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T, valid time.Duration) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(valid)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func TestBootstrapTokenIsDerivedAndValid(t *testing.T) {
	first, second := bootstrapToken("one"), bootstrapToken("two")
	if first == second || first != bootstrapToken("one") || !bootstrapFormat.MatchString(first) {
		t.Errorf("got %s and %s", first, second)
	}
	if strings.Contains(first, hash([]byte("one"))[:6]) {
		t.Error("the identifier, which is public, is a plain hash of the password")
	}
	if given := "abcdef.0123456789abcdef"; bootstrapToken(given) != given {
		t.Error("a bootstrap token is changed")
	}
}

func TestParseToken(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for text, want := range map[string]clusterToken{
		"short":                       {"", "node", "short"},
		"K10" + hash + "::server:p:w": {hash, "server", "p:w"},
		"K10" + hash + "::abcdef.0123456789abcdef": {hash, "", "abcdef.0123456789abcdef"},
	} {
		if got, err := parseToken(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                        "token must not be empty",
		"K10abc":                  "invalid token format",
		"K10abc::server:pw":       "invalid token CA hash length",
		"K10" + hash + "::nobody": "invalid token format",
	} {
		if _, err := parseToken(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestCAHashOfOneAndOfSeveralCertificates(t *testing.T) {
	one, root := certificate(t, time.Hour), certificate(t, time.Hour)
	if got := caHash(one); got != hash(one) {
		t.Error("of one certificate, the PEM file is hashed")
	}
	block, _ := pem.Decode(root)
	if got := caHash(append(one, root...)); got != hash(block.Bytes) {
		t.Error("of several, the root's DER is hashed")
	}
	token := clusterToken{caHash: hash(one)}
	if err := token.checkCA(one); err != nil {
		t.Error(err)
	}
	if err := token.checkCA(root); err == nil || !strings.HasPrefix(err.Error(), "token CA hash does not match the Cluster CA certificate hash: ") {
		t.Errorf("got %v", err)
	}
}

func TestServerPasswordIsKept(t *testing.T) {
	directory := t.TempDir()
	first, err := serverPassword(directory, "")
	if err != nil || len(first) != 32 {
		t.Fatalf("got %q, %v", first, err)
	}
	if err := writeTokens(directory, first, "", certificate(t, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if again, err := serverPassword(directory, ""); err != nil || again != first {
		t.Errorf("got %q, %v", again, err)
	}
	full, _ := os.ReadFile(filepath.Join(directory, "token"))
	if again, err := serverPassword(directory, strings.TrimSpace(string(full))); err != nil || again != first {
		t.Errorf("got %q, %v", again, err)
	}
	if _, err := serverPassword(directory, "other"); err == nil || !strings.Contains(err.Error(), "encrypted with different token") {
		t.Errorf("got %v", err)
	}
	if _, err := serverPassword(t.TempDir(), "abcdef.0123456789abcdef"); err == nil || !strings.Contains(err.Error(), "failed to normalize server token") {
		t.Errorf("got %v", err)
	}
}

func TestTokenFiles(t *testing.T) {
	directory := t.TempDir()
	ca := certificate(t, time.Hour)
	path := func(name string) string { return filepath.Join(directory, name) }
	if err := writeTokens(directory, "pw", "", ca); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"node-token", "agent-token"} {
		if target, _ := os.Readlink(path(link)); target != path("token") {
			t.Errorf("%s points to %q", link, target)
		}
	}
	if err := writeTokens(directory, "pw", "for-agents", ca); err != nil {
		t.Fatal(err)
	}
	for name, password := range map[string]string{"token": "pw", "agent-token": "for-agents"} {
		content, _ := os.ReadFile(path(name))
		info, err := os.Lstat(path(name))
		if want := "K10" + hash(ca) + "::server:" + password + "\n"; err != nil || string(content) != want || info.Mode() != 0o600 {
			t.Errorf("%s: %q %v %v", name, content, info.Mode(), err)
		}
	}
}

func TestRotateToken(t *testing.T) {
	directory, ca := t.TempDir(), certificate(t, time.Hour)
	running := "first" // what the running server was started with
	rotate := func(old, rotated string) error {
		return rotateToken(directory, old, rotated, ca, "https://s", func(password string) error {
			if password != running {
				return errors.New("401 Unauthorized")
			}
			return nil
		})
	}
	if err := writeTokens(directory, "first", "", ca); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(directory, "token"))
	for _, old := range []string{"other", "K10" + strings.Repeat("ab", 32) + "::server:first"} {
		if err := rotate(old, ""); err == nil {
			t.Errorf("%s was accepted as the old token", old)
		}
	}
	if err := rotate("", "abcdef.0123456789abcdef"); err == nil {
		t.Error("a bootstrap token was accepted as the new one")
	}
	if after, _ := os.ReadFile(filepath.Join(directory, "token")); string(after) != string(before) {
		t.Error("a refused rotation has changed the token")
	}
	if err := rotate(strings.TrimSpace(string(before)), ""); err != nil {
		t.Fatal(err)
	}
	second, err := serverPassword(directory, "")
	if err != nil || second == "first" || len(second) != 32 {
		t.Errorf("got %q, %v", second, err)
	}
	if info, _ := os.Lstat(filepath.Join(directory, "token")); info.Mode() != 0o600 {
		t.Error(info.Mode())
	}
	if err := rotate("", "third"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("before the restart, the server knows the new token: %v", err)
	}
	running = second
	if err := rotate("", "third"); err != nil {
		t.Error(err)
	}
	if _, err := serverPassword(directory, second); err == nil || !strings.Contains(err.Error(), "encrypted with different token") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyRotatedTokensAreDropped(t *testing.T) {
	secret := func(name, password, description string) string {
		id, key, _ := strings.Cut(bootstrapToken(password), ".")
		encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
		return fmt.Sprintf(`{"metadata":{"name":%q},"data":{"token-id":%q,"token-secret":%q,"description":%q}}`,
			name, encode(id), encode(key), encode(description))
	}
	var deleted []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			deleted = append(deleted, filepath.Base(r.URL.Path))
			return
		}
		fmt.Fprintf(w, `{"items":[%s,%s,%s,%s]}`, secret("old", "old", joinToken), secret("new", "new", joinToken),
			secret("agent", "for-agents", joinToken), secret("foreign", "foreign", "of a user"))
	}))
	defer server.Close()
	err := (&api{url: server.URL, client: server.Client()}).dropTokens(t.Context(), "new", "for-agents")
	if err != nil || strings.Join(deleted, " ") != "old" {
		t.Errorf("deleted %v, %v", deleted, err)
	}
}

func TestCertificatesThatEndSoon(t *testing.T) {
	const day = 24 * time.Hour
	for valid, soon := range map[time.Duration]bool{-day: true, 119 * day: true, 121 * day: false} {
		path := filepath.Join(t.TempDir(), "apiserver.crt")
		if err := os.WriteFile(path, certificate(t, valid), 0o600); err != nil {
			t.Fatal(err)
		}
		if endsSoon(path) != soon {
			t.Errorf("valid for %s: got %t", valid, !soon)
		}
	}
	if endsSoon("/nonexistent") {
		t.Error("a certificate that is not there ends soon")
	}
}
