// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	goflag "flag"
	"fmt"
	"io"
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
	tokenFile := filepath.Join(serverDir, "token")
	if err := writeFile(tokenFile, fullToken(password, ca), 0o600); err != nil {
		return err
	}
	if err := replaceLink(tokenFile, filepath.Join(serverDir, "node-token")); err != nil {
		return err
	}
	if agentPassword == "" {
		return replaceLink(tokenFile, filepath.Join(serverDir, "agent-token"))
	}
	return writeFile(filepath.Join(serverDir, "agent-token"), fullToken(agentPassword, ca), 0o600)
}

const notTheServerToken = "%s/v1-k3s/token: 401 Unauthorized"

// tokenMain is "k3s token rotate".
func tokenMain(args []string) error {
	if len(args) == 0 || args[0] != "rotate" {
		return &usageError{message: "the stand-in has only \"token rotate\"", help: mainHelp}
	}
	dataDir, err := configuredDataDir()
	if err != nil {
		return err
	}
	set := goflag.NewFlagSet("token rotate", goflag.ContinueOnError)
	set.SetOutput(io.Discard)
	old, rotated, server := set.String("token", os.Getenv("K3S_TOKEN"), ""), set.String("new-token", "", ""), set.String("server", "https://127.0.0.1:6443", "")
	set.StringVar(&dataDir, "data-dir", dataDir, "")
	if err := set.Parse(args[1:]); err != nil || set.NArg() > 0 {
		return &usageError{message: fmt.Sprintf("token rotate: %v %v", err, set.Args()), help: mainHelp}
	}
	fmt.Println("\033[33mWARNING\033[0m: Recommended to keep a record of the old token. If restoring from a snapshot, you must use the token associated with that snapshot.")
	serverDir := filepath.Join(dataDir, "server")
	ca, err := os.ReadFile(filepath.Join(serverDir, "tls/ca.crt"))
	if err != nil {
		return err
	}
	// The running server knows only the token that it was started with.
	err = rotateToken(serverDir, *old, *rotated, ca, *server, func(password string) error {
		_, err := fetchSettings(context.Background(), newAPI(*server, bootstrapToken(password), trusting(ca)))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("Token rotated, restart k3s nodes with new token")
	return nil
}

// rotateToken writes another server/token when the running server accepts the old one. It is in force after a restart.
func rotateToken(serverDir, old, rotated string, ca []byte, server string, accepts func(string) error) error {
	path := filepath.Join(serverDir, "token")
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	kept, err := parseToken(strings.TrimSpace(string(content)))
	if err != nil {
		return err
	}
	if old == "" {
		old = kept.password
	}
	given, err := parseToken(old)
	if err != nil {
		return err
	}
	if err := given.checkCA(ca); err != nil {
		return err
	}
	if given.password != kept.password {
		return fmt.Errorf(notTheServerToken, server)
	}
	if err := accepts(given.password); err != nil {
		return err
	}
	if rotated == "" {
		rotated = randomHex(16)
	}
	token, err := parseToken(rotated)
	if err != nil || bootstrapFormat.MatchString(token.password) {
		return errors.New("the new token must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>")
	}
	return writeFile(path, fullToken(token.password, ca), 0o600)
}

func fullToken(password string, ca []byte) []byte {
	return []byte("K10" + caHash(ca) + "::server:" + password + "\n")
}
