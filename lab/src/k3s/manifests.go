// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const scanManifestsEvery = 15 * time.Second

//go:embed manifests/*.yaml
var packaged embed.FS

// alwaysPackaged are the manifests that "disable" does not know.
var alwaysPackaged = []string{"rolebindings"}

// keepManifests applies the files of server/manifests: all at start, then those that have changed.
func (s *server) keepManifests(ctx context.Context) {
	directory := s.serverPath("manifests")
	if err := s.removeDisabled(ctx, directory); err != nil {
		logError("Disabled manifests: %v", err)
	}
	applied := map[string][sha256.Size]byte{}
	for ctx.Err() == nil {
		s.applyChanged(ctx, directory, applied)
		pause(ctx, scanManifestsEvery)
	}
}

// writePackaged writes the packaged manifests again, whatever became of them.
func (s *server) writePackaged() error {
	entries, err := packaged.ReadDir("manifests")
	if err != nil {
		return err
	}
	storage := s.config.last("default-local-storage-path")
	if storage == "" {
		storage = filepath.Join(s.dataDir, "storage")
	}
	values := strings.NewReplacer("%{CLUSTER_DNS}%", s.settings.clusterDNS, "%{CLUSTER_DOMAIN}%", s.settings.clusterDomain,
		"%{STORAGE_PATH}%", storage)
	disabled := s.disabled()
	for _, entry := range entries {
		content, err := packaged.ReadFile("manifests/" + entry.Name())
		if err != nil {
			return err
		}
		if slices.Contains(disabled, strings.TrimSuffix(entry.Name(), ".yaml")) {
			continue
		}
		if err := writeFile(s.serverPath("manifests", entry.Name()), []byte(values.Replace(string(content))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) disabled() []string {
	return slices.DeleteFunc(s.config.list("disable"), func(name string) bool { return slices.Contains(alwaysPackaged, name) })
}

// removeDisabled deletes the objects of disabled manifests, then the files.
func (s *server) removeDisabled(ctx context.Context, directory string) error {
	for _, name := range s.disabled() {
		path := filepath.Join(directory, name+".yaml")
		if !fileExists(path) {
			continue
		}
		logInfo("Deleting the objects of the disabled %s", name)
		if err := s.kubectl(ctx, "delete", "--ignore-not-found", "--wait=false", "-f", path); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) applyChanged(ctx context.Context, directory string, applied map[string][sha256.Size]byte) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		logError("Manifests: %v", err)
	}
	for _, entry := range entries {
		path := filepath.Join(directory, entry.Name())
		if !isManifest(entry) || fileExists(path+".skip") {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			logError("Manifests: %v", err)
			continue
		}
		sum := sha256.Sum256(content)
		if applied[path] == sum {
			continue
		}
		logInfo("Applying manifest %s", path)
		if err := s.apply(ctx, path); err != nil {
			logError("Failed to process config: failed to process %s: %v", path, err)
			continue
		}
		applied[path] = sum
	}
}

func (s *server) apply(ctx context.Context, path string) error {
	return s.kubectl(ctx, "apply", "--server-side", "--force-conflicts", "--field-manager=deploy@"+s.name, "-f", path)
}

func isManifest(entry os.DirEntry) bool {
	suffix := filepath.Ext(entry.Name())
	return !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") && slices.Contains([]string{".yaml", ".yml", ".json"}, suffix)
}

func (s *server) kubectl(ctx context.Context, arguments ...string) error {
	cache := filepath.Join(s.serverPath("cred"), "cache")
	return finish(s.children.command(ctx, "kubectl",
		append([]string{"--kubeconfig", s.cred("admin.kubeconfig"), "--cache-dir", cache}, arguments...)...))
}
