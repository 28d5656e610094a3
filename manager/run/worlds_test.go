package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/gather"
)

// Random worlds: a real manager, with its real loop, audit log and clients, beside a
// simulated Engine and a simulated Prometheus, for a few minutes of simulated time in
// which everything may fail, be slow, restart or change, the manager and the wall clock
// included. Each kill is checked against the true state when it reaches the Engine.
var (
	worldsFlag = flag.Int("worlds", 500, "how many random worlds TestWorlds tries")
	worldSeed  = flag.Uint64("world.seed", 0, "the first world; that one alone with -worlds=1")
)

const (
	worldLatency = 2 * time.Second // the longest latency short of a hang
	worldMaxAge  = 20 * time.Second
	worldGrace   = 10 * time.Second
	// What the manager saw before a kill may have changed since: checking, counting and
	// calling take this long together.
	worldLook = 4*worldLatency + time.Second
)

func TestWorlds(t *testing.T) {
	dir := t.TempDir()
	if memory := "/dev/shm"; isDir(memory) { // millions of fsyncs
		var err error
		if dir, err = os.MkdirTemp(memory, "worlds"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	before := debug.SetGCPercent(800) // worlds are small, and many
	t.Cleanup(func() { debug.SetGCPercent(before) })
	var next, failed atomic.Int64
	totals := &worldTotals{}
	var wg sync.WaitGroup
	for part := range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			defer wg.Done()
			for failed.Load() < 5 {
				n := next.Add(1) - 1
				if n >= int64(*worldsFlag) {
					return
				}
				seed := *worldSeed + uint64(n)
				folder := filepath.Join(dir, fmt.Sprint(part))
				if err := os.Mkdir(folder, 0o755); err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, folder)
					w.run()
					totals.add(w)
					if len(w.faults) > 0 {
						failed.Add(1)
						t.Errorf("world %d (-worlds=1 -world.seed=%d):\n  %s\nwhat happened:\n  %s", seed, seed, strings.Join(w.faults, "\n  "),
							strings.Join(w.story, "\n  "))
					}
				})
				os.RemoveAll(folder)
			}
		})
	}
	t.Cleanup(func() {
		if *worldsFlag >= 1000 {
			totals.check(t)
		}
		t.Log(totals)
	})
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// worldTotals shows that the worlds are eventful.
type worldTotals struct {
	mu                            sync.Mutex
	worlds, acts, lives, settled  int
	events                        map[string]int
	refused, failed, done, unsure int
}

func (n *worldTotals) add(w *world) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.worlds++
	n.acts += len(w.engine.acts)
	n.lives += w.lives
	n.settled += w.settled
	if n.events == nil {
		n.events = map[string]int{}
	}
	for k, v := range w.events {
		n.events[k] += v
	}
	for _, r := range w.outcomes {
		switch r {
		case audit.OutcomeRefused:
			n.refused++
		case audit.OutcomeFailed:
			n.failed++
		case audit.OutcomeDone:
			n.done++
		case audit.OutcomeUnknown:
			n.unsure++
		}
	}
}

func (n *worldTotals) String() string {
	var events []string
	for _, k := range slices.Sorted(maps.Keys(n.events)) {
		events = append(events, fmt.Sprintf("%s %d", k, n.events[k]))
	}
	return fmt.Sprintf("%d worlds, %d acts, %d lives of the manager, %d calm ends; done %d, refused %d, failed %d, unknown %d; %s",
		n.worlds, n.acts, n.lives, n.settled, n.done, n.refused, n.failed, n.unsure, strings.Join(events, ", "))
}

func (n *worldTotals) check(t *testing.T) {
	for what, count := range map[string]int{
		"acts": n.acts, "kills done": n.done, "refused": n.refused, "failed": n.failed, "unknown": n.unsure,
		"calm ends": n.settled,
	} {
		if count < n.worlds/200 {
			t.Errorf("%s: only %d in %d worlds: they try too little", what, count, n.worlds)
		}
	}
}

// worldRule is one rule of a world's policy.
type worldRule struct {
	name, query, action string
	grace, cooldown     time.Duration
	maxKills, perHour   int
	opens               time.Time     // on the clock of UTC, each day; zero: no schedule
	open                time.Duration // whole minutes
}

// schedule is the rule's schedule in the policy file.
func (r worldRule) schedule() string {
	if r.opens.IsZero() {
		return ""
	}
	clock := func(t time.Time) string { return t.UTC().Format("15:04") }
	return fmt.Sprintf(", schedule: {time_zone: UTC, windows: [{from: '%s', to: '%s'}]}", clock(r.opens), clock(r.opens.Add(r.open)))
}

// hourly is the rule's limit per hour in the policy file.
func (r worldRule) hourly() string {
	if r.perHour == 0 {
		return ""
	}
	return fmt.Sprintf(", max_kills_per_hour: %d", r.perHour)
}

