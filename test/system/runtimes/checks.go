package runtimes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil"
)

// key identifies a row.
type key struct {
	user uint32
	id   string
}

func rowsOf(t *testing.T, s *source.Snapshot) map[key]*source.Container {
	t.Helper()
	rows := map[key]*source.Container{}
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.State == source.Ended {
			continue // of a container that was removed a moment ago
		}
		user, _ := c.Get(source.User)
		k := key{uint32(user), c.ID}
		if rows[k] != nil {
			t.Errorf("two rows of %s of user %d", c.ID, user)
		}
		rows[k] = c
	}
	return rows
}

// Taken is a snapshot of a source.
func Taken(t *testing.T, from source.Source) *source.Snapshot {
	t.Helper()
	s, err := from.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// takenAfter is a snapshot that was started after then: the module keeps its document for a
// while.
func takenAfter(t *testing.T, from source.Source, then time.Time) *source.Snapshot {
	t.Helper()
	for deadline := then.Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		s := Taken(t, from)
		if at, ok := s.Time(); ok && at.After(then) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("no new snapshot within a minute")
		}
	}
}

// CheckRows checks that a snapshot has each container in a row of its own, and no other
// row.
func (w *World) CheckRows(t *testing.T, s *source.Snapshot) {
	t.Helper()
	rows := rowsOf(t, s)
	for _, want := range append(w.Containers(), w.Impostor) {
		k := key{want.User, want.ID}
		got := rows[k]
		if got == nil {
			t.Errorf("%s: no row of %s of user %d", want.Name, want.ID, want.User)
			continue
		}
		delete(rows, k)
		checkRow(t, want, got)
	}
	for k, c := range rows {
		pid, _ := c.Get(source.InitPID)
		t.Errorf("unexpected row of %s of user %d: %s, init process %d, cgroup %s", k.id, k.user, c.Runtime, pid, c.Cgroup)
	}
	for i := range s.Containers {
		if pid, _ := s.Containers[i].Get(source.InitPID); pid == uint64(w.Lost.InitPID) {
			t.Errorf("%s has no cgroup, but is a row: %+v", w.Lost.Name, s.Containers[i])
		}
	}
}

func checkRow(t *testing.T, want Container, got *source.Container) {
	t.Helper()
	pause := map[bool]string{true: source.Yes}[want.Pause]
	if got.Runtime != want.Runtime || got.Namespace != want.Namespace || got.Pod != want.Pod || got.Pause != pause {
		t.Errorf("%s: runtime %q, namespace %q, pod %q, pause %q; want %q, %q, %q, %q", want.Name, got.Runtime, got.Namespace, got.Pod, got.Pause,
			want.Runtime, want.Namespace, want.Pod, pause)
	}
	if user, known := got.Get(source.User); user != uint64(want.User) || known != (want.User != 0) {
		t.Errorf("%s: user %d (known: %t), want %d", want.Name, user, known, want.User)
	}
	if pid, _ := got.Get(source.InitPID); pid != uint64(want.InitPID) {
		t.Errorf("%s: init process %d, the runtime has %d", want.Name, pid, want.InitPID)
	}
	// The process that the row names is the shim or monitor, if there is one.
	monitor, name := parentOf(t, want.InitPID)
	if want.Impostor {
		monitor, name = want.InitPID, nameOf(t, want.InitPID) // it has none
	}
	if pid, _ := got.Get(source.PID); pid != uint64(monitor) || got.ProcessName != name {
		t.Errorf("%s: process %d %q, want %d %q", want.Name, pid, got.ProcessName, monitor, name)
	}
	if got.Command != nameOf(t, want.InitPID) {
		t.Errorf("%s: command %q", want.Name, got.Command)
	}
	if n, _ := got.Get(source.Processes); n != 1 {
		t.Errorf("%s: %d processes, want 1", want.Name, n)
	}
	// The program itself has a few MB.
	const own = 24 << 10
	if rss, _ := got.Get(source.RSS); rss < want.Holds>>10 || rss > want.Holds>>10+own {
		t.Errorf("%s: %d kB resident, it holds %d kB", want.Name, rss, want.Holds>>10)
	}
	if want.ID != "" && !strings.Contains(got.Cgroup, want.ID) {
		t.Errorf("%s: cgroup %q", want.Name, got.Cgroup)
	}
}

func nameOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func parentOf(t *testing.T, pid int) (int, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nPPid:\t")
	number, _, _ := strings.Cut(rest, "\n")
	parent, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if parent == 0 {
		return 0, ""
	}
	return parent, nameOf(t, parent)
}

