package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/exporter/names"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/web"
)

// stopGrace is how long running scrapes may go on after the order to stop.
const stopGrace = 5 * time.Second

// Config is all that the flags say.
type Config struct {
	Web           web.Config
	TelemetryPath string
	Source        string // auto, kmod or cgroup
	KmodFile      string
	ProcFS        string
	SysFS         string
	CgroupFS      string // "": fs/cgroup below SysFS
	DockerHost    string
	DockerLabels  []string
	Names         collector.NameSet
	Limit         int
	Timeout       time.Duration
	Host          string
}

func (c Config) validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit.containers is %d: want at least 1", c.Limit)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--scrape.timeout is %s: want more than 0", c.Timeout)
	}
	if len(c.TelemetryPath) < 2 || c.TelemetryPath[0] != '/' {
		return fmt.Errorf("--web.telemetry-path is %q: want a path such as /metrics", c.TelemetryPath)
	}
	seen := map[string]string{}
	for _, l := range c.DockerLabels {
		name := collector.LabelName(l)
		if other, ok := seen[name]; ok {
			return fmt.Errorf("--docker.label=%s and --docker.label=%s would both be published as %s", other, l, name)
		}
		seen[name] = l
	}
	return nil
}

// App is one exporter.
type App struct {
	server    *web.Server
	handler   http.Handler
	sources   *sources
	shared    *source.Shared
	names     *names.Cache
	collector *collector.Collector
	docker    *dockerclient.Client
	logger    log.Logger
	timeout   time.Duration
}

// New makes an exporter that listens already but does not answer yet.
func New(c Config, logger log.Logger) (*App, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s, err := newSources(c, logger)
	if err != nil {
		return nil, err
	}
	docker, err := dockerclient.New(c.DockerHost)
	if err != nil {
		return nil, err
	}
	a := &App{sources: s, docker: docker, logger: logger, timeout: c.Timeout}
	a.shared = source.NewShared(s.chosen, c.Timeout)
	a.names = names.New(docker, names.Config{Labels: c.DockerLabels}, logger)
	a.collector = collector.New(collector.Config{
		NameSet: c.Names, DockerLabels: c.DockerLabels, Host: c.Host, Limit: c.Limit, Timeout: c.Timeout,
		ModulePresent: s.module.Present,
	}, a.shared, a.names, logger)
	process := prometheus.NewRegistry()
	if err := process.Register(newSelf()); err != nil {
		return nil, fmt.Errorf("registering the process' own metrics: %w", err)
	}
	if err := process.Register(collectors.NewGoCollector()); err != nil {
		return nil, fmt.Errorf("registering the process' own metrics: %w", err)
	}
	mux, err := a.routes(c.TelemetryPath, process)
	if err != nil {
		return nil, err
	}
	a.handler = mux
	if a.server, err = web.Listen(c.Web, mux, logger); err != nil {
		docker.Close()
		return nil, err
	}
	return a, nil
}

// Addr is the bound address.
func (a *App) Addr() net.Addr { return a.server.Addr() }

// Run serves until ctx ends.
func (a *App) Run(ctx context.Context) error {
	level.Info(a.logger).Log("msg", "exporter starts", "version", version.Info(), "source", a.sources.chose, "docker", a.docker.Host())
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	for _, run := range []func(context.Context){a.names.Run, a.sources.run, a.warm} {
		background.Add(1)
		go func() {
			defer background.Done()
			run(ctx)
		}()
	}
	err := a.server.Serve(ctx, stopGrace)
	cancel()
	background.Wait()
	a.docker.Close()
	level.Info(a.logger).Log("msg", "exporter stopped")
	return err
}

// warm asks for snapshots until there is one, so that readiness does not wait
// for the first scrape.
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
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "The exporter is healthy.")
	})
	mux.HandleFunc("/-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !a.collector.Ready() {
			http.Error(w, "No snapshot was made yet.", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "The exporter is ready.")
	})
	return mux, nil
}
