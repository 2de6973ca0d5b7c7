// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.yaml.in/yaml/v3"
)

func TestDecompressedByName(t *testing.T) {
	var zipped, zstandard bytes.Buffer
	gzipWriter := gzip.NewWriter(&zipped)
	_, _ = gzipWriter.Write([]byte("content"))
	_ = gzipWriter.Close()
	zstdWriter, _ := zstd.NewWriter(&zstandard)
	_, _ = zstdWriter.Write([]byte("content"))
	_ = zstdWriter.Close()
	for name, archive := range map[string][]byte{
		"a.tar": []byte("content"), "a.TAR.GZ": zipped.Bytes(), "a.tgz": zipped.Bytes(),
		"a.tar.zst": zstandard.Bytes(), "a.tzst": zstandard.Bytes(),
	} {
		reader, err := decompressed(bytes.NewReader(archive), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if content, err := io.ReadAll(reader); err != nil || string(content) != "content" {
			t.Errorf("%s: %q %v", name, content, err)
		}
	}
	if _, err := decompressed(nil, "a.zip"); err == nil || !strings.Contains(err.Error(), "unhandled file type") {
		t.Errorf("got %v", err)
	}
}

func TestAddressesOfReadyNodes(t *testing.T) {
	var nodes []node
	text := `[
	  {"metadata": {"name": "a"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "True"}]}},
	  {"metadata": {"name": "b"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}], "conditions": [{"type": "Ready", "status": "Unknown"}]}},
	  {"metadata": {"name": "c"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.3"}, {"type": "ExternalIP", "address": "192.0.2.3"}], "conditions": [{"type": "Ready", "status": "True"}]}}
	]`
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		t.Fatal(err)
	}
	want := []ingressAddress{{"10.0.0.1", "VIP"}, {"192.0.2.3", "VIP"}}
	if got := addressesOf(nodes); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestWriteFileSetsTheModeAndReplacesLinks(t *testing.T) {
	directory := t.TempDir()
	path, other := filepath.Join(directory, "file"), filepath.Join(directory, "other")
	if err := os.WriteFile(other, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o640} {
		if err := writeFile(path, []byte("new"), mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("got %v, %v", info.Mode(), err)
		}
	}
	if content, _ := os.ReadFile(other); string(content) != "old" {
		t.Error("the file behind the link was written")
	}
}

func TestPackagedManifestsAreYAMLInKubeSystem(t *testing.T) {
	entries, err := packaged.ReadDir("manifests")
	if err != nil || len(entries) < 5 {
		t.Fatalf("%v %v", entries, err)
	}
	for _, entry := range entries {
		content, _ := packaged.ReadFile("manifests/" + entry.Name())
		decoder := yaml.NewDecoder(bytes.NewReader(content))
		for {
			var object struct {
				Kind     string   `yaml:"kind"`
				Metadata metadata `yaml:"metadata"`
			}
			err := decoder.Decode(&object)
			if err == io.EOF {
				break
			}
			if err != nil || object.Kind == "" || object.Metadata.Name == "" {
				t.Fatalf("%s: %v %v", entry.Name(), object, err)
			}
			if namespace := object.Metadata.Namespace; namespace != "" && namespace != "kube-system" {
				t.Errorf("%s: %s %s is in %s", entry.Name(), object.Kind, object.Metadata.Name, namespace)
			}
		}
	}
}
