package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/runtimes"
)

// nodeName is the name of the node in a cluster.
const nodeName = "worker-3"

// Options are the differences between nodes.
type Options struct {
	runtimes.Options
	Exporter string // a static build
	// Manifests are renderings of Kustomize or Helm: with the socket of the runtime, and
	// without.
	WithNames, WithoutNames []byte
	// Private: containers have cgroup namespaces of their own with cgroup v1, too. With v2
	// they always have.
	Private bool
}

// Node is a node with two pods of two containers each.
type Node struct {
	*runtimes.Host
	o    Options
	work []*runtimes.Pod
}

// Start starts the node. The test has PID and mount namespaces of its own.
func Start(t *testing.T, o Options) *Node {
	t.Helper()
	set, err := parse(o.WithoutNames)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{o: o}
	n.Host = runtimes.StartNode(t, runtimes.Node{Options: o.Options, Private: o.Private, Images: []runtimes.Image{{
		// As exporter/packaging/Dockerfile has it.
		Ref: set.Spec.Template.Spec.Containers[0].Image, Path: "/exporter", Program: o.Exporter, Entrypoint: []string{"/exporter"},
	}}})
	n.work = []*runtimes.Pod{
		n.Containerd.RunPod(t, "shop", "cart", []runtimes.Named{
			{Name: "web", Load: runtimes.Load{CPUShare: 0.15}}, {Name: "db", Load: runtimes.Load{Holds: 48 << 20}},
		}),
		n.Containerd.RunPod(t, "shop", "till", []runtimes.Named{
			{Name: "web", Load: runtimes.Load{CPUShare: 0.05}}, {Name: "db", Load: runtimes.Load{Holds: 16 << 20}},
		}),
	}
	o.Say("two pods started")
	return n
}

// exporter is the exporter's pod.
type exporter struct {
	*runtimes.Pod
	set daemonSet
}

// startExporter starts the pod that the manifests describe, after a change.
func (n *Node) startExporter(t *testing.T, manifests []byte, change func(*cri.ContainerConfig)) *exporter {
	t.Helper()
	set, err := parse(manifests)
	if err != nil {
		t.Fatal(err)
	}
	sandbox, container, err := pod(set, node{name: nodeName, uid: fmt.Sprintf("%d", time.Now().UnixNano())})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(container)
	}
	e := &exporter{set: set, Pod: n.Containerd.RunPodAs(t, sandbox, container)}
	spec := set.Spec.Template.Spec.Containers[0]
	for _, p := range []probe{spec.LivenessProbe, spec.ReadinessProbe} {
		testutil.Eventually(t, n.Patience, "the probe "+p.HTTPGet.Path+" succeeds", func() bool {
			_, err := e.get(e.port(p.HTTPGet.Port), p.HTTPGet.Path)
			return err == nil
		})
	}
	return e
}

// own is its container, not the one that holds the namespaces.
func (e *exporter) own() runtimes.Container { return e.Containers[1] }

func (e *exporter) port(name string) int {
	for _, p := range e.set.Spec.Template.Spec.Containers[0].Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

// get requests a page from within the network of the pod.
func (e *exporter) get(port int, path string) ([]byte, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialIn(ctx, e.own().InitPID, network, address)
	}}
	client := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return body, err
}

// dialIn connects in the network namespace of a process.
func dialIn(ctx context.Context, pid int, network, address string) (net.Conn, error) {
	// The thread stays locked, so it ends with its goroutine, and the namespace with it.
	type result struct {
		net.Conn
		error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		conn, err := func() (net.Conn, error) {
			f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
			if err != nil {
				return nil, err
			}
			defer f.Close()
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}()
		done <- result{conn, err}
	}()
	r := <-done
	return r.Conn, r.error
}

// scrape returns all samples of the exporter.
func (e *exporter) scrape(t *testing.T) []runtimes.Sample {
	t.Helper()
	text, err := e.get(e.port("metrics"), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	all, err := runtimes.Samples(text)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// containers are all that run on the node beside an exporter, and its own.
func (n *Node) containers(e *exporter) []runtimes.Container {
	var all []runtimes.Container
	for _, p := range append(slices.Clone(n.work), e.Pod) {
		all = append(all, p.Containers...)
	}
	return all
}

// cgroupFile reads a number of the own cgroup of a process: one of the given files below
// the given hierarchies, the first that exists. Each is CONTROLLER/FILE; v2 has no name.
func cgroupFile(t *testing.T, pid int, files ...string) (float64, bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		controller, name, _ := strings.Cut(file, "/")
		for line := range strings.Lines(string(text)) {
			f := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(f) != 3 || !slices.Contains(strings.Split(f[1], ","), controller) {
				continue
			}
			for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/" + f[1], "/sys/fs/cgroup/" + controller} {
				if v, ok := numberIn(filepath.Join(root, f[2], name)); ok {
					return v, true
				}
			}
		}
	}
	return 0, false
}

// numberIn reads the first number of a file: alone, or after usage_usec in cpu.stat.
func numberIn(path string) (float64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for word := range strings.FieldsSeq(string(text)) {
		if v, err := strconv.ParseFloat(word, 64); err == nil {
			return v, true
		}
	}
	return 0, false
}

// cpuOf returns the CPU time of a container in seconds, as its cgroup has it.
func cpuOf(t *testing.T, c runtimes.Container) float64 {
	t.Helper()
	if v, ok := cgroupFile(t, c.InitPID, "cpuacct/cpuacct.usage"); ok {
		return v / 1e9
	}
	v, ok := cgroupFile(t, c.InitPID, "/cpu.stat")
	if !ok {
		t.Fatalf("%s: the cgroup has no CPU time", c.Name)
	}
	return v / 1e6
}

// memoryOf returns the memory of a container in bytes, as its cgroup has it.
func memoryOf(t *testing.T, c runtimes.Container) float64 {
	t.Helper()
	v, ok := cgroupFile(t, c.InitPID, "memory/memory.usage_in_bytes", "/memory.current")
	if !ok {
		t.Fatalf("%s: the cgroup has no memory", c.Name)
	}
	return v
}
