package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestWebConfig: TLS, a password, and both.
func TestWebConfig(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	dir := t.TempDir()
	trusted := testutil.Authority(t, dir)
	// bcrypt of "secret", cost 4.
	const password = "basic_auth_users:\n  prometheus: $2a$04$NKMi8NS8vmY6zPConUvDjOVG.ISCdVxcL.Yt7yy5HMXH3Zg1eVi9K\n"
	const encrypted = "tls_server_config:\n  cert_file: host.crt\n  key_file: host.key\n  min_version: TLS12\n"
	for name, tt := range map[string]struct {
		config    string
		tls, auth bool
	}{
		"password":         {password, false, true},
		"TLS":              {encrypted, true, false},
		"TLS and password": {encrypted + password, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "")+".yml")
			if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+moduleDocument(t, 2), "--web.config.file="+file)
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
			defer transport.CloseIdleConnections()
			get := func(scheme, user, secret string) (int, string) {
				req, err := http.NewRequest(http.MethodGet, scheme+"://"+p.address+"/metrics", nil)
				if err != nil {
					t.Fatal(err)
				}
				if user != "" {
					req.SetBasicAuth(user, secret)
				}
				resp, err := (&http.Client{Transport: transport}).Do(req)
				if err != nil {
					return 0, err.Error()
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(body)
			}
			scheme := map[bool]string{true: "https", false: "http"}[tt.tls]
			if code, text := get(scheme, "prometheus", "secret"); code != http.StatusOK || !strings.Contains(text, "\nestiba_containers 2\n") {
				t.Errorf("with everything right: %d, %.200s", code, text)
			}
			want := map[bool]int{true: http.StatusUnauthorized, false: http.StatusOK}[tt.auth]
			for _, wrong := range [][2]string{{"", ""}, {"prometheus", "wrong"}, {"other", "secret"}} {
				if code, _ := get(scheme, wrong[0], wrong[1]); code != want {
					t.Errorf("as %q with %q: %d, want %d", wrong[0], wrong[1], code, want)
				}
			}
			if tt.tls {
				if code, text := get("http", "prometheus", "secret"); code == http.StatusOK {
					t.Errorf("without TLS: %d, %.200s", code, text)
				}
			}
			health := exec.Command(bin, "healthcheck", "--web.listen-address="+p.address, "--web.config.file="+file)
			if out, err := health.CombinedOutput(); err != nil {
				t.Errorf("healthcheck: %v, %s", err, out)
			}
			if err := p.stop(); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			health = exec.Command(bin, "healthcheck", "--web.listen-address="+p.address, "--web.config.file="+file)
			if out, err := health.CombinedOutput(); err == nil {
				t.Errorf("healthcheck without an exporter: %s", out)
			}
		})
	}
	bad := filepath.Join(dir, "bad.yml")
	if err := os.WriteFile(bad, []byte("tls_server_config:\n  cert_file: absent.pem\n  key_file: host.key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bin, "--web.listen-address=127.0.0.1:0", "--web.config.file="+bad).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "absent.pem") {
		t.Errorf("a missing certificate: %v, %s", err, out)
	}
}

// TestGracefulStop: a running scrape is answered after SIGTERM.
func TestGracefulStop(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(moduleDocument(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, bin, nil, "--source=kmod", "--source.kmod-file="+fifo)
	got := make(chan string, 1)
	go func() {
		text, err := scrape(p.address)
		if err != nil {
			text = err.Error()
		}
		got <- text
	}()
	// The scrape is in once the connection has its request; the snapshot waits
	// for a writer of the fifo.
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 10*time.Second, "the scrape has begun", func() bool { return established(t, p.address) })
	p.cmd.Process.Signal(syscall.SIGTERM)
	testutil.Eventually(t, 10*time.Second, "no new connections", func() bool {
		c, err := net.Dial("tcp", p.address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := f.Write(document); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if text := <-got; !strings.Contains(text, "\nestiba_containers 3\n") {
		t.Errorf("the running scrape got %.300s", text)
	}
	if err := <-p.exit; err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	p.exit <- nil
}

// established reports whether the program has a connection of a client
// (/proc/net/tcp, proc_pid_net(5): state 01 at its port).
func established(t *testing.T, address string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == "01" && strings.HasSuffix(f[1], strings.ToUpper(":"+hex4(a.Port))) {
			return true
		}
	}
	return false
}

func hex4(port int) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[port>>12&15], digits[port>>8&15], digits[port>>4&15], digits[port&15]})
}