// CheckSums checks that the rows and the remainder add up to the host.
func (h *Host) CheckSums(t *testing.T, s *source.Snapshot) {
	t.Helper()
	for _, sum := range []struct {
		field       source.Field
		rest, total source.HostField
		more        source.HostField // also part of the total, if not 0
		within      uint64
	}{
		{field: source.Processes, rest: source.UnattributedProcesses, total: source.HostProcesses},
		{field: source.Threads, rest: source.UnattributedThreads, total: source.HostThreads},
		{field: source.RSS, rest: source.UnattributedRSS, total: source.HostRSS},
		// The host's time is in ticks; the remainder never decreases.
		{field: source.CPU, rest: source.UnattributedCPU, total: source.HostCPUBusy, more: source.EndedCPU, within: uint64(100 * time.Millisecond)},
	} {
		name := sum.field.Info().Key
		total, ok1 := s.Host.Get(sum.total)
		parts, ok2 := s.Host.Get(sum.rest)
		if !ok1 || !ok2 {
			t.Errorf("%s: the host's total is known: %t, the remainder: %t", name, ok1, ok2)
			continue
		}
		if sum.more != 0 {
			more, _ := s.Host.Get(sum.more)
			parts += more
		}
		for i := range s.Containers {
			v, _ := s.Containers[i].Get(sum.field)
			parts += v
		}
		if h.Emulated && sum.field == source.CPU {
			continue
		}
		if max(parts, total)-min(parts, total) > sum.within {
			t.Errorf("%s: the parts add up to %d, the host has %d", name, parts, total)
		}
	}
}

// CheckUse waits for a second in which each container used about as much CPU time as it
// should, and those that only hold memory next to none.
func (w *World) CheckUse(t *testing.T, from source.Source) {
	t.Helper()
	var wrong []string
	before := Taken(t, from)
	defer func() {
		for _, text := range wrong {
			t.Error(text)
		}
	}()
	testutil.Eventually(t, w.Patience, "every container uses the CPU time that it should", func() bool {
		time.Sleep(time.Second)
		after := Taken(t, from)
		wrong = w.wrongUse(t, before, after)
		before = after
		return len(wrong) == 0
	})
}

func (w *World) wrongUse(t *testing.T, before, after *source.Snapshot) (wrong []string) {
	t.Helper()
	began, _ := before.Time()
	ended, _ := after.Time()
	took := ended.Sub(began).Seconds()
	old, rows := rowsOf(t, before), rowsOf(t, after)
	for _, c := range append(w.Containers(), w.Impostor) {
		k := key{c.User, c.ID}
		if old[k] == nil || rows[k] == nil {
			continue // CheckRows reports it
		}
		a, _ := old[k].Get(source.CPU)
		b, known := rows[k].Get(source.CPU)
		if !known || b < a {
			t.Fatalf("%s: CPU time went from %d to %d ns (known: %t)", c.Name, a, b, known)
		}
		// Busy and emulated hosts are imprecise.
		if used := float64(b-a) / 1e9 / took; used < c.CPUShare/10 || used > 3*c.CPUShare+0.05 {
			wrong = append(wrong, fmt.Sprintf("%s: %.3f of a core, it should use %g", c.Name, used, c.CPUShare))
		}
	}
	return wrong
}

// CompareUsage compares the source with the statistics of the runtimes, container by
// container, and prints both.
func (w *World) CompareUsage(t *testing.T, from source.Source) {
	t.Helper()
	table := []string{
		"| container | runtime | CPU time, ms | its runtime's, ms | memory, kB | its runtime's, kB |",
		"|---|---|---|---|---|---|",
	}
	for _, c := range w.Containers() {
		if c.Usage == nil {
			continue
		}
		k := key{c.User, c.ID}
		before := rowsOf(t, Taken(t, from))[k]
		theirs := c.Usage(t)
		after := rowsOf(t, takenAfter(t, from, time.Now()))[k]
		if before == nil || after == nil {
			continue // already an error
		}
		a, _ := before.Get(source.CPU)
		b, _ := after.Get(source.CPU)
		x, y := memoryOf(before, theirs.Inactive), memoryOf(after, theirs.Inactive)
		table = append(table, fmt.Sprintf("| %s | %s | %.1f to %.1f | %.1f | %d to %d | %d |", c.Name, c.Runtime,
			float64(a)/1e6, float64(b)/1e6, float64(theirs.CPU)/1e6, x, y, theirs.Memory>>10))
		const allowed = uint64(5e6) // the kernel adds up the CPUs one after the other
		if theirs.CPU+allowed < a || theirs.CPU > b+allowed {
			t.Errorf("%s: %d to %d ns of CPU time, its runtime has %d", c.Name, a, b, theirs.CPU)
		}
		const within = 1024 // kB: charged 64 pages at a time for each CPU
		low := min(x, y)
		if theirs.Anonymous {
			low = c.Holds >> 10
		}
		if theirs.Memory>>10+within < low || theirs.Memory>>10 > max(x, y)+within {
			t.Errorf("%s: %d to %d kB of memory, its runtime has %d", c.Name, x, y, theirs.Memory>>10)
		}
	}
	fmt.Println(strings.Join(table, "\n"))
}

// memoryOf is the memory of the container's cgroup, kB.
func memoryOf(c *source.Container, inactive bool) uint64 {
	all, _ := c.Get(source.MemoryCgroup)
	if !inactive {
		return all
	}
	file, _ := c.Get(source.MemoryInactiveFile)
	return all - min(file, all)
}

// CheckSource checks all that a source knows of the containers.
func (w *World) CheckSource(t *testing.T, from source.Source) {
	t.Helper()
	w.CheckUse(t, from)
	s := Taken(t, from)
	w.CheckRows(t, s)
	w.CheckSums(t, s)
	w.CompareUsage(t, from)
}
