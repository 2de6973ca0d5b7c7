// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// write makes a configuration directory and points K3S_CONFIG_FILE at its config.yaml.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	directory := t.TempDir()
	for name, content := range files {
		path := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("K3S_CONFIG_FILE", filepath.Join(directory, "config.yaml"))
	return directory
}

func load(t *testing.T, command string, args ...string) Config {
	t.Helper()
	config, err := loadConfig(command, args)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestCommandLineWinsOverFilesOverEnvironment(t *testing.T) {
	write(t, map[string]string{"config.yaml": "token: file\nserver: https://file:6443\ntls-san: [a, b]\n"})
	t.Setenv("K3S_TOKEN", "environment")
	t.Setenv("K3S_NODE_NAME", "from-environment")
	config := load(t, "server", "--server", "https://cli:6443", "--tls-san=c")
	for key, want := range map[string]string{"token": "file", "server": "https://cli:6443", "node-name": "from-environment"} {
		if got := config.last(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := config.list("tls-san"); !reflect.DeepEqual(got, []string{"c"}) {
		t.Errorf("a list on the command line replaces the file's, got %v", got)
	}
}

func TestDropInsReplaceAndAppendInNameOrder(t *testing.T) {
	write(t, map[string]string{
		"config.yaml":             "tls-san: [a]\nnode-label: [x=1]\nnode-name: main\n",
		"config.yaml.d/10.yaml":   "tls-san+: [b]\nnode-label: [y=2]\n",
		"config.yaml.d/20.yml":    "tls-san+: c\nnode-name: last\n",
		"config.yaml.d/30.ignore": "node-name: never\n",
	})
	config := load(t, "server")
	if got := config.list("tls-san"); !reflect.DeepEqual(got, []string{"a", "b", "c"}) {
		t.Errorf("tls-san is %v", got)
	}
	if got := config.list("node-label"); !reflect.DeepEqual(got, []string{"y=2"}) {
		t.Errorf("node-label is %v", got)
	}
	if got := config.last("node-name"); got != "last" {
		t.Errorf("node-name is %q", got)
	}
}

func TestDropInsNeedNoMainFile(t *testing.T) {
	write(t, map[string]string{"config.yaml.d/a.yaml": "node-name: alone\n"})
	if got := load(t, "agent").last("node-name"); got != "alone" {
		t.Errorf("node-name is %q", got)
	}
}

func TestFlagOfTheCommandLineNamesTheFile(t *testing.T) {
	directory := write(t, map[string]string{"other.yaml": "node-name: other\n"})
	t.Setenv("K3S_CONFIG_FILE", "")
	if got := load(t, "server", "-c", filepath.Join(directory, "other.yaml")).last("node-name"); got != "other" {
		t.Errorf("node-name is %q", got)
	}
}

func TestServerSkipsUnknownKeys(t *testing.T) {
	write(t, map[string]string{"config.yaml": "bogus: 1\nnode-name: n\n"})
	config := load(t, "server")
	if config["bogus"] != nil || config.last("node-name") != "n" {
		t.Errorf("got %v", config)
	}
}

func TestAgentRefusesServerKeysAndUnknownFlags(t *testing.T) {
	for name, test := range map[string]struct {
		command, file string
		args          []string
		want          string
	}{
		"server key for agent": {"agent", "disable: [traefik]\n", nil, "flag provided but not defined: -disable"},
		"unknown key":          {"agent", "bogus: 1\n", nil, "flag provided but not defined: -bogus"},
		"unknown flag":         {"server", "", []string{"--bogus"}, "flag provided but not defined: -bogus"},
		"not a boolean":        {"server", "cluster-init: perhaps\n", nil, `invalid boolean value "perhaps" for -cluster-init`},
		"not a number":         {"server", "https-listen-port: x\n", nil, `invalid value "x" for flag -https-listen-port`},
		"no value":             {"server", "", []string{"--token"}, "flag needs an argument: -token"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, map[string]string{"config.yaml": test.file})
			_, err := loadConfig(test.command, test.args)
			var usage *usageError
			if !errors.As(err, &usage) || !strings.HasPrefix(usage.message, test.want) {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			if !strings.Contains(usage.help, "--node-name") {
				t.Error("the help text is missing")
			}
		})
	}
}

func TestBrokenFileIsNamed(t *testing.T) {
	directory := write(t, map[string]string{"config.yaml": "a: [\n"})
	if _, err := loadConfig("server", nil); err == nil || !strings.Contains(err.Error(), filepath.Join(directory, "config.yaml")) {
		t.Errorf("got %v", err)
	}
}

func TestBooleansNumbersAndTokenFile(t *testing.T) {
	directory := write(t, map[string]string{"secret": "from-a-file\n"})
	content := "secrets-encryption: true\nhttps-listen-port: 7443\ntoken-file: " + filepath.Join(directory, "secret") + "\n"
	if err := os.WriteFile(filepath.Join(directory, "config.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	config := load(t, "server", "--cluster-init")
	if !config.yes("secrets-encryption") || !config.yes("cluster-init") || config.last("https-listen-port") != "7443" {
		t.Errorf("got %v", config)
	}
	if config.last("token") != "from-a-file" {
		t.Errorf("token is %q", config.last("token"))
	}
}

func TestDataDirOfOtherSubcommands(t *testing.T) {
	write(t, map[string]string{"config.yaml": "data-dir: /from/file\n"})
	t.Setenv("K3S_DATA_DIR", "/from/environment")
	if got, err := configuredDataDir(); err != nil || got != "/from/file" {
		t.Errorf("got %q, %v", got, err)
	}
	write(t, nil)
	if got, err := configuredDataDir(); err != nil || got != "/from/environment" {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("K3S_DATA_DIR", "")
	if got, err := configuredDataDir(); err != nil || got != "/var/lib/rancher/k3s" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestArgumentsOfComponentsWin(t *testing.T) {
	config := Config{"kubelet-arg": {"max-pods=50", "v=2", "feature-gates=A=true,B=false"}}
	got := commandLine(map[string]string{"max-pods": "110", "node-ip": "10.0.0.1"}, config.arguments("kubelet-arg"))
	want := []string{"--feature-gates=A=true,B=false", "--max-pods=50", "--node-ip=10.0.0.1", "--v=2"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestShownArgumentsHideSecrets(t *testing.T) {
	m := &machine{config: Config{"token": {"hidden-1"}, "agent-token": {"hidden-2"}, "etcd-s3-secret-key": {"hidden-3"}, "tls-san": {"a"}}}
	shown := strings.Join(m.shownArguments(), " ")
	if strings.Contains(shown, "hidden") || !strings.Contains(shown, "--tls-san a") {
		t.Errorf("got %s", shown)
	}
}

func TestClusterDNSIsTheTenthServiceAddress(t *testing.T) {
	for services, want := range map[string]string{"10.43.0.0/16": "10.43.0.10", "10.96.3.0/24": "10.96.3.10"} {
		settings, err := settingsOf(Config{"service-cidr": {services}})
		if err != nil || settings.clusterDNS != want || settings.clusterCIDR != "10.42.0.0/16" {
			t.Errorf("got %v, %v", settings, err)
		}
	}
	if _, err := settingsOf(Config{"service-cidr": {"x"}}); err == nil {
		t.Error("a wrong service-cidr is accepted")
	}
}
