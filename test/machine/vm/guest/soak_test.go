//go:build estiba_vm

package guest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/machine/vm/soak"
	"github.com/estiba/estiba/test/system/stack"
)

var (
	soakFor  = flag.Duration("soak", 0, "how long TestSoak injects faults")
	soakSeed = flag.Uint64("seed", 1, "seed of the faults and of the generator's batches")
)

const (
	liveRecord = "/var/lib/estiba-audit.jsonl"
	dryRecord  = "/var/lib/estiba-dry.jsonl"
	dryAddress = "localhost:10122"
)

// More rules for the shipped policy. Their candidates are all containers, so that only the
// guards spare those that must stay.
const moreRules = `
  - name: greedy
    query: max by (id) (estiba_container_start_time_seconds)
    for: 0s
    action: kill
    grace: 1s
    cooldown: 25s
    max_kills: 2
    dry_run: false
  - name: watched
    query: max by (id) (estiba_container_start_time_seconds)
    for: 0s
    action: pause
    grace: 1s
    cooldown: 60s
    max_kills: 20
    dry_run: true
`

// The policy of the manager with --dry-run: kill everything.
const dryPolicy = `
mode: live
interval: 30s
max_sample_age: 20s
max_kills_per_tick: 50
scope: all
keep: []
protect: {names: [], images: [], labels: {}}
rules:
  - name: all
    query: max by (id) (estiba_container_start_time_seconds)
    for: 0s
    action: kill
    grace: 1s
    cooldown: 0s
    max_kills: 50
    dry_run: false
`

// slack is the time limit of each step before and after the faults; the host may be busy.
const slack = 10 * time.Minute

// soakRun is the whole system under faults.
type soakRun struct {
	machine
	*observer

	docker, exporter, prometheus, alertmanager, manager, dry, generator *part

	parts     []*part
	residents map[string]dockerclient.Container
	live      bool // start Docker with live-restore next

	mu         sync.Mutex
	fault      bool // during a fault and recovery
	violations []string
	selfEnds   map[string]int // unexpected exits during a fault
	wallLimit  time.Time      // latest clock value so far
	lives      int            // of exporter and managers, long enough to check growth
	most       map[string]soak.Reading
	counters   counterWatch
}

func (s *soakRun) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	s.violations = append(s.violations, text)
	s.mu.Unlock()
	s.say("VIOLATION: %s", text)
}

func (s *soakRun) inFault() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

func (s *soakRun) setFault(lasts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = lasts
}

// endedByItself records an unexpected exit. A program may exit when it cannot start because
// of a fault; a running program of ours must survive every fault.
func (s *soakRun) endedByItself(p *part, err error) {
	p.mu.Lock()
	inFault := p.inFault
	p.mu.Unlock()
	if inFault || !p.own && s.inFault() {
		s.mu.Lock()
		s.selfEnds[p.name]++
		s.mu.Unlock()
		s.say("%s exited during a fault: %v", p.name, err)
		return
	}
	s.violation("%s ended by itself: %v", p.name, err)
}

// lived checks a life of a process that has exited, or is about to.
func (s *soakRun) lived(p *part) {
	bounds, ok := bounds[p.name]
	if !ok {
		return
	}
	wrong, judged := soak.Grown(p.life, bounds)
	s.mu.Lock()
	most := soak.Largest(append(p.life, s.most[p.name]))
	s.most[p.name] = most
	if judged {
		s.lives++
	}
	s.mu.Unlock()
	for _, w := range wrong {
		s.violation("%s, life %d: %s", p.name, p.lives, w)
	}
}

