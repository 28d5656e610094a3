package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// heartbeat is how often a running step says that it still runs.
const heartbeat = 15 * time.Second

// step runs one command of the set-up to its end. Its output goes to a log
// file; the end of that file is shown when it fails.
func (s *system) step(ctx context.Context, title, logName string, env []string, name string, args ...string) error {
	started := time.Now()
	logPath := filepath.Join(s.dirs.logs, logName+".log")
	logFile, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	defer logFile.Close()

	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dirs.root
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// A group of its own, so that Ctrl-C reaches it through us only, and all
	// of it: compilers are grandchildren.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second

	s.out.line("%s …", title)
	if err := s.spawner.start(cmd); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err == nil {
				s.out.line("%s: done in %s", title, time.Since(started).Round(time.Second))
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: %w; the end of %s:\n%s", title, err, s.dirs.relative(logPath), tail(logPath, 15))
		case <-tick.C:
			s.out.line("%s … %s so far%s", title, time.Since(started).Round(time.Second), lastWord(logPath))
		}
	}
}

// tail is the last n lines of a file, indented.
func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "  " + strings.Join(lines, "\n  ")
}

// lastWord is the newest line of a step's log, in brackets, cut to fit a line.
func lastWord(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	data = bytes.TrimSpace(data)
	if i := bytes.LastIndexByte(data, '\n'); i >= 0 {
		data = data[i+1:]
	}
	if len(data) == 0 {
		return ""
	}
	if len(data) > 60 {
		data = append(append([]byte{}, data[:57]...), "..."...)
	}
	return fmt.Sprintf(" (%s)", data)
}
