package docker_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/testutil"
)

// socketProxy stands between the manager and the Docker Engine, with the calls that
// docker-compose.yml lets through.
type socketProxy struct {
	program, address, socket string

	allow   []string // -allowGET=… and so on
	process *testutil.Process
}

func newSocketProxy(t *testing.T, engine string) *socketProxy {
	t.Helper()
	root := testutil.RepositoryRoot(t)
	p := &socketProxy{program: filepath.Join(t.TempDir(), "socketproxy"), address: testutil.FreeAddress(t), socket: strings.TrimPrefix(engine, "unix://")}
	// A module of its own: go build needs its folder.
	if out, err := exec.Command("go", "build", "-C", filepath.Join(root, "tools", "compose"), "-o", p.program, "./socketproxy").CombinedOutput(); err != nil {
		t.Fatalf("building the socket proxy: %v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct{ Command []string }
	}
	if err := yaml.Unmarshal(data, &compose); err != nil {
		t.Fatal(err)
	}
	for _, flag := range compose.Services["manager-docker"].Command {
		for _, method := range []string{"HEAD", "GET", "POST", "DELETE"} {
			if strings.HasPrefix(flag, "-allow"+method+"=") {
				p.allow = append(p.allow, flag)
			}
		}
	}
	if len(p.allow) != 4 {
		t.Fatalf("docker-compose.yml lets the manager ask for %v: want HEAD, GET, POST and DELETE", p.allow)
	}
	return p
}

func (p *socketProxy) host() string { return "tcp://" + p.address }

// start lets through what the manager may do.
func (p *socketProxy) start(t *testing.T) { t.Helper(); p.run(t, p.allow) }

// startToLookOnly lets through what the manager may ask, and nothing that it may do.
func (p *socketProxy) startToLookOnly(t *testing.T) {
	t.Helper()
	var looks []string
	for _, flag := range p.allow {
		if strings.HasPrefix(flag, "-allowHEAD=") || strings.HasPrefix(flag, "-allowGET=") {
			looks = append(looks, flag)
		}
	}
	p.run(t, looks)
}

func (p *socketProxy) run(t *testing.T, allow []string) {
	t.Helper()
	if p.process != nil {
		p.process.Stop(t)
	}
	_, port, err := net.SplitHostPort(p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.process = testutil.StartProcess(t, "socketproxy", append([]string{p.program, "-socketpath=" + p.socket, "-proxyport=" + port}, allow...)...)
	testutil.Eventually(t, 20*time.Second, "the socket proxy listens", func() bool {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}
