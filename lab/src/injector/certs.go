// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"sync"
	"time"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 24 * time.Hour
	leafRenewal  = leafLifetime / 10
)

// authority is a CA whose key never leaves the process, and the hosts its leaf certificates are for.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	pem   []byte
	hosts []string
}

func newAuthority(hosts []string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certTemplate("Agent Inject CA", caLifetime)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, hosts: hosts, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

func (a *authority) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certTemplate("Agent Inject Service", leafLifetime)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = a.hosts
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func certTemplate(name string, lifetime time.Duration) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail on any supported system
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(lifetime),
	}
}

// certSource answers TLS handshakes: with files if they are named, else with the authority once serve was called.
type certSource struct {
	log               *slog.Logger
	certFile, keyFile string

	mutex     sync.Mutex
	authority *authority
	leaf      *tls.Certificate
}

// serve makes a the issuer of all following handshakes.
func (s *certSource) serve(a *authority) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.authority != a {
		s.authority, s.leaf = a, nil
	}
}

func (s *certSource) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.certFile != "" {
		cert, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
		return &cert, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.authority == nil {
		return nil, errors.New("no certificate available")
	}
	if s.leaf == nil || time.Until(s.leaf.Leaf.NotAfter) < leafRenewal {
		leaf, err := s.authority.issue()
		if err != nil {
			return nil, err
		}
		s.leaf = leaf
		s.log.Info("new serving certificate", "expires", leaf.Leaf.NotAfter)
	}
	return s.leaf, nil
}
