// Command manager kills containers that PromQL queries select, through the Docker
// Engine.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"

	commandline "github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/logging"
	"github.com/estiba/estiba/internal/web"
	"github.com/estiba/estiba/manager/cli"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/run"
)

const (
	defaultListen = ":10121"
	defaultAudit  = "/var/lib/estiba/manager/audit.jsonl"
)

func main() {
	if err := execute(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, commandline.PaintFor(os.Stderr).Red("manager:"), err)
		os.Exit(1)
	}
}

func execute(args []string, stdout, stderr io.Writer) error {
	// SIGHUP reloads the policy, and must not end the manager while it starts.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	app := commandline.New("manager", "Kills containers that PromQL queries select, through the Docker Engine.")
	app.UsageWriter(stdout).ErrorWriter(stderr)
	o := run.Options{Options: gather.Options{Now: time.Now}}
	app.Flag("config.file", "Policy file. If empty, the built-in policy one-of-each-kind.").PlaceHolder("FILE").StringVar(&o.ConfigFile)
	app.Flag("prometheus.url", "URL of Prometheus.").Default("http://localhost:9090").StringVar(&o.PrometheusURL)
	app.Flag("prometheus.http.config.file",
		"HTTP client configuration file for Prometheus (TLS, authentication, proxies), in the format of promtool's --http.config.file.").PlaceHolder("FILE").StringVar(&o.PrometheusHTTPConfig)
	dockerHost := app.DockerHost(" or of Podman's service")
	app.Flag("audit.file", "Audit log file.").Default(defaultAudit).StringVar(&o.AuditFile)
	app.Flag("dry-run", "Decide and record as usual, but kill nothing. Overrides the policy's mode.").BoolVar(&o.DryRun)
	app.Flag("alertmanager.url",
		"URL of the Alertmanager that is queried for vetoes, for rules with announce.").Default("http://localhost:9093").StringVar(&o.AlertmanagerURL)
	app.Flag("alertmanager.http.config.file", "HTTP client configuration file for Alertmanager, as --prometheus.http.config.file.").PlaceHolder("FILE").StringVar(&o.AlertmanagerHTTPConfig)
	app.Flag("grafana.url", "URL of Grafana as browsers reach it, for links on the status page. If empty, no links.").PlaceHolder("URL").StringVar(&o.GrafanaURL)
	app.Flag("host", "Value of the label host to add to each query and to the manager's metrics. Required if Prometheus has several hosts.").PlaceHolder("NAME").StringVar(&o.Host)
	webConfig := web.Flags(app.Application, defaultListen)
	app.Flag("web.allowed-host", "Host name to accept in requests, in addition to IP addresses, names without a dot and the host's own name (repeatable). Unused with --web.config.file.").PlaceHolder("NAME").StringsVar(&o.AllowedHosts)
	logConfig := logging.Flags(app.Application)
	output := "table"
	outputFlag := func(c *kingpin.CmdClause) {
		c.Flag("output", "Output format, table or json.").Default("table").EnumVar(&output, "table", "json")
	}

	runCmd := app.Command("run", "Run the manager: decide and kill once per interval of the policy.")
	planCmd := app.Command("plan", "Decide once and print the decision for each container. Kills nothing.")
	outputFlag(planCmd)
	checkCmd := app.Command("check", "Check the policy file and print all errors.")
	checkFiles := checkCmd.Arg("file", "Policy files. If none, that of --config.file.").Strings()
	reportCmd := app.Command("report", "Print the low and the high containers and their usage.")
	outputFlag(reportCmd)
	var past cli.BacktestOptions
	backtestCmd := app.Command("backtest", "Run the policy over the history in Prometheus and print the kills it would have made. Kills nothing and needs no Docker Engine.")
	backtestCmd.Flag("since", "Length of the history, such as 24h or 90m.").Default("24h").SetValue(&promDuration{to: &past.Since})
	until := backtestCmd.Flag("until", "Time of the last tick, such as 2026-01-02T15:04:05Z. If empty, now.").PlaceHolder("TIME").String()
	backtestCmd.Flag("policy", "Second policy file, to print the difference.").PlaceHolder("FILE").StringVar(&past.Other)
	backtestCmd.Flag("all", "Print all kills.").BoolVar(&past.All)
	backtestCmd.Flag("runtime", "Runtime whose containers the manager could have killed, docker or podman.").
		Default(container.Docker).EnumVar(&past.Runtime, container.Docker, container.Podman)
	outputFlag(backtestCmd)
	var question cli.WhyOptions
	whyCmd := app.Command("why", "Print why a container lives, was killed or would be killed next. Kills nothing. Exit status 1: no such container, or part of the answer is unknown.")
	whyCmd.Arg("container", "Name of a container, its id or the beginning of it.").Required().StringVar(&question.Container)
	whyAt := whyCmd.Flag("at", "Time to answer for, such as 2026-01-02T15:04:05Z. If empty, now.").PlaceHolder("TIME").String()
	whyCmd.Flag("output", "Output format, text or json.").Default("text").EnumVar(&question.Output, "text", "json")
	testCmd := app.Command("test", "Run policy tests, as promtool does for rules. Needs the program prometheus.")
	testFiles := testCmd.Arg("file", "Policy test files.").Required().Strings()
	testBinary := testCmd.Flag("prometheus.binary", "Path or name in PATH of the program prometheus.").Default("prometheus").String()
	healthCmd := app.Command("healthcheck", "Check the health of the local manager (exit status 0 = healthy).")

	data := []string{"config.file", "prometheus.*", "host"}
	now := append(data, "docker.host", "alertmanager.*", "dry-run", "log.*")
	app.Heeds(planCmd, now...)
	app.Heeds(reportCmd, append(data, "docker.host", "log.*")...)
	app.Heeds(backtestCmd, data...)
	app.Heeds(whyCmd, append(now, "audit.file")...)
	app.Heeds(checkCmd, "config.file")
	app.Heeds(testCmd)
	app.Heeds(healthCmd, "web.listen-address", "web.config.file")
	command, err := app.Parse(args)
	if err != nil {
		return err
	}
	if command != runCmd.FullCommand() {
		signal.Stop(hup) // the other commands end with their terminal
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch command {
	case checkCmd.FullCommand():
		if len(*checkFiles) == 0 {
			*checkFiles = []string{o.ConfigFile}
		}
		return cli.Check(*checkFiles, stdout)
	case healthCmd.FullCommand():
		return web.Healthcheck(ctx, *webConfig)
	case testCmd.FullCommand():
		return cli.Test(ctx, *testFiles, *testBinary, stdout)
	case backtestCmd.FullCommand():
		if past.Until, err = parseTime("--until", *until); err != nil {
			return err
		}
		past.Policy, past.Output = o.ConfigFile, output
		return cli.RunBacktest(ctx, o.Options, past, stdout, stderr)
	}

	engine, err := dockerclient.New(*dockerHost)
	if err != nil {
		return err
	}
	defer engine.Close()
	o.DockerHost = engine.Host()
	o.Engine, o.Self, o.Web = engine, gather.FindSelf("/proc"), *webConfig
	if o.Logger, err = logging.New(stderr, *logConfig); err != nil {
		return err
	}
	switch command {
	case planCmd.FullCommand():
		return cli.Plan(ctx, o.Options, o.ConfigFile, output, stdout)
	case reportCmd.FullCommand():
		return cli.PrintReport(ctx, o.Options, o.ConfigFile, output, stdout)
	case whyCmd.FullCommand():
		if question.At, err = parseTime("--at", *whyAt); err != nil {
			return err
		}
		question.Policy, question.Audit = o.ConfigFile, o.AuditFile
		return cli.Why(ctx, o.Options, question, stdout)
	case runCmd.FullCommand():
		return serve(ctx, o, hup)
	}
	return nil
}

// parseTime parses the time of a flag; "" is the zero time.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", flag, err)
	}
	return at, nil
}

// promDuration parses a duration as Prometheus does: 1d, 24h, 1h30m.
type promDuration struct{ to *time.Duration }

// Set implements kingpin.Value.
func (d *promDuration) Set(s string) error {
	v, err := model.ParseDuration(s)
	*d.to = time.Duration(v)
	return err
}

// String implements kingpin.Value.
func (d *promDuration) String() string { return model.Duration(*d.to).String() }

// serve runs the manager until ctx ends; a value from hup reloads the policy.
func serve(ctx context.Context, o run.Options, hup <-chan os.Signal) error {
	a, err := run.New(o)
	if err != nil {
		return err
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				a.ReloadAndLog()
			}
		}
	}()
	err = a.Run(ctx)
	level.Info(o.Logger).Log("msg", "manager stopped")
	return err
}
