package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// module is a fake kernel module.
type module struct{ snapshot *source.Snapshot }

func (*module) Name() string { return source.Kmod }

// completed is the module, completed by one of the readers of this package.
type completed struct {
	*module
	fill func(context.Context, *source.Snapshot) error
}

func (c *completed) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	return c.snapshot, c.fill(ctx, c.snapshot)
}

// withBandwidths reads the limits of all containers at each snapshot.
func withBandwidths(t *testing.T, m *module, b *Bandwidths) *completed {
	t.Helper()
	known := map[string]*Bandwidth{}
	t.Cleanup(func() {
		for _, w := range known {
			b.Close(w)
		}
	})
	return &completed{m, func(_ context.Context, snap *source.Snapshot) error {
		var all []*Reading
		for i := range snap.Containers {
			c := &snap.Containers[i]
			if known[c.ID] == nil {
				known[c.ID] = &Bandwidth{}
			}
			all = append(all, &Reading{Container: c, Bandwidth: known[c.ID]})
		}
		b.Read(snap, all)
		for _, r := range all {
			r.Fill(r.Container)
		}
		return nil
	}}
}

// copyOf converts a snapshot of the cgroup source to one of the module: without a CPU
// limit, and without cgroups on a host without v2.
func copyOf(s *source.Snapshot, v2 bool) *source.Snapshot {
	m := &source.Snapshot{Source: source.Kmod, Host: s.Host}
	for i := range s.Containers {
		from := &s.Containers[i]
		c := source.Container{ID: from.ID, Namespace: from.Namespace, Cgroup: from.Cgroup, CPUSource: from.CPUSource}
		for f := range source.NumFields {
			if v, ok := from.Get(source.Field(f)); ok && !slices.Contains(limitFields, source.Field(f)) {
				c.Set(source.Field(f), v)
			}
		}
		if !v2 {
			c.Cgroup, c.CPUSource = "", "tasks"
		}
		m.Containers = append(m.Containers, c)
	}
	return m
}

// limitFields returns the fields of a CPU limit.
var limitFields = []source.Field{source.CPUThrottled, source.CPUPeriods, source.CPUThrottledPeriods, source.CPUQuota, source.CPUPeriod}

func throttledIn(t *testing.T, s source.Source) []string {
	t.Helper()
	return fieldsIn(t, s, source.CPUThrottled)
}

// fieldsIn returns some fields of each container of a snapshot.
func fieldsIn(t *testing.T, s source.Source, fields ...source.Field) (values []string) {
	t.Helper()
	snap, err := s.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range snap.Containers {
		values = append(values, fieldsOf(&snap.Containers[i], fields...))
	}
	return values
}

func fieldsOf(c *source.Container, fields ...source.Field) string {
	var all []string
	for _, f := range fields {
		text := "not known"
		if v, ok := c.Get(f); ok {
			text = fmt.Sprint(v)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestBandwidthLayouts: in each layout the result equals the cgroup source.
func TestBandwidthLayouts(t *testing.T) {
	known := 0
	for name, layout := range hosttree.Layouts() {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, name, hosttree.Numbered(0), hosttree.Numbered(1))
			s := onTree(t, tr, func(c *Config) { c.Owner = layout.ShimUID })
			want := fieldsIn(t, s, limitFields...)
			const nothing = "not known not known not known not known not known"
			m := &module{snapshot: copyOf(snapshot(t, s), layout.V2)}
			th := withBandwidths(t, m, NewBandwidths(Config{ProcFS: tr.Proc, CgroupFS: tr.Cgroup}))
			if got := fieldsIn(t, th, limitFields...); !slices.Equal(got, want) {
				t.Errorf("%v, the cgroup source has %v", got, want)
			}
			switch want[0] {
			case "123456789 10 2 150000000 100000000", "123456000 10 2 150000000 100000000":
				known++
			case nothing:
			default:
				t.Errorf("values: %v", want)
			}
		})
	}
	if known < 8 {
		t.Errorf("known in %d layouts only", known)
	}
}

// TestBandwidthUnreadable: unreadable or empty files are unknown.
func TestBandwidthUnreadable(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"no such file": os.Remove,
		"no cpu controller": func(file string) error {
			return os.WriteFile(file, []byte("usage_usec 1\nuser_usec 1\nsystem_usec 0\n"), 0o644)
		},
		"nonsense":                func(file string) error { return os.WriteFile(file, []byte("nr_periods 3\nthrottled_usec -1\n"), 0o644) },
		"no such cgroup":          func(file string) error { return os.RemoveAll(filepath.Dir(file)) },
		"a folder in its place":   func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o755)) },
		"no cgroup file system":   func(file string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(filepath.Dir(file)))) },
		"an empty file, as ended": func(file string) error { return os.Truncate(file, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, "v2-systemd")
			m := &module{snapshot: copyOf(snapshot(t, w.s), true)}
			w.s.Release()
			if err := change(w.file("v2/cpu.stat")); err != nil {
				t.Fatal(err)
			}
			th := withBandwidths(t, m, NewBandwidths(Config{ProcFS: w.tree.Proc, CgroupFS: w.tree.Cgroup}))
			for range 3 {
				m.snapshot.Host.Set(source.Boottime, uint64(now+5*time.Second))
				if got := throttledIn(t, th)[0]; got != "not known" {
					t.Errorf("throttled %s, want not known", got)
				}
			}
		})
	}
}

// TestBandwidthNamespace: a cgroup namespace is detected from two containers, or from a
// shim: a single process can be in any cgroup, and all others would lose theirs.
func TestBandwidthNamespace(t *testing.T) {
	docker := func(c hosttree.Container) string { return "/docker/" + c.ID }
	for _, tt := range []struct {
		name    string
		at      func(h *host)
		private bool
		known   []bool
	}{
		{"one container", func(h *host) { h.move("/.."+docker(h.a), "all", h.a.Processes...) }, false, []bool{true, true}},
		{"one container, to nowhere", func(h *host) { h.move("/../x", "all", h.a.Processes...) }, false, []bool{false, true}},
		{"both", func(h *host) {
			h.move("/.."+docker(h.a), "all", h.a.Processes...)
			h.move("/.."+docker(h.b), "all", h.b.Processes...)
		}, true, []bool{true, true}},
		{"one container, and its shim", func(h *host) {
			h.move("/..", "all", h.a.ShimPID)
			h.move("/.."+docker(h.a), "all", h.a.Processes...)
		}, true, []bool{true, true}},
	} {
		h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
		h.Tree = newTree(t, "v1-cgroupfs", h.a, h.b)
		m := &module{snapshot: copyOf(snapshot(t, onTree(t, h.Tree)), false)}
		tt.at(h)
		b := NewBandwidths(Config{ProcFS: h.Proc, CgroupFS: h.Cgroup})
		for i, got := range throttledIn(t, withBandwidths(t, m, b)) {
			if (got != "not known") != tt.known[i] {
				t.Errorf("%s: container %d: throttled %s, want it known: %t", tt.name, i, got, tt.known[i])
			}
		}
		if b.hierarchies.private != tt.private {
			t.Errorf("%s: a namespace of its own: %t, want %t", tt.name, b.hierarchies.private, tt.private)
		}
	}
}
