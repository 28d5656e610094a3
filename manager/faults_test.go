package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/run"
)

// stubbornRef is an image whose containers ignore SIGTERM: the kernel drops signals
// without a handler for an init process.
const stubbornRef = "estiba-test/stubborn:latest"

// Waiting for a signal keeps the Go runtime from reporting a deadlock.
const stubbornSource = `package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signal.Ignore(syscall.SIGTERM)
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR1)
	for range never {
	}
}
`

func (w *realWorld) stubbornImage(t *testing.T) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "stubborn.go")
	if err := os.WriteFile(src, []byte(stubbornSource), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(testutil.Build(t, src))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "stubborn", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.docker.ImportImage(context.Background(), &layer, stubbornRef, []string{`ENTRYPOINT ["/stubborn"]`}); err != nil {
		t.Fatal(err)
	}
}

func (w *realWorld) startStubborn(t *testing.T, name, kind string) string {
	t.Helper()
	id, err := w.docker.Create(context.Background(), dockerclient.Spec{
		Name: name, Image: stubbornRef, Networkless: true, MemoryBytes: 32 << 20, PIDs: 20,
		Labels: map[string]string{"estiba.managed": "true", "estiba.kind": kind},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.docker.Start(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// outcomes are the outcomes in the audit log, by container name.
func outcomes(t *testing.T, file string) map[string]audit.Record {
	t.Helper()
	found := map[string]audit.Record{}
	for _, r := range readAudit(t, file) {
		if r.Phase == audit.Done {
			found[r.Name] = r
		}
	}
	return found
}

// phases counts intents and outcomes in the audit log.
func phases(t *testing.T, file string) (intents, outcomes int) {
	t.Helper()
	// The file may be missing, or end in an incomplete line.
	data, _ := os.ReadFile(file)
	for _, line := range bytes.Split(data, []byte("\n")) {
		var r audit.Record
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		switch r.Phase {
		case audit.Intent:
			intents++
		case audit.Done:
			outcomes++
		}
	}
	return intents, outcomes
}

// mustBeWhole checks that each intent has one outcome, and comes before it.
func mustBeWhole(t *testing.T, file string) {
	t.Helper()
	open := map[string]bool{}
	for _, r := range readAudit(t, file) {
		switch {
		case r.Phase == audit.Intent && !open[r.KillID]:
			open[r.KillID] = true
		case r.Phase == audit.Done && open[r.KillID]:
			delete(open, r.KillID)
		default:
			t.Errorf("%s without its other half, or twice: %+v", r.Phase, r)
		}
	}
	for id := range open {
		t.Errorf("intent %s has no outcome", id)
	}
}

// A container that ignores SIGTERM is killed after its grace; other kills do not wait
// for it. The audit log of a manager killed by SIGKILL in between is completed by the
// next one.
func TestVictimThatIgnoresSIGTERM(t *testing.T) {
	w := newRealWorld(t)
	w.stubbornImage(t)
	w.startStubborn(t, "cpu-stubborn", "cpu")
	w.start(t, "ram-old", "managed=true", "kind=ram")
	w.start(t, "cpu-new", "managed=true", "kind=cpu")
	w.start(t, "ram-new", "managed=true", "kind=ram")
	long := shipped(t, "one-of-each-kind.yml", "grace: 2s", "grace: 12s")
	first, _, file := w.startManager(t, long)
	testutil.Eventually(t, 60*time.Second, "the quick one is gone and the slow one ordered", func() bool {
		intents, outcomes := phases(t, file)
		return outcomes == 1 && intents == 2
	})
	if got := outcomes(t, file); got["ram-old"].Outcome != audit.OutcomeDone {
		t.Errorf("the quick one: %+v", got)
	}
	w.mustRun(t, "cpu-stubborn")
	first.Kill()

	_, _, _ = w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--audit.file="+file)
	testutil.Eventually(t, 60*time.Second, "the stubborn one is gone after all", func() bool {
		return !w.running(t)["cpu-stubborn"]
	})
	testutil.Eventually(t, 30*time.Second, "the record is whole", func() bool {
		intents, outcomes := phases(t, file)
		return outcomes == intents
	})
	mustBeWhole(t, file)
	unknown := 0
	for _, r := range readAudit(t, file) {
		if r.Outcome == audit.OutcomeUnknown {
			unknown++
			if r.Name != "cpu-stubborn" || (r.Found != audit.FoundRunning && r.Found != audit.FoundGone) {
				t.Errorf("%+v", r)
			}
		}
	}
	if unknown != 1 {
		t.Errorf("%d unknown outcomes, want that of the interrupted kill", unknown)
	}
	w.mustRun(t, "cpu-new", "ram-new")
}

// Between query and kill, one container is replaced by another of the same name and one
// restarts: neither is killed.
func TestReplacedAndRestartedAreSpared(t *testing.T) {
	w := newRealWorld(t)
	old := w.start(t, "cpu-old", "managed=true", "kind=cpu")
	restarted := w.start(t, "ram-old", "managed=true", "kind=ram")
	w.start(t, "cpu-new", "managed=true", "kind=cpu")
	w.start(t, "ram-new", "managed=true", "kind=ram")
	w.freeze(t)
	if err := w.docker.Remove(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	w.start(t, "cpu-old", "managed=true", "kind=cpu")
	if err := w.docker.Kill(t.Context(), restarted); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 10*time.Second, "it has ended", func() bool { return !w.running(t)["ram-old"] })
	if err := w.docker.Start(t.Context(), restarted); err != nil {
		t.Fatal(err)
	}
	_, url, file := w.startManager(t, shipped(t, "one-of-each-kind.yml", "max_sample_age: 20s", "max_sample_age: 60s"))
	testutil.Eventually(t, 30*time.Second, "both reasons are given", func() bool {
		m := get(t, url+"/metrics")
		return !strings.Contains(m, `reason="already_gone",rule="surplus"} 0`) && !strings.Contains(m, `reason="restarted",rule="surplus"} 0`)
	})
	w.mustRun(t, "cpu-old", "ram-old", "cpu-new", "ram-new")
	if data, err := os.ReadFile(file); err != nil || len(data) != 0 {
		t.Errorf("something was recorded: %s, %v", data, err)
	}
}

// Docker stops during a kill and comes back: the audit log is correct, ticks fail
// meanwhile, and then the manager continues.
func TestDockerRestartsInTheMiddle(t *testing.T) {
	w := newRealWorld(t)
	w.stubbornImage(t)
	w.startStubborn(t, "cpu-stubborn", "cpu")
	w.start(t, "cpu-new", "managed=true", "kind=cpu")
	_, url, file := w.startManager(t, shipped(t, "one-of-each-kind.yml", "grace: 2s", "grace: 20s"))
	testutil.Eventually(t, 60*time.Second, "the kill is under way", func() bool {
		data, _ := os.ReadFile(file)
		return strings.Contains(string(data), `"phase":"intent"`)
	})
	w.engine.Stop(t)
	testutil.Eventually(t, 30*time.Second, "ticks fail", func() bool {
		return !strings.Contains(get(t, url+"/metrics"), `estiba_manager_ticks_total{result="docker_error"} 0`)
	})
	w.engine.Start(t)
	testutil.Eventually(t, 60*time.Second, "the kill has an outcome", func() bool { return len(outcomes(t, file)) > 0 })
	if r := outcomes(t, file)["cpu-stubborn"]; r.Outcome == audit.OutcomeRefused || r.Outcome == audit.OutcomeDryRun || r.Outcome == "" {
		t.Errorf("%+v", r)
	}
	w.start(t, "ram-old", "managed=true", "kind=ram")
	w.start(t, "ram-new", "managed=true", "kind=ram")
	testutil.Eventually(t, 60*time.Second, "the manager works again", func() bool { return !w.running(t)["ram-old"] })
	w.mustRun(t, "ram-new")
	testutil.Eventually(t, 10*time.Second, "the record is whole", func() bool { return outcomes(t, file)["ram-old"].Outcome == audit.OutcomeDone })
	mustBeWhole(t, file)
}

// The disk of the audit log is full, then read-only: no kills. When it can be written
// again, the manager continues.
func TestAuditDiskFull(t *testing.T) {
	testutil.Require(t, testutil.Root)
	w := newRealWorld(t)
	w.start(t, "cpu-old", "managed=true", "kind=cpu")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	process, url, file := w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--audit.file="+filepath.Join(dir, "audit.jsonl"))
	get(t, url+"/-/healthy")
	filler := filepath.Join(dir, "filler")
	os.WriteFile(filler, bytes.Repeat([]byte("x"), 1<<20), 0o644) // fills the disk
	w.start(t, "cpu-new", "managed=true", "kind=cpu")
	testutil.Eventually(t, 60*time.Second, "a kill is refused for want of a record", func() bool {
		const refused = `estiba_manager_kills_total{kind="cpu",mode="live",outcome="no_record",rule="surplus"} `
		m := get(t, url+"/metrics")
		return strings.Contains(m, refused) && !strings.Contains(m, refused+"0\n")
	})
	if strings.Contains(get(t, url+"/metrics"), "estiba_manager_audit_append_failures_total 0\n") {
		t.Error("the failures are not counted")
	}
	w.mustRun(t, "cpu-old", "cpu-new")
	os.Remove(filler)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err == nil {
		// the file is open for writing, so the kernel may refuse this (EBUSY)
		time.Sleep(3 * time.Second)
		w.mustRun(t, "cpu-old", "cpu-new")
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, 60*time.Second, "there is place again and the surplus goes", func() bool { return !w.running(t)["cpu-old"] })
	w.mustRun(t, "cpu-new")
	testutil.Eventually(t, 10*time.Second, "that is recorded", func() bool { return outcomes(t, file)["cpu-old"].Outcome == audit.OutcomeDone })
	mustBeWhole(t, file)
	process.Stop(t)
}

// A step of the manager's clock by an hour stops kills, since the data are from another
// time; when the clock is right again it continues.
func TestClockSteps(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			w := newRealWorld(t)
			w.start(t, "cpu-old", "managed=true", "kind=cpu")
			file := filepath.Join(t.TempDir(), "policy.yml")
			if err := os.WriteFile(file, []byte(shipped(t, "one-of-each-kind.yml")), 0o644); err != nil {
				t.Fatal(err)
			}
			clock := &steppingClock{}
			a, done := w.runApp(t, run.Options{ConfigFile: file, Options: gather.Options{Now: clock.now}})
			ok := func() int { return tickCount(t, a, "ok") }
			testutil.Eventually(t, 60*time.Second, "ticks are ok", func() bool { return ok() > 0 })
			clock.step(step)
			w.start(t, "cpu-new", "managed=true", "kind=cpu")
			stale := tickCount(t, a, "no_fresh_data")
			testutil.Eventually(t, 30*time.Second, "ticks have no fresh data", func() bool { return tickCount(t, a, "no_fresh_data") > stale+3 })
			w.mustRun(t, "cpu-old", "cpu-new")
			clock.step(0)
			testutil.Eventually(t, 60*time.Second, "the surplus goes", func() bool { return !w.running(t)["cpu-old"] })
			w.mustRun(t, "cpu-new")
			done()
		})
	}
}

// Of two managers with separate audit files the second refuses to start; a dry run may
// run beside the first.
func TestSecondManagerWithAnotherAuditFile(t *testing.T) {
	w := newRealWorld(t)
	w.start(t, "cpu-only", "managed=true", "kind=cpu")
	_, url, _ := w.startManager(t, shipped(t, "one-of-each-kind.yml"))
	get(t, url+"/-/healthy")
	second, _, _ := w.startManager(t, shipped(t, "one-of-each-kind.yml"))
	testutil.Eventually(t, 20*time.Second, "the second manager refuses", second.Ended)
	if !strings.Contains(second.Log(t), "another manager uses this Docker Engine") {
		t.Errorf("it said: %s", second.Log(t))
	}
	_, url, _ = w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--dry-run")
	get(t, url+"/-/healthy")
}

// Many kills at once, with a sufficient budget: one container of each kind is left,
// each kill is recorded, and no other container is touched. ESTIBA_TEST_MANY sets the
// number (creating two hundred takes minutes), at least more than kills in parallel.
func TestLongManyAtOnce(t *testing.T) {
	testutil.Long(t)
	w := newRealWorld(t)
	n := 48
	if v := os.Getenv("ESTIBA_TEST_MANY"); v != "" {
		if _, err := fmt.Sscan(v, &n); err != nil {
			t.Fatal(err)
		}
	}
	kinds := []string{"cpu", "ram", "io", "disk"}
	slots := make(chan struct{}, 4)
	errs := make(chan error, n)
	for i := range n {
		slots <- struct{}{}
		go func() {
			_, err := w.tryStart(fmt.Sprintf("c%03d", i), "managed=true", "kind="+kinds[i%4])
			<-slots
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	w.start(t, "stranger")
	_, _, file := w.startManager(t, shipped(t, "one-of-each-kind.yml", "max_kills_per_tick: 20", "max_kills_per_tick: 1000", "max_kills: 20", "max_kills: 1000",
		"max_sample_age: 20s", "max_sample_age: 60s", "grace: 2s", "grace: 1s"))
	testutil.Eventually(t, 180*time.Second, "all but one of each kind are gone", func() bool { return len(w.running(t)) == 5 })
	testutil.Eventually(t, 30*time.Second, "each outcome is recorded", func() bool { return len(outcomes(t, file)) == n-4 })
	mustBeWhole(t, file)
	w.mustRun(t, "stranger")
	left := map[string]int{}
	list, err := w.docker.List(t.Context(), dockerclient.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		left[c.Labels["estiba.kind"]]++
	}
	for _, k := range kinds {
		if left[k] != 1 {
			t.Errorf("%d of kind %s are left", left[k], k)
		}
	}
	for name, r := range outcomes(t, file) {
		if r.Outcome != audit.OutcomeDone {
			t.Errorf("%s: %s, %s", name, r.Outcome, r.Error)
		}
	}
}

// The shipped high-low.yml on real containers, with a made-up load: the two busiest
// high and the three busiest low ones stay.
func TestHighLowOnRealContainers(t *testing.T) {
	w := newRealWorld(t, "../prometheus/rules/recording.rules.yml")
	_, url, file := w.startManager(t, shipped(t, "high-low.yml", "for: 20s", "for: 3s"))
	for _, name := range []string{"high-3", "high-5", "high-9", "low-1", "low-2", "low-3", "low-4", "low-5"} {
		w.start(t, name, "managed=true", "kind=cpu")
	}
	w.start(t, "high-1-unmanaged")
	w.start(t, "low-0-protected", "managed=true", "protect=true")
	gone := []string{"high-3", "low-1", "low-2"}
	testutil.Eventually(t, 120*time.Second, "the idlest of each class are gone", func() bool {
		r := w.running(t)
		return !r[gone[0]] && !r[gone[1]] && !r[gone[2]]
	})
	time.Sleep(5 * time.Second) // ticks without kills, longer than the rule's for
	w.mustRun(t, "high-5", "high-9", "low-3", "low-4", "low-5", "high-1-unmanaged", "low-0-protected")
	for _, name := range gone {
		if r := outcomes(t, file)[name]; r.Outcome != audit.OutcomeDone || r.Rule != strings.SplitN(name, "-", 2)[0] {
			t.Errorf("%s: %+v", name, r)
		}
	}
	mustBeWhole(t, file)
	// The containers were young at first, which looks like a Prometheus without its
	// history.
	const young = `estiba_manager_decisions_total{decision="spare",reason="` + string(policy.WindowNotFilled) + `",rule="high"} `
	if m := get(t, url+"/metrics"); !strings.Contains(m, young) || strings.Contains(m, young+"0\n") {
		t.Error("no container was spared as window_not_filled")
	}
}