// mayKill reports whether a time is in the rule's schedule.
func (r worldRule) mayKill(at time.Time) bool {
	const day = 24 * time.Hour
	return r.opens.IsZero() || (at.Round(0).Sub(r.opens.Round(0))%day+day)%day < r.open
}

type worldPolicy struct {
	mode, scope string
	keep        int
	keepImage   int
	protect     []string // names
	images      []string
	rules       []worldRule
}

func (p worldPolicy) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mode: %s\ninterval: 10s\nmax_sample_age: %s\nscope: %s\n", p.mode, worldMaxAge, p.scope)
	var keep []string
	for _, by := range slices.Sorted(maps.Keys(p.keeps())) {
		keep = append(keep, fmt.Sprintf("{by: %s, min: %d}", by, p.keeps()[by]))
	}
	fmt.Fprintf(&b, "keep: [%s]\n", strings.Join(keep, ", "))
	fmt.Fprintf(&b, "protect: {names: [%s], images: [%s]}\nrules:\n", strings.Join(p.protect, ", "), strings.Join(p.images, ", "))
	for _, r := range p.rules {
		fmt.Fprintf(&b, "  - {name: %s, query: '(%s > 50) unless on (id) estiba_container_info{container_label_keep!=\"\"}', action: %s, grace: %s, cooldown: %s, max_kills: %d, relief: {stop_after: 0}%s%s}\n",
			r.name, r.query, r.action, r.grace, r.cooldown, r.maxKills, r.schedule(), r.hourly())
	}
	return b.String()
}

// keeps are the keep rules: by to min.
func (p worldPolicy) keeps() map[string]int {
	keeps := map[string]int{"kind": p.keep, "image": p.keepImage}
	maps.DeleteFunc(keeps, func(_ string, least int) bool { return least == 0 })
	return keeps
}

// group is the group of a container under a keep rule.
func (c *simContainer) group(by string) string {
	if by == "image" {
		return c.Image
	}
	return c.Labels["estiba.kind"]
}

func (p worldPolicy) rule(name string) *worldRule {
	for i := range p.rules {
		if p.rules[i].name == name {
			return &p.rules[i]
		}
	}
	return nil
}

// world is one random world.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	dir     string
	engine  *simEngine
	prom    *simPrometheus
	stepped atomic.Int64 // offset of the wall clock
	far     bool         // it was set back by more than calmEnd takes: earlier samples and starts wait

	mu          sync.Mutex
	dns         string            // ok, slow, failing
	names       map[string]string // host to address
	targets     map[string]string // ids of scrape targets, and their hosts
	policy      worldPolicy       // of the last reload
	before      worldPolicy       // the previous one, during a reload
	reloaded    time.Time
	stopped     time.Time // SIGTERM was sent
	disturbed   time.Time // a container exited or was paused by the world
	strictest   int
	steppedAt   time.Time // when the wall clock was set last
	steppedBack time.Time // and set back
	slightly    bool      // by a second
	lifeBegan   time.Time // of the manager
	generation  int

	view   *simView
	app    *App
	cancel context.CancelFunc
	ended  chan struct{}
	audit  string

	next, lives, settled int
	faults, story        []string
	events               map[string]int
	outcomes             []audit.Outcome
}

// worldBase gives times a monotonic reading, which those of a bubble lack.
var worldBase = time.Now()

func (w *world) now() time.Time {
	return testutil.StepWall(worldBase.Add(time.Since(worldEpoch)), time.Duration(w.stepped.Load()))
}

func newWorld(t *testing.T, seed uint64, dir string) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 14)), dir: dir, dns: "ok", names: map[string]string{"prometheus.example": "10.0.0.9"},
		targets: map[string]string{}, events: map[string]int{},
	}
	w.engine = newSimEngine(w.now)
	w.engine.judge, w.engine.missed = w.judge, w.missed
	w.prom = newSimPrometheus(w.now, w.engine)
	w.prom.outOfOrder = w.rng.IntN(2) == 0
	return w
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (w *world) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf("%7.2fs ", time.Since(worldEpoch).Seconds())+fmt.Sprintf(format, args...))
}

// worldEpoch is the begin of the time of each bubble.
var worldEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.logf("FAULT %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, text)
}

