package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/bpf"
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/completion"
	"github.com/estiba/estiba/exporter/source/interfaces"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/exporter/source/machines"
)

const sourceAuto = "auto"

// sources has the sources of one exporter.
type sources struct {
	chosen source.Source
	module *kmod.Source
	bpf    *cgroup.Source // nil unless it can be used
	cgroup *cgroup.Source // nil unless it can be used

	chose string
	noBPF atomic.Bool // the bpf source is not available
}

func newSources(c Config, logger log.Logger) (*sources, error) {
	s := &sources{module: kmod.New(c.KmodFile), chose: c.Source}
	warn := func(m cgroup.Missing, effect string) {
		level.Warn(logger).Log("msg", "some data is unavailable", "missing", m, "effect", effect)
	}
	s.module.WithoutIO = func() {
		if !mayTrace() {
			warn(cgroup.MissingIO, "no I/O activity and no disk traffic of containers: the kernel module requires CAP_SYS_PTRACE to read them")
		}
	}
	dir := c.CgroupFS
	if dir == "" {
		dir = filepath.Join(c.SysFS, "fs", "cgroup")
	} else if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("--path.cgroup: %w", err)
	}
	config := cgroup.Config{
		ProcFS: c.ProcFS, SysFS: c.SysFS, CgroupFS: dir, Owner: os.Geteuid(), OpenFiles: c.OpenFiles, Interfaces: c.Interfaces,
		OnMissing: func(m cgroup.Missing) { warn(m, m.Effect()) },
	}
	defer func() {
		s.chosen = machines.New(s.chosen, c.ProcFS)
		if c.Interfaces {
			s.chosen = interfaces.New(s.chosen, c.ProcFS)
		}
	}()
	var module source.Source = completion.NewThrottling(s.module, config)
	if c.OpenFiles {
		module = completion.NewOpenFiles(module, config)
	}
	if c.Source == source.Kmod {
		s.chosen = source.NewHeld(module)
		return s, nil
	}
	var err error
	if s.cgroup, err = cgroup.New(config); err != nil {
		return nil, err
	}
	if s.bpf, err = bpf.New(config, bpf.Events{
		Absent: func(reason error) {
			s.noBPF.Store(true)
			level.Info(logger).Log("msg", "the bpf source is not available", "reason", reason)
		},
		Loaded: func(fromFiles []string) {
			s.noBPF.Store(false)
			if len(fromFiles) > 0 {
				level.Info(logger).Log("msg", "this kernel does not offer all to BPF programs", "from_files", strings.Join(fromFiles, ", "))
			}
		},
	}); err != nil {
		return nil, err
	}
	switch c.Source {
	case source.BPF:
		s.cgroup, s.chosen = nil, source.NewHeld(s.bpf)
	case source.Cgroup:
		s.bpf, s.chosen = nil, source.NewHeld(s.cgroup)
	case sourceAuto:
		s.chosen = source.NewHeld(source.NewContinued(source.Auto{module, s.bpf, s.cgroup}))
	default:
		return nil, fmt.Errorf("unknown source %q: must be %s or one of %s", c.Source, sourceAuto, strings.Join(source.Names(), ", "))
	}
	return s, nil
}

// run keeps the windows of the sources short between scrapes. It is idle while the module
// is the source, which has windows of its own.
func (s *sources) run(ctx context.Context) {
	var all sync.WaitGroup
	keep := func(one *cgroup.Source, inUse func() bool) {
		if one != nil {
			all.Go(func() { one.Run(ctx, inUse) })
		}
	}
	alone := s.chose != sourceAuto
	keep(s.bpf, func() bool { return !s.noBPF.Load() && (alone || !s.module.Present()) })
	keep(s.cgroup, func() bool { return alone || s.noBPF.Load() && !s.module.Present() })
	all.Wait()
}

// completedTries is the number of windows for which completed waits: a new container
// needs its own.
const completedTries = 3

// completed takes snapshots until each container has a completed CPU window. A
// container without one is left out and the snapshot marked as truncated: the document
// requires a CPU percentage.
func (s *sources) completed(ctx context.Context) (*source.Snapshot, error) {
	snap, err := s.chosen.Snapshot(ctx)
	for range completedTries {
		if err != nil || snap.Source == source.Kmod || measuredAll(snap) {
			return snap, err
		}
		if err := cgroup.WaitWindow(ctx); err != nil {
			return nil, errors.Join(errors.New("interrupted"), err)
		}
		snap, err = s.chosen.Snapshot(ctx)
	}
	if err != nil || measuredAll(snap) {
		return snap, err
	}
	snap.Containers = slices.DeleteFunc(snap.Containers, func(c source.Container) bool { return !measured(&c) })
	snap.Truncated = true
	return snap, nil
}

func measuredAll(snap *source.Snapshot) bool {
	for i := range snap.Containers {
		if !measured(&snap.Containers[i]) {
			return false
		}
	}
	return true
}

func measured(c *source.Container) bool {
	_, ok := c.Get(source.CPUPercent)
	return ok
}
