// Package machines marks containers in virtual machines, by the name of their shim. A
// source has only the first 15 characters of it.
package machines

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// Source marks the containers of a source. It is not safe for concurrent use;
// source.Shared serializes calls.
type Source struct {
	source source.Source
	procfs string
	round  uint64
	shims  map[shim]*looked
}

// shim identifies one life of a container.
type shim struct {
	id  string
	pid uint64
}

type looked struct {
	machine string
	round   uint64
}

// New wraps a source; each shim is read once below procfs.
func New(s source.Source, procfs string) *Source {
	return &Source{source: s, procfs: procfs, shims: map[shim]*looked{}}
}

// Name returns the name of the wrapped source.
func (s *Source) Name() string { return s.source.Name() }

// Snapshot returns the wrapped source's snapshot with source.Container.Machine set.
func (s *Source) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	snap, err := s.source.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	s.round++
	for i := range snap.Containers {
		c := &snap.Containers[i]
		pid, ok := c.Get(source.PID)
		if !ok || c.ID == "" {
			continue
		}
		key := shim{c.ID, pid}
		l := s.shims[key]
		if l == nil {
			if c.State == source.Ended {
				continue
			}
			l = &looked{machine: s.look(pid)}
			s.shims[key] = l
		}
		l.round = s.round
		c.Machine = l.machine
	}
	if len(s.shims) > len(snap.Containers) {
		for key, l := range s.shims {
			if l.round != s.round {
				delete(s.shims, key)
			}
		}
	}
	return snap, nil
}

// look returns the program of a shim that runs virtual machines, else "". An unreadable
// shim counts as one that does not.
func (s *Source) look(pid uint64) string {
	b, err := os.ReadFile(filepath.Join(s.procfs, strconv.FormatUint(pid, 10), "cmdline"))
	if err != nil {
		return ""
	}
	program, _, _ := bytes.Cut(b, []byte{0})
	if name := filepath.Base(string(program)); container.InMachine(name) {
		return name
	}
	return ""
}
