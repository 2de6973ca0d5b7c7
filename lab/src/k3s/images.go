// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	watchImagesEvery   = time.Second
	imageFilesSettleIn = 2 * time.Second
)

// importImages imports every archive in agent/images; one that cannot be imported is logged and left out, as K3s does.
func (m *machine) importImages(ctx context.Context) error {
	entries, err := os.ReadDir(m.path("images"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			m.importImage(ctx, m.path("images", entry.Name()))
		}
	}
	return ctx.Err()
}

func (m *machine) importImage(ctx context.Context, path string) {
	started := time.Now()
	logInfo("Importing images from %s", path)
	if err := m.importArchive(ctx, path); err != nil {
		logError("Error encountered while importing %s: %v", path, err)
		return
	}
	logInfo("Imported images from %s in %s", path, time.Since(started).Round(time.Millisecond))
}

func (m *machine) importArchive(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive, err := decompressed(file, path)
	if err != nil {
		return err
	}
	defer archive.Close()
	command := m.children.command(ctx, "ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", "-")
	command.Stdin = archive
	return finish(command)
}

func decompressed(file io.Reader, name string) (io.ReadCloser, error) {
	name = strings.ToLower(name)
	switch {
	case strings.HasSuffix(name, ".tar"):
		return io.NopCloser(file), nil
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return gzip.NewReader(file)
	case strings.HasSuffix(name, ".tar.zst"), strings.HasSuffix(name, ".tzst"):
		decoder, err := zstd.NewReader(file)
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	}
	return nil, errors.New("unhandled file type " + filepath.Ext(name))
}

// watchImages imports archives that come or change while the node runs, once they have been left alone for a while.
func (m *machine) watchImages(ctx context.Context) {
	imported := m.imageFiles()
	for {
		pause(ctx, watchImagesEvery)
		if ctx.Err() != nil {
			return
		}
		now := m.imageFiles()
		for path, state := range now {
			if state != imported[path] && time.Since(state.changed) >= imageFilesSettleIn {
				imported[path] = state
				m.importImage(ctx, path)
			}
		}
		for path := range imported {
			if _, there := now[path]; !there {
				delete(imported, path)
			}
		}
	}
}

type imageFile struct {
	size    int64
	changed time.Time
}

func (m *machine) imageFiles() map[string]imageFile {
	files := map[string]imageFile{}
	entries, err := os.ReadDir(m.path("images"))
	if err != nil {
		logError("%v", fmt.Errorf("watching images: %w", err))
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(entry.Name(), ".") {
			files[m.path("images", entry.Name())] = imageFile{info.Size(), info.ModTime()}
		}
	}
	return files
}
