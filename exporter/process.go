package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// countFiles is how often the open files are counted, which before Linux 6.2
// means to list them all.
const countFiles = time.Minute

// self tells of the exporter's own process, under the usual names. The
// collector that client_golang has for this also reads the statistics of the
// whole network namespace: half a millisecond a scrape, as much as a hundred
// containers cost.
type self struct {
	cpu, rss, vsz, start, fds, maxFDs *prometheus.Desc
	started                           float64

	mu        sync.Mutex
	countedAt time.Time
	open      int
}

func newSelf() *self {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("process_"+name, help, nil, nil) }
	return &self{
		cpu:     desc("cpu_seconds_total", "Total user and system CPU time spent in seconds."),
		rss:     desc("resident_memory_bytes", "Resident memory size in bytes."),
		vsz:     desc("virtual_memory_bytes", "Virtual memory size in bytes."),
		start:   desc("start_time_seconds", "Start time of the process since unix epoch in seconds."),
		fds:     desc("open_fds", "Number of open file descriptors, counted once a minute."),
		maxFDs:  desc("max_fds", "Maximum number of open file descriptors."),
		started: float64(time.Now().UnixMilli()) / 1000,
	}
}

// Describe lists the metrics.
func (s *self) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.cpu, s.rss, s.vsz, s.start, s.fds, s.maxFDs} {
		ch <- d
	}
}

// Collect reads them: getrusage(2), proc_pid_statm(5), getrlimit(2).
func (s *self) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, err error) {
		if err != nil {
			ch <- prometheus.NewInvalidMetric(d, err)
			return
		}
		ch <- prometheus.MustNewConstMetric(d, t, v)
	}
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	send(s.cpu, prometheus.CounterValue, float64(used.Utime.Nano()+used.Stime.Nano())/1e9, err)
	vsz, rss, err := memory()
	send(s.vsz, prometheus.GaugeValue, vsz, err)
	send(s.rss, prometheus.GaugeValue, rss, err)
	send(s.start, prometheus.GaugeValue, s.started, nil)
	open, err := s.files()
	send(s.fds, prometheus.GaugeValue, float64(open), err)
	var limit syscall.Rlimit
	err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	send(s.maxFDs, prometheus.GaugeValue, float64(limit.Cur), err)
}

// memory is the process' virtual and resident memory in bytes.
func memory() (vsz, rss float64, err error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, fmt.Errorf("own memory: %w", err)
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, 0, fmt.Errorf("own memory: /proc/self/statm is %q", b)
	}
	v, err1 := strconv.ParseFloat(string(f[0]), 64)
	r, err2 := strconv.ParseFloat(string(f[1]), 64)
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("own memory: /proc/self/statm is %q", b)
	}
	page := float64(os.Getpagesize())
	return v * page, r * page, nil
}

// files is how many files the process has open.
func (s *self) files() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.countedAt) < countFiles {
		return s.open, nil
	}
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("own open files: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("own open files: %w", err)
	}
	s.open, s.countedAt = len(names)-1, time.Now() // without the one just opened
	return s.open, nil
}