// start starts a container.
func (w *world) start() {
	r := w.rng
	n := w.next
	w.next++
	c := &simContainer{
		born: w.now(), load: pick(r, 10.0, 60, 70, 80), keepLabel: r.IntN(6) == 0, known: r.IntN(8) > 0,
		runtime: pick(r, container.Docker, container.Docker, container.Kata, ""),
	}
	c.Container = dockerclient.Container{
		ID: fmt.Sprintf("%012x%052x", 0xabc000+n, n), Name: fmt.Sprintf("c%d", n), State: dockerclient.StateRunning, StartedAt: c.born.Round(0),
		Image: pick(r, "app:1", "app:1", "postgres:16"), Labels: map[string]string{"estiba.managed": "true", "estiba.kind": pick(r, "cpu", "cpu", "ram")},
		AutoRemove: r.IntN(3) == 0, Networkless: r.IntN(3) == 0,
	}
	if r.IntN(8) == 0 {
		delete(c.Labels, "estiba.managed")
	}
	if r.IntN(10) == 0 {
		delete(c.Labels, "estiba.kind")
	}
	if r.IntN(8) == 0 {
		c.Labels["estiba.protect"] = pick(r, "true", "ture")
	}
	if r.IntN(10) == 0 {
		c.Labels[kubernetesLabel] = "web"
	}
	c.dies = pick(r, 0, time.Millisecond, 3*time.Second, time.Hour)
	w.mu.Lock()
	if !c.Networkless {
		address := fmt.Sprintf("172.18.0.%d", n+2)
		c.Networks = []string{address}
		if r.IntN(4) == 0 {
			host := pick(r, c.Name, fmt.Sprintf("t%d.example", n))
			w.names[host] = address
			w.targets[c.ID] = host
			w.prom.mu.Lock()
			w.prom.scraped = append(w.prom.scraped, host)
			w.prom.mu.Unlock()
		}
	}
	w.mu.Unlock()
	w.engine.mu.Lock()
	w.engine.containers[c.ID] = c
	w.engine.mu.Unlock()
	w.logf("%s starts: load %.0f, %v, image %s, keep label %v, known %v, scraped %q, dies in %s", c.Name, c.load, c.Labels, c.Image, c.keepLabel, c.known, w.targets[c.ID], c.dies)
}

// kubernetesLabel marks the containers that a kubelet starts on the Engine.
const kubernetesLabel = "io.kubernetes.pod.name"

// foreign starts or ends a container of another runtime. Some have the label id of one of
// the Engine's, which then has no samples.
func (w *world) foreign(of *simContainer) {
	r, p := w.rng, w.prom
	p.mu.Lock()
	defer p.mu.Unlock()
	if ids := slices.Sorted(maps.Keys(p.foreign)); len(ids) > 0 && r.IntN(3) == 0 {
		delete(p.foreign, ids[0])
		return
	}
	w.next++
	id := fmt.Sprintf("%012x%052x", 0xf0e000+w.next, w.next)
	if of != nil && r.IntN(2) == 0 {
		id = of.ID[:12] + id[12:]
		for other := range p.foreign {
			if other[:12] == id[:12] {
				return
			}
		}
	}
	c := simSeries{load: pick(r, 10.0, 60, 95), start: w.now().Round(0).Add(-time.Hour), known: r.IntN(3) > 0, runtime: pick(r, container.Podman, container.CRIO, container.LXC)}
	switch r.IntN(4) {
	case 0: // the runtime does not report it
		c.runtime, c.pod = pick(r, container.Containerd, container.Docker, ""), true
	case 1: // another user's Engine of the same kind
		c.runtime = pick(r, container.Docker, "")
	}
	if p.foreign == nil {
		p.foreign = map[string]simSeries{}
	}
	p.foreign[id] = c
	w.logf("%s of another runtime starts: %+v", id[:12], c)
}

// missed checks a kill of a container that the Engine does not have: it was one of its own.
func (w *world) missed(what, id string) {
	w.prom.mu.Lock()
	_, foreign := w.prom.foreign[id]
	w.prom.mu.Unlock()
	if foreign {
		w.fault("%s of %s, which another runtime runs", what, id[:12])
	}
}

func (w *world) randomPolicy() worldPolicy {
	r := w.rng
	p := worldPolicy{mode: pick(r, "live", "live", "live", "live", "dry_run"), scope: pick(r, "managed", "all"), keep: r.IntN(2), keepImage: r.IntN(2)}
	for range r.IntN(2) {
		p.protect = append(p.protect, fmt.Sprintf("c%d", r.IntN(6)))
	}
	if r.IntN(2) == 0 {
		p.images = []string{"postgres"}
	}
	for _, name := range []string{"raw", "recorded"}[r.IntN(2):] {
		p.rules = append(p.rules, worldRule{
			name: name, query: map[string]string{"raw": "sim_load", "recorded": "estiba:sim_load"}[name],
			action: pick(r, "remove", "remove", "stop", "kill", "pause"), grace: pick(r, 0, 2*time.Second, worldGrace, 25*time.Second),
			cooldown: pick(r, 0, 0, 30*time.Second), maxKills: 1 + r.IntN(3),
		})
		if r.IntN(3) == 0 {
			rule := &p.rules[len(p.rules)-1]
			rule.opens = w.now().Round(0).Truncate(time.Minute).Add(time.Duration(r.IntN(4)-2) * time.Minute)
			rule.open = time.Duration(1+r.IntN(4)) * time.Minute
		}
		if r.IntN(3) == 0 {
			rule := &p.rules[len(p.rules)-1]
			rule.perHour = rule.maxKills + r.IntN(2)
		}
	}
	return p
}

