// Command exporter publishes what the containers of a host use as Prometheus
// metrics.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/internal/logging"
	"github.com/estiba/estiba/internal/web"
)

func main() {
	// One processor is enough, unless the runtime's own variable says otherwise:
	// with more, a scrape wakes threads for work that is done before they run,
	// and they look for some, or for garbage.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "exporter:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	app := kingpin.New("exporter", "Publishes what the containers of a host use as Prometheus metrics.")
	app.HelpFlag.Short('h')
	app.Version(version.Print("exporter"))
	var c Config
	webConfig := web.Flags(app, ":10120")
	logConfig := logging.Flags(app)
	app.Flag("web.telemetry-path", "Path under which to publish metrics.").Default("/metrics").StringVar(&c.TelemetryPath)
	app.Flag("source", "Where the data come from: the kernel module, /proc and the cgroups, or auto: the module and, only if it is not loaded, the other.").
		Default(sourceAuto).EnumVar(&c.Source, sourceAuto, "kmod", "cgroup")
	app.Flag("source.kmod-file", "The kernel module's document.").Default("/proc/estiba").StringVar(&c.KmodFile)
	app.Flag("path.procfs", "Mount point of the host's /proc.").Default("/proc").StringVar(&c.ProcFS)
	app.Flag("path.sysfs", "Mount point of the host's /sys.").Default("/sys").StringVar(&c.SysFS)
	app.Flag("path.cgroup", "Mount point of the host's cgroup file systems (default: fs/cgroup below --path.sysfs).").Default("").StringVar(&c.CgroupFS)
	app.Flag("docker.host", "Address of the Docker Engine, for names and labels (default: its usual socket).").Default("").Envar("DOCKER_HOST").StringVar(&c.DockerHost)
	app.Flag("docker.label", "Docker label to publish as container_label_NAME. Repeatable.").StringsVar(&c.DockerLabels)
	var names string
	app.Flag("metrics.names", "Names of the containers' metrics: estiba, cadvisor or both.").
		Default(string(collector.Estiba)).EnumVar(&names, string(collector.Estiba), string(collector.CAdvisor), string(collector.Both))
	app.Flag("limit.containers", "Most containers in one exposition; the rest is counted.").Default("20000").IntVar(&c.Limit)
	app.Flag("scrape.timeout", "Longest time a scrape may take; less if Prometheus says that it waits less.").Default("10s").DurationVar(&c.Timeout)
	app.Flag("host", "Value of the label host on every metric; without it there is no such label.").Default("").StringVar(&c.Host)
	serve := app.Command("serve", "Serve metrics (the default).").Default()
	health := app.Command("healthcheck", "Ask the exporter that runs on this host whether it is well; the exit status tells.")
	dump := app.Command("dump", "Print one snapshot of the chosen source as document version 1 and exit.")
	command, err := app.Parse(args)
	if err != nil {
		return fmt.Errorf("%w, try --help", err)
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
	case serve.FullCommand():
	}
	a, err := New(c, logger)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
