// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// A stand-in for K3s around the upstream Kubernetes components; README.md says what it proves and what it does not.
//
// Build: CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=v1.34.4+k3s1", then
// "k3s pack OUTPUT FILE..." writes the executable with its components appended (see pack.go).
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

var version = "v0.0.0+k3s0" // set when linked

const standinMark = "This is the CloudCart lab's stand-in for K3s, not K3s: nothing run on it was tested on K3s."

func main() {
	if err := run(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		var usage *usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(os.Stderr, "Incorrect Usage: %s\n\n%s", usage, usage.help)
		}
		logFatal("%v", err)
	}
}

func run(program string, args []string) error {
	switch program {
	case "kubectl", "crictl", "ctr":
		return runTool(program, args)
	}
	if len(args) == 0 {
		return &usageError{message: "a subcommand is needed", help: mainHelp}
	}
	command := args[0]
	if (command == "server" || command == "agent") && len(args) == 2 && (args[1] == "--help" || args[1] == "-h") {
		fmt.Print(commandHelp(command))
		return nil
	}
	switch command {
	case "server":
		return serverMain(args[1:])
	case "agent":
		return agentMain(args[1:])
	case "kubectl", "crictl", "ctr":
		return runTool(command, args[1:])
	case "token":
		return tokenMain(args[1:])
	case "pack":
		return packMain(args[1:])
	case "--version", "-v":
		fmt.Printf("k3s version %s (standin)\ngo version %s\n", version, runtime.Version())
		return nil
	case "--help", "-h", "help":
		fmt.Print(mainHelp)
		return nil
	default:
		return &usageError{message: "no such subcommand of the stand-in: " + command, help: mainHelp}
	}
}

const mainHelp = `NAME:
   k3s - stand-in of the CloudCart lab for K3s

COMMANDS:
   server   Run a server: control plane and node
   agent    Run a node that joins a server
   kubectl  Run kubectl
   crictl   Run crictl
   ctr      Run ctr
   token    Rotate the server token
   --version
`

// runTool replaces this process by one of the packed programs.
func runTool(name string, args []string) error {
	dataDir, err := configuredDataDir()
	if err != nil {
		return err
	}
	bin, err := unpack(dataDir)
	if err != nil {
		return err
	}
	environment := map[string]string{
		"KUBECONFIG":           defaultKubeconfig,
		"CRI_CONFIG_FILE":      filepath.Join(dataDir, "agent/etc/crictl.yaml"),
		"CONTAINERD_ADDRESS":   containerdSocket,
		"CONTAINERD_NAMESPACE": "k8s.io",
	}
	for key, value := range environment {
		if os.Getenv(key) == "" && (key != "KUBECONFIG" || fileExists(value)) {
			os.Setenv(key, value)
		}
	}
	path := filepath.Join(bin, name)
	return syscall.Exec(path, append([]string{name}, args...), os.Environ())
}

func isRoot(command string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s must run as root, or with --rootless and/or --disable-agent", command)
	}
	return nil
}

// withoutNotify is the environment of child processes: none of them may notify systemd in our place.
func withoutNotify(add ...string) []string {
	var environment []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "NOTIFY_SOCKET=") && !strings.HasPrefix(entry, "K3S_") {
			environment = append(environment, entry)
		}
	}
	return append(environment, add...)
}
