// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	defaultConfig     = "/etc/rancher/k3s/config.yaml"
	defaultKubeconfig = "/etc/rancher/k3s/k3s.yaml"
)

// A usageError is reported with the help text, like a wrong flag.
type usageError struct{ message, help string }

func (e *usageError) Error() string { return e.message }

// Config holds the values of the flags that were given: configuration file, command line and environment together.
type Config map[string][]string

func (c Config) last(key string) string {
	if values := c[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return flags[key].byDefault
}

func (c Config) yes(key string) bool { return c.last(key) == "true" }

// list gives the values of a repeatable flag; where K3s splits at commas, so does this.
func (c Config) list(key string) []string {
	var values []string
	for _, value := range c[key] {
		for _, part := range strings.Split(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				values = append(values, part)
			}
		}
	}
	return values
}

// arguments gives the values of a *-arg flag, which are not split.
func (c Config) arguments(key string) map[string]string {
	arguments := map[string]string{}
	for _, value := range c[key] {
		name, value, found := strings.Cut(strings.TrimLeft(value, "-"), "=")
		if !found {
			value = "true"
		}
		arguments[name] = value
	}
	return arguments
}

// loadConfig resolves the configuration of "server" or "agent": command line > files > environment > default.
func loadConfig(command string, args []string) (Config, error) {
	fromCommand, path, err := parseArguments(command, args)
	if err != nil {
		return nil, err
	}
	fromFiles, err := readConfigFiles(path)
	if err != nil {
		return nil, err
	}
	config := Config{}
	for _, key := range sortedKeys(fromFiles) {
		flag, known := flags[key]
		if !known || !flag.allowedIn(command) {
			if command == "server" {
				logWarn("Unknown flag --%s found in config.yaml, skipping", key)
				continue
			}
			return nil, notDefined(command, key)
		}
		config[key] = fromFiles[key]
	}
	for key, values := range fromCommand {
		config[key] = values
	}
	for key, flag := range flags {
		if value := os.Getenv(flag.env); flag.env != "" && value != "" && config[key] == nil && flag.allowedIn(command) {
			config[key] = []string{value}
		}
	}
	for _, key := range sortedKeys(config) {
		if err := flags[key].check(key, config[key]); err != nil {
			return nil, &usageError{message: err.Error(), help: commandHelp(command)}
		}
		if flags[key].ignored {
			logWarn("The stand-in accepts --%s, but it has no effect here", key)
		}
	}
	return config, config.readTokenFiles()
}

func (c Config) readTokenFiles() error {
	for _, key := range []string{"token", "agent-token"} {
		path := c.last(key + "-file")
		if c.last(key) != "" || path == "" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c[key] = []string{strings.TrimSpace(string(content))}
	}
	return nil
}

// parseArguments reads the command line; it also says which configuration file to read.
func parseArguments(command string, args []string) (Config, string, error) {
	config, path := Config{}, ""
	for i := 0; i < len(args); i++ {
		name, value, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			return nil, "", &usageError{message: "unexpected argument " + args[i], help: commandHelp(command)}
		}
		if long, short := shortFlags[name]; short {
			name = long
		}
		flag, known := flags[name]
		if !known || !flag.allowedIn(command) {
			return nil, "", notDefined(command, name)
		}
		switch {
		case hasValue:
		case flag.kind == boolFlag:
			value = "true"
		case i+1 < len(args):
			i++
			value = args[i]
		default:
			return nil, "", &usageError{message: "flag needs an argument: -" + name, help: commandHelp(command)}
		}
		if name == "config" {
			path = value
		} else {
			config[name] = append(config[name], value)
		}
	}
	return config, configPath(path), nil
}

func configPath(fromCommand string) string {
	for _, path := range []string{os.Getenv("K3S_CONFIG_FILE"), fromCommand} {
		if path != "" {
			return path
		}
	}
	return defaultConfig
}

// readConfigFiles merges the configuration file and its drop-ins.
func readConfigFiles(path string) (Config, error) {
	merged := Config{}
	dropIns, err := dropInFiles(path + ".d")
	if err != nil {
		return nil, err
	}
	for _, file := range append([]string{path}, dropIns...) {
		content, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) && file == path {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := merged.merge(content); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return merged, nil
}

func dropInFiles(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if suffix := filepath.Ext(entry.Name()); !entry.IsDir() && (suffix == ".yaml" || suffix == ".yml") {
			files = append(files, filepath.Join(directory, entry.Name()))
		}
	}
	return files, nil
}

// merge adds one file: the last value of a key wins, and "key+" appends to what was collected.
func (c Config) merge(content []byte) error {
	document := map[string]any{}
	if err := yaml.Unmarshal(content, &document); err != nil {
		return err
	}
	for key, value := range document {
		values, err := flagValues(value)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if base, appends := strings.CutSuffix(key, "+"); appends {
			c[base] = append(c[base], values...)
		} else {
			c[key] = values
		}
	}
	return nil
}

func flagValues(value any) ([]string, error) {
	switch value := value.(type) {
	case nil:
		return []string{""}, nil
	case map[string]any:
		return nil, errors.New("a mapping is not a value of a flag")
	case []any:
		values := []string{}
		for _, item := range value {
			values = append(values, fmt.Sprint(item))
		}
		return values, nil
	default:
		return []string{fmt.Sprint(value)}, nil
	}
}

// configuredDataDir is the data directory for subcommands that have no flags of their own.
func configuredDataDir() (string, error) {
	config, err := readConfigFiles(configPath(""))
	if err != nil {
		return "", err
	}
	if config["data-dir"] == nil && os.Getenv("K3S_DATA_DIR") != "" {
		return os.Getenv("K3S_DATA_DIR"), nil
	}
	return config.last("data-dir"), nil
}

func notDefined(command, key string) error {
	return &usageError{message: "flag provided but not defined: -" + key, help: commandHelp(command)}
}

func commandHelp(command string) string {
	lines := []string{"NAME:", "   k3s " + command + " - stand-in of the CloudCart lab for K3s", "", "OPTIONS:"}
	for _, key := range sortedKeys(flags) {
		if flags[key].allowedIn(command) {
			lines = append(lines, "   --"+key)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func (f flag) check(key string, values []string) error {
	for _, value := range values {
		if f.kind == boolFlag && value != "true" && value != "false" {
			return fmt.Errorf("invalid boolean value %q for -%s: parse error", value, key)
		}
		if f.kind == intFlag {
			if _, err := strconv.Atoi(value); err != nil {
				return fmt.Errorf("invalid value %q for flag -%s: parse error", value, key)
			}
		}
	}
	return nil
}
