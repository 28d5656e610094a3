package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// program is the real exporter, running.
type program struct {
	address string
	cmd     *exec.Cmd
	log     *bytes.Buffer
	exit    chan error
}

// startProgram starts it on a free port and waits until it answers.
func startProgram(t *testing.T, bin string, change func(*exec.Cmd), flags ...string) *program {
	t.Helper()
	p := &program{address: testutil.FreeAddress(t), log: &bytes.Buffer{}, exit: make(chan error, 1)}
	p.cmd = exec.Command(bin, append([]string{"--web.listen-address=" + p.address}, flags...)...)
	p.cmd.Env = append(os.Environ(), "DOCKER_HOST=unix:///nowhere/docker.sock")
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		p.exit <- p.cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-done
		if t.Failed() {
			t.Logf("the exporter's log:\n%s", p.log)
		}
	})
	testutil.Eventually(t, 10*time.Second, "it listens", func() bool {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// stop ends the program with SIGTERM and returns the error of its exit. Its log is then
// complete.
func (p *program) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	err := <-p.exit
	p.exit <- nil
	return err
}

// peak returns the peak resident memory of the program, in KiB.
func (p *program) peak(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var v uint64
	if _, err := fmt.Sscanf(string(text[bytes.Index(text, []byte("VmHWM:")):]), "VmHWM: %d kB", &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// moduleDocument writes a document of n containers and returns its path.
func moduleDocument(t testing.TB, n int) string {
	t.Helper()
	snap := &source.Snapshot{Source: source.Kmod, Schema: "1", Module: "estiba", ModuleVersion: "1.0.0"}
	for f := source.HostField(0); int(f) < source.NumHostFields; f++ {
		snap.Host.Set(f, 1_780_000_000_000_000_000+uint64(f))
	}
	snap.Host.Set(source.ContainersFound, uint64(n))
	for i := range n {
		c := source.Container{
			ID: hosttree.Numbered(i).ID, ProcessName: "containerd-shim", Namespace: "moby",
			Cgroup: "/docker/" + hosttree.Numbered(i).ID, CPUSource: "cgroup", Network: "own",
		}
		for f := source.Field(0); f < source.EndedAt; f++ {
			c.Set(f, uint64(1000+i)*7919+uint64(f))
		}
		snap.Containers = append(snap.Containers, c)
	}
	return writeDocument(t, snap)
}

// writeDocument writes a snapshot as a document and returns its path.
func writeDocument(t testing.TB, snap *source.Snapshot) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "estiba")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := kmod.Write(f, snap); err != nil {
		t.Fatal(err)
	}
	return path
}

func (p *program) scrape(t *testing.T) string {
	t.Helper()
	text, err := scrape(p.address)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestLimits exceeds the limits of the program: each shows by name, and none takes much
// memory.
func TestLimits(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	t.Run("document too large", func(t *testing.T) {
		for _, file := range []string{"/dev/zero", filepath.Join(t.TempDir(), "large")} {
			if file != "/dev/zero" {
				if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(file, kmod.MaxDocument+1); err != nil {
					t.Fatal(err)
				}
			}
			p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+file)
			text := p.scrape(t)
			if !regexp.MustCompile(`(?m)^estiba_source_errors_total\{reason="too_large",source="kmod"\} [1-9]`).MatchString(text) ||
				!strings.Contains(text, "\nestiba_scrape_success 0\n") {
				t.Errorf("%s: what is too large does not show", file)
			}
			if peak := p.peak(t); peak > 192<<10 {
				t.Errorf("%s: %d KiB resident", file, peak)
			}
		}
	})
	t.Run("more containers than the limit", func(t *testing.T) {
		p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+moduleDocument(t, 50), "--limit.containers=7")
		text := p.scrape(t)
		for _, want := range []string{"\nestiba_containers 7\n", "\nestiba_containers_omitted 43\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q", want)
			}
		}
		if n := strings.Count(text, "\nestiba_container_processes{"); n != 7 {
			t.Errorf("%d containers published, want 7", n)
		}
	})
	t.Run("a module that hangs", func(t *testing.T) {
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(fifo, 0o644); err != nil {
			t.Fatal(err)
		}
		p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+fifo, "--scrape.timeout=20s")
		req, err := http.NewRequest(http.MethodGet, "http://"+p.address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.5")
		began := time.Now()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if took := time.Since(began); err != nil || took > 10*time.Second {
			t.Errorf("the answer took %s, %v", took, err)
		}
		if !bytes.Contains(text, []byte("\nestiba_source_errors_total{reason=\"timeout\",source=\"kmod\"} 1\n")) {
			t.Error("no timeout is counted")
		}
		document, err := os.ReadFile(moduleDocument(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fifo, document, 0o644); err != nil {
			t.Fatal(err)
		}
		testutil.Eventually(t, 10*time.Second, "ready once it answers", func() bool { return status("http://"+p.address+"/-/ready") == http.StatusOK })
	})
	t.Run("a header bomb and wrong methods", func(t *testing.T) {
		p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+moduleDocument(t, 1))
		before := p.peak(t)
		for name, request := range map[string]string{
			"one header of 64 MiB": "GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 64<<20),
			"a million headers":    "GET /metrics HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 1<<20),
			"a long path":          "GET /" + strings.Repeat("x", 16<<20) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		} {
			if got := answer(t, p.address, request); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
				t.Errorf("%s: %q, want 431", name, got)
			}
		}
		for request, want := range map[string]string{
			"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n": "HTTP/1.1 405 ",
			"DELETE /metrics HTTP/1.1\r\nHost: a\r\n\r\n":                           "HTTP/1.1 405 ",
			"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n":                             "HTTP/1.1 200 ",
			"garbage\r\n\r\n": "HTTP/1.1 400 ",
		} {
			if got := answer(t, p.address, request); !strings.HasPrefix(got, want) {
				t.Errorf("%.30q: %q, want %q", request, got, want)
			}
		}
		if grown := p.peak(t) - before; grown > 32<<10 {
			t.Errorf("it grew by %d KiB", grown)
		}
		p.scrape(t)
	})
	t.Run("a thousand open connections", func(t *testing.T) {
		p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+moduleDocument(t, 10))
		p.scrape(t)
		before := p.peak(t)
		var open []net.Conn
		for i := range 1000 {
			c, err := net.Dial("tcp", p.address)
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			defer c.Close()
			if i%2 == 0 {
				fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHo") // and no more
			}
			open = append(open, c)
		}
		for range 3 {
			if text := p.scrape(t); !strings.Contains(text, "\nestiba_containers 10\n") {
				t.Error("a concurrent scrape failed")
			}
		}
		if grown := p.peak(t) - before; grown > 64<<10 {
			t.Errorf("it grew by %d KiB", grown)
		}
		// Clients with incomplete requests are disconnected.
		for _, c := range open {
			c.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatalf("still open: %v", err)
			}
		}
	})
	t.Run("slow readers", func(t *testing.T) {
		const n = 6000
		p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+moduleDocument(t, n), "--scrape.timeout=4s")
		whole := fmt.Sprintf("\nestiba_containers %d\n", n)
		size := 0
		testutil.Eventually(t, 40*time.Second, "an exposition", func() bool {
			text, err := scrape(p.address)
			size = len(text)
			return err == nil && strings.Contains(text, whole)
		})
		before := p.peak(t)
		for range 64 {
			c, err := net.Dial("tcp", p.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			// Otherwise the kernel buffers it all.
			if err := c.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		}
		testutil.Eventually(t, 20*time.Second, "they hold every place", func() bool {
			return statusWithin("http://"+p.address+"/metrics", 300*time.Millisecond) == http.StatusServiceUnavailable
		})
		testutil.Eventually(t, 45*time.Second, "a quick reader gets its exposition in spite of them", func() bool {
			text, err := scrape(p.address)
			return err == nil && strings.Contains(text, whole)
		})
		if grown := int(p.peak(t)-before) << 10; grown > 40*size {
			t.Errorf("it grew by %d bytes, %d expositions", grown, grown/size)
		}
	})
}

// statusWithin scrapes with the given Prometheus timeout.
func statusWithin(url string, timeout time.Duration) int {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(timeout.Seconds()))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// answer sends a raw request and returns the first line of the response.
func answer(t *testing.T, address, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(c, request) // it may be cut off in the middle
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && line == "" {
		return err.Error()
	}
	return line
}
