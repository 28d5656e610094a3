package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/top"
	"github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/logging"
)

// TopConfig has the flags of the command top.
type TopConfig struct {
	Interval time.Duration
	Once     bool
	Output   string // table or json
	Look     top.Look
}

// shortestInterval keeps top from being what it shows.
const shortestInterval = 200 * time.Millisecond

// wideTable is the width of a table that no terminal limits: all columns.
const wideTable = 200

// Top shows live figures of the chosen source.
func Top(ctx context.Context, c Config, t TopConfig, l logging.Config, in io.Reader, out, warnings io.Writer) error {
	if t.Interval < shortestInterval {
		return fmt.Errorf("--interval is %s: must be at least %s", t.Interval, shortestInterval)
	}
	terminal := cli.IsTerminal(out)
	if !terminal && t.Output != "json" {
		t.Once = true
	}
	if terminal && !t.Once && t.Output != "json" {
		// A warning would be drawn over: it is printed afterwards.
		var kept bytes.Buffer
		to := warnings
		warnings = log.NewSyncWriter(&kept)
		defer func() { io.Copy(to, &kept) }()
	}
	logger, err := logging.New(warnings, l)
	if err != nil {
		return err
	}
	s, err := newSources(c, logger)
	if err != nil {
		return err
	}
	// Without names the screen shows ids. The sizes of writable layers, which are dear, are
	// not shown.
	set, err := runtimes.NewSet(c.hosts(), runtimes.Config{Sizes: 24 * time.Hour}, log.NewNopLogger())
	if err != nil {
		level.Warn(logger).Log("msg", "no names of containers", "err", err)
		if set, err = runtimes.NewSet(nil, runtimes.Config{}, log.NewNopLogger()); err != nil {
			return err
		}
	}
	defer set.Close()
	ctx, stop := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		set.Run(ctx)
	}()
	defer func() {
		stop()
		<-followed
	}()
	width, ok := cli.Width(out)
	if !ok {
		width = wideTable
	}
	return top.Run(ctx, top.Options{
		Source: s.chosen, ProcFS: c.ProcFS, Interval: t.Interval, Timeout: c.Timeout, Look: t.Look,
		Once: t.Once, JSON: t.Output == "json", Colour: cli.PaintFor(out).On, Width: width,
		Describe: func(c *source.Container) (top.Description, bool) {
			i, _ := set.Find(c.Owner(), c.ID, c.Runtime, c.Namespace)
			if i == nil {
				return top.Description{}, false
			}
			pod := i.Pod
			if pod != "" && i.PodNamespace != "" {
				pod = i.PodNamespace + "/" + pod
			}
			return top.Description{
				Name: i.Name, Image: i.Image, Pod: pod,
				Project: i.Labels.ComposeProject, Service: i.Labels.ComposeService,
			}, true
		},
	}, in, out)
}
