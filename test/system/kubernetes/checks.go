package kubernetes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
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

// Check starts the exporter's pod in each way and checks what it publishes.
func (n *Node) Check(t *testing.T) {
	t.Helper()
	for _, way := range []struct {
		name      string
		manifests []byte
		names     bool
	}{
		{"without the socket of the runtime", n.o.WithoutNames, false},
		{"with the socket of the runtime", n.o.WithNames, true},
	} {
		n.Say("%s", way.name)
		e := n.startExporter(t, way.manifests, nil)
		n.checkRights(t, e)
		n.checkHost(t, e)
		n.checkContainers(t, e, way.names)
		n.checkLater(t, e)
		n.Containerd.StopPod(t, e.Pod)
	}

	n.Say("without capabilities")
	e := n.startExporter(t, n.o.WithNames, func(c *cri.ContainerConfig) { c.Linux.SecurityContext.Capabilities.AddCapabilities = nil })
	n.checkWithoutCapabilities(t, e)
	n.Containerd.StopPod(t, e.Pod)
}

// status returns a line of /proc/PID/status.
func status(t *testing.T, pid int, key string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, key)
	return ""
}

// checkRights checks that the exporter's process has the rights of the manifest and no
// others, as the kernel sees it.
func (n *Node) checkRights(t *testing.T, e *exporter) {
	t.Helper()
	pid := e.own().InitPID
	capabilities := fmt.Sprintf("%016x", uint64(1<<unix.CAP_BPF|1<<unix.CAP_DAC_READ_SEARCH|1<<unix.CAP_PERFMON|1<<unix.CAP_SYS_PTRACE))
	for key, want := range map[string]string{
		"CapPrm": capabilities, "CapEff": capabilities, "CapBnd": capabilities, "CapAmb": fmt.Sprintf("%016x", 0),
		"NoNewPrivs": "1", "Seccomp": "2", "Uid": "0 0 0 0", "Gid": "0 0 0 0",
	} {
		if got := status(t, pid, key); got != want {
			t.Errorf("the exporter's %s is %s, want %s", key, got, want)
		}
	}
	private := n.o.Private || runtimes.OnlyV2(t)
	for name, want := range map[string]bool{"pid": true, "net": false, "mnt": false, "ipc": false, "uts": false, "cgroup": !private} {
		// Not of the main thread, which stays in another network if dialIn was on it.
		mine, err := os.Readlink("/proc/thread-self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		if (mine == its) != want {
			t.Errorf("the exporter is in the host's %s namespace: %t, want %t", name, mine == its, want)
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]string{}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		read[f[4]] = strings.Split(f[5], ",")[0]
	}
	for _, path := range []string{"/", "/host/proc", "/host/sys/fs/cgroup"} {
		if read[path] != "ro" {
			t.Errorf("%s is mounted %q in the exporter's pod, want ro", path, read[path])
		}
	}
	if _, ok := read["/run/secrets/kubernetes.io/serviceaccount"]; ok {
		t.Error("the exporter has a token")
	}
}

// checkHost checks values of the host.
func (n *Node) checkHost(t *testing.T, e *exporter) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	total, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	all := e.scrape(t)
	if got, _ := runtimes.ValueOf(all, "estiba_host_memory_total_bytes"); got != total*1024 {
		t.Errorf("estiba_host_memory_total_bytes is %g, the host has %g", got, total*1024)
	}
	for _, s := range all {
		if strings.HasPrefix(s.Metric, "estiba_") && s.Labels["host"] != nodeName {
			t.Errorf("%s has the label host=%q, want %q", s.Metric, s.Labels["host"], nodeName)
			break
		}
	}
}

func label(c runtimes.Container) string { return c.ID[:12] }

