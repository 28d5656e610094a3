// Command exporter exports the resource usage of the containers of a host as Prometheus
// metrics.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/top"
	"github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/logging"
	"github.com/estiba/estiba/internal/web"
)

func main() {
	// One processor suffices by default: with more, a scrape wakes threads that find
	// the work done and then spin or help the garbage collector.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "exporter:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	app := cli.New("exporter", "Exports the resource usage of the containers of a host as Prometheus metrics.")
	var c Config
	webConfig := web.Flags(app.Application, ":10120")
	logConfig := logging.Flags(app.Application)
	app.Flag("web.telemetry-path", "HTTP path of the metrics.").Default("/metrics").StringVar(&c.TelemetryPath)
	app.Flag("source", "Source of the data: kmod (the kernel module), bpf (BPF programs), cgroup (/proc and cgroup files), or auto (the first of these that is available).").
		Default(sourceAuto).EnumVar(&c.Source, sourceAuto, source.Kmod, source.BPF, source.Cgroup)
	app.Flag("source.kmod-file", "Path of the kernel module's document.").Default("/proc/estiba").StringVar(&c.KmodFile)
	app.Flag("path.procfs", "Mount point of the host's /proc.").Default("/proc").StringVar(&c.ProcFS)
	app.Flag("path.sysfs", "Mount point of the host's /sys.").Default("/sys").StringVar(&c.SysFS)
	app.Flag("path.cgroup", "Mount point of the host's cgroup file systems (default: fs/cgroup below --path.sysfs).").PlaceHolder("DIRECTORY").StringVar(&c.CgroupFS)
	app.Flag("docker.host", "URL of the Docker Engine, for names and labels; it has precedence over DOCKER_HOST. auto: its default socket, none: no Docker.").
		Default(runtimes.Auto).Envar("DOCKER_HOST").StringVar(&c.DockerHost)
	app.Flag("docker.label", "Label of containers to export as container_label_NAME, of any runtime. Repeatable.").PlaceHolder("NAME").StringsVar(&c.DockerLabels)
	app.Flag("podman.host", "URL of a Podman service (unix:///run/podman/podman.sock), for names and labels. auto: the default sockets of root and of users with containers, none: no Podman. Repeatable.").
		Default(runtimes.Auto).StringsVar(&c.PodmanHosts)
	app.Flag("cri.endpoint", "URL of a container runtime of Kubernetes (unix:///run/containerd/containerd.sock), for names and labels. auto: the default sockets of containerd, CRI-O and K3s, none: no such runtime. Repeatable.").
		Default(runtimes.Auto).StringsVar(&c.CRIEndpoints)
	var names string
	app.Flag("metrics.names", "Naming scheme of the container metrics: estiba, cadvisor or both.").
		Default(string(collector.Estiba)).EnumVar(&names, string(collector.Estiba), string(collector.CAdvisor), string(collector.Both))
	app.Flag("metrics.interfaces", "Export the counters of each network interface of a container: eight series per interface. With the kernel module, a scrape then also reads one file per container.").
		BoolVar(&c.Interfaces)
	app.Flag("metrics.open-files", "Export the number of open file descriptors of each container. Each scrape then looks up one more file per process of the containers (before Linux 6.2 it lists their open files), and with the kernel module one per process of the host: leave it off where there are tens of thousands of processes.").
		BoolVar(&c.OpenFiles)
	app.Flag("limit.containers", "Maximum number of containers in one exposition; the others are only counted.").Default("20000").IntVar(&c.Limit)
	app.Flag("scrape.timeout", "Maximum duration of a scrape; a shorter timeout sent by Prometheus takes precedence.").Default("10s").DurationVar(&c.Timeout)
	app.Flag("host", "Value of the label host on every metric; empty for no label.").PlaceHolder("NAME").StringVar(&c.Host)
	serve := app.Command("serve", "Serve metrics (default).").Default()
	health := app.Command("healthcheck", "Check the health of the local exporter (exit status 0 = healthy).")
	dump := app.Command("dump", "Print one snapshot of the selected source as JSON (schema version 1) and exit.")
	live := app.Command("top", "Show what the containers use, live in the terminal. Needs neither a running exporter nor a runtime.")
	t := TopConfig{}
	live.Flag("interval", "Time between refreshes.").Default("2s").DurationVar(&t.Interval)
	live.Flag("once", "Print one table, of one interval, and exit; also if standard output is no terminal.").BoolVar(&t.Once)
	live.Flag("output", "Output format: table, or json for one JSON object per refresh and line.").Default("table").EnumVar(&t.Output, "table", "json")
	live.Flag("sort", "Sort key: "+strings.Join(top.OrderNames(), ", ")+".").Default(top.OrderNames()[0]).EnumVar(&t.Look.Order, top.OrderNames()...)
	live.Flag("filter", "Show only containers with this text in their name, id, image, command or project.").PlaceHolder("TEXT").StringVar(&t.Look.Filter)
	live.Flag("tree", "Group the containers by their pod, or the project of Docker Compose.").BoolVar(&t.Look.Tree)
	from := []string{"source*", "path.*", "log.*"}
	app.Heeds(health, "web.listen-address", "web.config.file")
	app.Heeds(dump, from...)
	app.Heeds(live, append(from, "docker.host", "podman.host", "cri.endpoint", "scrape.timeout")...)
	command, err := app.Parse(args)
	if err != nil {
		return err
	}
	c.Web, c.Names = *webConfig, collector.NameSet(names)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	logger, err := logging.New(os.Stderr, *logConfig)
	if err != nil {
		return err
	}
	switch command {
	case health.FullCommand():
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return web.Healthcheck(ctx, c.Web)
	case dump.FullCommand():
		return Dump(ctx, c, os.Stdout, logger)
	case live.FullCommand():
		return Top(ctx, c, t, *logConfig, os.Stdin, os.Stdout, os.Stderr)
	case serve.FullCommand():
	}
	a, err := New(c, logger)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
