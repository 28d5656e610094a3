// Package interfaces adds the counters of each network interface of a container to the
// snapshots of a source that lacks them. It reads one more file per container and
// scrape, so it is optional.
package interfaces

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// Limit is the maximum number of interfaces per container: a container that can create
// interfaces could otherwise create any number of series.
const Limit = 16

// Source is a source with interfaces.
type Source struct {
	source source.Source
	procfs string
	buf    []byte
}

// New wraps a source; init processes are read below procfs. It is not safe for
// concurrent use; source.Shared serializes calls.
func New(s source.Source, procfs string) *Source {
	return &Source{source: s, procfs: procfs, buf: make([]byte, 16<<10)}
}

// Name returns the name of the wrapped source.
func (s *Source) Name() string { return s.source.Name() }

// Snapshot returns the wrapped source's snapshot with the interfaces of containers that
// have their own network. Unreadable ones are unknown.
func (s *Source) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	snap, err := s.source.Snapshot(ctx)
	if err != nil || snap.Interfaces != nil {
		return snap, err
	}
	all := make(map[string][]source.Interface, len(snap.Containers))
	for i := range snap.Containers {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading network interfaces: %w", err)
		}
		c := &snap.Containers[i]
		pid, ok := c.Get(source.InitPID)
		if !ok || c.Network != "own" || c.State == source.Ended {
			continue
		}
		if b, err := s.read(filepath.Join(s.procfs, strconv.FormatUint(pid, 10), "net", "dev")); err == nil {
			// A truncated file still has valid lines.
			parsed, _, _ := procfile.ParseInterfaces(b)
			all[c.Key()] = Select(parsed)
		}
	}
	snap.Interfaces = all
	return snap, nil
}

// read returns the content of a file, valid until the next call. A file that does not
// fit has more than Limit interfaces.
func (s *Source) read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n := 0
	for n < len(s.buf) {
		m, err := f.Read(s.buf[n:])
		n += m
		if err != nil || m == 0 {
			break // end of file or error
		}
	}
	return s.buf[:n], nil
}

// Select returns the interfaces to export, each name once: names that differ only in
// invalid UTF-8 would be duplicate series, and Prometheus would reject the exposition.
func Select(parsed []procfile.Interface) []source.Interface {
	all := make([]source.Interface, 0, min(len(parsed), Limit))
	for _, one := range parsed {
		if len(all) == Limit {
			break
		}
		one.Name = strings.ToValidUTF8(one.Name, "\uFFFD")
		if !slices.ContainsFunc(all, func(other source.Interface) bool { return other.Name == one.Name }) {
			all = append(all, source.Interface(one))
		}
	}
	return all
}
