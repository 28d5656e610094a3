package runtimes

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
)

// Containerd is a containerd of the test's own, with its CRI plugin.
type Containerd struct {
	Socket string // path

	h       *Host
	pods    cri.RuntimeServiceClient
	process *testutil.Process
	parents []string // cgroups of the pods
}

// Pod is a pod of the CRI plugin: Containers[0] is the sandbox's own container.
type Pod struct {
	Containers []Container

	config  *cri.PodSandboxConfig
	loads   []Named
	specs   []*cri.ContainerConfig // further containers
	attempt uint32
}

// containerdOptions are what differs between hosts.
type containerdOptions struct {
	socket, state string
	namespaces    []string // that have the images
	spec          string   // file with the specification that all containers begin with; "": containerd's own
}

// startContainerd starts containerd and imports the images.
func (h *Host) startContainerd(t *testing.T, o containerdOptions) *Containerd {
	t.Helper()
	c := &Containerd{h: h, Socket: o.socket}
	// Sockets of shims are in /run/containerd/s whatever the configuration says; their
	// names depend on this containerd's address.
	config := h.write(t, "etc/containerd.toml", fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = %[4]q
[grpc]
address = %[2]q
[ttrpc]
address = "%[2]s.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = %[3]q
stats_collect_period = 1
disable_apparmor = true
# Without root's right to raise a limit.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = %[5]q
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "%[1]s/runc"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "%[1]s/cni"
conf_dir = "%[1]s/cni"
`, h.dir, c.Socket, pauseImage, o.state, o.spec))
	c.process = testutil.StartProcess(t, "containerd", "containerd", "--config="+config)
	conn, err := grpc.NewClient("unix://"+c.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	c.pods = cri.NewRuntimeServiceClient(conn)
	testutil.Eventually(t, h.Patience, "containerd's CRI plugin responds", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := c.pods.Version(ctx, &cri.VersionRequest{})
		return err == nil
	})
	t.Cleanup(func() {
		c.removeAll(t)
		conn.Close()
		for _, path := range c.parents {
			h.removeEverywhere(t, path)
		}
	})
	for _, namespace := range o.namespaces {
		c.ctr(t, namespace, "images", "import", h.in("images.tar"))
	}
	return c
}

func (c *Containerd) argv(namespace string, args ...string) []string {
	return append([]string{"ctr", "--address=" + c.Socket, "--namespace=" + namespace}, args...)
}

func (c *Containerd) ctr(t *testing.T, namespace string, args ...string) string {
	t.Helper()
	return c.h.command(t, c.argv(namespace, args...)...)
}

// removeAll removes all pods and containers.
func (c *Containerd) removeAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), c.h.Patience)
	defer cancel()
	list, err := c.pods.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		t.Errorf("removing the pods: %v", err)
	}
	for _, p := range list.GetItems() {
		if _, err := c.pods.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			t.Errorf("removing the pods: %v", err)
		}
		if _, err := c.pods.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			t.Errorf("removing the pods: %v", err)
		}
	}
	ids, err := c.h.attempt(c.argv("default", "containers", "list", "--quiet")...)
	if err != nil {
		t.Error(err)
	}
	for _, id := range strings.Fields(ids) {
		if err := c.remove(id); err != nil {
			t.Error(err)
		}
	}
}

// Run starts a container with ctr, whose id is its name.
func (c *Containerd) Run(t *testing.T, name string, l Load) Container {
	t.Helper()
	args := []string{"run", "--detach", "--null-io", "--runc-root=" + c.h.in("runc"), loadImage, name, "/program"}
	c.ctr(t, "default", append(args, l.args()...)...)
	made := Container{
		Name: name, ID: name, Runtime: container.Containerd, Namespace: "default", CPUShare: l.CPUShare, Holds: l.Holds,
	}
	for _, line := range strings.Split(c.ctr(t, "default", "tasks", "list"), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			made.InitPID = number(t, f[1])
		}
	}
	if made.InitPID == 0 {
		t.Fatalf("ctr has no task %s", name)
	}
	return made
}

// Remove kills a container of ctr and removes it.
func (c *Containerd) Remove(t *testing.T, one Container) {
	t.Helper()
	if err := c.remove(one.ID); err != nil {
		t.Fatal(err)
	}
}

func (c *Containerd) remove(id string) error {
	if _, err := c.h.attempt(c.argv("default", "tasks", "delete", "--force", id)...); err != nil {
		return err
	}
	_, err := c.h.attempt(c.argv("default", "containers", "delete", id)...)
	return err
}

// RunPod starts a pod of containers in the host's network, so that no network plugin is
// needed.
func (c *Containerd) RunPod(t *testing.T, namespace, name string, loads []Named) *Pod {
	t.Helper()
	uid := fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	p := &Pod{loads: loads, config: &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: namespace, Uid: uid},
		LogDirectory: c.h.in("logs"),
		Labels: map[string]string{
			"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid,
		},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: "/kubepods/besteffort/pod" + uid,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{
				Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER,
			}},
		},
	}}
	c.parents = append(c.parents, p.config.Linux.CgroupParent)
	c.runPod(t, p, 5)
	return p
}

func (c *Containerd) runPod(t *testing.T, p *Pod, tries int) {
	t.Helper()
	p.config.Metadata.Attempt = p.attempt
	ctx, cancel := context.WithTimeout(context.Background(), c.h.Patience)
	defer cancel()
	made, err := c.pods.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		t.Fatal(err)
	}
	status, err := c.pods.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: made.PodSandboxId, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	meta := p.config.Metadata
	p.Containers = []Container{{
		Name: meta.Namespace + "/" + meta.Name, ID: made.PodSandboxId, Pod: made.PodSandboxId, Pause: true, Runtime: container.Containerd,
		Namespace: "k8s.io", PodName: meta.Name, PodNamespace: meta.Namespace, PodContainer: podPause, InitPID: pidOf(t, status.Info),
	}}
	for _, l := range p.loads {
		c.runContainer(t, p, l)
	}
	for _, spec := range p.specs {
		c.create(t, p, spec)
	}
	// If a shim does not answer within 100 ms, containerd 1.6 starts another one for the
	// next container of the pod, which then looks like a pod of its own.
	shim, _ := parentOf(t, p.Containers[0].InitPID)
	for _, one := range p.Containers {
		if another, _ := parentOf(t, one.InitPID); another != shim && tries > 1 {
			c.StopPod(t, p)
			p.attempt++
			c.runPod(t, p, tries-1)
			return
		}
	}
}

// RunPodAs starts a pod as a kubelet would ask for it. The parent of its cgroups and the
// names of logs are filled in.
func (c *Containerd) RunPodAs(t *testing.T, sandbox *cri.PodSandboxConfig, containers ...*cri.ContainerConfig) *Pod {
	t.Helper()
	sandbox.LogDirectory = c.h.in("logs")
	c.parents = append(c.parents, sandbox.Linux.CgroupParent)
	p := &Pod{config: sandbox, specs: containers}
	c.runPod(t, p, 5)
	return p
}

// runContainer adds a container with a load to a pod.
func (c *Containerd) runContainer(t *testing.T, p *Pod, l Named) {
	t.Helper()
	sandbox := p.Containers[0]
	c.create(t, p, &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: l.Name},
		Image:    &cri.ImageSpec{Image: loadImage},
		Args:     l.args(),
		Labels: map[string]string{
			"io.kubernetes.container.name": l.Name, "io.kubernetes.pod.name": sandbox.PodName,
			"io.kubernetes.pod.namespace": sandbox.PodNamespace, "io.kubernetes.pod.uid": p.config.Metadata.Uid,
		},
		Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
			NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions,
		}},
	})
	one := &p.Containers[len(p.Containers)-1]
	one.CPUShare, one.Holds = l.CPUShare, l.Holds
}

// create adds a container to a pod.
func (c *Containerd) create(t *testing.T, p *Pod, config *cri.ContainerConfig) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.h.Patience)
	defer cancel()
	sandbox, name := p.Containers[0], config.Metadata.Name
	config.Metadata.Attempt = p.attempt
	config.LogPath = fmt.Sprintf("%s-%s-%d.log", sandbox.PodName, name, p.attempt)
	made, err := c.pods.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: sandbox.ID, SandboxConfig: p.config, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.pods.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		t.Fatal(err)
	}
	status, err := c.pods.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: made.ContainerId, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	one := sandbox
	one.Name, one.ID, one.Pause, one.PodContainer = sandbox.Name+"/"+name, made.ContainerId, false, name
	one.InitPID = pidOf(t, status.Info)
	one.Usage = func(t *testing.T) Usage { return c.usage(t, one.ID) }
	p.Containers = append(p.Containers, one)
}

// pidOf returns the pid in the verbose part of a status.
func pidOf(t *testing.T, info map[string]string) int {
	t.Helper()
	_, rest, ok := strings.Cut(info["info"], `"pid":`)
	if !ok {
		t.Fatalf("no pid in %q", info)
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	pid, err := strconv.Atoi(rest[:max(end, 0)])
	if err != nil {
		t.Fatalf("pid in %q: %v", info, err)
	}
	return pid
}

// usage is what ListContainerStats says, which the kubelet reads.
func (c *Containerd) usage(t *testing.T, id string) Usage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.h.Patience)
	defer cancel()
	list, err := c.pods.ListContainerStats(ctx, &cri.ListContainerStatsRequest{Filter: &cri.ContainerStatsFilter{Id: id}})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Stats) != 1 {
		t.Fatalf("ListContainerStats of %s: %v", id, list.Stats)
	}
	s := list.Stats[0]
	return Usage{CPU: s.Cpu.UsageCoreNanoSeconds.GetValue(), Memory: s.Memory.WorkingSetBytes.GetValue(), Inactive: true}
}

// StopContainer kills one container of a pod and removes it.
func (c *Containerd) StopContainer(t *testing.T, one Container) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.h.Patience)
	defer cancel()
	if _, err := c.pods.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: one.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.pods.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: one.ID}); err != nil {
		t.Fatal(err)
	}
}

// StopPod kills all containers of a pod and removes it.
func (c *Containerd) StopPod(t *testing.T, p *Pod) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.h.Patience)
	defer cancel()
	id := p.Containers[0].ID
	if _, err := c.pods.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.pods.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Fatal(err)
	}
}

// RestartPod replaces a pod by one with the same name and other ids, as the kubelet does
// when its sandbox is gone.
func (c *Containerd) RestartPod(t *testing.T, p *Pod) {
	t.Helper()
	c.StopPod(t, p)
	p.attempt++
	c.runPod(t, p, 5)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
