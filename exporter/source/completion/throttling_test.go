package completion_test

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
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/completion"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// module is a fake kernel module.
type module struct {
	snapshot *source.Snapshot
	err      error
}

func (*module) Name() string                                         { return source.Kmod }
func (m *module) Snapshot(context.Context) (*source.Snapshot, error) { return m.snapshot, m.err }

// booted and now are the wall clock at boot and the boot clock.
const booted, now = 1795286400 * time.Second, 20000 * time.Second

// limited is a container of the module with a clock.
type limited struct {
	t    *testing.T
	tree *hosttree.Tree
	c    hosttree.Container
	m    *module
	th   *completion.Throttling
	boot time.Duration
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	l := &limited{t: t, c: hosttree.Numbered(0), boot: now}
	var err error
	if l.tree, err = hosttree.New(t.TempDir(), hosttree.Layouts()["v2-systemd"]); err != nil {
		t.Fatal(err)
	}
	if err := l.tree.Add(l.c); err != nil {
		t.Fatal(err)
	}
	config := cgroup.Config{
		ProcFS: l.tree.Proc, CgroupFS: l.tree.Cgroup, Boottime: func() time.Duration { return now },
		Now: func() time.Time { return time.Unix(0, int64(booted+now)) },
	}
	s, err := cgroup.New(config)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	l.m = &module{snapshot: asModule(snap)}
	l.th = completion.NewThrottling(l.m, config)
	t.Cleanup(func() {
		l.m.err = source.ErrAbsent
		l.th.Snapshot(context.Background()) // closes the files
	})
	return l
}

// asModule returns a copy of a snapshot without CPU limits, as the module's is.
func asModule(s *source.Snapshot) *source.Snapshot {
	limit := []source.Field{source.CPUThrottled, source.CPUPeriods, source.CPUThrottledPeriods, source.CPUQuota, source.CPUPeriod}
	m := &source.Snapshot{Source: source.Kmod, Host: s.Host}
	for i := range s.Containers {
		from := &s.Containers[i]
		c := source.Container{ID: from.ID, Namespace: from.Namespace, Cgroup: from.Cgroup, CPUSource: from.CPUSource}
		for f := range source.NumFields {
			if v, ok := from.Get(source.Field(f)); ok && !slices.Contains(limit, source.Field(f)) {
				c.Set(source.Field(f), v)
			}
		}
		m.Containers = append(m.Containers, c)
	}
	return m
}

// throttled returns the throttled time of the first container of a snapshot.
func (l *limited) throttled() string {
	l.t.Helper()
	snap, err := l.th.Snapshot(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return fieldsOf(&snap.Containers[0], source.CPUThrottled)
}

// file returns a path of the container's cgroup.
func (l *limited) file(name string) string { return filepath.Join(l.tree.Folder(l.c, "v2"), name) }

// replace changes the content of a file in place, as the kernel does.
func (l *limited) replace(name, old, with string) {
	l.t.Helper()
	b, err := os.ReadFile(l.file(name))
	if err != nil {
		l.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		l.t.Fatalf("%s does not contain %q:\n%s", name, old, b)
	}
	if err := os.WriteFile(l.file(name), []byte(strings.Replace(string(b), old, with, 1)), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// open returns the files of cgroups that are open.
func (l *limited) open() (open []string) {
	l.t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, l.tree.Cgroup+"/") {
			open = append(open, name)
		}
	}
	return open
}

func (l *limited) container() *source.Container { return &l.m.snapshot.Containers[0] }

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
	l.m.snapshot = asModule(&fresh) // without what was put on the last one
	l.m.snapshot.Containers[0].State = fresh.Containers[0].State
	return l.throttled()
}

func (l *limited) throttle(old, with string) {
	l.t.Helper()
	l.replace("cpu.stat", "throttled_usec "+old, "throttled_usec "+with)
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
	if open := l.open(); !slices.Equal(open, []string{l.file("cpu.stat")}) {
		t.Errorf("open: %v, want cpu.stat", open)
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
	if _, err := l.th.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if open := l.open(); len(open) > 0 {
		t.Errorf("it is gone, open: %v", open)
	}
}

// TestThrottlingWithoutLimit: without a limit the file is read every 30 s in which the
// container ran.
func TestThrottlingWithoutLimit(t *testing.T) {
	l := newLimited(t)
	l.replace("cpu.stat", "nr_periods 10", "nr_periods 0")
	l.throttle("123456", "0")
	for range 8 {
		l.is("no limit", l.after(5*time.Second, true), "0")
	}
	// The last read was after 25 s.
	l.replace("cpu.stat", "nr_periods 0", "nr_periods 1")
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
	l.replace("cpu.max", "150000", "250000")
	is("read 5 s ago", 5*time.Second, true, "150000000 100000000")
	is("it did not run", time.Hour, false, "150000000 100000000")
	is("it ran", time.Second, true, "250000000 100000000")
	l.replace("cpu.max", "250000 100000", "max 50000")
	is("unlimited", 30*time.Second, true, "not known 50000000")

	l = newLimited(t)
	l.replace("cpu.max", "150000", "max")
	l.replace("cpu.stat", "nr_periods 10", "nr_periods 0")
	is("no limit", 0, true, "not known 100000000")
	l.replace("cpu.max", "max", "5000")
	is("not looked at yet", 5*time.Second, true, "not known 100000000")
	l.replace("cpu.stat", "nr_periods 0", "nr_periods 1")
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
	if open := l.open(); len(open) != 1 {
		t.Errorf("open: %v, want the file of the last life only", open)
	}

	l.container().Set(source.CPUThrottled, 42)
	l.is("a document that has it", l.throttled(), "42")
	seed := &source.Snapshot{Source: source.Kmod, Containers: make([]source.Container, 1)}
	seed.Containers[0].ID = l.c.ID
	l.m.snapshot = seed
	l.is("a seed document", l.throttled(), "not known")
}

// TestThrottlingWithoutModule: no file stays open, and the module's error is returned.
func TestThrottlingWithoutModule(t *testing.T) {
	l := newLimited(t)
	l.is("with the module", l.after(0, true), "123456000")
	if open := l.open(); !slices.Equal(open, []string{l.file("cpu.stat")}) {
		t.Errorf("open: %v", open)
	}
	l.m.err = source.ErrAbsent
	if _, err := l.th.Snapshot(context.Background()); !errors.Is(err, source.ErrAbsent) {
		t.Errorf("without the module: %v", err)
	}
	if open := l.open(); len(open) > 0 {
		t.Errorf("without the module open: %v", open)
	}
}

// TestWithoutModule: the module's error is returned, under the module's name.
func TestWithoutModule(t *testing.T) {
	m := &module{err: source.ErrAbsent}
	for _, s := range []source.Source{completion.NewThrottling(m, cgroup.Config{}), completion.NewOpenFiles(m, cgroup.Config{ProcFS: "/proc"})} {
		if s.Name() != source.Kmod {
			t.Errorf("it is called %s", s.Name())
		}
		if _, err := s.Snapshot(t.Context()); !errors.Is(err, source.ErrAbsent) {
			t.Errorf("error %v, want the module's", err)
		}
	}
}
