// Command manager decides by PromQL which containers have to go, and removes
// them through the Docker Engine.
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
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/logging"
	"github.com/estiba/estiba/internal/web"
)

const (
	defaultListen = ":10121"
	defaultAudit  = "/var/lib/estiba/manager/audit.jsonl"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	app := kingpin.New("manager", "Decides by PromQL which containers have to go, and removes them through the Docker Engine.")
	app.Version(version.Print("manager")).UsageWriter(stdout).ErrorWriter(stderr).VersionFlag.Short('V')
	app.HelpFlag.Short('h')
	o := Options{Now: time.Now}
	app.Flag("config.file", "Policy file; the built-in one-of-each-kind policy when not given.").StringVar(&o.ConfigFile)
	app.Flag("prometheus.url", "Where Prometheus answers.").Default("http://localhost:9090").StringVar(&o.PrometheusURL)
	app.Flag("prometheus.http.config.file", "How Prometheus is asked: TLS, passwords and proxies, as in promtool's --http.config.file.").StringVar(&o.PrometheusHTTPConfig)
	dockerHost := app.Flag("docker.host", "Docker Engine, unix:///… or tcp://….").Default(dockerclient.DefaultHost).String()
	app.Flag("audit.file", "Where each kill is recorded, before and after.").Default(defaultAudit).StringVar(&o.AuditFile)
	app.Flag("dry-run", "Kill nobody, whatever the policy says; record what would be killed.").BoolVar(&o.DryRun)
	app.Flag("alertmanager.url", "Where Alertmanager answers: rules with announce ask it whether somebody objects to a kill.").Default("http://localhost:9093").StringVar(&o.AlertmanagerURL)
	app.Flag("alertmanager.http.config.file", "How Alertmanager is asked, as --prometheus.http.config.file.").StringVar(&o.AlertmanagerHTTPConfig)
	app.Flag("host", "Value of the label host that every query is held to, and that its own metrics carry; needed when Prometheus knows several hosts.").StringVar(&o.Host)
	webConfig := web.Flags(app, defaultListen)
	logConfig := logging.Flags(app)
	output := "table"
	outputFlag := func(c *kingpin.CmdClause) {
		c.Flag("output", "table or json.").Default("table").EnumVar(&output, "table", "json")
	}

	runCmd := app.Command("run", "Decide and act, every interval of the policy.")
	planCmd := app.Command("plan", "Decide once and print who would be killed, who spared, and why. Kills nobody.")
	outputFlag(planCmd)
	checkCmd := app.Command("check", "Read the policy file and print every mistake in it.")
	checkFile := checkCmd.Arg("file", "Policy file; that of --config.file when not given.").String()
	reportCmd := app.Command("report", "Print the low and the high containers with what they use.")
	outputFlag(reportCmd)
	var past BacktestOptions
	backtestCmd := app.Command("backtest", "Decide over Prometheus' history and print what would have been killed. Needs no Docker, kills nobody.")
	backtestCmd.Flag("since", "How far back, as 24h or 90m.").Default("24h").SetValue(&promDuration{to: &past.Since})
	until := backtestCmd.Flag("until", "Time of the last tick, as 2026-01-02T15:04:05Z; now when not given.").String()
	backtestCmd.Flag("policy", "A second policy file; what the two do differently is printed.").StringVar(&past.Other)
	backtestCmd.Flag("all", "Print every kill, however many.").BoolVar(&past.All)
	outputFlag(backtestCmd)
	testCmd := app.Command("test", "Try policies on made-up histories, as promtool tests rules. Needs the program prometheus.")
	testFiles := testCmd.Arg("file", "Policy test files.").Required().Strings()
	testBinary := testCmd.Flag("prometheus.binary", "The program prometheus, a path or a name in PATH.").Default("prometheus").String()
	healthCmd := app.Command("healthcheck", "Ask the manager that runs here whether it is alive.")

	command, err := app.Parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch command {
	case checkCmd.FullCommand():
		if *checkFile != "" {
			o.ConfigFile = *checkFile
		}
		return check(o.ConfigFile, stdout)
	case healthCmd.FullCommand():
		return web.Healthcheck(ctx, *webConfig)
	case testCmd.FullCommand():
		return testPolicies(ctx, *testFiles, *testBinary, stdout)
	case backtestCmd.FullCommand():
		if *until != "" {
			if past.Until, err = time.Parse(time.RFC3339, *until); err != nil {
				return fmt.Errorf("--until: %w", err)
			}
		}
		past.Output = output
		return backtest(ctx, o, past, stdout, stderr)
	}

	engine, err := dockerclient.New(*dockerHost)
	if err != nil {
		return err
	}
	defer engine.Close()
	o.DockerHost = engine.Host()
	o.Engine, o.Self, o.Web = engine, FindSelf("/proc"), *webConfig
	if o.Logger, err = logging.New(stderr, *logConfig); err != nil {
		return err
	}
	switch command {
	case planCmd.FullCommand():
		return plan(ctx, o, output, stdout)
	case reportCmd.FullCommand():
		return report(ctx, o, output, stdout)
	case runCmd.FullCommand():
		return serve(ctx, o)
	}
	return nil
}

// promDuration reads a duration as Prometheus writes it: 1d, 24h, 1h30m.
type promDuration struct{ to *time.Duration }

// Set implements kingpin.Value.
func (d *promDuration) Set(s string) error {
	v, err := model.ParseDuration(s)
	*d.to = time.Duration(v)
	return err
}

// String implements kingpin.Value.
func (d *promDuration) String() string { return model.Duration(*d.to).String() }

// serve runs the manager until ctx ends; SIGHUP reloads the policy.
func serve(ctx context.Context, o Options) error {
	a, err := New(o)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
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

func check(path string, stdout io.Writer) error {
	c, err := loadPolicy(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: ok, mode %s, %d rules, every %s\n", policyName(path), c.Mode, len(c.Rules), c.Interval)
	return nil
}
