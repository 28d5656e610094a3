package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

var (
	peers          = flag.String("peers", "", "programs to compare with the exporter: name=command …, separated by ';'; LISTEN in a command is replaced by an address, ENGINE by the Docker Engine's")
	peerContainers = flag.Int("peer-containers", 50, "number of containers")
	peerMinutes    = flag.Int("peer-minutes", 1, "minutes to measure each program")
	peerLively     = flag.Bool("peer-lively", false, "use containers that wake up ten times per second and have network interfaces, instead of idle ones")
)

const (
	peerScrapes = 12 // a minute
	// peerSettle is the time before the measurement: the start costs more, and
	// cAdvisor takes a minute to reduce its polling of idle containers.
	peerSettle = time.Minute
)

// competitor is a program that is scraped every five seconds.
type competitor struct {
	name string
	argv []string

	series         int
	total          float64 // CPU ms per minute
	scraping       float64 // of that, per scrape
	engine         float64 // additional CPU ms per minute of dockerd and containerd
	shims          float64 // CPU ms per minute of the shims
	residentMemory float64 // MiB
}

// TestAgainstPeers measures the CPU time of the exporter and of other programs, one after
// the other, with a scrape every five seconds on the same containers of a separate
// Engine, and the additional CPU time of dockerd and containerd. The shims count
// separately: 200 of them use 3 ± 0.5 CPU seconds per minute on their own, which hides
// the effect of any program.
//
//	test/bench/peers/run.sh -peer-containers 200 -peer-minutes 3
//
// It is a measurement and fails only if it cannot run.
func TestAgainstPeers(t *testing.T) {
	if *peers == "" {
		t.Skip("a measurement, not a test: requires -peers, see test/bench/peers/run.sh")
	}
	engine := testutil.StartEngine(t)
	realContainers(t, engine, *peerContainers)
	bin := testutil.Build(t, "./exporter")
	document, err := exec.Command(bin, "dump", "--source=cgroup").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(t.TempDir(), "estiba")
	if err := os.WriteFile(module, document, 0o644); err != nil {
		t.Fatal(err)
	}
	all := []*competitor{
		{
			name: "exporter, a document of the module's format",
			argv: []string{bin, "--docker.host=ENGINE", "--source=kmod", "--source.kmod-file=" + module, "--web.listen-address=LISTEN"},
		},
		{name: "exporter, bpf source", argv: []string{bin, "--docker.host=ENGINE", "--source=bpf", "--web.listen-address=LISTEN"}},
		{name: "exporter, cgroup source", argv: []string{bin, "--docker.host=ENGINE", "--source=cgroup", "--web.listen-address=LISTEN"}},
	}
	ours := all
	for _, each := range strings.Split(*peers, ";") {
		name, command, _ := strings.Cut(each, "=")
		all = append(all, &competitor{name: name, argv: strings.Fields(command)})
	}
	minutes := time.Duration(*peerMinutes) * time.Minute
	time.Sleep(30 * time.Second) // let the containers settle
	daemons, shims := engineCPU(t, engine)
	time.Sleep(minutes)
	daemonsAfter, shimsAfter := engineCPU(t, engine)
	alone := perMinute(daemonsAfter - daemons)
	t.Logf("%d containers; the engine alone: %.0f CPU ms a minute, its shims %.0f; load %s", *peerContainers, alone, perMinute(shimsAfter-shims), load(t))
	for _, m := range all {
		m.measure(t, engine, alone)
		t.Logf("%-45s %8.1f CPU ms a minute, %6.2f of it a scrape; the engine %8.1f more, its shims %.0f in all; %3d series a container, RSS %5.1f MiB; load %s",
			m.name, m.total, m.scraping, m.engine, m.shims, m.series / *peerContainers, m.residentMemory, load(t))
	}
	for _, our := range ours {
		for _, their := range all[len(ours):] {
			t.Logf("%s: %s takes %.0f times the CPU time, %.0f times with the engine's", our.name, their.name,
				their.total/our.total, (their.total+max(0, their.engine))/(our.total+max(0, our.engine)))
		}
	}
}

