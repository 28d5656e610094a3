// Package usage reads the resource usage of a process, for the tests of the loads.
package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is the resource usage of a process since its start (proc(5)).
type Usage struct {
	CPU     time.Duration // of live threads
	RSS     int64         // bytes, now
	Calls   int64         // read and write calls
	Writes  int64         // write calls
	Read    int64         // bytes fetched from storage
	Written int64         // bytes sent to storage
}

// Of reads the usage of the process pid. Processes of other users require root.
func Of(pid int) (Usage, error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	status, err := fields(proc + "status")
	if err != nil {
		return Usage{}, err
	}
	io, err := fields(proc + "io")
	if err != nil {
		return Usage{}, err
	}
	u := Usage{
		RSS:     status["VmRSS"] * 1024,
		Calls:   io["syscr"] + io["syscw"],
		Writes:  io["syscw"],
		Read:    io["read_bytes"],
		Written: io["write_bytes"],
	}
	threads, err := filepath.Glob(proc + "task/*/schedstat")
	if err != nil || len(threads) == 0 {
		return Usage{}, fmt.Errorf("no threads of process %d: %w", pid, err)
	}
	for _, name := range threads {
		data, err := os.ReadFile(name)
		if err != nil {
			return Usage{}, err
		}
		// The first number is nanoseconds on a CPU
		// (Documentation/scheduler/sched-stats.rst).
		first, _, _ := strings.Cut(string(data), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("%s: %w", name, err)
		}
		u.CPU += time.Duration(ns)
	}
	return u, nil
}

// Since returns the usage after before; RSS is the current value.
func (u Usage) Since(before Usage) Usage {
	return Usage{
		CPU: u.CPU - before.CPU, RSS: u.RSS,
		Calls: u.Calls - before.Calls, Writes: u.Writes - before.Writes,
		Read: u.Read - before.Read, Written: u.Written - before.Written,
	}
}

// fields parses the lines "key: number …" of a file and skips others.
func fields(name string) (map[string]int64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		key, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if !ok || len(words) == 0 {
			continue
		}
		if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
			found[key] = n
		}
	}
	return found, nil
}
