//go:build estiba_vm

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/bpf"
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/completion"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/dockerclient"
)

// rounds is the number of comparisons of the two sources.
const rounds = 12

// rule is the tolerance for a value of another source outside the range of the module's
// values just before and after.
type rule struct {
	within uint64 // in the field's unit
	part   uint64 // or 1/part of the value, if that is more; 0: none
	why    string // reason for the tolerance, or for not comparing
	growth bool   // compare the growth since the first round
	gauge  bool   // varies with the processes: not compared for a container with many short-lived ones
	apart  bool   // not compared
}

// churning is the container that starts processes all the time.
const churning = "writes"

// tick is the unit of /proc/PID/stat and /proc/stat, ns.
const tick = 10e6

// grows: a sum over processes lacks those that were reaped before the source started.
const grows = "growth only: the module starts first"

// rules has the rules for numbers of a container. All others must be within the range.
var rules = map[source.Field]rule{
	source.RSS:                 {gauge: true},
	source.VSZ:                 {gauge: true},
	source.Swap:                {gauge: true},
	source.Processes:           {gauge: true},
	source.Threads:             {gauge: true},
	source.MemoryPercent:       {within: 1, gauge: true, why: "follows rss_kb"},
	source.CPUPercent:          {apart: true, why: "separate windows; see the steady load"},
	source.CPUWindow:           {apart: true, why: "separate windows"},
	source.StartTime:           {within: tick, why: "/proc is in ticks of 10 ms"},
	source.CPU:                 {within: 1000, why: "cpu.stat is in µs"},
	source.CPUUser:             {within: 50e6, part: 10, why: "sampled and kept monotonic: depends on the times of reading"},
	source.CPUSystem:           {within: 50e6, part: 10, why: "as cpu_user_ns; the sum is cpu_ns in both sources"},
	source.PressureCPU:         {within: 1000, why: "the files are in µs"},
	source.PressureMemory:      {within: 1000, why: "the files are in µs"},
	source.PressureIO:          {within: 1000, why: "the files are in µs"},
	source.CPUThrottled:        {within: 1000, why: "not exported to modules: the exporter reads it from the cgroup, in µs"},
	source.CPUPeriods:          {apart: true, why: "as cpu_throttled_ns, and read less often"},
	source.CPUThrottledPeriods: {apart: true, why: "as cpu_periods"},
	source.PeakRSS:             {apart: true, why: "maximum of each source; the module also reads each process"},
	source.MemoryCgroup:        {within: 512, gauge: true, why: "charged 64 pages at a time for each CPU"},
	source.IOReadBytes:         {growth: true, why: grows},
	source.IOWriteBytes:        {growth: true, why: grows},
	source.IOReadCalls:         {growth: true, why: grows},
	source.IOWriteCalls:        {growth: true, why: grows},
	source.MinorFaults:         {growth: true, why: grows},
	source.MajorFaults:         {growth: true, why: grows},
	source.MemoryInactiveFile:  {within: 256, part: 20, gauge: true, why: "memory.stat is up to 2 s old"},
	source.DiskRead:            {apart: true, why: "the module counts per process, io.stat in the block layer"},
	source.DiskWrite:           {apart: true, why: "the module counts dirtied pages, io.stat written ones"},
}

