package fleet

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// idleImage is the image of all containers here.
const idleImage = "estiba-test/idle:latest"

// host is a machine of the fleet with everything on it: a Docker Engine, an exporter,
// a Prometheus and a manager, each with the shipped configuration.
type host struct {
	place
	stack.Stack
	dir    string
	first  *program // the host's first process: all others end with it
	pid    string   // of that, as the test sees it
	boots  int
	named  bool   // exporter and manager have --host, too
	client string // the Engine's socket

	prometheus, manager *program

	events *events
	made   int // containers so far
}

// newHost prepares a host, which boots later. store is where it sends what it knows.
func newHost(t *testing.T, n *network, name, store string, named bool) *host {
	t.Helper()
	h := &host{place: n.add(t, name), named: named, events: &events{}}
	// Not t.TempDir: its long names do not fit a socket's 108 bytes (unix(7)).
	var err error
	if h.dir, err = os.MkdirTemp("", name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(h.dir); err != nil {
			t.Logf("removing the folder of %s: %v", name, err)
		}
	})
	h.client = "unix://" + filepath.Join(h.dir, "docker.sock")
	h.Stack = stack.Stack{
		Addresses: stack.Addresses{Exporter: h.watch + ":10120", Prometheus: h.watch + ":9090", Manager: h.watch + ":10121"},
		Record:    filepath.Join(h.dir, "audit.jsonl"), Patience: 2 * time.Minute,
	}

	root := testutil.RepositoryRoot(t)
	if err := os.CopyFS(filepath.Join(h.dir, "config"), os.DirFS(filepath.Join(root, "prometheus"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(h.dir, "config", "prometheus.yml")
	stack.AddYAML(t, config, filepath.Join(root, "prometheus", "examples", "remote-write.yml"))
	stack.RewriteYAML(t, config, func(root map[string]any) {
		global := root["global"].(map[string]any)
		maps.Copy(global, map[string]any{"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"})
		global["external_labels"].(map[string]any)["host"] = name
		for _, one := range root["remote_write"].([]any) {
			delete(one.(map[string]any), "basic_auth")
			one.(map[string]any)["url"] = "http://" + store + "/api/v1/write"
		}
	})
	policy, err := os.ReadFile(filepath.Join(root, "manager", "policies", "one-of-each-kind.yml"))
	if err != nil {
		t.Fatal(err)
	}
	faster := strings.Replace(string(policy), "interval: 10s", "interval: 4s", 1)
	if err := os.WriteFile(filepath.Join(h.dir, "policy.yml"), []byte(faster), 0o644); err != nil || faster == string(policy) {
		t.Fatalf("the policy with a shorter interval: %v", err)
	}
	return h
}

// boot starts the host and all that runs on it, but its containers.
func (h *host) boot(t *testing.T) {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	h.boots++
	h.first = start(t, h.dir, h.name, "nsenter", "--net=/run/netns/"+h.name, "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child",
		filepath.Join(folder, "host.sh"), h.name)
	testutil.Eventually(t, h.Patience, h.name+" has a first process", func() bool {
		out, err := exec.Command("pgrep", "-P", fmt.Sprint(h.first.cmd.Process.Pid)).Output()
		h.pid = strings.TrimSpace(string(out))
		log, _ := os.ReadFile(h.first.log)
		return err == nil && strings.Count(string(log), "runs\n") == h.boots
	})
	in := func(name string) string { return filepath.Join(h.dir, name) }
	h.run(t, "dockerd", "dockerd", "--host="+h.client, "--data-root="+in("data"), "--exec-root=/run/docker", "--pidfile=/run/docker.pid",
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent=/"+os.Getenv(inside)+"-"+h.name)
	args := []string{testutil.Tool(t, "exporter"), "--web.listen-address=0.0.0.0:10120", "--source=cgroup", "--docker.host=" + h.client}
	if h.named {
		args = append(args, "--host="+h.name)
	}
	h.run(t, "exporter", args...)
	h.prometheus = h.run(t, "prometheus", testutil.Tool(t, "prometheus"), "--config.file="+in("config/prometheus.yml"),
		"--storage.tsdb.path="+in("prometheus"), "--web.listen-address=0.0.0.0:9090")

	if h.Docker, err = dockerclient.New(h.client); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, h.Patience, "the docker engine of "+h.name+" answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return h.Docker.Ping(ctx) == nil
	})
	h.events.boots()
	h.events.watch(t, h.Docker)
	h.Ready(t, h.Exporter)
	h.Ready(t, h.Prometheus)
	h.startManager(t, "127.0.0.1:9090", h.named)
}

// run starts a program on the host.
func (h *host) run(t *testing.T, name string, argv ...string) *program {
	t.Helper()
	return start(t, h.dir, h.name+"/"+name, append([]string{"nsenter", "--target=" + h.pid, "--net", "--mount", "--pid", "--uts", "--"}, argv...)...)
}

// startManager starts the host's manager, which asks the Prometheus at that address.
func (h *host) startManager(t *testing.T, prometheus string, named bool) {
	t.Helper()
	args := []string{
		testutil.Tool(t, "manager"), "run", "--config.file=" + filepath.Join(h.dir, "policy.yml"), "--prometheus.url=http://" + prometheus,
		"--docker.host=" + h.client, "--web.listen-address=0.0.0.0:10121", "--audit.file=" + h.Record,
	}
	if named {
		args = append(args, "--host="+h.name)
	}
	h.manager = h.run(t, "manager", args...)
}

// fail takes the power from the host: everything on it ends at once.
func (h *host) fail() {
	h.events.stop()
	h.first.kill()
	h.Docker.Close()
}

// populate starts containers of each kind, so that there is a surplus of each.
func (h *host) populate(t *testing.T, each int) {
	t.Helper()
	for _, kind := range container.Kinds() {
		for range each {
			h.made++
			h.add(t, fmt.Sprintf("%s-%s-%d", h.name, kind, h.made), map[string]string{container.LabelManaged: "true", container.LabelKind: string(kind)})
		}
	}
}

func (h *host) add(t *testing.T, name string, labels map[string]string) dockerclient.Container {
	t.Helper()
	return h.addContainer(t, dockerclient.Spec{Name: name, Image: idleImage, Labels: labels})
}

func (h *host) addContainer(t *testing.T, spec dockerclient.Spec) dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	defer cancel()
	spec.Networkless = true
	id, err := h.Docker.Create(ctx, spec)
	if err == nil {
		err = h.Docker.Start(ctx, id)
	}
	if err != nil {
		t.Fatalf("%s: %v", h.name, err)
	}
	return h.Inspect(t, id)
}

// isTidy waits until the manager has left one container of each kind, and sees that
// the newest ones are those that stayed.
func (h *host) isTidy(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, h.Patience, "one container of each kind is left on "+h.name, func() bool { return h.OneOfEach(t) })
}

// all runs something on several hosts at a time. It may fail the test.
func all(t *testing.T, hosts []*host, do func(*host)) {
	t.Helper()
	var wg sync.WaitGroup
	finished := make([]bool, len(hosts))
	for i, h := range hosts {
		wg.Add(1)
		go func() {
			defer wg.Done() // also when a check in there ends it
			do(h)
			finished[i] = true
		}()
	}
	wg.Wait()
	for i := range finished {
		if !finished[i] {
			t.FailNow()
		}
	}
}
