package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// system is the whole of Estiba on this machine.
type system struct {
	dirs    dirs
	out     *printer
	spawner *spawner
	undo    []func() // in the order in which they became needed

	auditStart int64 // length of the manager's record before this run
}

// Addresses on which the parts listen: loopback only.
const (
	exporterAddress     = "127.0.0.1:10120"
	managerAddress      = "127.0.0.1:10121"
	prometheusAddress   = "127.0.0.1:9090"
	alertmanagerAddress = "127.0.0.1:9093"
)

// up installs, builds and starts everything, in the order of the data's way.
func (s *system) up(ctx context.Context) error {
	s.out.line("%s, %d cores, kernel %s", distribution(), runtime.NumCPU(), kernelRelease())
	if err := waitForPorts(ctx); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{
		s.buildAndInstall,
		s.loadModule,
		s.startDocker,
		s.startParts,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// buildAndInstall installs Docker while our own programs compile (one waits
// for the network, the other for the cores), then builds the pinned servers.
func (s *system) buildAndInstall(ctx context.Context) error {
	installed := make(chan error, 1)
	go func() { installed <- s.installDocker(ctx) }()
	err := s.step(ctx, "compiling exporter, manager and generator", "build-estiba", []string{"GOFLAGS=-v"}, "make", "-s", "build")
	if e := <-installed; e != nil {
		return e
	}
	if err != nil {
		return err
	}
	return s.step(ctx, "compiling Prometheus and Alertmanager (once; the longest part of the first run)", "build-tools", nil,
		filepath.Join(s.dirs.root, "tools", "build.sh"), "prometheus", "alertmanager")
}

// startParts starts our programs and the two servers, each one checked before
// the next, so that a mistake is seen where it is made.
func (s *system) startParts(ctx context.Context) error {
	bin := func(name string) string { return filepath.Join(s.dirs.bin, name) }
	in := func(parts ...string) string { return filepath.Join(append([]string{s.dirs.root}, parts...)...) }
	parts := []*service{
		{
			name:  "exporter",
			argv:  []string{bin("exporter"), "--web.listen-address=" + exporterAddress, "--source=auto"},
			ready: httpReady("http://" + exporterAddress + "/-/ready"),
		},
		{
			name: "alertmanager",
			argv: []string{bin("alertmanager"), "--config.file=" + in("prometheus", "alertmanager.yml"),
				"--storage.path=" + filepath.Join(s.dirs.state, "alertmanager"),
				"--web.listen-address=" + alertmanagerAddress, "--cluster.listen-address="},
			ready: httpReady("http://" + alertmanagerAddress + "/-/ready"),
		},
		{
			name: "prometheus",
			argv: []string{bin("prometheus"), "--config.file=" + in("prometheus", "prometheus.yml"),
				"--storage.tsdb.path=" + filepath.Join(s.dirs.state, "prometheus"),
				"--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=4GB",
				"--web.listen-address=" + prometheusAddress},
			ready: httpReady("http://" + prometheusAddress + "/-/ready"),
		},
		{
			name: "manager",
			argv: []string{bin("manager"), "run", "--config.file=" + in("manager", "policies", "one-of-each-kind.yml"),
				"--prometheus.url=http://" + prometheusAddress, "--alertmanager.url=http://" + alertmanagerAddress, "--web.listen-address=" + managerAddress,
				"--audit.file=" + s.auditFile()},
			ready: httpReady("http://" + managerAddress + "/-/healthy"),
		},
		{
			name: "generator",
			argv: []string{bin("generator"), "run", "--lock-file=" + filepath.Join(s.dirs.state, "generator.lock")},
		},
	}
	if info, err := os.Stat(s.auditFile()); err == nil {
		s.auditStart = info.Size()
	}
	for _, p := range parts {
		if p.name == "generator" {
			// Undone after the generator has stopped, so that nothing new comes.
			s.onDown(s.cleanContainers)
		}
		if err := s.startService(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *system) auditFile() string { return filepath.Join(s.dirs.state, "audit.jsonl") }

// onDown registers f to be run by down, before everything registered earlier.
func (s *system) onDown(f func()) { s.undo = append(s.undo, f) }

// down undoes what up did, in reverse order.
func (s *system) down() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
	s.undo = nil
}

// cleanContainers removes the generator's containers, also those that it
// could not remove itself.
func (s *system) cleanContainers() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.step(ctx, "removing the generated containers", "generator-clean", nil,
		filepath.Join(s.dirs.bin, "generator"), "clean"); err != nil {
		s.out.line("%v", err)
	}
}

// waitForPorts fails early, with the address, when another program listens
// where we are to listen. A killed run's programs get a moment to go.
func waitForPorts(ctx context.Context) error {
	for _, address := range []string{exporterAddress, managerAddress, prometheusAddress, alertmanagerAddress} {
		deadline := time.Now().Add(5 * time.Second)
		for {
			l, err := net.Listen("tcp", address)
			if err == nil {
				l.Close()
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("another program listens on %s already: stop it first (%w)", address, err)
			}
			if err := pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause waits for d, or for the end of ctx, which is its error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// distribution is PRETTY_NAME of os-release(5).
func distribution() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for _, line := range strings.Split(string(data), "\n") {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return "Linux"
}

func kernelRelease() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}