// hostRules has the rules for numbers of the host. All others must be within the range.
var hostRules = map[source.HostField]rule{
	source.Sequence:         {apart: true, why: "each counts its own snapshots"},
	source.CollectTime:      {apart: true, why: "each has its own"},
	source.HostCPUUser:      {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUNice:      {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUSystem:    {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUIdle:      {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUIOWait:    {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUIRQ:       {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUSoftIRQ:   {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUSteal:     {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUGuest:     {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUGuestNice: {within: tick, why: "/proc/stat is in ticks of 10 ms"},
	source.HostCPUBusy:      {within: 5 * tick, why: "sum of five such"},
	source.MemoryFree:       {within: 4096, why: "memory comes and goes between the reads"},
	source.MemoryAvailable:  {within: 4096, why: "memory comes and goes between the reads"},
	source.MemoryUsed:       {within: 4096, why: "memory comes and goes between the reads"},
	source.HostProcesses:    {within: 4, why: "processes start and exit"},
	source.HostThreads:      {within: 40, why: "threads start and exit"},
	source.HostRSS:          {within: 8192, why: "processes start and exit"},
	source.ContainersFound:  {within: 1, why: "the module also counts one that has just exited"},
	source.EndedCPU:         {apart: true, why: "since the start of each"},
	// Unattributed is the host's total minus the containers': the same
	// processes start and exit there.
	source.UnattributedProcesses: {within: 4, why: "as host_processes"},
	source.UnattributedThreads:   {within: 40, why: "as host_threads"},
	source.UnattributedRSS:       {within: 8192, why: "as host_rss_kb"},
	source.UnattributedVSZ:       {part: 10, why: "one short-lived Go program has 1 to 2 GB"},
	source.UnattributedCPU:       {apart: true, why: "includes what exited before the source started"},
	source.UnattributedSwap:      {apart: true, why: "sum over processes against difference to the host"},
}

// measured is the result for one field over all rounds.
type measured struct {
	key, who string // who: of the largest difference
	pairs    int
	most     uint64 // largest distance from the range
	at       uint64 // the value there
	missing  map[string]int
	rule     rule
	failures int
	began    map[string][2]int64 // by container: minimum and maximum lead of the module
}

// take compares b with the module's values before and after.
func (m *measured) take(who string, a, b, c uint64) {
	if m.rule.growth {
		lead, known := m.began[who]
		if !known {
			m.began[who] = [2]int64{int64(a - b), int64(c - b)}
			return
		}
		// As far as the initial lead of the module is known.
		a, c = a-uint64(lead[1]), c-uint64(lead[0])
	}
	m.pairs++
	low, high := min(a, c), max(a, c)
	difference := uint64(0)
	switch {
	case b < low && m.rule.growth && who == churning:
		// Other sources miss what a process did after it was last read.
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

// row is a row of the table.
func (m *measured) row() string {
	within, verdict := fmt.Sprint(m.rule.within), "agrees"
	if m.rule.part > 0 {
		within += fmt.Sprintf(" or 1/%d", m.rule.part)
	}
	switch {
	case m.rule.apart:
		within, verdict = "–", "not compared"
	case m.failures > 0:
		verdict = fmt.Sprintf("DIFFERS %d times", m.failures)
	}
	return fmt.Sprintf("| `%s` | %d | %d | %d | %s | %s | %s | %s |", m.key, m.pairs, m.most, m.at, m.who, within, verdict, m.rule.why)
}

// otherSources returns the sources beside the module.
func otherSources(t *testing.T) (files, programs *cgroup.Source) {
	t.Helper()
	config := cgroup.Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"}
	files, err := cgroup.New(config)
	if err != nil {
		t.Fatal(err)
	}
	programs, err = bpf.New(config, bpf.Events{Absent: func(reason error) { t.Errorf("the bpf source is not available: %v", reason) }})
	if err != nil {
		t.Fatal(err)
	}
	return files, programs
}

// sourcesAgree compares the module with each other source.
func (m *machine) sourcesAgree(t *testing.T) {
	m.dumps(t)
	files, programs := otherSources(t)
	for _, theirs := range []source.Source{files, programs} {
		t.Run(theirs.Name(), func(t *testing.T) { m.agrees(t, theirs) })
	}
}

// agrees takes snapshots of the module, another source and the module in quick succession,
// and compares every number and text of the second with the other two.
func (m *machine) agrees(t *testing.T, theirs source.Source) {
	// The first snapshot starts the windows of the CPU percentage, the second
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
	ours := completion.NewThrottling(kmod.New(moduleFile), cgroup.Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"})
	names := map[string]string{}
	for name, c := range m.Running(t) {
		names[c.ID] = name
	}
	numbers := make([]measured, source.NumFields)
	for f := range numbers {
		numbers[f] = measured{key: source.Field(f).Info().Key, rule: rules[source.Field(f)], missing: map[string]int{}, began: map[string][2]int64{}}
	}
	hostNumbers := make([]measured, source.NumHostFields)
	for f := range hostNumbers {
		hostNumbers[f] = measured{
			key: source.HostField(f).Info().Key, rule: hostRules[source.HostField(f)], missing: map[string]int{},
			began: map[string][2]int64{},
		}
		if f >= int(source.FirstUnattributed) {
			hostNumbers[f].key = "unattributed." + hostNumbers[f].key
		}
	}
	var apart time.Duration
	for range rounds {
		a := taken(t, ours)
		began := time.Now()
		b, err := theirs.Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		c := since(t, ended, ours)
		apart = max(apart, time.Since(began))
		if len(a.Containers) != len(b.Containers) || len(b.Containers) != len(c.Containers) || len(b.Containers) != len(names) {
			t.Errorf("the module has %d and %d containers, source %s %d, Docker %d", len(a.Containers), len(c.Containers), b.Source, len(b.Containers),
				len(names))
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
		// New windows, and new values of what the kernel updates every 2 s.
		time.Sleep(300 * time.Millisecond)
	}
	fmt.Printf("Largest distance of source %s from the range of the module's values just before and after, in %d rounds of at most %d ms:\n",
		theirs.Name(), rounds, apart.Milliseconds())
	fmt.Println("| field | pairs | largest difference | at value | of | allowed | | why |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, list := range [][]measured{numbers, hostNumbers} {
		for i := range list {
			list[i].conclude(t)
		}
	}
}

// add adds one reading of each source, if both have one.
func (m *measured) add(who string, module, other bool, a, b, c uint64) {
	switch {
	case m.rule.gauge && who == churning:
	case module && other:
		m.take(who, a, b, c)
	case module:
		m.missing["compared"]++
	case other:
		m.missing[source.Kmod]++
	}
}

// conclude prints the row and fails the test if the field violates its rule.
func (m *measured) conclude(t *testing.T) {
	t.Helper()
	fmt.Println(m.row())
	if m.failures > 0 {
		t.Errorf("%s: out of tolerance %d times, at most by %d at %d (%s)", m.key, m.failures, m.most, m.at, m.who)
	}
	for _, lacking := range []string{source.Kmod, "compared"} {
		if m.missing[lacking] > 0 {
			t.Errorf("%s: missing %d times in source %s", m.key, m.missing[lacking], lacking)
		}
	}
}

// sameWords compares the texts.
func sameWords(t *testing.T, name string, a, b *source.Container) {
	t.Helper()
	for key, pair := range map[string][2]string{
		"process_name": {a.ProcessName, b.ProcessName}, "namespace": {a.Namespace, b.Namespace}, "command": {a.Command, b.Command},
		"cgroup": {a.Cgroup, b.Cgroup}, "cpu_source": {a.CPUSource, b.CPUSource}, "network": {a.Network, b.Network},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s is %q in the module, %q in the other source", name, key, pair[0], pair[1])
		}
	}
}

// moduleSince returns a snapshot of the module that was started after then.
func moduleSince(t *testing.T, then time.Time) *source.Snapshot {
	t.Helper()
	return since(t, then, kmod.New(moduleFile))
}

// since takes snapshots until one was started after then.
func since(t *testing.T, then time.Time, from source.Source) *source.Snapshot {
	t.Helper()
	var s *source.Snapshot
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s = taken(t, from)
		if at, ok := s.Time(); ok && at.After(then) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("no new snapshot of the module")
		}
	}
}

// dumps runs the exporter's command dump with both sources, which must give documents of
// version 1 with the same containers.
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
	if fmt.Sprint(ids[source.Kmod]) != fmt.Sprint(ids[source.Cgroup]) || len(ids[source.Kmod]) != len(m.Running(t)) {
		t.Errorf("dumps: the module has %d containers, the cgroup source %d, Docker %d:\n%v\n%v",
			len(ids[source.Kmod]), len(ids[source.Cgroup]), len(m.Running(t)), ids[source.Kmod], ids[source.Cgroup])
	}
	document, err := os.ReadFile(moduleFile)
	if err != nil {
		t.Fatal(err)
	}
	save(t, "module", document)
}

// engineStats are the stats of a container in the Engine's API.
type engineStats struct {
	CPU struct {
		Usage struct {
			Total uint64 `json:"total_usage"` // ns
		} `json:"cpu_usage"`
	} `json:"cpu_stats"`
	Memory struct {
		Usage uint64 // bytes
		Stats struct {
			InactiveFile uint64 `json:"inactive_file"`
		}
	} `json:"memory_stats"`
	PIDs     struct{ Current uint64 } `json:"pids_stats"`
	Networks map[string]struct {
		RxBytes uint64 `json:"rx_bytes"`
		TxBytes uint64 `json:"tx_bytes"`
	}
}

// dockerStatsAgrees compares the API data behind `docker stats` with the module, for each
// container, and then its output.
func (m *machine) dockerStatsAgrees(t *testing.T) {
	names := m.Running(t)
	made := func(key string, r rule) *measured { return &measured{key: key, rule: r} }
	cpu := made("cpu_ns", rule{within: 1000, why: "the Engine has µs"})
	memory := made("memory used, kB", rule{within: 512, part: 20, why: "charged 64 pages at a time for each CPU; memory.stat is up to 2 s old"})
	threads := made("threads", rule{})
	received := made("net_rx_bytes", rule{})
	sent := made("net_tx_bytes", rule{})
	for name, c := range names {
		before := find(t, module(t), c.ID)
		var s engineStats
		if err := json.Unmarshal(call(t, "GET", "/containers/"+c.ID+"/stats?stream=false&one-shot=true", nil), &s); err != nil {
			t.Fatal(err)
		}
		after := find(t, moduleSince(t, time.Now()), c.ID)
		if before == nil || after == nil {
			t.Errorf("no %s in the document", name)
			continue
		}
		take := func(to *measured, f source.Field, b uint64) {
			x, ok1 := before.Get(f)
			z, ok2 := after.Get(f)
			if ok1 && ok2 {
				to.take(name, x, b, z)
			}
		}
		take(cpu, source.CPU, s.CPU.Usage.Total)
		memory.take(name, used(before), (s.Memory.Usage-s.Memory.Stats.InactiveFile)>>10, used(after))
		if name != churning {
			take(threads, source.Threads, s.PIDs.Current)
		}
		var rx, tx uint64
		for _, n := range s.Networks {
			rx, tx = rx+n.RxBytes, tx+n.TxBytes
		}
		take(received, source.NetRxBytes, rx)
		take(sent, source.NetTxBytes, tx)
	}
	fmt.Println("Largest distance of the Engine's stats from the range of the module's values just before and after:")
	fmt.Println("| what | containers | largest difference | at value | of | allowed | | why |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, each := range []*measured{cpu, memory, threads, received, sent} {
		each.conclude(t)
		if each.pairs < 3 {
			t.Errorf("%s: compared for only %d containers", each.key, each.pairs)
		}
	}
	m.dockerPrints(t, names)
}

// dockerPrints checks that the output of docker stats has the same containers and about the
// same memory.
func (m *machine) dockerPrints(t *testing.T, names map[string]dockerclient.Container) {
	t.Helper()
	const within = 1024 // kB
	before := module(t)
	text := run(t, "docker", "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.CPUPerc}} {{.MemUsage}}")
	after := moduleSince(t, time.Now())
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != len(names) {
		t.Errorf("docker stats has %d containers, want %d", len(lines), len(names))
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 3 {
			t.Fatalf("docker stats: %q", line)
		}
		a, c := find(t, before, f[0]), find(t, after, f[0])
		if a == nil || c == nil {
			t.Errorf("docker stats: no %s in the document", f[0])
			continue
		}
		if f[0] == names["steady"].ID {
			percent, _ := c.Get(source.CPUPercent)
			t.Logf("steady load: docker stats prints %s, the module %.2f%% over another second", f[1], float64(percent)/100)
		}
		x, y, theirs := used(a), used(c), kilobytes(t, f[2])
		if theirs+within < min(x, y) || theirs > max(x, y)+within {
			t.Errorf("docker stats: %s, the module had %d and %d kB", line, x, y)
		}
	}
}

// used is the memory as docker stats shows it, kB.
func used(c *source.Container) uint64 {
	all, _ := c.Get(source.MemoryCgroup)
	inactive, _ := c.Get(source.MemoryInactiveFile)
	return all - min(all, inactive)
}

// kilobytes parses an amount of docker stats, such as 1.5MiB.
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
