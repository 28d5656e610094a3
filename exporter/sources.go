package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/kmod"
)

const sourceAuto = "auto"

// sources are the sources of one exporter.
type sources struct {
	chosen source.Source
	module *kmod.Source
	cgroup *cgroup.Source // nil with --source=kmod

	chose string
}

func newSources(c Config, logger log.Logger) (*sources, error) {
	s := &sources{module: kmod.New(c.KmodFile), chose: c.Source}
	dir := c.CgroupFS
	if dir == "" {
		dir = filepath.Join(c.SysFS, "fs", "cgroup")
	}
	config := cgroup.Config{ProcFS: c.ProcFS, CgroupFS: dir, Owner: os.Geteuid(), Lacking: func(l cgroup.Lack) {
		level.Warn(logger).Log("msg", "not everything can be read", "lack", l, "means", l.Says())
	}}
	module := cgroup.NewThrottling(s.module, config)
	s.chosen = module
	if c.Source == source.Kmod {
		return s, nil
	}
	var err error
	if s.cgroup, err = cgroup.New(config); err != nil {
		return nil, err
	}
	switch c.Source {
	case source.Cgroup:
		s.chosen = s.cgroup
	case sourceAuto:
		s.chosen = source.NewContinued(source.Auto{Module: module, Other: s.cgroup})
	default:
		return nil, fmt.Errorf("unknown source %q: want %s, %s or %s", c.Source, sourceAuto, source.Kmod, source.Cgroup)
	}
	return s, nil
}

// run keeps the cgroup source's windows short while nobody scrapes. With the
// module loaded nothing needs that.
func (s *sources) run(ctx context.Context) {
	if s.cgroup == nil {
		return
	}
	s.cgroup.Run(ctx, func() bool { return s.chose == source.Cgroup || !s.module.Present() })
}

// completedTries is how many windows completed waits for: containers that come
// meanwhile need one of their own.
const completedTries = 3

// completed takes snapshots until each container has a completed window to
// tell its CPU use over. One that has none in the end is left out, and the
// snapshot marked as truncated: a document must tell it.
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
