// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// A packed executable is this program, then a tar.zst of the components, then a trailer:
// the SHA-256 of the tar.zst (32 bytes), its length (8 bytes, big-endian) and a magic word (8 bytes).
const (
	packMagic   = "K3SPACK1"
	trailerSize = sha256.Size + 8 + len(packMagic)
)

// multicall lists the names under which the program "k8s" of the pack is called.
var multicall = []string{
	"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm", "kubectl",
}

func packMain(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: k3s pack OUTPUT FILE... (k8s, etcd, containerd, containerd-shim-runc-v2, ctr, crictl, runc and the CNI plugins)")
	}
	return pack(args[0], args[1:])
}

// pack writes this program and the files to output; the same files give the same bytes.
func pack(output string, files []string) error {
	self, err := openSelf()
	if err != nil {
		return err
	}
	defer self.file.Close()
	temporary := output + ".tmp"
	out, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o755)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(self.file, 0, self.start)); err != nil {
		return err
	}
	sum := sha256.New()
	if err := writePayload(io.MultiWriter(out, sum), files); err != nil {
		return err
	}
	end, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	trailer := binary.BigEndian.AppendUint64(sum.Sum(nil), uint64(end-self.start))
	if _, err := out.Write(append(trailer, packMagic...)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(temporary, output)
}

func writePayload(out io.Writer, files []string) error {
	compressed, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		header := tar.Header{Name: filepath.Base(path), Mode: 0o755, Size: int64(len(content)), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

// A selfImage is the running executable; its payload is at start, size bytes long (0 without a payload).
type selfImage struct {
	file        *os.File
	start, size int64
	hash        string
}

func openSelf() (*selfImage, error) {
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	self := &selfImage{file: file, start: info.Size()}
	trailer := make([]byte, trailerSize)
	if _, err := file.ReadAt(trailer, info.Size()-int64(trailerSize)); err != nil {
		return nil, err
	}
	if bytes.HasSuffix(trailer, []byte(packMagic)) {
		self.hash = hex.EncodeToString(trailer[:sha256.Size])
		self.size = int64(binary.BigEndian.Uint64(trailer[sha256.Size:]))
		self.start = info.Size() - int64(trailerSize) - self.size
	}
	return self, nil
}

// unpack puts the components into <data-dir>/data/<sha256>/bin, once, points "current" at it and gives that bin directory.
func unpack(dataDir string) (string, error) {
	self, err := openSelf()
	if err != nil {
		return "", err
	}
	defer self.file.Close()
	if self.size == 0 {
		return "", errors.New("this executable carries no components: build it with \"k3s pack\"")
	}
	root := filepath.Join(dataDir, "data")
	target := filepath.Join(root, self.hash)
	bin := filepath.Join(target, "bin")
	if current, _ := os.Readlink(filepath.Join(root, "current")); current == target {
		return bin, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("cannot unpack the components: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if !fileExists(target) {
		if err := self.extract(target); err != nil {
			return "", err
		}
	}
	return bin, pointCurrent(root, target)
}

func (self *selfImage) extract(target string) error {
	logInfo("Preparing data dir %s", target)
	staging := target + "-tmp"
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	bin := filepath.Join(staging, "bin")
	if err := os.MkdirAll(filepath.Join(bin, "aux"), 0o755); err != nil {
		return err
	}
	sum := sha256.New()
	payload := io.TeeReader(io.NewSectionReader(self.file, self.start, self.size), sum)
	if err := extractPayload(payload, bin); err != nil {
		return fmt.Errorf("the packed components are damaged: %w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != self.hash {
		return errors.New("the packed components are damaged: wrong SHA-256")
	}
	for _, name := range multicall {
		if err := os.Symlink("k8s", filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return os.Rename(staging, target)
}

func extractPayload(payload io.Reader, directory string) error {
	decompressed, err := zstd.NewReader(payload)
	if err != nil {
		return err
	}
	defer decompressed.Close()
	archive := tar.NewReader(decompressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, payload)
			return err
		}
		if err != nil {
			return err
		}
		out, err := os.OpenFile(filepath.Join(directory, filepath.Base(header.Name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, archive)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

// pointCurrent makes "current" a link to target, and "previous" what "current" was.
func pointCurrent(root, target string) error {
	current := filepath.Join(root, "current")
	before, _ := os.Readlink(current)
	if before == target {
		return nil
	}
	if before != "" {
		if err := replaceLink(before, filepath.Join(root, "previous")); err != nil {
			return err
		}
	}
	return replaceLink(target, current)
}

func replaceLink(target, path string) error {
	temporary := path + ".tmp"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
