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
type module struct {
	snapshot *source.Snapshot
	err      error
}

func (*module) Name() string                                         { return source.Kmod }
func (m *module) Snapshot(context.Context) (*source.Snapshot, error) { return m.snapshot, m.err }

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

// TestThrottlingLayouts: in each layout the result equals the cgroup source.
func TestThrottlingLayouts(t *testing.T) {
	known := 0
	for name, layout := range hosttree.Layouts() {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, name, hosttree.Numbered(0), hosttree.Numbered(1))
			s := onTree(t, tr, func(c *Config) { c.Owner = layout.ShimUID })
			want := fieldsIn(t, s, limitFields...)
			const nothing = "not known not known not known not known not known"
			m := &module{snapshot: copyOf(snapshot(t, s), layout.V2)}
			th := NewThrottling(m, Config{ProcFS: tr.Proc, CgroupFS: tr.Cgroup})
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

// limited is a container of the module with a clock.
type limited struct {
	*watched
	m     *module
	th    *Throttling
	boot  time.Duration
	opens map[string]int
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	l := &limited{watched: watch(t, "v2-systemd"), boot: now, opens: map[string]int{}}
	l.m = &module{snapshot: copyOf(snapshot(t, l.s), true)}
	l.s.Release()
	l.th = NewThrottling(l.m, Config{ProcFS: l.tree.Proc, CgroupFS: l.tree.Cgroup})
	l.th.reader.opening = func(path string) { l.opens[filepath.Base(path)]++ }
	t.Cleanup(func() { l.th.round++; l.th.forget() })
	return l
}

func (l *limited) container() *source.Container { return &l.m.snapshot.Containers[0] }

// after advances the clock, with or without CPU usage, and returns the fields.
func (l *limited) after(d time.Duration, runs bool) string {
	l.t.Helper()
	l.boot += d
	fresh := *l.m.snapshot
	fresh.Host.Set(source.Boottime, uint64(l.boot))
	fresh.Containers = slices.Clone(fresh.Containers)
	if cpu, _ := fresh.Containers[0].Get(source.CPU); runs {
		fresh.Containers[0].Set(source.CPU, cpu+1)
	}
	l.m.snapshot = copyOf(&fresh, true) // without what was put on the last one
	l.m.snapshot.Containers[0].State = fresh.Containers[0].State
	return throttledIn(l.t, l.th)[0]
}

func (l *limited) throttle(old, with string) {
	l.t.Helper()
	l.replace("v2/cpu.stat", "throttled_usec "+old, "throttled_usec "+with)
}

func (l *limited) is(what, got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: throttled %s, want %s", what, got, want)
	}
}

// TestThrottling: with a limit the file is read whenever the container ran, and stays
// open.
func TestThrottling(t *testing.T) {
	l := newLimited(t)
	l.is("first", l.after(0, false), "123456000")
	l.throttle("123456", "200000")
	l.is("it did not run", l.after(time.Hour, false), "123456000")
	l.is("it ran", l.after(time.Second, true), "200000000")
	for i := range 20 {
		l.throttle(fmt.Sprint(200000+i), fmt.Sprint(200001+i))
		l.is("it runs", l.after(5*time.Second, true), fmt.Sprint(200001+i, "000"))
	}
	if n := l.opens["cpu.stat"]; n != 1 {
		t.Errorf("cpu.stat was opened %d times, want once", n)
	}
	l.throttle("200020", "100")
	l.is("the file counts anew", l.after(5*time.Second, true), "200020000")

	l.container().State = source.Ended
	l.throttle("100", "300000") // of a later run, under the same name
	l.is("it has ended", l.after(time.Second, true), "200020000")
	if err := l.tree.Remove(l.c); err != nil {
		t.Fatal(err)
	}
	l.is("its cgroup is gone", l.after(time.Second, true), "200020000")
	l.m.snapshot.Containers = nil
	throttledIn(t, l.th)
	if open := openFiles(t, l.tree.Cgroup); len(open) > 0 || len(l.th.quotas) > 0 || l.th.reader.kept != 0 {
		t.Errorf("it is gone: %d containers known, open: %v", len(l.th.quotas), open)
	}
}

// TestThrottlingWithoutLimit: without a limit the file is read every 30 s in which the
// container ran.
func TestThrottlingWithoutLimit(t *testing.T) {
	l := newLimited(t)
	l.replace("v2/cpu.stat", "nr_periods 10", "nr_periods 0")
	l.throttle("123456", "0")
	for range 8 {
		l.is("no limit", l.after(5*time.Second, true), "0")
	}
	// The last read was after 25 s.
	l.replace("v2/cpu.stat", "nr_periods 0", "nr_periods 1")
	l.throttle("0", "7")
	l.is("read 15 s ago", l.after(5*time.Second, true), "0")
	l.is("read 25 s ago", l.after(10*time.Second, true), "0")
	l.is("read 30 s ago", l.after(5*time.Second, true), "7000")
	l.throttle("7", "8")
	l.is("from then on", l.after(time.Second, true), "8000")
}

