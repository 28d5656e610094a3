package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

var (
	peers          = flag.String("peers", "", "programs to measure beside the exporter: name=command …, separated by ';'; LISTEN in a command stands for an address")
	peerContainers = flag.Int("peer-containers", 50, "how many real containers to measure with")
	peerMinutes    = flag.Int("peer-minutes", 1, "how long to measure")
)

// competitor is a program that is scraped every five seconds.
type competitor struct {
	name   string
	pid    int
	url    string
	cpu    uint64 // at the beginning, ns
	series int
}

// TestAgainstPeers measures what a minute of one scrape every five seconds
// costs the exporter and other programs, all at the same time, on the same real
// containers:
//
//	go test ./exporter -run TestAgainstPeers -v -peers 'name=/path/to/cadvisor -listen LISTEN'
//
// It is a measurement: it fails only if it cannot be done.
func TestAgainstPeers(t *testing.T) {
	if *peers == "" {
		t.Skip("a measurement, not a test: wants -peers")
	}
	testutil.Require(t, testutil.Docker, testutil.Root)
	realContainers(t, *peerContainers)
	bin := testutil.Build(t, "./exporter")
	document, err := exec.Command(bin, "dump", "--source=cgroup").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(t.TempDir(), "estiba")
	if err := os.WriteFile(module, document, 0o644); err != nil {
		t.Fatal(err)
	}
	list := []string{
		"estiba, cgroup source=" + bin + " --source=cgroup --web.listen-address=LISTEN",
		"estiba, a module's document=" + bin + " --source=kmod --source.kmod-file=" + module + " --web.listen-address=LISTEN",
	}
	var all []*competitor
	for _, each := range append(list, strings.Split(*peers, ";")...) {
		name, command, _ := strings.Cut(each, "=")
		all = append(all, startMeasured(t, name, strings.Fields(command)))
	}
	for _, m := range all {
		testutil.Eventually(t, 2*time.Minute, m.name+" shows all containers", func() bool {
			text, _, err := packed(m.url)
			m.series = strings.Count(string(text), `name="estiba-test-peer-`)
			return err == nil && m.series >= *peerContainers*10
		})
	}
	time.Sleep(30 * time.Second) // the beginning is dearer for all of them
	for _, m := range all {
		m.cpu = cpuOf(t, m.pid)
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var scraping = map[string]uint64{}
	for range 12 * *peerMinutes {
		<-tick.C
		for _, m := range all {
			before := cpuOf(t, m.pid)
			if _, _, err := packed(m.url); err != nil {
				t.Fatal(err)
			}
			scraping[m.name] += cpuOf(t, m.pid) - before
		}
	}
	first := 0.0
	for _, m := range all {
		total := float64(cpuOf(t, m.pid)-m.cpu) / 1e6 / float64(*peerMinutes)
		if first == 0 {
			first = total
		}
		t.Logf("%-45s %d containers: %8.1f CPU ms a minute, %6.2f a scrape, %3d series a container, RSS %5.1f MiB, %6.1f times the first",
			m.name, *peerContainers, total, float64(scraping[m.name])/1e6/float64(12**peerMinutes), m.series / *peerContainers,
			float64(rss(t, m.pid))/1024, total/first)
	}
}

func startMeasured(t *testing.T, name string, argv []string) *competitor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "LISTEN", address)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of %s:\n%.2000s", name, log.String())
		}
	})
	return &competitor{name: name, pid: cmd.Process.Pid, url: "http://" + address + "/metrics"}
}

// realContainers starts n that sleep.
func realContainers(t *testing.T, n int) {
	t.Helper()
	ctx := context.Background()
	docker, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	const image = "estiba-test/peer:1"
	testutil.IdleImage(t, docker, image)
	for i := range n {
		name := fmt.Sprintf("estiba-test-peer-%d", i)
		docker.Remove(ctx, name)
		id, err := docker.Create(ctx, dockerclient.Spec{Name: name, Image: image, MemoryBytes: 64 << 20, Networkless: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { docker.Remove(context.Background(), id) })
		if err := docker.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}