// measure runs the program and scrapes it for a while.
func (m *competitor) measure(t *testing.T, engine *testutil.Engine, alone float64) {
	t.Helper()
	address := testutil.FreeAddress(t)
	argv := make([]string, len(m.argv))
	for i, arg := range m.argv {
		argv[i] = strings.NewReplacer("LISTEN", address, "ENGINE", engine.Host).Replace(arg)
	}
	p := testutil.StartProcess(t, m.name, argv...)
	defer p.Stop(t)
	url := "http://" + address + "/metrics"
	testutil.Eventually(t, 2*time.Minute, m.name+" shows all containers", func() bool {
		text, _, err := packed(url)
		m.series = strings.Count(string(text), `name="estiba-test-peer-`)
		return err == nil && m.series >= *peerContainers*10
	})
	tick := time.NewTicker(time.Minute / peerScrapes)
	defer tick.Stop()
	scrape := func() uint64 {
		<-tick.C
		before := cpuOf(t, p.PID())
		if _, _, err := packed(url); err != nil {
			t.Fatal(err)
		}
		return cpuOf(t, p.PID()) - before
	}
	for began := time.Now(); time.Since(began) < peerSettle; {
		scrape()
	}
	own := cpuOf(t, p.PID())
	daemons, shims := engineCPU(t, engine)
	var scraping uint64
	for range peerScrapes * *peerMinutes {
		scraping += scrape()
	}
	<-tick.C
	m.total = perMinute(cpuOf(t, p.PID()) - own)
	daemonsAfter, shimsAfter := engineCPU(t, engine)
	m.engine, m.shims = perMinute(daemonsAfter-daemons)-alone, perMinute(shimsAfter-shims)
	m.scraping = perMinute(scraping) / peerScrapes
	m.residentMemory = float64(rss(t, p.PID())) / 1024
}

// perMinute converts CPU time in ns to ms per minute of the measurement.
func perMinute(ns uint64) float64 { return float64(ns) / 1e6 / float64(*peerMinutes) }

// engineCPU is the CPU time so far of dockerd and its containerd, and of the
// shims: of all processes that have the Engine's folder in their arguments, but
// for the programs that are measured.
func engineCPU(t *testing.T, e *testutil.Engine) (daemons, shims uint64) {
	t.Helper()
	dir := filepath.Dir(strings.TrimPrefix(e.Host, "unix://"))
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range names {
		argv, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(argv, []byte(dir+"/")) {
			continue
		}
		sum := &daemons
		switch program := filepath.Base(string(bytes.SplitN(argv, []byte{0}, 2)[0])); {
		case program == "dockerd", program == "containerd":
		case strings.HasPrefix(program, "containerd-shim"):
			sum = &shims
		default:
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		*sum += cpuOf(t, pid)
		found++
	}
	if found < 2+*peerContainers {
		t.Fatalf("%d processes of the engine found, want dockerd, containerd and %d shims", found, *peerContainers)
	}
	return daemons, shims
}

func load(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))[0]
}

// realContainers starts n that do hardly anything.
func realContainers(t *testing.T, engine *testutil.Engine, n int) {
	t.Helper()
	ctx := context.Background()
	docker := engine.Client(t)
	const image = "estiba-test/peer:1"
	testutil.IdleImage(t, docker, image)
	for i := range n {
		spec := dockerclient.Spec{Name: fmt.Sprintf("estiba-test-peer-%d", i), Image: image, MemoryBytes: 64 << 20, Networkless: true}
		if *peerLively {
			spec.Command = []string{"100ms"}
		}
		id, err := docker.Create(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := docker.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		if !*peerLively {
			continue
		}
		c, err := docker.Inspect(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("nsenter", "--net=/proc/"+strconv.Itoa(c.PID)+"/ns/net",
			"ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1").CombinedOutput()
		if err != nil {
			t.Fatalf("giving a container interfaces: %v: %s", err, out)
		}
	}
}