// asNobody runs the program without privileges.
func asNobody(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// TestWithoutRoot: with the module nothing is missing; without it the program logs the
// missing data and exports the other.
func TestWithoutRoot(t *testing.T) {
	testutil.Require(t, testutil.Root, testutil.Docker)
	built, err := os.ReadFile(testutil.Build(t, "./exporter"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nobody") // t.TempDir is for its owner only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "exporter")
	if err := os.WriteFile(bin, built, 0o755); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(moduleDocument(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(dir, "estiba")
	if err := os.WriteFile(module, document, 0o444); err != nil {
		t.Fatal(err)
	}
	t.Run("with the module", func(t *testing.T) {
		p := startProgram(t, bin, asNobody, "--source.kmod-file="+module)
		text := p.scrape(t)
		for _, want := range []string{
			"\nestiba_containers 2\n", "\nestiba_scrape_success 1\n", "\nestiba_container_io_reads_total{",
			"\nestiba_container_network_receive_bytes_total{",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q", want)
			}
		}
		p.stop()
		if strings.Contains(p.log.String(), "CAP_SYS_PTRACE") {
			t.Error("something is said to be missing")
		}
	})
	t.Run("with a module that refuses", func(t *testing.T) {
		closed := filepath.Join(dir, "closed")
		if err := os.WriteFile(closed, document, 0o400); err != nil {
			t.Fatal(err)
		}
		p := startProgram(t, bin, asNobody, "--source.kmod-file="+closed)
		text := p.scrape(t)
		if !strings.Contains(text, "\nestiba_scrape_success 0\n") || !strings.Contains(text, "\nestiba_kernel_module_loaded 1\n") {
			t.Error("the refusal does not show")
		}
	})
	t.Run("without the module", func(t *testing.T) {
		ctx := context.Background()
		docker, err := dockerclient.New("")
		if err != nil {
			t.Fatal(err)
		}
		defer docker.Close()
		const image, name = "estiba-test/nobody:1", "estiba-test-nobody"
		testutil.IdleImage(t, docker, image)
		docker.Remove(ctx, name)
		id, err := docker.Create(ctx, dockerclient.Spec{Name: name, Image: image, Networkless: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { docker.Remove(context.Background(), id) })
		if err := docker.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		p := startProgram(t, bin, asNobody, "--source.kmod-file="+filepath.Join(dir, "none"))
		labels := `{id="` + id[:12] + `",name=""} `
		testutil.Eventually(t, 15*time.Second, "the container", func() bool {
			return strings.Contains(p.scrape(t), "\nestiba_container_processes"+labels)
		})
		text := p.scrape(t)
		for metric, want := range map[string]bool{
			"estiba_container_cpu_seconds_total": true, "estiba_container_memory_usage_bytes": true,
			"estiba_container_memory_rss_bytes": true, "estiba_container_io_reads_total": false, "estiba_container_network_receive_bytes_total": false,
		} {
			if got := strings.Contains(text, "\n"+metric+labels); got != want {
				t.Errorf("%s is there: %v, want %v", metric, got, want)
			}
		}
		p.stop()
		for _, lack := range []string{"/proc/PID/io", "/proc/PID/ns/net"} {
			if n := strings.Count(p.log.String(), lack); n != 1 {
				t.Errorf("%s is said to be missing %d times, want once\n%s", lack, n, p.log)
			}
		}
	})
}

// TestPaths: the cgroups are below --path.sysfs by default.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	tr, err := hosttree.New(dir, hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Add(hosttree.Numbered(0)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "sys", "fs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tr.Cgroup, filepath.Join(dir, "sys", "fs", "cgroup")); err != nil {
		t.Fatal(err)
	}
	c := testConfig(t)
	c.ProcFS, c.SysFS, c.CgroupFS = tr.Proc, filepath.Join(dir, "sys"), ""
	address := startApp(t, c)
	if text, err := scrape(address); err != nil || !strings.Contains(text, "\nestiba_container_memory_limit_bytes{") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestInterfacesOption: each interface of a container's own network, with the option.
func TestInterfacesOption(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := testConfig(t)
		c.Interfaces = on
		address := startApp(t, c)
		testutil.Eventually(t, 10*time.Second, "a container", func() bool {
			text, err := scrape(address)
			return err == nil && strings.Contains(text, "\nestiba_container_network_receive_bytes_total{")
		})
		text, err := scrape(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text, `estiba_container_interface_receive_bytes_total{id="4f5e8c1d9b7a",name="",interface="eth0"} `); got != on {
			t.Errorf("option: %v, exported: %v", on, got)
		}
		lint(t, text)
	}
}

// TestOpenFilesOption: open files of a container, from both sources, with the option.
func TestOpenFilesOption(t *testing.T) {
	tr, err := hosttree.New(t.TempDir(), hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	one := hosttree.Numbered(0)
	if err := tr.Add(one); err != nil {
		t.Fatal(err)
	}
	for n, pid := range one.Processes {
		for fd := range 3 + n {
			if err := os.MkdirAll(tr.Process(pid, fmt.Sprintf("fd/%d", fd)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := testConfig(t)
	c.Source, c.ProcFS, c.CgroupFS = source.Cgroup, tr.Proc, tr.Cgroup
	var document bytes.Buffer
	if err := Dump(t.Context(), c, &document, log.NewNopLogger()); err != nil {
		t.Fatal(err)
	}
	c.KmodFile = filepath.Join(t.TempDir(), "estiba")
	if err := os.WriteFile(c.KmodFile, document.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{source.Cgroup, source.Kmod, sourceAuto} {
		for _, on := range []bool{false, true} {
			c.Source, c.OpenFiles = from, on
			address := startApp(t, c)
			testutil.Eventually(t, 10*time.Second, "a container", func() bool {
				text, err := scrape(address)
				return err == nil && strings.Contains(text, "\nestiba_container_processes{")
			})
			text, err := scrape(address)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(text, fmt.Sprintf("\nestiba_container_open_files{id=%q,name=\"\"} 7\n", one.ID[:12])); got != on {
				t.Errorf("source %s, option: %v, exported: %v", from, on, got)
			}
			lint(t, text)
		}
	}
}
