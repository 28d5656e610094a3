package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
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
	options options
	ports   ports
	engine  *engine
	grafana *grafana // nil when there is to be none
	undo    []func() // in the order in which they became needed

	auditStart int64 // length of the manager's record before this run
}

// up installs, builds and starts everything, in the order of the data's way.
func (s *system) up(ctx context.Context) error {
	s.out.line("%s, %d cores, kernel %s", distribution(), runtime.NumCPU(), kernelRelease())
	// Grafana's port is looked at when its image is there.
	if err := s.ports.free(ctx, 5*time.Second, partExporter, partManager, partPrometheus, partAlertmanager); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{
		s.buildAndInstall,
		s.loadModule,
		s.startDocker,
		s.startGrafana,
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
		filepath.Join(s.dirs.root, "tools", "build.sh"), "prometheus", "alertmanager", "amtool")
}

// own gives the files of a run under sudo to the caller of sudo.
func (s *system) own() {
	out, err := exec.Command(filepath.Join(s.dirs.root, "tools", "own.sh"), s.dirs.state).CombinedOutput()
	if err != nil {
		s.out.line("giving the files to the caller of sudo: %v: %s", err, bytes.TrimSpace(out))
	}
}

// startParts starts our programs and the two servers, each one checked before
// the next, so that a mistake is seen where it is made.
func (s *system) startParts(ctx context.Context) error {
	config, err := s.configuration()
	if err != nil {
		return err
	}
	bin := func(name string) string { return filepath.Join(s.dirs.bin, name) }
	docker := "--docker.host=unix://" + s.options.docker
	parts := []*service{
		{
			name:  partExporter,
			argv:  []string{bin("exporter"), "--web.listen-address=" + s.ports.address(partExporter), "--source=auto", docker},
			ready: httpReady(s.ports.url(partExporter) + "/-/ready"),
		},
		{
			name: partAlertmanager,
			argv: []string{
				bin("alertmanager"), "--config.file=" + filepath.Join(config, "alertmanager.yml"),
				"--storage.path=" + filepath.Join(s.dirs.state, "alertmanager"),
				"--web.listen-address=" + s.ports.address(partAlertmanager), "--web.external-url=" + s.ports.url(partAlertmanager),
				"--cluster.listen-address=",
			},
			ready: httpReady(s.ports.url(partAlertmanager) + "/-/ready"),
		},
		{
			name: partPrometheus,
			argv: []string{
				bin("prometheus"), "--config.file=" + filepath.Join(config, "prometheus.yml"),
				"--storage.tsdb.path=" + filepath.Join(s.dirs.state, "prometheus"),
				"--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=4GB",
				"--web.listen-address=" + s.ports.address(partPrometheus), "--web.external-url=" + s.ports.url(partPrometheus),
			},
			ready: httpReady(s.ports.url(partPrometheus) + "/-/ready"),
		},
		{
			name: partManager,
			argv: []string{
				bin("manager"), "run", "--config.file=" + filepath.Join(s.dirs.root, "manager", "policies", "one-of-each-kind.yml"),
				"--prometheus.url=" + s.ports.url(partPrometheus), "--alertmanager.url=" + s.ports.url(partAlertmanager),
				"--web.listen-address=" + s.ports.address(partManager), docker,
				"--audit.file=" + s.auditFile(), "--grafana.url=" + s.ports.url(partGrafana), // linked if it answers
			},
			ready: httpReady(s.ports.url(partManager) + "/-/healthy"),
		},
		{
			name: partGenerator,
			argv: []string{bin("generator"), "run", "--lock-file=" + filepath.Join(s.dirs.state, "generator.lock"), docker},
		},
	}
	if info, err := os.Stat(s.auditFile()); err == nil {
		s.auditStart = info.Size()
	}
	for _, p := range parts {
		if p.name == partGenerator {
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
		filepath.Join(s.dirs.bin, "generator"), "clean", "--docker.host=unix://"+s.options.docker); err != nil {
		s.out.line("%v", err)
	}
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
