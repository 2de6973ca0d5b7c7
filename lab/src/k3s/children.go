// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const stopPatience = 3 * time.Second

// children are the components. They end with this process, however it ends; the shims that containerd has started stay,
// and with them the pods.
type children struct {
	bin     string
	failed  chan error
	starter chan func()

	mutex    sync.Mutex
	stopping bool
	running  []*child
}

type child struct {
	name    string
	process *exec.Cmd
	ended   chan struct{}
}

func newChildren(bin string) *children {
	c := &children{bin: bin, failed: make(chan error, 1), starter: make(chan func())}
	go func() {
		// The kernel kills a child when the *thread* that started it ends: this one lives as long as the process.
		runtime.LockOSThread()
		for start := range c.starter {
			start()
		}
	}()
	return c
}

// start runs a component; that it ends before stop is reported in failed.
func (c *children) start(name string, output io.Writer, args []string) error {
	logInfo("Running %s", name)
	process := exec.Command(filepath.Join(c.bin, name), args...)
	process.Env = withoutNotify("PATH=" + c.bin + ":" + os.Getenv("PATH"))
	process.Stdout, process.Stderr = output, output
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	c.starter <- func() { started <- process.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	running := &child{name, process, make(chan struct{})}
	c.mutex.Lock()
	c.running = append(c.running, running)
	c.mutex.Unlock()
	go func() {
		err := process.Wait()
		close(running.ended)
		c.mutex.Lock()
		defer c.mutex.Unlock()
		if !c.stopping {
			select {
			case c.failed <- fmt.Errorf("%s exited: %v", name, err):
			default:
			}
		}
	}()
	return nil
}

// stop ends the components, the last started first.
func (c *children) stop() {
	c.mutex.Lock()
	c.stopping = true
	running := c.running
	c.mutex.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		_ = running[i].process.Process.Signal(syscall.SIGTERM)
		select {
		case <-running[i].ended:
		case <-time.After(stopPatience):
			logWarn("%s does not end, killing it", running[i].name)
			_ = running[i].process.Process.Kill()
			<-running[i].ended
		}
	}
}

// command is a short-lived program of the pack.
func (c *children) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	command.Env = withoutNotify("PATH=" + c.bin + ":" + os.Getenv("PATH"))
	return command
}

func finish(command *exec.Cmd) error {
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, lastLines(output))
	}
	return nil
}

func lastLines(output []byte) string {
	if len(output) > 600 {
		output = output[len(output)-600:]
	}
	return string(output)
}

// waitFor asks until the answer is nil.
func waitFor(ctx context.Context, every time.Duration, what string, ask func() error) error {
	reported := time.Now()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Since(reported) > 10*time.Second {
			logInfo("Waiting for %s: %v", what, err)
			reported = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}