// TestSoak runs the whole system with the generator for a time, injects faults, and checks
// the result from outside.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("only with --soak")
	}
	s := &soakRun{
		machine:  machine{booted: time.Now(), Stack: stack.Stack{Addresses: stack.Usual(), Record: liveRecord, Patience: slack}},
		selfEnds: map[string]int{}, most: map[string]soak.Reading{}, wallLimit: time.Now(),
	}
	s.say("soak of %s, seed %d", *soakFor, *soakSeed)
	loadModule(t)
	t.Cleanup(func() { unloadModule(t) })
	s.startAll(t)

	results := s.faults(t)
	s.say("end of faults; waiting until no kill is in flight")
	s.generator.end()
	report := soak.Check(s.atRest(), true)
	for _, v := range report.Violations {
		s.violation("%s", v)
	}
	s.residentsRun(t)
	for _, p := range s.parts {
		p.mu.Lock()
		s.lived(p)
		p.mu.Unlock()
	}
	s.tables(report, results)
	save(t, "soak-end", []byte(s.dump(t)))
	s.saveHistory(t)
	for _, v := range s.violations {
		t.Error(v)
	}
	s.enough(t, report, results)
}

// startAll starts every part and the containers that must never be killed.
func (s *soakRun) startAll(t *testing.T) {
	t.Helper()
	s.docker = s.part(t, "dockerd", false, func(int) []string {
		argv := []string{"dockerd"}
		if s.live {
			argv = append(argv, "--live-restore")
		}
		return argv
	})
	s.connect(t)
	s.importBox(t)
	s.observer = s.observe(t)

	always := map[string]any{"RestartPolicy": map[string]any{"Name": "always"}}
	s.residents = map[string]dockerclient.Container{}
	for name, labels := range map[string]map[string]string{
		"unmanaged": nil,
		"foreign":   {container.LabelKind: "disk"},
		"protected": labels("true"),
		"misspelt":  {container.LabelManaged: "true", container.LabelProtect: "ture"},
		"kindless":  {container.LabelManaged: "true"},
	} {
		s.residents[name] = s.box(t, name, forever, options{host: always, labels: labels})
	}
	s.say("containers that must never be killed: %d", len(s.residents))

	policies := map[string]string{}
	shipped, err := os.ReadFile(filepath.Join(home, "manager/policies/one-of-each-kind.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"live": string(shipped) + moreRules, "dry": dryPolicy} {
		policies[name] = filepath.Join(os.TempDir(), name+".yml")
		if err := os.WriteFile(policies[name], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, program("manager"), "check", policies[name])
	}
	fixed := func(argv ...string) func(int) []string {
		argv[0] = program(argv[0])
		return func(int) []string { return argv }
	}
	s.exporter = s.part(t, "exporter", true, fixed("exporter", "--source=auto"))
	s.alertmanager = s.part(t, "alertmanager", false, fixed("alertmanager", "--config.file="+filepath.Join(home, "prometheus/alertmanager.yml"),
		"--storage.path=/var/lib/alertmanager", "--cluster.listen-address="))
	s.prometheus = s.part(t, "prometheus", false, fixed("prometheus", "--config.file="+filepath.Join(home, "prometheus/prometheus.yml"),
		"--storage.tsdb.path=/var/lib/prometheus"))
	s.manager = s.part(t, "manager", true, fixed("manager", "run", "--config.file="+policies["live"],
		"--prometheus.url=http://"+s.Prometheus, "--audit.file="+liveRecord))
	s.dry = s.part(t, "manager (dry run)", true, fixed("manager", "run", "--dry-run", "--config.file="+policies["dry"],
		"--prometheus.url=http://"+s.Prometheus, "--audit.file="+dryRecord, "--web.listen-address="+dryAddress))
	s.generator = s.part(t, "generator", true, func(life int) []string {
		return []string{
			program("generator"), "run", "--batch=5", "--interval=30s", "--max=20", "--lifetime=3m",
			fmt.Sprintf("--seed=%d", *soakSeed*1000+uint64(life)),
		}
	})
	for _, address := range []string{s.Exporter, s.Addresses.Prometheus, s.Alertmanager, s.Addresses.Manager} {
		s.Ready(t, address)
	}
	testutil.Eventually(t, slack, "the manager has killed", func() bool {
		return soak.Check(s.seen(), false).Outcomes["done"] > 0
	})
	s.say("all programs run; the manager has killed")
}

// atRest returns all entries up to a time at which no kill was in flight, or up to the time
// limit.
func (s *soakRun) atRest() []soak.Entry {
	for deadline := time.Now().Add(slack); ; time.Sleep(time.Second) {
		s.note() // read the logs
		seen := s.seen()
		if len(soak.Check(seen, true).Violations) == len(soak.Check(seen, false).Violations) || time.Now().After(deadline) {
			return seen
		}
	}
}

// residentsRun checks that each of them runs, and was started only once per start of Docker.
func (s *soakRun) residentsRun(t *testing.T) {
	t.Helper()
	running := s.Running(t)
	for name, c := range s.residents {
		if now := running[name]; now.ID != c.ID || now.State != dockerclient.StateRunning {
			s.violation("%s was %+v and is %+v", name, c, now)
		}
	}
}

// enough checks that the run has exercised every check.
func (s *soakRun) enough(t *testing.T, report soak.Report, results []result) {
	t.Helper()
	for _, invariant := range []string{soak.Untouched, soak.IntentFirst, soak.OneOutcome, soak.OutcomeOf, soak.OneLeft, soak.DryIsDry} {
		if report.Checked[invariant] == 0 {
			t.Errorf("never checked: %s", invariant)
		}
	}
	if report.Outcomes["done"] == 0 || report.Created == 0 || len(results) == 0 || s.counters.compared == 0 {
		t.Errorf("%d kills done, %d containers created, %d faults, %d pairs of counter samples compared", report.Outcomes["done"], report.Created, len(results), s.counters.compared)
	}
}

// connect creates the client and waits for the Engine.
func (s *soakRun) connect(t *testing.T) {
	t.Helper()
	client, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	s.Docker = client
	testutil.Eventually(t, slack, "the Docker Engine responds", func() bool { return client.Ping(context.Background()) == nil })
	t.Cleanup(func() { s.removeContainers(t) })
}

// dump reads a document of the module at the end, to validate against the schema.
func (s *soakRun) dump(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(moduleFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// saveHistory sends all entries to the outer host, for analysis.
func (s *soakRun) saveHistory(t *testing.T) {
	t.Helper()
	f, err := os.Create(filepath.Join(os.Getenv("ESTIBA_OUT"), "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := json.NewEncoder(f)
	for _, e := range s.seen() {
		if err := out.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
}

// tables prints the results.
func (s *soakRun) tables(report soak.Report, results []result) {
	table := func(title string, counts map[string]int) {
		s.say("%s", title)
		fmt.Printf("| | |\n|---|---|\n")
		for _, key := range slices.Sorted(maps.Keys(counts)) {
			fmt.Printf("| %s | %d |\n", key, counts[key])
		}
	}
	s.say("faults")
	fmt.Printf("| fault | times | longest recovery, s |\n|---|---|---|\n")
	for _, kind := range soak.Kinds() {
		n, longest := 0, time.Duration(0)
		for _, r := range results {
			if r.Kind == kind || r.Also == kind {
				n++
				longest = max(longest, r.recovery)
			}
		}
		fmt.Printf("| %s | %d | %.0f |\n", kind, n, longest.Seconds())
	}
	table("containers", map[string]int{"batches": report.Batches, "created": report.Created})
	table("exits of managed containers by cause", report.Ends)
	table("times that no container of a kind was left, by cause", report.Emptied)
	table("outcomes in the audit log", report.Outcomes)
	table("outcomes in the audit log of the dry run", report.DryOutcomes)
	table("checks of each invariant", report.Checked)
	table("other", map[string]int{
		"kills done without an event (Docker was restarted)": report.DoneWithoutEvents,
		"pairs of counter samples compared":                  s.counters.compared,
		"counter resets by restarts of a container":          s.counters.excused,
		"lives of exporter and managers checked for growth":  s.lives,
		"incomplete lines in the audit logs":                 s.records[0].torn + s.records[1].torn,
	})
	table("unexpected exits of programs during a fault", s.selfEnds)
	s.say("maximum of each program")
	fmt.Printf("| | resident kB | descriptors | goroutines | longest life |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(s.most)) {
		m := s.most[name]
		fmt.Printf("| %s | %d | %d | %d | %s |\n", name, m.RSSKB, m.FDs, m.Goroutines, m.At.Round(time.Second))
	}
	fmt.Printf("| violations | %d |\n", len(s.violations))
}
