// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
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
	one, root := certificate(t), certificate(t)
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
	if err := writeTokens(directory, first, "", certificate(t)); err != nil {
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
	ca := certificate(t)
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