// manager starts a manager with the audit log in its folder.
func (w *world) manager() {
	v := &simView{simEngine: w.engine}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := newApp(Options{
		ConfigFile: w.path("policy.yml"), AuditFile: w.audit, Logger: log.NewNopLogger(),
		Options: gather.Options{PrometheusURL: simURL, Engine: v, Now: w.now, Transport: w.prom, LookupHost: w.resolve},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.lives++
	ended := make(chan struct{})
	w.mu.Lock()
	w.stopped, w.lifeBegan = time.Time{}, w.now()
	w.view, w.app, w.cancel, w.ended = v, a, cancel, ended
	w.mu.Unlock()
	go func() {
		defer close(ended)
		a.loop(ctx)
		a.stop()
		a.enforcer.Wait(context.Background())
		a.release()
	}()
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// resolve is the name server.
func (w *world) resolve(ctx context.Context, host string) ([]string, error) {
	w.mu.Lock()
	state, address := w.dns, w.names[host]
	w.mu.Unlock()
	switch {
	case state == "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case state == "failing":
		return nil, errors.New("server misbehaving")
	case address == "":
		return nil, errors.New("no such host")
	}
	return []string{address}, nil
}

// crash ends the manager as SIGKILL does: pending calls are not made, and its audit log
// is as it was at that moment.
func (w *world) crash() {
	// no kill is judged between the two audit logs
	w.engine.mu.Lock()
	defer w.engine.mu.Unlock()
	w.mu.Lock()
	v, old := w.view, w.audit
	w.generation++
	w.audit = filepath.Join(w.dir, fmt.Sprint("life", w.generation), "audit.jsonl")
	w.mu.Unlock()
	if v.gone.Load() {
		return
	}
	if err := os.Mkdir(filepath.Dir(w.audit), 0o755); err != nil {
		w.t.Fatal(err)
	}
	files, _ := filepath.Glob(old + "*")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(w.audit), filepath.Base(f)), data, 0o640); err != nil {
			w.t.Fatal(err)
		}
	}
	v.gone.Store(true)
	w.cancel()
}

// run runs the world.
func (w *world) run() {
	r := w.rng
	ctx, end := context.WithCancel(context.Background())
	for range 3 + r.IntN(6) {
		w.start()
	}
	// Most lives began long before the manager.
	time.Sleep(time.Duration(r.IntN(120)) * time.Second)
	w.prom.ready = w.now().Round(0)
	if r.IntN(2) == 0 {
		w.prom.ready = w.prom.ready.Add(-time.Hour)
	}
	w.policy = w.randomPolicy()
	w.strictest = 0
	w.writePolicy(w.policy)
	w.audit = w.path("life0/audit.jsonl")
	go w.tickPrometheus(ctx, r.IntN(5000), r.IntN(5000))
	if r.IntN(2) == 0 {
		time.Sleep(time.Duration(r.IntN(20)) * time.Second)
	}
	w.manager()
	for range 4 + r.IntN(16) {
		time.Sleep(time.Duration(r.IntN(9000)) * time.Millisecond)
		w.event()
	}
	if !w.far && r.IntN(8) == 0 {
		w.calmEnd()
	}
	w.cancel()
	<-w.ended
	end()
	w.checkRecord()
	time.Sleep(2 * time.Minute) // calls in flight end
}

