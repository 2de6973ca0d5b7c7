// Command injector is the lab's stand-in for vault-k8s: it admits pods as the Vault Agent Injector does, around the
// agent of OpenBao. README.md says what it does not prove.
//
// SPDX-License-Identifier: GPL-3.0-or-later
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"
)

const standInNotice = "this is the CloudCart lab's stand-in for vault-k8s 1.7.6, not the product: no result here is a result about vault-k8s"

func main() {
	if len(os.Args) < 2 || os.Args[1] != "agent-inject" {
		fmt.Fprintln(os.Stderr, "usage: injector agent-inject   (configured by AGENT_INJECT_* environment variables)")
		fmt.Fprintln(os.Stderr, standInNotice)
		os.Exit(2)
	}
	// The real program traps SIGINT only, so SIGTERM stops at once here too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves the webhook until ctx ends.
func run(ctx context.Context, getenv func(string) string, output io.Writer) error {
	cfg, err := loadSettings(getenv)
	if err != nil {
		return err
	}
	log := newLogger(output, cfg)
	log.Warn(standInNotice)
	if cfg.leaderElector {
		log.Warn("AGENT_INJECT_USE_LEADER_ELECTOR is set: leader election is not part of the stand-in, each replica keeps its own CA")
	}

	certs := &certSource{log: log, certFile: cfg.certFile, keyFile: cfg.keyFile}
	failed := make(chan error, 1)
	if cfg.webhookConfig != "" {
		api, err := inCluster(getenv)
		if err != nil {
			return fmt.Errorf("Error loading in-cluster K8S config: %w", err) //nolint:staticcheck // the product's wording
		}
		authority, err := newAuthority(cfg.autoHosts)
		if err != nil {
			return err
		}
		keeper := &bundleKeeper{api: api, name: cfg.webhookConfig, ca: authority.pem, log: log, patched: func() { certs.serve(authority) }}
		go keeper.run(ctx)
	}

	server := &http.Server{
		Addr:              cfg.listen,
		Handler:           newHandler(cfg, log),
		TLSConfig:         &tls.Config{MinVersion: cfg.tlsMinVersion, GetCertificate: certs.get},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelError),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		log.Info("Starting handler..")
		failed <- server.ListenAndServeTLS("", "")
	}()
	select {
	case err := <-failed:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("error listening on %s: %w", cfg.listen, err)
	case <-ctx.Done():
		return server.Close()
	}
}

func newLogger(output io.Writer, cfg settings) *slog.Logger {
	level := slog.LevelInfo
	switch strings.ToLower(cfg.logLevel) {
	case "trace", "debug":
		level = slog.LevelDebug
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(output, options))
	}
	return slog.New(slog.NewTextHandler(output, options))
}
