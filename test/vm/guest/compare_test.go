//go:build estiba_vm

package guest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/kmod"
)

// rounds is how often the two sources are held against each other.
const rounds = 12

// rule says how far the cgroup source's value may lie outside of what the
// module said just before and just after it.
type rule struct {
	within uint64 // in the field's unit
	part   uint64 // or a 1/part of the value, if that is more; 0: no
	why    string // of a tolerance; or why a field is not compared, or not on both sides
	apart  bool   // not compared
	only   string // the only source that has it
}

// tick is the unit of /proc/PID/stat and /proc/stat, ns.
const tick = 10e6

// rules has every number of a container. What is not named has to lie between.
var rules = map[source.Field]rule{
	source.MemoryPercent:      {within: 1, why: "follows rss_kb"},
	source.CPUPercent:         {apart: true, why: "the two have windows of their own; see the steady load"},
	source.CPUWindow:          {apart: true, why: "the two have windows of their own"},
	source.StartTime:          {within: tick, why: "/proc tells it in ticks of 10 ms"},
	source.CPU:                {within: 1000, why: "cpu.stat tells it in µs"},
	source.CPUUser:            {within: 50e6, part: 10, why: "sampled, and held from one reading to the next: depends on who read when"},
	source.CPUSystem:          {within: 50e6, part: 10, why: "as cpu_user_ns; their sum is cpu_ns on both sides"},
	source.PressureCPU:        {within: 1000, why: "the files tell it in µs"},
	source.PressureMemory:     {within: 1000, why: "the files tell it in µs"},
	source.PressureIO:         {within: 1000, why: "the files tell it in µs"},
	source.CPUThrottled:       {only: source.Cgroup, why: "no kernel offers it to a module"},
	source.PeakRSS:            {apart: true, why: "the highest that each has seen; the module also asks each process"},
	source.MemoryInactiveFile: {within: 256, part: 20, why: "memory.stat is up to 2 s old"},
	source.DiskRead:           {apart: true, why: "the module counts what the processes asked of storage, io.stat what the block layer moved"},
	source.DiskWrite:          {apart: true, why: "the module counts a page when it is dirtied, io.stat when it is written"},
}

