package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/web"
)

// stopGrace is the time for running scrapes to finish at shutdown.
const stopGrace = 5 * time.Second

// Config has the values of all flags.
type Config struct {
	Web           web.Config
	TelemetryPath string
	Source        string // auto, kmod or cgroup
	KmodFile      string
	ProcFS        string
	SysFS         string
	CgroupFS      string   // "": SysFS/fs/cgroup
	DockerHost    string   // address, runtimes.Auto or runtimes.None; "": none
	PodmanHosts   []string // the same
	CRIEndpoints  []string // the same
	DockerLabels  []string
	Names         collector.NameSet
	Interfaces    bool // export each network interface
	OpenFiles     bool // export the number of open files
	Limit         int
	Timeout       time.Duration
	Host          string
}

func (c Config) validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit.containers is %d: must be at least 1", c.Limit)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--scrape.timeout is %s: must be positive", c.Timeout)
	}
	if err := validPath(c.TelemetryPath); err != nil {
		return fmt.Errorf("--web.telemetry-path is %q: %w", c.TelemetryPath, err)
	}
	seen := map[string]string{}
	for _, l := range c.DockerLabels {
		name := collector.LabelName(l)
		if other, ok := seen[name]; ok {
			return fmt.Errorf("--docker.label=%s and --docker.label=%s: duplicate metric label %s", other, l, name)
		}
		seen[name] = l
	}
	return nil
}

// hosts returns the addresses of the runtimes.
func (c Config) hosts() runtimes.Hosts {
	return runtimes.Hosts{runtimes.Docker: {c.DockerHost}, runtimes.Podman: c.PodmanHosts, runtimes.CRI: c.CRIEndpoints}
}

// Fixed paths.
const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// validPath reports whether a path is usable for metrics: the router interprets some
// characters as patterns and panics at others.
func validPath(p string) error {
	clean := path.Clean(p)
	switch {
	case !strings.HasPrefix(p, "/") || clean == "/" || clean != p && clean+"/" != p: // "/" is the landing page; the router redirects unclean paths
		return errors.New("must be an absolute path such as /metrics")
	case strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("{}?#%\\", r) }):
		return errors.New("must consist of letters, digits and -._~/")
	case clean == healthyPath || clean == readyPath:
		return errors.New("path is reserved")
	}
	return nil
}

// App is an exporter.
type App struct {
	server    *web.Server
	handler   http.Handler
	sources   *sources
	shared    *source.Shared
	runtimes  *runtimes.Set
	collector *collector.Collector
	logger    log.Logger
	timeout   time.Duration
}

// New returns an exporter that listens; it answers after Run.
func New(c Config, logger log.Logger) (*App, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s, err := newSources(c, logger)
	if err != nil {
		return nil, err
	}
	set, err := runtimes.NewSet(c.hosts(), runtimes.Config{Labels: c.DockerLabels}, logger)
	if err != nil {
		return nil, err
	}
	a := &App{sources: s, runtimes: set, logger: logger, timeout: c.Timeout}
	a.shared = source.NewShared(s.chosen, c.Timeout)
	a.collector = collector.New(collector.Config{
		NameSet: c.Names, Interfaces: c.Interfaces, OpenFiles: c.OpenFiles, DockerLabels: c.DockerLabels,
		Host: c.Host, Limit: c.Limit, Timeout: c.Timeout, ModulePresent: s.module.Present,
	}, a.shared, a.runtimes, logger)
	process := prometheus.NewRegistry()
	if err := process.Register(collector.NewProcess()); err != nil {
		return nil, fmt.Errorf("registering process metrics: %w", err)
	}
	if err := process.Register(collectors.NewGoCollector()); err != nil {
		return nil, fmt.Errorf("registering process metrics: %w", err)
	}
	mux, err := a.routes(c.TelemetryPath, process)
	if err != nil {
		return nil, err
	}
	a.handler = mux
	if a.server, err = web.Listen(c.Web, mux, logger); err != nil {
		set.Close()
		return nil, err
	}
	return a, nil
}

// Addr returns the bound address.
func (a *App) Addr() net.Addr { return a.server.Addr() }

// Run serves until ctx ends.
func (a *App) Run(ctx context.Context) error {
	level.Info(a.logger).Log("msg", "starting exporter", "version", version.Version, "revision", version.GetRevision(),
		"source", a.sources.chose)
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	for _, run := range []func(context.Context){a.runtimes.Run, a.sources.run, a.warm} {
		background.Add(1)
		go func() {
			defer background.Done()
			run(ctx)
		}()
	}
	err := a.server.Serve(ctx, stopGrace)
	cancel()
	background.Wait()
	a.runtimes.Close()
	level.Info(a.logger).Log("msg", "exporter stopped")
	return err
}

// warm retries until the first snapshot, so that readiness does not wait for the first
// scrape.
func (a *App) warm(ctx context.Context) {
	for !a.collector.Ready() {
		a.collector.Warm(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (a *App) routes(telemetry string, process prometheus.Gatherer) (http.Handler, error) {
	landing, err := landingPage(telemetry)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(telemetry, a.collector.Handler(process))
	mux.Handle("/", landing)
	mux.HandleFunc(healthyPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "The exporter is healthy.")
	})
	mux.HandleFunc(readyPath, func(w http.ResponseWriter, _ *http.Request) {
		if !a.collector.Ready() {
			http.Error(w, "No snapshot yet.", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "The exporter is ready.")
	})
	return mux, nil
}