func (w *world) writePolicy(p worldPolicy) {
	if err := os.WriteFile(w.path("policy.yml"), []byte(p.text()), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tickPrometheus(ctx context.Context, scrape, evaluate int) {
	loop := func(offset int, do func()) {
		time.Sleep(time.Duration(offset) * time.Millisecond)
		t := time.NewTicker(simScrape)
		defer t.Stop()
		for {
			do()
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}
	go loop(scrape, w.prom.scrape)
	loop(evaluate, w.prom.evaluate)
}

// event is a random event.
func (w *world) event() {
	r := w.rng
	names := []string{
		"start", "end", "restart", "load", "load", "reload", "reload at a step", "reload at a step", "crash", "crash at a step", "crash in an act",
		"crash in an act", "stop", "stop at a step", "engine", "engine latency",
		"prometheus restarts", "prometheus latency", "exporter", "rule", "dns", "dns", "wall", "labels", "tag", "sick", "undead", "list", "targets",
		"disagree", "disagree", "foreign", "foreign",
	}
	name := pick(r, names...)
	w.events[name]++
	e, p := w.engine, w.prom
	e.mu.Lock()
	ids := slices.Sorted(maps.Keys(e.containers))
	var c *simContainer
	if len(ids) > 0 {
		c = e.containers[pick(r, ids...)]
	}
	e.mu.Unlock()
	about := ""
	if c != nil {
		about = c.Name
	}
	w.logf("event: %s (%s)", name, about)
	latency := func() func() time.Duration {
		most := pick(r, 0, 10*time.Millisecond, worldLatency)
		seed := rand.New(rand.NewPCG(r.Uint64(), 1))
		return func() time.Duration {
			if most == 0 {
				return 0
			}
			return time.Duration(seed.Int64N(int64(most)))
		}
	}
	switch name {
	case "start":
		w.start()
		return
	case "foreign":
		w.foreign(c)
		return
	case "reload":
		w.reload(w.randomPolicy())
		return
	case "crash":
		w.crash()
		<-w.ended
		time.Sleep(time.Duration(r.IntN(15)) * time.Second)
		w.manager()
		return
	case "crash at a step":
		if w.atStep(w.crash) {
			<-w.ended
			w.manager()
		}
		return
	case "crash in an act":
		var once sync.Once
		hit := make(chan struct{})
		e.mu.Lock()
		w.view.during = func() { once.Do(func() { w.crash(); close(hit) }) }
		e.mu.Unlock()
		select {
		case <-hit:
			w.manager() // the old one waits for its calls
			w.logf("crashed in an act")
		case <-time.After(30 * time.Second):
			e.mu.Lock()
			w.view.during = nil
			e.mu.Unlock()
		}
		return
	case "reload at a step":
		next := w.randomPolicy()
		w.atStep(func() { w.reload(next) })
		return
	case "stop at a step":
		if w.atStep(w.terminate) {
			<-w.ended
			w.manager()
		}
		return
	case "stop":
		w.terminate()
		<-w.ended
		time.Sleep(time.Duration(r.IntN(15)) * time.Second)
		w.manager()
		return
	case "wall":
		by := pick(r, -time.Second, -30*time.Second, -time.Hour, 30*time.Second, time.Hour)
		w.far = w.far || by < -time.Minute
		w.mu.Lock()
		w.stepped.Add(int64(by))
		w.steppedAt = w.now()
		w.slightly = by.Abs() <= time.Second // not taken for a step
		if by < 0 {
			w.steppedBack = w.steppedAt
		}
		w.mu.Unlock()
		w.logf("the wall clock is set by %s; out of order %v", by, p.outOfOrder)
		return
	case "dns":
		w.mu.Lock()
		w.dns = pick(r, "ok", "slow", "failing")
		w.mu.Unlock()
		return
	case "engine latency":
		l := latency()
		e.mu.Lock()
		e.latency = l
		e.mu.Unlock()
		return
	case "prometheus latency":
		l := latency()
		p.mu.Lock()
		p.latency = l
		p.mu.Unlock()
		return
	case "prometheus restarts":
		p.mu.Lock()
		p.down = true
		p.mu.Unlock()
		time.Sleep(time.Duration(r.IntN(8)) * time.Second)
		p.mu.Lock()
		p.down, p.ready, p.health, p.evaluated = false, w.now().Round(0), "unknown", time.Time{}
		p.mu.Unlock()
		return
	case "exporter", "rule", "targets":
		p.mu.Lock()
		defer p.mu.Unlock()
		switch name {
		case "exporter":
			p.exporterDown = !p.exporterDown
		case "rule":
			p.ruleFails, p.ruleHangs = r.IntN(2) == 0, r.IntN(3) == 0
		case "targets": // as while a target list is being replaced
			if p.listed != nil && w.now().Before(p.back) {
				p.back = w.now()
			}
			p.listed = pick(r, nil, func([]string) []string { return nil })
			if p.listed != nil {
				until := w.now().Add(40 * time.Second)
				p.back = until
				p.listed = func(all []string) []string {
					if w.now().Before(until) {
						return nil
					}
					return all
				}
			}
		}
		return
	}
	if c == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch name {
	case "end":
		w.disturb()
		e.exit(c)
	case "restart":
		if c.State == dockerclient.StateRunning {
			w.disturb()
			c.born = w.now()
			e.lifeEnded(c)
			c.EndedAt, c.StartedAt, c.signalled = c.born.Round(0).Add(-time.Millisecond), c.born.Round(0), false
		}
	case "load":
		c.load = pick(r, 10.0, 60, 70, 90)
	case "engine":
		e.down = !e.down
	case "labels":
		c.known = !c.known
	case "tag":
		c.listed = "sha256:" + strings.Repeat("ab", 32)
	case "disagree": // the list differs from the container
		if c.labelled == nil {
			c.labelled = maps.Clone(c.Labels)
			c.Labels = maps.Clone(c.Labels)
			c.Labels["estiba.protect"] = "true"
			c.relabelled = w.now()
		}
	case "sick":
		c.sick = !c.sick
	case "undead":
		if c.undead = !c.undead; !c.undead && c.signalled && c.State == dockerclient.StateRunning {
			w.disturb()
			e.exit(c) // its signal arrives
		}
	case "list":
		if e.doubled = r.IntN(2) == 0; !e.doubled {
			e.unlisted = map[string]bool{c.ID: r.IntN(2) == 0}
			w.disturb()
		}
	}
}

func (w *world) disturb() {
	w.mu.Lock()
	w.disturbed = w.now()
	w.mu.Unlock()
}

func (w *world) reload(p worldPolicy) {
	w.writePolicy(p)
	w.mu.Lock()
	w.before = w.policy
	w.policy = p
	w.reloaded = time.Time{} // in progress: both are valid
	w.mu.Unlock()
	if err := w.app.Reload(); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.reloaded = w.now()
	w.mu.Unlock()
	w.logf("reloaded:\n%s", p.text())
}

// terminate ends the manager as SIGTERM does.
func (w *world) terminate() {
	w.cancel()
	w.app.stop() // as Run does at once
	w.mu.Lock()
	w.stopped = w.now()
	w.mu.Unlock()
}

// atStep calls do at one of the manager's next calls to the Engine, of any kind or of
// one; false if there was no such call.
func (w *world) atStep(do func()) bool {
	n, call := int64(1+w.rng.IntN(12)), pick(w.rng, "", "inspect", "inspect", "stop", "remove", "kill")
	var once sync.Once
	var count atomic.Int64
	hit := make(chan struct{})
	v := w.view
	w.engine.mu.Lock()
	v.before = func(what string) {
		if call != "" && call != what {
			return
		}
		if count.Add(1) >= n {
			once.Do(func() { do(); close(hit) })
		}
	}
	w.engine.mu.Unlock()
	defer func() {
		w.engine.mu.Lock()
		v.before = nil
		w.engine.mu.Unlock()
	}()
	select {
	case <-hit:
		w.logf("at call %d, %s", n, call)
		return true
	case <-time.After(40 * time.Second):
		once.Do(func() {}) // too late
		select {
		case <-hit: // or in progress
			return true
		default:
			return false
		}
	}
}

// judge checks a kill against the true state. It is called with the Engine's mutex
// held.
func (w *world) judge(a *simAct, c *simContainer) {
	say := func(bad bool, format string, args ...any) {
		if bad {
			w.fault("%s %s: %s", a.what, c.Name, fmt.Sprintf(format, args...))
		}
	}
	rec := w.lastIntent(c.ID)
	if rec == nil {
		say(true, "without an intent in the record")
		return
	}
	a.rule = rec.Rule
	fresh := a.called.Sub(c.born) < worldLook || !w.quiet(a.called)
	say(!rec.StartedAt.Equal(c.StartedAt) && !fresh, "another life than the intent means: %s, not %s", c.StartedAt, rec.StartedAt)
	say(c.State != dockerclient.StateRunning && a.what != "remove" && !fresh, "it is %s", c.State)
	if a.what == "remove" && c.signalled {
		return // the second part of a removal that was judged before
	}
	w.logf("%s %s by %s", a.what, c.Name, rec.Rule)
	a.whole = true
	w.mu.Lock()
	p, stopped, scraped := w.policy, w.stopped, w.targets[c.ID]
	settled := !w.reloaded.IsZero() && a.called.After(w.reloaded)
	if !settled && w.before.rules != nil {
		p = w.before // a reload is in progress, or this kill began before it
	}
	disturbed := w.disturbed
	w.mu.Unlock()

	say(!stopped.IsZero() && a.called.After(stopped), "begun after SIGTERM")
	rule := p.rule(rec.Rule)
	if settled || w.before.rules == nil {
		say(rule == nil || p.mode != "live", "the policy does not allow it")
		say(slices.Contains(p.protect, c.Name), "protected by name")
		say(len(p.images) > 0 && strings.HasPrefix(c.Image, "postgres"), "protected by image")
		say(p.scope == "managed" && c.Labels["estiba.managed"] != "true", "out of scope")
		if rule != nil {
			w.judgeSchedule(rule, a, say)
		}
		say(rule != nil && rule.action != "remove" && rule.action != a.what, "the policy says %v", rule)
	}
	say(c.Labels[kubernetesLabel] != "", "Kubernetes runs it")
	say(c.Labels["estiba.protect"] != "" && (c.relabelled.IsZero() || a.called.Sub(c.relabelled) > worldLook), "protected by label")
	say(scraped != "" && !w.unprovable(scraped), "Prometheus scrapes it")
	say(c.keepLabel, "its label makes an exception of it")

	// The data: a fresh sample has this life as a candidate.
	w.prom.mu.Lock()
	samples := w.prom.samples
	if rec.Rule == "recorded" {
		samples = w.prom.recorded
	}
	wanted, newest := false, time.Time{}
	for _, s := range samples {
		if row, has := s.rows[c.ID]; has && row.load > 50 && row.start.Equal(rec.StartedAt) && a.called.Sub(s.stored) <= worldMaxAge+10*time.Millisecond {
			wanted = true
		}
		if s.rows != nil && s.taken.After(newest) && !s.taken.After(a.called) {
			newest = s.taken
		}
	}
	w.prom.mu.Unlock()
	say(!wanted && !w.mistaken(), "no sample of the last %s asks for it", worldMaxAge)

	// Kills whose effect cannot be in the data count against max_kills.
	if rule != nil && settled {
		others := map[string]bool{}
		for _, o := range w.engine.acts {
			if o.rule == rec.Rule && o.id != c.ID && (o.ended.IsZero() || o.ended.After(newest)) {
				others[o.id] = true
			}
		}
		most := max(rule.maxKills, w.strictest)
		say(len(others)+1 > most && !w.mistaken(), "%d acts of the rule are not in the data yet, max_kills %d", len(others)+1, rule.maxKills)
	}
	if rule != nil && rule.perHour > 0 && settled {
		n := 1
		for _, o := range w.engine.acts {
			if o.whole && o.rule == rec.Rule { // worlds last for minutes
				n++
			}
		}
		w.mu.Lock()
		aged := !w.steppedAt.IsZero() && w.lifeBegan.After(w.steppedAt) // by a clock that was set while no manager ran
		w.mu.Unlock()
		say(n > rule.perHour && !aged, "%d acts of the rule, max_kills_per_hour %d", n, rule.perHour)
	}
	for by, keep := range p.keeps() {
		if !settled {
			break
		}
		say(c.group(by) == "", "its %s is unknown", by)
		left := 0
		for _, o := range w.engine.containers {
			in := p.scope == "all" || o.Labels["estiba.managed"] == "true"
			if o != c && o.group(by) == c.group(by) && in && o.Labels[kubernetesLabel] == "" && o.State == dockerclient.StateRunning && !o.signalled {
				left++
			}
		}
		say(left < keep && a.called.Sub(disturbed) > worldLook, "%d of %s %s would be left, %d promised", left, by, c.group(by), keep)
	}
}

// judgeSchedule checks that a kill begins in the schedule of its rule, by a clock that
// was not set a short time ago. The call itself may be delayed.
func (w *world) judgeSchedule(rule *worldRule, a *simAct, say func(bad bool, format string, args ...any)) {
	if rule.opens.IsZero() {
		return
	}
	w.mu.Lock()
	stepped, seen := !w.steppedAt.IsZero(), w.lifeBegan.Before(w.steppedAt) && !w.slightly
	since := a.called.Sub(w.steppedAt)
	w.mu.Unlock()
	if !stepped || since > worldLook {
		say(!rule.mayKill(a.called) && !rule.mayKill(a.called.Add(-time.Second)), "outside of the schedule: at %s, %s from %s",
			a.called.UTC().Format(time.TimeOnly), rule.open, rule.opens.UTC().Format(time.TimeOnly))
	}
	say(stepped && seen && since > worldLook && since < 4*time.Minute, "the clock was set %s ago", since)
}

// lastWord is the last tick's result and its reason for a container.
func (w *world) lastWord(name string) string {
	rec := httptest.NewRecorder()
	w.app.handler().ServeHTTP(rec, httptest.NewRequest("GET", "/api/v1/decisions", nil))
	var d struct {
		Result, Error string
		Rules         []struct{ Name, Error string }
		Containers    []struct {
			Name, Reason string
			Protected    []string
		}
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &d); err != nil {
		return err.Error()
	}
	for _, c := range d.Containers {
		if c.Name == name {
			return fmt.Sprint(c.Reason, " ", c.Protected, "; tick ", d.Result, " ", d.Error, "; rules ", d.Rules)
		}
	}
	return fmt.Sprint("not listed; tick ", d.Result, " ", d.Error)
}

// unprovable reports whether it cannot be known that Prometheus scrapes a host:
// discovery has lost it, and it is not in the part of the history that the clock still
// reaches.
func (w *world) unprovable(host string) bool {
	w.prom.mu.Lock()
	defer w.prom.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	// it came back after the manager looked
	found := w.prom.listed == nil || slices.Contains(w.prom.others(), host)
	if found && (w.prom.back.IsZero() || now.Sub(w.prom.back) > worldLook) {
		return false
	}
	if w.dns != "ok" && strings.Contains(host, ".") {
		return true // only a name in the history is left, which may be relabelled
	}
	var first time.Time // since the start of the manager
	for _, s := range w.prom.samples {
		if !slices.Contains(s.up, host) || now.Sub(s.stored) < worldLook {
			continue
		}
		if s.stored.After(w.steppedAt) && now.Sub(s.stored) < 170*time.Second {
			return false // it is in the history
		}
		if first.IsZero() && s.stored.After(w.lifeBegan) {
			first = s.stored
		}
		if !first.IsZero() && s.stored.Sub(first) > 25*time.Second {
			return false // the manager has seen it listed in two ticks
		}
	}
	return true
}

// mistaken reports whether the manager started after the clock was set back, and cannot
// know that the last sample is from before.
func (w *world) mistaken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.steppedBack.IsZero() && w.lifeBegan.After(w.steppedBack) && w.now().Sub(w.steppedBack) < 2*time.Minute
}

// quiet reports whether no container exited by itself while the manager looked.
func (w *world) quiet(at time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return at.Sub(w.disturbed) > worldLook
}

// lastIntent is the last intent on a container without outcome.
func (w *world) lastIntent(id string) (found *audit.Record) {
	for _, r := range readRecord(w.audit) {
		if r.Container != id {
			continue
		}
		switch r.Phase {
		case audit.Intent:
			found = &r
		case audit.Done:
			found = nil
		}
	}
	return found
}

func readRecord(path string) (list []audit.Record) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r audit.Record
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			list = append(list, r)
		}
	}
	return list
}

