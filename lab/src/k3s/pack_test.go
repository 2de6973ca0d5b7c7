// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets a packed copy of the test program be the stand-in.
func TestMain(m *testing.M) {
	if arguments := os.Getenv("STANDIN_ARGUMENTS"); arguments != "" {
		if err := run(filepath.Base(os.Args[0]), strings.Fields(arguments)); err != nil {
			logFatal("%v", err)
		}
		return
	}
	os.Exit(m.Run())
}

func standin(t *testing.T, program, dataDir, arguments string) (string, error) {
	t.Helper()
	command := exec.Command(program)
	command.Env = append(os.Environ(), "STANDIN_ARGUMENTS="+arguments, "K3S_DATA_DIR="+dataDir, "K3S_CONFIG_FILE="+dataDir+"/none.yaml")
	output, err := command.CombinedOutput()
	return string(output), err
}

// packed makes an executable that carries a kubectl which tells how it was called.
func packed(t *testing.T, name, text string) string {
	t.Helper()
	directory := t.TempDir()
	script := filepath.Join(directory, "k8s")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho "+text+" $0 $*\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(directory, name)
	if err := pack(output, []string{script}); err != nil {
		t.Fatal(err)
	}
	return output
}

func TestPackedProgramUnpacksItselfAndRunsTools(t *testing.T) {
	dataDir := t.TempDir()
	first, second := packed(t, "k3s", "first"), packed(t, "k3s", "second")
	output, err := standin(t, first, dataDir, "kubectl get nodes")
	if err != nil || !strings.Contains(output, "first ") || !strings.Contains(output, "kubectl get nodes") {
		t.Fatalf("%s %v", output, err)
	}
	root := filepath.Join(dataDir, "data")
	before, _ := os.Readlink(filepath.Join(root, "current"))
	if filepath.Dir(before) != root || len(filepath.Base(before)) != 64 {
		t.Errorf("current points to %q", before)
	}
	if output, err := standin(t, second, dataDir, "kubectl"); err != nil || !strings.Contains(output, "second ") {
		t.Fatalf("%s %v", output, err)
	}
	current, _ := os.Readlink(filepath.Join(root, "current"))
	previous, _ := os.Readlink(filepath.Join(root, "previous"))
	if current == before || previous != before {
		t.Errorf("current is %s, previous %s, before it was %s", current, previous, before)
	}
}

func TestNameOfTheProgramChoosesTheTool(t *testing.T) {
	program := packed(t, "kubectl", "tool")
	command := exec.Command(program)
	command.Env = append(os.Environ(), "STANDIN_ARGUMENTS=version", "K3S_DATA_DIR="+t.TempDir(), "K3S_CONFIG_FILE=/nonexistent.yaml")
	if output, err := command.CombinedOutput(); err != nil || !strings.Contains(string(output), "kubectl version") {
		t.Fatalf("%s %v", output, err)
	}
}

func TestPackingIsReproducibleAndRepacks(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "etcd")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	var results [][]byte
	for _, name := range []string{"a", "b"} {
		if err := pack(filepath.Join(directory, name), []string{file}); err != nil {
			t.Fatal(err)
		}
		content, _ := os.ReadFile(filepath.Join(directory, name))
		results = append(results, content)
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Error("the same files give different bytes")
	}
}

func TestDamagedPayloadIsRefused(t *testing.T) {
	program := packed(t, "k3s", "text")
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-trailerSize-10] ^= 1
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	dataDir := t.TempDir()
	output, err := standin(t, program, dataDir, "kubectl")
	if err == nil || !strings.Contains(output, "damaged") || fileExists(filepath.Join(dataDir, "data/current")) {
		t.Errorf("%s %v", output, err)
	}
}

func TestVersionHasTwoLines(t *testing.T) {
	output, err := standin(t, packed(t, "k3s", "x"), t.TempDir(), "--version")
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if err != nil || len(lines) != 2 || strings.Fields(lines[0])[2] != version || !strings.Contains(lines[0], "(standin)") {
		t.Errorf("%s %v", output, err)
	}
}
