package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// options are what a person may choose.
type options struct {
	ports   ports
	grafana bool
	module  bool
	state   string // folder for history, logs and locks; "" for .run in the repository
	docker  string // the Engine's socket
	own     bool   // docker was named by DOCKER_HOST: nothing is installed or started for it
}

const usage = `usage: make run [PORTS=PART=PORT,...] [ARGS='...']

  --ports=PART=PORT,...  Other ports, as in prometheus=19090,grafana=13000. The parts: %s.
  --port.PART=PORT       The same for one part.
  --no-grafana           Without Grafana, even if its image is here.
  --no-module            Without the kernel module, even if this kernel takes it.
  --state.dir=DIR        Folder for history, logs and the audit log, instead of .run.

DOCKER_HOST=unix:///path chooses another Docker Engine.
`

// parseOptions reads arguments and environment. flag.ErrHelp asks for the usage only.
func parseOptions(args []string, getenv func(string) string) (options, error) {
	o := options{ports: usualPorts(), docker: "/var/run/docker.sock"}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("ports", "", o.ports.setList)
	for _, l := range listeners {
		flags.Func("port."+l.part, "", func(value string) error { return o.ports.set(l.part, value) })
	}
	noGrafana, noModule := flags.Bool("no-grafana", false, ""), flags.Bool("no-module", false, "")
	flags.StringVar(&o.state, "state.dir", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w; make run ARGS=--help lists what can be chosen", err)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; make run ARGS=--help lists what can be chosen", flags.Arg(0))
	}
	o.grafana, o.module = !*noGrafana, !*noModule
	if o.state != "" {
		state, err := filepath.Abs(o.state)
		if err != nil {
			return o, fmt.Errorf("the folder %s: %w", o.state, err)
		}
		o.state = state
	}
	if host := getenv("DOCKER_HOST"); host != "" {
		socket, ok := strings.CutPrefix(host, "unix://")
		if !ok {
			return o, fmt.Errorf("DOCKER_HOST=%s: only an Engine of this machine can be watched, by unix:///path/to/its.sock; unset DOCKER_HOST for the usual one", host)
		}
		o.docker, o.own = socket, true
	}
	return o, o.ports.check()
}

func printUsage() { fmt.Fprintf(os.Stdout, usage, partNames()) }
