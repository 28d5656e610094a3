package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/criserver"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// podContainer is container number n of a host, 0 being the first.
type podContainer struct {
	namespace, pod, name string // name "" is the sandbox
	sandbox              int
}

// kubernetesHost has two pods of a workload, one of another namespace, and two containers
// that are of no pod: Docker's and LXC's.
func kubernetesHost() []podContainer {
	return []podContainer{
		{"shop", "web-0", "", 0},
		{"shop", "web-0", "app", 0},
		{"shop", "web-0", "sidecar", 0},
		{"shop", "web-1", "", 3},
		{"shop", "web-1", "app", 3},
		{"kube-system", "dns", "", 5},
		{"kube-system", "dns", "dns", 5},
		{"", "", "docker", -1},
		{"", "", "lxc", -1},
	}
}

// pods writes the document of a host at a step, and returns the snapshot.
func pods(t *testing.T, path string, step int) {
	t.Helper()
	all := kubernetesHost()
	snap := &source.Snapshot{Source: source.Kmod, Schema: "1", Module: "estiba", ModuleVersion: "1.0.0"}
	for f, v := range map[source.HostField]uint64{
		source.MemoryTotal: 16 << 20, source.MemoryFree: 4 << 20, source.MemoryUsed: 12 << 20, source.CPUs: 8,
		source.Realtime: uint64(time.Now().UnixNano()), source.Boottime: 3600e9, source.Sequence: uint64(step), source.ContainersFound: uint64(len(all)),
	} {
		snap.Host.Set(f, v)
	}
	for i, p := range all {
		id := hosttree.Numbered(i).ID
		c := source.Container{ID: id, ProcessName: "containerd-shim", CPUSource: "cgroup", Network: "shared"}
		switch {
		case p.name == "docker":
			c.Runtime, c.Namespace, c.Cgroup = container.Docker, "moby", "/docker/"+id
		case p.name == "lxc":
			c.ID, c.ProcessName = "lxc", "lxc-start"
			c.Runtime, c.Cgroup = container.LXC, "/lxc.payload.lxc"
		default:
			c.Runtime, c.Namespace = container.Containerd, "k8s.io"
			c.Pod, c.Cgroup = hosttree.Numbered(p.sandbox).ID, "/kubepods.slice/cri-containerd-"+id+".scope"
			if p.name == "" {
				c.Pause, c.Network = source.Yes, "own"
			}
		}
		for f := source.Field(0); f < source.EndedAt; f++ {
			network := f == source.NetRxBytes || f == source.NetTxBytes || f == source.NetRxPackets || f == source.NetTxPackets
			if f != source.User && (!network || c.Network == "own") {
				c.Set(f, movingValue(f, i, step))
			}
		}
		snap.Containers = append(snap.Containers, c)
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := kmod.Write(f, snap); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestKubernetesRules evaluates the rules of Kubernetes' monitoring on our samples under
// cAdvisor's names, with promtool.
func TestKubernetesRules(t *testing.T) {
	promtool := testutil.Tool(t, "promtool")
	dir := t.TempDir()
	all := kubernetesHost()
	cri := criserver.New(t)
	e := startEngine(t, 24, 43)
	for i, p := range all {
		id := hosttree.Numbered(i).ID
		switch {
		case p.name == "docker":
			e.put("", id, &engineContainer{Name: "plain", Image: "i"})
		case p.pod != "" && p.name == "":
			cri.PutPod(criserver.Pod{ID: id, Name: p.pod, Namespace: p.namespace, Image: "registry/pause:3.9"})
		case p.pod != "":
			cri.Put(criserver.Container{ID: id, Pod: hosttree.Numbered(p.sandbox).ID, Name: p.name, Image: "registry/" + p.name + ":1"})
		}
	}
	cri.Start(t)
	module := filepath.Join(dir, "estiba")
	pods(t, module, 0)
	p := startProgram(t, testutil.Build(t, "./exporter"), nil, "--source=kmod", "--source.kmod-file="+module, "--docker.host="+e.host,
		"--podman.host=none", "--cri.endpoint="+cri.Address(), "--metrics.names=both", "--path.procfs="+filepath.Join(dir, "none"))
	const steps = 3
	series := map[string][]string{} // values by series
	for step := range steps {
		pods(t, module, step)
		var text string
		testutil.Eventually(t, 20*time.Second, "all names and images, but LXC's", func() bool {
			var err error
			if text, err = scrape(p.address); err != nil {
				return false
			}
			seen, imageless := 0, 0
			for _, line := range strings.Split(text, "\n") {
				if strings.HasPrefix(line, "container_last_seen{") {
					seen++
					imageless += strings.Count(line, `image=""`)
				}
			}
			return seen == len(all) && imageless == 1
		})
		if !strings.Contains(text, "\nestiba_containers_unnamed 0\n") {
			t.Error("one is unnamed")
		}
		for _, line := range strings.Split(text, "\n") {
			if name, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(line, "container_") && !strings.HasPrefix(line, "container_last_seen") {
				name = strings.Replace(name, "{", `{job="cadvisor",instance="n1",`, 1) + "}"
				series[name] = append(series[name], value)
			}
		}
	}
	for i, p := range all {
		if p.pod != "" && p.name == "" {
			labels := fmt.Sprintf(`{namespace=%q,pod=%q,`, p.namespace, p.pod)
			series["kube_pod_info"+labels+`node="n1"}`] = []string{"1", "1", "1"}
			owner, _, _ := strings.Cut(p.pod, "-")
			series["kube_pod_owner"+labels+fmt.Sprintf(`owner_kind="StatefulSet",owner_name=%q}`, owner)] = []string{"1", "1", "1"}
			if i == 0 { // a pod that has moved is listed twice for a while
				series["kube_pod_info"+labels+`node="n1",uid="old"}`] = []string{"1", "1", "1"}
			}
		}
	}
	rules, err := filepath.Abs("testdata/cadvisor/kubernetes.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "test.yml")
	if err := os.WriteFile(file, promtoolTest(rules, series), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// stepSeconds is the time between two documents in the rules' test.
const stepSeconds = 50

// promtoolTest writes a unit test of the rules: what each must give for our samples.
func promtoolTest(rules string, series map[string][]string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: %ds\ntests:\n- interval: %ds\n  input_series:\n", rules, stepSeconds, stepSeconds)
	for name, values := range series {
		fmt.Fprintf(&b, "  - series: %s\n    values: %q\n", strconv.Quote(name), strings.Join(values, " "))
	}
	fmt.Fprint(&b, "  promql_expr_test:\n")
	check := func(expr string, samples map[string]float64) {
		fmt.Fprintf(&b, "  - expr: %q\n    eval_time: %ds\n    exp_samples:\n", expr, 2*stepSeconds)
		for labels, v := range samples {
			fmt.Fprintf(&b, "    - labels: %q\n      value: %v\n", labels, v)
		}
	}
	value := func(f source.Field, i int) float64 { return float64(movingValue(f, i, 2)) }
	cpu := func(i int) float64 {
		return (value(source.CPU, i) - float64(movingValue(source.CPU, i, 1))) / 1e9 / stepSeconds
	}
	working := func(i int) float64 {
		return (value(source.MemoryCgroup, i) - value(source.MemoryInactiveFile, i)) * 1024
	}
	received := func(i int) float64 {
		return (value(source.NetRxBytes, i) - float64(movingValue(source.NetRxBytes, i, 1))) / stepSeconds
	}
	sums := map[string]map[string]float64{}
	add := func(record, labels string, v float64) {
		if sums[record] == nil {
			sums[record] = map[string]float64{}
		}
		sums[record][labels] += v
	}
	for i, p := range kubernetesHost() {
		if p.pod == "" {
			continue
		}
		// As in the kubelet, containerd's pause container has no label container.
		one := ""
		if p.name != "" {
			one = fmt.Sprintf(`container=%q, `, p.name)
		}
		labels := fmt.Sprintf(`{%snamespace=%q, node="n1", pod=%q}`, one, p.namespace, p.pod)
		add("node_namespace_pod_container:container_cpu_usage_seconds_total:sum_irate", labels, cpu(i))
		for metric, v := range map[string]float64{
			"working_set_bytes": working(i),
			"rss":               value(source.RSS, i) * 1024,
			"cache":             (value(source.MemoryCgroup, i) - value(source.RSS, i)) * 1024,
			"swap":              value(source.Swap, i) * 1024,
		} {
			add("sum by (container, namespace, node, pod) (node_namespace_pod_container:container_memory_"+metric+")", labels, v)
		}
		namespace := fmt.Sprintf(`{namespace=%q}`, p.namespace)
		if p.name == "" {
			add("test:namespace:received", namespace, received(i))
			continue
		}
		owner, _, _ := strings.Cut(p.pod, "-")
		workload := fmt.Sprintf(`{namespace=%q, workload=%q}`, p.namespace, owner)
		add("test:namespace_workload:cpu", workload, cpu(i))
		add("test:namespace_workload:memory", workload, working(i))
		add("test:namespace:cpu", namespace, cpu(i))
		add("test:namespace:memory", namespace, working(i))
	}
	for record, samples := range sums {
		rounded := map[string]float64{}
		for labels, v := range samples {
			rounded[labels] = math.Round(v * 1e6)
		}
		check("round(1e6 * "+record+")", rounded)
	}
	check(`count(test:pod:throttled == 1)`, map[string]float64{"{}": 4})
	check(`count(container_cpu_usage_seconds_total{pod=""})`, map[string]float64{"{}": 2})
	return b.Bytes()
}