// checkRecord checks the audit log of the last life, which ended regularly.
func (w *world) checkRecord() {
	intents, outcomes := map[string]int{}, map[string]int{}
	for _, r := range readRecord(w.audit) {
		switch r.Phase {
		case audit.Intent:
			intents[r.KillID]++
		case audit.Done:
			outcomes[r.KillID]++
			w.outcomes = append(w.outcomes, r.Outcome)
			if intents[r.KillID] == 0 {
				w.fault("the record has an outcome without an intent: %+v", r)
			}
		}
	}
	for id, n := range intents {
		if n != 1 || outcomes[id] > 1 {
			w.fault("the record has %d intents and %d outcomes of %s", n, outcomes[id], id)
		}
	}
}

// calmEnd removes all faults and checks that the manager kills what may be killed.
func (w *world) calmEnd() {
	w.settled++
	w.logf("calm")
	e, p := w.engine, w.prom
	e.mu.Lock()
	e.down, e.unlisted, e.doubled = false, map[string]bool{}, false
	e.latency = func() time.Duration { return 0 }
	for _, c := range e.containers {
		c.sick, c.known = false, true
		if c.undead {
			if c.undead = false; c.signalled && c.State == dockerclient.StateRunning {
				e.exit(c)
			}
		}
	}
	e.mu.Unlock()
	p.mu.Lock()
	p.down, p.exporterDown, p.ruleFails, p.ruleHangs, p.listed = false, false, false, false, nil
	p.foreign = nil // so that no label id is taken
	p.latency = func() time.Duration { return 0 }
	p.mu.Unlock()
	w.mu.Lock()
	w.dns = "ok"
	w.mu.Unlock()
	policy := w.policy
	policy.mode, policy.rules = "live", slices.Clone(policy.rules)
	for i := range policy.rules {
		policy.rules[i].opens, policy.rules[i].perHour = time.Time{}, 0
	}
	w.reload(policy)
	time.Sleep(15 * time.Minute)
	e.mu.Lock()
	defer e.mu.Unlock()
	// A manager that crashed in a kill cannot know whether its signal arrived: that
	// life may end at any time, so keep rules do not count it. Most are ended by the
	// next kill; those that are protected by now live on.
	doubtful := map[string]time.Time{}
	for _, r := range readRecord(w.audit) {
		if r.Outcome == audit.OutcomeUnknown {
			doubtful[r.Container] = r.StartedAt
		}
	}
	alive := map[string]int{} // of groups: no kind is an image
	for _, c := range e.containers {
		if at, is := doubtful[c.ID]; is && at.Equal(c.StartedAt) && c.Labels["estiba.protect"] != "" {
			continue
		}
		if c.State == dockerclient.StateRunning && !c.signalled && c.Labels[kubernetesLabel] == "" && (policy.scope == "all" || c.Labels["estiba.managed"] == "true") {
			for by := range policy.keeps() {
				alive[c.group(by)]++
			}
		}
	}
	for _, c := range e.containers {
		kept := false
		for by, keep := range policy.keeps() {
			kept = kept || c.group(by) == "" || alive[c.group(by)] <= keep
		}
		mayStay := c.State != dockerclient.StateRunning || c.load <= 50 || c.keepLabel || c.Labels["estiba.protect"] != "" || c.Labels[kubernetesLabel] != "" || w.targets[c.ID] != "" ||
			slices.Contains(policy.protect, c.Name) || (len(policy.images) > 0 && strings.HasPrefix(c.Image, "postgres")) ||
			(policy.scope == "managed" && c.Labels["estiba.managed"] != "true") || kept
		if !mayStay {
			w.fault("stuck: %s still runs after a quarter of an hour in which all was well: %s", c.Name, w.lastWord(c.Name))
		}
	}
}