// TestCPULimit: a changed limit shows after at most 30 s in which the container runs, and
// a new one with its first period.
func TestCPULimit(t *testing.T) {
	l := newLimited(t)
	is := func(what string, d time.Duration, runs bool, want string) {
		t.Helper()
		l.after(d, runs)
		if got := fieldsOf(l.container(), source.CPUQuota, source.CPUPeriod); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	is("first", 0, false, "150000000 100000000")
	l.replace("v2/cpu.max", "150000", "250000")
	is("read 5 s ago", 5*time.Second, true, "150000000 100000000")
	is("it did not run", time.Hour, false, "150000000 100000000")
	is("it ran", time.Second, true, "250000000 100000000")
	l.replace("v2/cpu.max", "250000 100000", "max 50000")
	is("unlimited", 30*time.Second, true, "not known 50000000")
	if n := l.opens["cpu.max"]; n != 3 {
		t.Errorf("cpu.max was opened %d times, want 3", n)
	}

	l = newLimited(t)
	l.replace("v2/cpu.max", "150000", "max")
	l.replace("v2/cpu.stat", "nr_periods 10", "nr_periods 0")
	is("no limit", 0, true, "not known 100000000")
	l.replace("v2/cpu.max", "max", "5000")
	is("not looked at yet", 5*time.Second, true, "not known 100000000")
	l.replace("v2/cpu.stat", "nr_periods 0", "nr_periods 1")
	is("its first period", 5*time.Second, true, "5000000 100000000")
}

// TestThrottlingOfAnother: a cgroup of another container, or of a later life.
func TestThrottlingOfAnother(t *testing.T) {
	l := newLimited(t)
	l.is("its own", l.after(0, true), "123456000")
	l.container().CPUSource = "tasks"
	l.is("claimed by another", l.after(time.Second, true), "not known")
	l.container().CPUSource = "cgroup"
	l.is("its own again", l.after(time.Second, true), "123456000")
	l.throttle("123456", "5")
	started, _ := l.container().Get(source.StartTime)
	l.container().Set(source.StartTime, started+1)
	l.is("started again", l.after(time.Second, true), "5000")
	if n := len(l.th.quotas); n != 1 {
		t.Errorf("%d runs known, want the last one only", n)
	}

	l.container().Set(source.CPUThrottled, 42)
	l.is("a document that has it", throttledIn(t, l.th)[0], "42")
	seed := &source.Snapshot{Source: source.Kmod, Containers: make([]source.Container, 1)}
	seed.Containers[0].ID = l.c.ID
	l.m.snapshot = seed
	l.is("a seed document", throttledIn(t, l.th)[0], "not known")
}

// TestThrottlingWithoutModule: no file stays open, and the module's error is returned.
func TestThrottlingWithoutModule(t *testing.T) {
	l := newLimited(t)
	l.is("with the module", l.after(0, true), "123456000")
	if open := openFiles(t, l.tree.Cgroup); !slices.Equal(open, []string{l.file("v2/cpu.stat")}) {
		t.Errorf("open: %v", open)
	}
	l.m.err = source.ErrAbsent
	if _, err := l.th.Snapshot(context.Background()); !errors.Is(err, source.ErrAbsent) {
		t.Errorf("without the module: %v", err)
	}
	if open := openFiles(t, l.tree.Cgroup); len(open) > 0 {
		t.Errorf("without the module open: %v", open)
	}
}

// TestThrottlingUnreadable: unreadable or empty files are unknown.
func TestThrottlingUnreadable(t *testing.T) {
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
			l := newLimited(t)
			if err := change(l.file("v2/cpu.stat")); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				l.is(name, l.after(5*time.Second, true), "not known")
			}
		})
	}
}

// TestThrottlingNamespace: a cgroup namespace is detected from two containers, or from a
// shim: a single process can be in any cgroup, and all others would lose theirs.
func TestThrottlingNamespace(t *testing.T) {
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
		th := NewThrottling(m, Config{ProcFS: h.Proc, CgroupFS: h.Cgroup})
		for i, got := range throttledIn(t, th) {
			if (got != "not known") != tt.known[i] {
				t.Errorf("%s: container %d: throttled %s, want it known: %t", tt.name, i, got, tt.known[i])
			}
		}
		if th.hierarchies.private != tt.private {
			t.Errorf("%s: a namespace of its own: %t, want %t", tt.name, th.hierarchies.private, tt.private)
		}
	}
}