// hostRules has numbers of the host; those that are not named have to lie between.
var hostRules = map[source.HostField]rule{
	source.Sequence:         {apart: true, why: "each counts its own snapshots"},
	source.CollectTime:      {apart: true, why: "each tells its own"},
	source.HostCPUUser:      {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUNice:      {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUSystem:    {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUIdle:      {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUIOWait:    {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUIRQ:       {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUSoftIRQ:   {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUSteal:     {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUGuest:     {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUGuestNice: {within: tick, why: "/proc/stat tells it in ticks of 10 ms"},
	source.HostCPUBusy:      {within: 5 * tick, why: "the sum of five such"},
	source.ContainersFound:  {within: 1, why: "the module also counts one that has just ended"},
	source.EndedCPU:         {apart: true, why: "since each began to watch"},
	source.UnattributedCPU:  {apart: true, why: "what ended before one began to watch is in it"},
	source.UnattributedSwap: {apart: true, why: "of the processes, against the host's remainder"},
}

// measured is what came of one field over all rounds.
type measured struct {
	key, who string // who: of the largest difference
	pairs    int
	most     uint64 // largest difference outside of the bracket
	at       uint64 // the value there
	missing  map[string]int
	rule     rule
	failures int
}

// take holds b against the module's values before and after it.
func (m *measured) take(who string, a, b, c uint64) {
	m.pairs++
	low, high := min(a, c), max(a, c)
	difference := uint64(0)
	switch {
	case b < low:
		difference = low - b
	case b > high:
		difference = b - high
	}
	if difference > m.most || m.pairs == 1 {
		m.most, m.at, m.who = difference, b, who
	}
	within := m.rule.within
	if m.rule.part > 0 {
		within = max(within, b/m.rule.part)
	}
	if difference > within && !m.rule.apart {
		m.failures++
	}
}

// row is a line of the table.
func (m *measured) row() string {
	within, verdict := fmt.Sprint(m.rule.within), "agrees"
	if m.rule.part > 0 {
		within += fmt.Sprintf(" or 1/%d", m.rule.part)
	}
	switch {
	case m.rule.apart:
		within, verdict = "–", "not compared"
	case m.rule.only != "":
		within, verdict = "–", "only "+m.rule.only
	case m.failures > 0:
		verdict = fmt.Sprintf("DIFFERS %d times", m.failures)
	}
	return fmt.Sprintf("| `%s` | %d | %d | %d | %s | %s | %s | %s |", m.key, m.pairs, m.most, m.at, m.who, within, verdict, m.rule.why)
}

// sourcesAgree takes module, cgroup source, module, one right after the other,
// and holds every number and word of the second against the other two.
func (m *machine) sourcesAgree(t *testing.T) {
	m.dumps(t)
	theirs, err := cgroup.New(cgroup.Config{ProcFS: "/proc", CgroupFS: "/sys/fs/cgroup"})
	if err != nil {
		t.Fatal(err)
	}
	// The first snapshot opens the windows of the CPU percentage, the second
	// completes them.
	if _, err := theirs.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := cgroup.WaitWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Snapshot(context.Background()); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for name, c := range m.running(t) {
		names[c.ID] = name
	}
	numbers := make([]measured, source.NumFields)
	for f := range numbers {
		numbers[f] = measured{key: source.Field(f).Info().Key, rule: rules[source.Field(f)], missing: map[string]int{}}
	}
	hostNumbers := make([]measured, source.NumHostFields)
	for f := range hostNumbers {
		hostNumbers[f] = measured{key: source.HostField(f).Info().Key, rule: hostRules[source.HostField(f)], missing: map[string]int{}}
		if f >= int(source.FirstUnattributed) {
			hostNumbers[f].key = "unattributed." + hostNumbers[f].key
		}
	}
	var apart time.Duration
	for range rounds {
		a := module(t)
		began := time.Now()
		b, err := theirs.Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		c := moduleSince(t, ended)
		apart = max(apart, time.Since(began))
		if len(a.Containers) != len(b.Containers) || len(b.Containers) != len(c.Containers) || len(b.Containers) != len(names) {
			t.Errorf("the module has %d, then %d containers, the cgroup source %d, Docker %d", len(a.Containers), len(c.Containers), len(b.Containers), len(names))
		}
		for i := range b.Containers {
			one := &b.Containers[i]
			before, after := find(t, a, one.ID), find(t, c, one.ID)
			if before == nil || after == nil {
				t.Errorf("%s is not in both documents of the module", names[one.ID])
				continue
			}
			sameWords(t, names[one.ID], before, one)
			for f := range numbers {
				x, ok1 := before.Get(source.Field(f))
				y, ok2 := one.Get(source.Field(f))
				z, ok3 := after.Get(source.Field(f))
				numbers[f].add(names[one.ID], ok1 && ok3, ok2, x, y, z)
			}
		}
		for f := range hostNumbers {
			x, ok1 := a.Host.Get(source.HostField(f))
			y, ok2 := b.Host.Get(source.HostField(f))
			z, ok3 := c.Host.Get(source.HostField(f))
			hostNumbers[f].add("host", ok1 && ok3, ok2, x, y, z)
		}
		// Windows and what the kernel brings up to date every 2 s have moved on.
		time.Sleep(300 * time.Millisecond)
	}
	fmt.Printf("Largest difference of the cgroup source from the module, outside of what the module said just before and just after, %d rounds, at most %d ms from first to last:\n", rounds, apart.Milliseconds())
	fmt.Println("| field | pairs | largest difference | at value | of | allowed | | why |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, list := range [][]measured{numbers, hostNumbers} {
		for i := range list {
			list[i].conclude(t)
		}
	}
}

// add takes one reading of each, where there is one.
func (m *measured) add(who string, module, other bool, a, b, c uint64) {
	switch {
	case module && other:
		m.take(who, a, b, c)
	case module:
		m.missing[source.Cgroup]++
	case other:
		m.missing[source.Kmod]++
	}
}

// conclude prints the row and fails the test if the field is not as its rule says.
func (m *measured) conclude(t *testing.T) {
	t.Helper()
	fmt.Println(m.row())
	if m.failures > 0 {
		t.Errorf("%s: differs %d times by more than allowed, most by %d at %d (%s)", m.key, m.failures, m.most, m.at, m.who)
	}
	for _, lacking := range []string{source.Kmod, source.Cgroup} {
		if m.missing[lacking] > 0 && (m.rule.only == "" || m.rule.only == lacking) {
			t.Errorf("%s: missing %d times in source %s", m.key, m.missing[lacking], lacking)
		}
	}
	if m.rule.only != "" && m.pairs > 0 {
		t.Errorf("%s: both sources have it", m.key)
	}
}

// sameWords compares what is no number.
func sameWords(t *testing.T, name string, a, b *source.Container) {
	t.Helper()
	for key, pair := range map[string][2]string{
		"process_name": {a.ProcessName, b.ProcessName}, "namespace": {a.Namespace, b.Namespace}, "command": {a.Command, b.Command},
		"cgroup": {a.Cgroup, b.Cgroup}, "cpu_source": {a.CPUSource, b.CPUSource}, "network": {a.Network, b.Network},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s is %q for the module, %q for the cgroup source", name, key, pair[0], pair[1])
		}
	}
}

// moduleSince reads until the snapshot is one that was begun after then.
func moduleSince(t *testing.T, then time.Time) *source.Snapshot {
	t.Helper()
	var s *source.Snapshot
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s = module(t)
		if at, ok := s.Time(); ok && at.After(then) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("the module's snapshot does not get newer")
		}
	}
}

// dumps runs the exporter's command dump with both sources: the same
// containers, and documents of version 1.
func (m *machine) dumps(t *testing.T) {
	t.Helper()
	ids := map[string][]string{}
	for _, name := range source.Names() {
		text := []byte(run(t, program("exporter"), "dump", "--source="+name))
		save(t, "dump-"+name, text)
		s, err := kmod.NewParser().Parse(text)
		if err != nil {
			t.Fatalf("dump of source %s: %v", name, err)
		}
		for _, c := range alive(s).Containers {
			pid, _ := c.Get(source.InitPID)
			ids[name] = append(ids[name], fmt.Sprintf("%s %d", c.ID, pid))
		}
		sort.Strings(ids[name])
	}
	if fmt.Sprint(ids[source.Kmod]) != fmt.Sprint(ids[source.Cgroup]) || len(ids[source.Kmod]) != len(m.running(t)) {
		t.Errorf("dumps: the module has %d containers, the cgroup source %d, Docker %d:\n%v\n%v",
			len(ids[source.Kmod]), len(ids[source.Cgroup]), len(m.running(t)), ids[source.Kmod], ids[source.Cgroup])
	}
	document, err := os.ReadFile(moduleFile)
	if err != nil {
		t.Fatal(err)
	}
	save(t, "module", document)
}

// dockerStatsAgrees holds `docker stats` against the module: the CPU use of
// the steady load, the memory of all.
func (m *machine) dockerStatsAgrees(t *testing.T) {
	const cpuWithin, memoryWithin = 6.0, 1024 // percent of a core; kB
	names := m.running(t)
	steady := names["steady"].ID
	worstCPU, worstMemory, worstName := 0.0, uint64(0), ""
	for range 3 {
		before := module(t)
		text := run(t, "docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.CPUPerc}} {{.MemUsage}}")
		after := moduleSince(t, time.Now())
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if len(lines) != len(names) {
			t.Errorf("docker stats has %d containers, want %d", len(lines), len(names))
		}
		for _, line := range lines {
			f := strings.Fields(line)
			var percent float64
			if len(f) < 3 {
				t.Fatalf("docker stats: %q", line)
			}
			if _, err := fmt.Sscanf(f[1], "%f%%", &percent); err != nil {
				t.Fatalf("docker stats: %q: %v", line, err)
			}
			a, c := find(t, before, f[0]), find(t, after, f[0])
			if a == nil || c == nil {
				t.Errorf("docker stats: %s is not in the document", f[0])
				continue
			}
			if f[0] == steady {
				cpu1, _ := a.Get(source.CPU)
				cpu2, _ := c.Get(source.CPU)
				t1, _ := before.Time()
				t2, _ := after.Time()
				ours := float64(cpu2-cpu1) / float64(t2.Sub(t1)) * 100
				told, _ := c.Get(source.CPUPercent)
				t.Logf("steady load: docker stats %.2f %%, module %.2f %% (its counter over the same time %.2f %%)", percent, float64(told)/100, ours)
				worstCPU = max(worstCPU, abs(percent-ours), abs(percent-float64(told)/100))
			}
			x, y := used(a), used(c)
			theirs := kilobytes(t, f[2])
			outside := max(theirs, max(x, y)) - max(x, y) + min(x, y) - min(theirs, min(x, y))
			if outside > worstMemory {
				worstMemory, worstName = outside, line
			}
		}
	}
	fmt.Println("Largest difference of docker stats from the module, 3 rounds:")
	fmt.Println("| what | largest difference | allowed |")
	fmt.Println("|---|---|---|")
	fmt.Printf("| CPU %% of a steady load | %.2f | %.0f |\n", worstCPU, cpuWithin)
	fmt.Printf("| memory, kB | %d | %d |\n", worstMemory, memoryWithin)
	if worstCPU > cpuWithin {
		t.Errorf("CPU differs by %.2f percentage points", worstCPU)
	}
	if worstMemory > memoryWithin {
		t.Errorf("memory differs by %d kB: %s", worstMemory, worstName)
	}
}

func abs(v float64) float64 { return max(v, -v) }

// used is the memory that docker calls so, kB.
func used(c *source.Container) uint64 {
	all, _ := c.Get(source.MemoryCgroup)
	inactive, _ := c.Get(source.MemoryInactiveFile)
	return all - min(all, inactive)
}

// kilobytes reads an amount as docker writes it, such as 1.5MiB.
func kilobytes(t *testing.T, text string) uint64 {
	t.Helper()
	var v float64
	var unit string
	if _, err := fmt.Fscanf(bytes.NewReader([]byte(text)), "%f%s", &v, &unit); err != nil {
		t.Fatalf("amount %q: %v", text, err)
	}
	kb, ok := map[string]float64{"B": 1.0 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1024 * 1024}[unit]
	if !ok {
		t.Fatalf("amount %q has an unknown unit", text)
	}
	return uint64(v * kb)
}
