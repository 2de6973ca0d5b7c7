// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A clusterToken is K10<hash of the CA>::<user>:<password>, or only the password (no hash then).
type clusterToken struct{ caHash, user, password string }

var bootstrapFormat = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)

func parseToken(text string) (clusterToken, error) {
	if text == "" {
		return clusterToken{}, errors.New("token must not be empty")
	}
	rest, full := strings.CutPrefix(text, "K10")
	if !full {
		return clusterToken{user: "node", password: text}, nil
	}
	hash, credentials, found := strings.Cut(rest, "::")
	if !found {
		return clusterToken{}, errors.New("invalid token format")
	}
	if len(hash) != 2*sha256.Size {
		return clusterToken{}, errors.New("invalid token CA hash length")
	}
	if bootstrapFormat.MatchString(credentials) {
		return clusterToken{caHash: hash, password: credentials}, nil
	}
	user, password, found := strings.Cut(credentials, ":")
	if !found || password == "" {
		return clusterToken{}, errors.New("invalid token format")
	}
	return clusterToken{caHash: hash, user: user, password: password}, nil
}

// caHash is the hash in a full token: of the PEM file if it holds one certificate, else of the last (root) one's DER.
func caHash(bundle []byte) string {
	var last []byte
	count := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			last = block.Bytes
			count++
		}
	}
	if count == 1 {
		last = bundle
	}
	sum := sha256.Sum256(last)
	return hex.EncodeToString(sum[:])
}

func (t clusterToken) checkCA(bundle []byte) error {
	if got := caHash(bundle); t.caHash != "" && t.caHash != got {
		return fmt.Errorf("token CA hash does not match the Cluster CA certificate hash: %s != %s", t.caHash, got)
	}
	return nil
}

// bootstrapToken derives the bootstrap token of Kubernetes (id.secret) that proves the knowledge of the password.
func bootstrapToken(password string) string {
	if bootstrapFormat.MatchString(password) {
		return password
	}
	id := sha256.Sum256([]byte("cloudcart lab bootstrap id\n" + password))
	secret := sha256.Sum256([]byte("cloudcart lab bootstrap secret\n" + password))
	return hex.EncodeToString(id[:3]) + "." + hex.EncodeToString(secret[:8])
}

func randomHex(bytes int) string {
	buffer := make([]byte, bytes)
	_, _ = rand.Read(buffer) // never fails (crypto/rand)
	return hex.EncodeToString(buffer)
}

// serverPassword is the password of this server: the configured one, or the one it has, or a new one.
func serverPassword(serverDir, configured string) (string, error) {
	kept := ""
	if content, err := os.ReadFile(filepath.Join(serverDir, "token")); err == nil {
		token, err := parseToken(strings.TrimSpace(string(content)))
		if err != nil {
			return "", err
		}
		kept = token.password
	}
	if configured == "" {
		if kept == "" {
			kept = randomHex(16)
		}
		return kept, nil
	}
	token, err := parseToken(configured)
	if err != nil || bootstrapFormat.MatchString(token.password) {
		return "", errors.New("failed to normalize server token; must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>")
	}
	if kept != "" && kept != token.password {
		return "", errors.New("bootstrap data already found and encrypted with different token")
	}
	return token.password, nil
}

// writeTokens writes server/token and the links and files beside it.
func writeTokens(serverDir, password, agentPassword string, ca []byte) error {
	full := func(password string) []byte {
		return []byte("K10" + caHash(ca) + "::server:" + password + "\n")
	}
	if err := writeFile(filepath.Join(serverDir, "token"), full(password), 0o600); err != nil {
		return err
	}
	tokenFile := filepath.Join(serverDir, "token")
	if err := replaceLink(tokenFile, filepath.Join(serverDir, "node-token")); err != nil {
		return err
	}
	if agentPassword == "" {
		return replaceLink(tokenFile, filepath.Join(serverDir, "agent-token"))
	}
	return writeFile(filepath.Join(serverDir, "agent-token"), full(agentPassword), 0o600)
}
