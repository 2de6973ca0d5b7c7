// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// writeFile replaces a file in one step; it leaves an equal one alone, but for its mode.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
		if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, content) {
			return os.Chmod(path, mode)
		}
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	if err := errors.Join(err, temporary.Chmod(mode), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

func writeYAML(path string, mode os.FileMode, documents ...any) error {
	var content bytes.Buffer
	encoder := yaml.NewEncoder(&content)
	for _, document := range documents {
		if err := encoder.Encode(document); err != nil {
			return err
		}
	}
	return writeFile(path, content.Bytes(), mode)
}

func makeDirs(mode os.FileMode, paths ...string) error {
	for _, path := range paths {
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

// doc is a piece of YAML or JSON.
type doc = map[string]any