// checkContainers waits until all containers are published as they are: each has a row
// with the values of its own cgroup.
func (n *Node) checkContainers(t *testing.T, e *exporter, names bool) {
	t.Helper()
	containers := n.containers(e)
	testutil.Eventually(t, n.Patience, fmt.Sprintf("the exporter has %d containers", len(containers)), func() bool {
		v, _ := runtimes.ValueOf(e.scrape(t), "estiba_containers")
		unnamed, _ := runtimes.ValueOf(e.scrape(t), "estiba_containers_unnamed")
		return v == float64(len(containers)) && unnamed == 0
	})
	type use struct{ cpu, memory float64 }
	measure := func() map[string]use {
		all := map[string]use{}
		for _, c := range containers {
			all[c.ID] = use{cpuOf(t, c), memoryOf(t, c)}
		}
		return all
	}
	before := measure()
	samples := e.scrape(t)
	after := measure()
	table := []string{"| container | CPU time, ms | its cgroup's, ms | memory, kB | its cgroup's, kB |", "|---|---|---|---|---|"}
	for _, c := range containers {
		wrong := checkInfo(samples, c, names)
		cpu, ok1 := runtimes.ValueOf(samples, "estiba_container_cpu_seconds_total", "id", label(c))
		memory, ok2 := runtimes.ValueOf(samples, "estiba_container_memory_usage_bytes", "id", label(c))
		was, is := before[c.ID], after[c.ID]
		// The kernel sums the CPUs one after the other, and charges memory 64 pages at a
		// time for each of them.
		const within, pages = 5e-3, 2 << 20
		if !ok1 || cpu < was.cpu-within || cpu > is.cpu+within {
			wrong = append(wrong, fmt.Sprintf("CPU time is %g s (known: %t), its cgroup had %g and %g", cpu, ok1, was.cpu, is.cpu))
		}
		if !ok2 || memory < min(was.memory, is.memory)-pages || memory > max(was.memory, is.memory)+pages {
			wrong = append(wrong, fmt.Sprintf("memory is %g (known: %t), its cgroup had %g and %g", memory, ok2, was.memory, is.memory))
		}
		if rss, _ := runtimes.ValueOf(samples, "estiba_container_memory_rss_bytes", "id", label(c)); rss < float64(max(c.Holds, 1)) {
			wrong = append(wrong, fmt.Sprintf("resident memory is %g, it holds %d", rss, c.Holds))
		}
		if processes, _ := runtimes.ValueOf(samples, "estiba_container_processes", "id", label(c)); processes != 1 {
			wrong = append(wrong, fmt.Sprintf("%g processes, want 1", processes))
		}
		for _, metric := range []string{"estiba_container_io_read_bytes_total", "estiba_container_start_time_seconds"} {
			if _, ok := runtimes.ValueOf(samples, metric, "id", label(c)); !ok {
				wrong = append(wrong, metric+" is missing")
			}
		}
		for _, text := range wrong {
			t.Errorf("%s: %s", c.Name, text)
		}
		table = append(table, fmt.Sprintf("| %s | %.1f | %.1f to %.1f | %.0f | %.0f to %.0f |", c.Name, cpu*1e3, was.cpu*1e3, is.cpu*1e3,
			memory/1024, was.memory/1024, is.memory/1024))
	}
	limit, _ := runtimes.ValueOf(samples, "estiba_container_memory_limit_bytes", "id", label(e.own()))
	if limit != 256<<20 {
		t.Errorf("the exporter's own memory limit is %g", limit)
	}
	for metric, want := range map[string]float64{"estiba_scrape_success": 1, "estiba_containers_unseen": 0} {
		if got, ok := runtimes.ValueOf(samples, metric); got != want || !ok {
			t.Errorf("%s is %g (known: %t), want %g", metric, got, ok, want)
		}
	}
	if up, ok := runtimes.ValueOf(samples, "estiba_runtime_up", "runtime", "cri"); ok != names || names && up != 1 {
		t.Errorf("estiba_runtime_up of cri is %g (known: %t)", up, ok)
	}
	checkErrors(t, samples)
	fmt.Println(strings.Join(table, "\n"))
}

// checkErrors checks that nothing was left out. What exits while it is read counts, too.
func checkErrors(t *testing.T, samples []runtimes.Sample) {
	t.Helper()
	for _, s := range samples {
		if s.Metric == "estiba_source_errors_total" && s.Value > 0 {
			t.Errorf("%s %v is %g", s.Metric, s.Labels, s.Value)
		}
	}
}

