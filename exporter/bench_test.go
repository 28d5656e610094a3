package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// BenchmarkExporter scrapes the program with gzip, as Prometheus does, on documents and
// trees of many containers. It measures the process: CPU time from the scheduler,
// resident memory after the last scrape. Files of a tree are cheaper than the kernel's:
// see BenchmarkRealContainers.
func BenchmarkExporter(b *testing.B) {
	bin := buildExporter(b)
	for _, from := range []string{source.Kmod, source.Cgroup} { // BPF reads real kernels only
		for _, n := range []int{10, 100, 200, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", from, n), func(b *testing.B) {
				e := startEngine(b, 24, 43)
				for i := range n {
					e.put("", hosttree.Numbered(i).ID, &engineContainer{Name: fmt.Sprintf("stress-cpu-high-%06x", i*7919), Image: "estiba/stress"})
				}
				flags := []string{"--docker.host=" + e.host}
				if from == source.Kmod {
					flags = append(flags, "--source=kmod", "--source.kmod-file="+document(b, n))
				} else {
					tr, remove, err := hosttree.Many(n)
					if err != nil {
						b.Fatal(err)
					}
					b.Cleanup(remove)
					flags = append(flags, "--source=cgroup", "--path.procfs="+tr.Proc, "--path.cgroup="+tr.Cgroup)
				}
				p := start(b, bin, flags...)
				measure(b, p, n, "estiba_container_", "estiba_container_restarts_total{")
			})
		}
	}
}

// buildExporter compiles the program as it is released.
func buildExporter(b *testing.B) string {
	b.Helper()
	bin := filepath.Join(b.TempDir(), "exporter")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building the exporter: %v\n%s", err, out)
	}
	return bin
}

// document writes a document of n containers and returns its path.
func document(b *testing.B, n int) string {
	b.Helper()
	sample, err := os.ReadFile("../kmod/schema/samples/full.json")
	if err != nil {
		b.Fatal(err)
	}
	snap, err := kmod.NewParser().Parse(sample)
	if err != nil {
		b.Fatal(err)
	}
	one := snap.Containers[0]
	snap.Containers = nil
	snap.Host.Set(source.ContainersFound, uint64(n))
	for i := range n {
		c := one
		c.ID = hosttree.Numbered(i).ID
		c.Cgroup = "/docker/" + c.ID
		// All numbers differ, as on a real host.
		for f := source.Field(0); int(f) < source.NumFields; f++ {
			if v, ok := c.Get(f); ok {
				c.Set(f, v+uint64(i)*7919)
			}
		}
		snap.Containers = append(snap.Containers, c)
	}
	return writeDocument(b, snap)
}

// process is a program under measurement.
type process struct {
	pid int
	url string
}

// start runs the exporter on a free port until the benchmark ends.
func start(b *testing.B, bin string, flags ...string) process {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	return runProgram(b, "http://"+address+"/metrics",
		append([]string{bin, "--log.level=error", "--scrape.timeout=2m", "--web.listen-address=" + address}, flags...)...)
}

func runProgram(b *testing.B, url string, argv ...string) process {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	return process{cmd.Process.Pid, url}
}

// measure scrapes p once per iteration. It first waits for an exposition in which n
// containers have a sample with the prefix, one from the Engine, so that the initial
// inspections are done.
func measure(b *testing.B, p process, n int, prefix, each string) {
	b.Helper()
	var text []byte
	size := 0
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("no exposition with %q of each:\n%.2000s", each, text)
		}
		var err error
		if text, size, err = packed(p.url); err == nil && bytes.Count(text, []byte("\n"+each)) == n {
			break
		}
	}
	for range 3 {
		if _, _, err := packed(p.url); err != nil {
			b.Fatal(err)
		}
	}
	client := &http.Client{}
	before, scrapes := cpuOf(b, p.pid), 0
	for b.Loop() {
		req, err := http.NewRequest(http.MethodGet, p.url, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip") // set explicitly, so that the client does not decompress
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		scrapes++
	}
	series := bytes.Count(text, []byte("\n"+prefix))
	b.ReportMetric(float64(cpuOf(b, p.pid)-before)/float64(scrapes)/1e6, "cpu-ms/scrape")
	b.ReportMetric(float64(rss(b, p.pid))/1024, "rss-MiB")
	b.ReportMetric(float64(series)/float64(n), "series/container")
	b.ReportMetric(float64(size)/1024, "gzip-KiB")
}

// packed scrapes with gzip and returns the text and the compressed size.
func packed(url string) ([]byte, int, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
		return body, len(body), err
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(z)
	return text, len(body), err
}

// cpuOf returns the CPU time of a process in ns: the first number of each thread's
// schedstat (Documentation/scheduler/sched-stats.rst), which is exact while
// /proc/PID/stat has ticks. Threads of Go programs rarely exit.
func cpuOf(b testing.TB, pid int) uint64 {
	b.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(names) == 0 {
		b.Fatalf("CPU time of process %d: %v", pid, err)
	}
	sum := uint64(0)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // an exited thread
		}
		v, err := strconv.ParseUint(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += v
	}
	return sum
}

// rss returns VmRSS of a process in KiB (proc_pid_status(5)).
func rss(b testing.TB, pid int) uint64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			v, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
