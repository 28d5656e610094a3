package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// state is what outlives a run that was killed: the lock that only one run
// holds, and which processes it had started.
type state struct {
	lock *os.File
	pids string // file with "pid starttime" lines
	mu   sync.Mutex
}

// stopping in the lock file says that the run which holds it is on its way out.
const stopping = "stopping"

// takeLock makes this the only run in this folder. An earlier one that is
// about to end is waited for; one that runs on is an error that names it.
func takeLock(ctx context.Context, d dirs, out *printer) (*state, error) {
	path := filepath.Join(d.state, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	announced := false
	for deadline := time.Now().Add(90 * time.Second); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", d.relative(path), err)
		}
		holder, _ := os.ReadFile(path)
		pid, word, _ := strings.Cut(strings.TrimSpace(string(holder)), " ")
		if word != stopping && !orphaned(pid) || time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("another make run holds the lock (pid %s); stop it with Ctrl-C there, or: kill %s", pid, pid)
		}
		if !announced {
			out.line("an earlier run (pid %s) is still stopping; waiting for it", pid)
			announced = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	s := &state{lock: f, pids: filepath.Join(d.state, "pids")}
	return s, s.writeLock("")
}

// orphaned reports whether process pid lost its parent: a run whose make was
// killed is about to stop by itself.
func orphaned(pid string) bool {
	fields, err := statFields(pid)
	return err == nil && fields[3] == "1"
}

func (s *state) writeLock(word string) error {
	if err := s.lock.Truncate(0); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	if _, err := s.lock.WriteAt([]byte(strings.TrimSpace(fmt.Sprintf("%d %s", os.Getpid(), word))+"\n"), 0); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	return nil
}

func (s *state) markStopping() { s.writeLock(stopping) }

// release forgets the processes, which have all been stopped, and the lock.
func (s *state) release() {
	os.Remove(s.pids)
	s.lock.Close()
}

// remember notes a process of ours, with its start time, since a pid alone
// may be another's later.
func (s *state) remember(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	started, err := startTime(strconv.Itoa(pid))
	if err != nil {
		return // it is gone already
	}
	f, err := os.OpenFile(s.pids, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%d %s\n", pid, started)
}

// stopLeftovers ends what an earlier, killed run left running.
func (s *state) stopLeftovers(out *printer) {
	data, err := os.ReadFile(s.pids)
	if err != nil {
		return
	}
	defer os.Remove(s.pids)
	var left []int
	for _, line := range strings.Split(string(data), "\n") {
		pid, started, ok := strings.Cut(line, " ")
		if now, err := startTime(pid); !ok || err != nil || now != started {
			continue
		}
		if n, err := strconv.Atoi(pid); err == nil {
			left = append(left, n)
		}
	}
	if len(left) == 0 {
		return
	}
	out.line("an earlier run was killed: stopping the %d processes it left", len(left))
	for _, pid := range left {
		syscall.Kill(pid, syscall.SIGTERM)
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range left {
		for alive(pid) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
		}
		if alive(pid) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// alive reports whether pid is a process that is not a zombie.
func alive(pid int) bool {
	fields, err := statFields(strconv.Itoa(pid))
	return err == nil && fields[2] != "Z"
}

// startTime is field 22 of /proc/PID/stat (proc(5)): clock ticks after boot.
func startTime(pid string) (string, error) {
	fields, err := statFields(pid)
	if err != nil {
		return "", err
	}
	return fields[21], nil
}

// statFields are the fields of /proc/PID/stat; field n of proc(5) has index
// n-1. The command, which may hold spaces, counts as one.
func statFields(pid string) ([]string, error) {
	if _, err := strconv.Atoi(pid); err != nil {
		return nil, err
	}
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil, err
	}
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return nil, fmt.Errorf("/proc/%s/stat has no command", pid)
	}
	fields := append([]string{pid, string(data[open+1 : end])}, strings.Fields(string(data[end+1:]))...)
	if len(fields) < 22 {
		return nil, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}