// checkInfo checks the labels of a container.
func checkInfo(samples []runtimes.Sample, c runtimes.Container, names bool) (wrong []string) {
	i := slices.IndexFunc(samples, func(s runtimes.Sample) bool {
		return s.Metric == "estiba_container_info" && s.Labels["id"] == label(c)
	})
	if i < 0 {
		return []string{"no estiba_container_info"}
	}
	want := map[string]string{"container_id": c.ID, "runtime": c.Runtime, "namespace": c.Namespace}
	if names {
		maps.Copy(want, map[string]string{"name": c.Name, "pod": c.PodName, "pod_namespace": c.PodNamespace, "pod_container": c.PodContainer})
	} else {
		maps.Copy(want, map[string]string{"name": "", "pod": "", "pod_namespace": ""})
	}
	for name, value := range want {
		if got := samples[i].Labels[name]; got != value {
			wrong = append(wrong, fmt.Sprintf("label %s is %q, want %q", name, got, value))
		}
	}
	return wrong
}

// checkLater checks that a container that is started while the exporter runs has its values
// in the first scrape that has it, and is gone after it has ended.
func (n *Node) checkLater(t *testing.T, e *exporter) {
	t.Helper()
	for i := range 2 { // the second within the time for which names of cgroups are kept
		p := n.Containerd.RunPod(t, "shop", fmt.Sprintf("later-%d", i), []runtimes.Named{{Name: "db", Load: runtimes.Load{Holds: 24 << 20}}})
		samples := e.scrape(t)
		for _, c := range p.Containers {
			if _, ok := runtimes.ValueOf(samples, "estiba_container_processes", "id", label(c)); !ok {
				t.Errorf("%s: not in the first scrape", c.Name)
			}
			if _, ok := runtimes.ValueOf(samples, "estiba_container_memory_usage_bytes", "id", label(c)); !ok {
				t.Errorf("%s: its cgroup was not found in the first scrape", c.Name)
			}
		}
		checkErrors(t, samples)
		n.Containerd.StopPod(t, p)
		began := time.Now()
		testutil.Eventually(t, n.Patience, "a pod that was removed is gone", func() bool {
			_, there := runtimes.ValueOf(e.scrape(t), "estiba_container_processes", "id", label(p.Containers[1]))
			return !there
		})
		n.Say("gone after %s", time.Since(began).Round(time.Millisecond))
	}
}

// checkWithoutCapabilities checks what docs/security.md says is missing without them, and
// that the rest is there.
func (n *Node) checkWithoutCapabilities(t *testing.T, e *exporter) {
	t.Helper()
	containers := n.containers(e)
	testutil.Eventually(t, n.Patience, "the exporter has all containers", func() bool {
		v, _ := runtimes.ValueOf(e.scrape(t), "estiba_containers")
		return v == float64(len(containers))
	})
	samples := e.scrape(t)
	for _, c := range containers {
		for metric, want := range map[string]bool{
			"estiba_container_cpu_seconds_total": true, "estiba_container_memory_usage_bytes": true, "estiba_container_processes": true,
			// Its own process is readable for it.
			"estiba_container_io_read_bytes_total": c.ID == e.own().ID,
		} {
			if _, ok := runtimes.ValueOf(samples, metric, "id", label(c)); ok != want {
				t.Errorf("without capabilities: %s of %s is there: %t, want %t", metric, c.Name, ok, want)
			}
		}
	}
}

// CheckModule checks that the exporter reads the kernel module's document in its pod.
func (n *Node) CheckModule(t *testing.T) {
	t.Helper()
	e := n.startExporter(t, n.o.WithNames, nil)
	n.checkContainers(t, e, true)
	if v, _ := runtimes.ValueOf(e.scrape(t), "estiba_source_active", "source", "kmod"); v != 1 {
		t.Errorf("the source kmod is active: %g, want 1", v)
	}
	n.Containerd.StopPod(t, e.Pod)
}
