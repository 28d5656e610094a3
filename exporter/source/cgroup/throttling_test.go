package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/tree"
)

// module stands for the kernel module: what the test lets it say.
type module struct {
	snapshot *source.Snapshot
	err      error
}

func (*module) Name() string                                         { return source.Kmod }
func (m *module) Snapshot(context.Context) (*source.Snapshot, error) { return m.snapshot, m.err }

// copyOf makes a document of the module out of one of the cgroup source: without
// throttling, and on a host without v2 without cgroups.
func copyOf(s *source.Snapshot, v2 bool) *source.Snapshot {
	m := &source.Snapshot{Source: source.Kmod, Host: s.Host}
	for i := range s.Containers {
		from := &s.Containers[i]
		c := source.Container{ID: from.ID, Namespace: from.Namespace, Cgroup: from.Cgroup, CPUSource: from.CPUSource}
		for f := range source.NumFields {
			if v, ok := from.Get(source.Field(f)); ok && source.Field(f) != source.CPUThrottled {
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

func throttledIn(t *testing.T, s source.Source) (values []string) {
	t.Helper()
	snap, err := s.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range snap.Containers {
		text := "not known"
		if v, ok := snap.Containers[i].Get(source.CPUThrottled); ok {
			text = fmt.Sprint(v)
		}
		values = append(values, text)
	}
	return values
}

// TestThrottlingLayouts: in each layout the same as the cgroup source tells, but
// for pods where there is no v2 hierarchy.
func TestThrottlingLayouts(t *testing.T) {
	known := 0
	for name, layout := range tree.Layouts() {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t, name, tree.Numbered(0), tree.Numbered(1))
			s := onTree(t, tr, func(c *Config) { c.Owner = layout.ShimUID })
			want := throttledIn(t, s)
			if name == "kubernetes-cgroupfs" {
				want = []string{"not known", "not known"}
			}
			m := &module{snapshot: copyOf(snapshot(t, s), layout.V2)}
			th := NewThrottling(m, Config{ProcFS: tr.Proc, CgroupFS: tr.Cgroup})
			if got := throttledIn(t, th); !slices.Equal(got, want) {
				t.Errorf("%v, the cgroup source tells %v", got, want)
			}
			if want[0] != "not known" {
				known++
			}
		})
	}
	if known < 8 {
		t.Errorf("known in %d layouts only", known)
	}
}

// limited is a container of which the module tells, with a clock.
type limited struct {
	*watched
	m     *module
	th    *Throttling
	boot  time.Duration
	opens int
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	l := &limited{watched: watch(t, "v2-systemd"), boot: now}
	l.m = &module{snapshot: copyOf(snapshot(t, l.s), true)}
	l.s.Release()
	l.th = NewThrottling(l.m, Config{ProcFS: l.tree.Proc, CgroupFS: l.tree.Cgroup})
	l.th.reader.opening = func(string) { l.opens++ }
	t.Cleanup(func() { l.th.round++; l.th.forget() })
	return l
}

func (l *limited) container() *source.Container { return &l.m.snapshot.Containers[0] }

// after lets time pass, in which the container runs or not, and gives what is told.
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

// TestThrottling: of a container with a limit the file is read whenever it ran, and
// stays open.
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
	if l.opens != 1 {
		t.Errorf("cpu.stat was opened %d times, want once", l.opens)
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

// TestThrottlingWithoutLimit: of one without a limit the file is read each 30 s, if
// it ran.
func TestThrottlingWithoutLimit(t *testing.T) {
	l := newLimited(t)
	l.replace("v2/cpu.stat", "nr_periods 10", "nr_periods 0")
	l.throttle("123456", "0")
	for range 8 {
		l.is("no limit", l.after(5*time.Second, true), "0")
	}
	// The file was read last when it had been known for 25 s.
	l.replace("v2/cpu.stat", "nr_periods 0", "nr_periods 1")
	l.throttle("0", "7")
	l.is("read 15 s ago", l.after(5*time.Second, true), "0")
	l.is("read 25 s ago", l.after(10*time.Second, true), "0")
	l.is("read 30 s ago", l.after(5*time.Second, true), "7000")
	l.throttle("7", "8")
	l.is("from then on", l.after(time.Second, true), "8000")
}

// TestThrottlingOfAnother: a cgroup that is no container's own, or of a later run.
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

// TestThrottlingWithoutModule: nothing stays open, and the module's error is told.
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

// TestThrottlingUnreadable: what cannot be read, or says nothing, is not known.
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
