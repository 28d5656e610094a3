//go:build estiba_vm

package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/test/machine/vm/soak"
	"github.com/estiba/estiba/test/system/stack"
)

// recoveryLimit is the time limit after a fault until the exporter is scraped and the
// manager decides again. It allows for an emulated machine on a busy host; measured values
// are in docs/reliability.md. If the clock was set back, the step is added: Prometheus takes
// no samples until the clock has caught up.
const recoveryLimit = 5 * time.Minute

// result is a fault that was injected.
type result struct {
	soak.Fault
	recovery time.Duration
}

// faults injects faults until the time is over.
func (s *soakRun) faults(t *testing.T) (results []result) {
	plan := soak.NewPlan(*soakSeed)
	end := time.Now().Add(*soakFor)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go s.watch(stop, stopped, end, &results)
	for {
		f := plan.Next()
		if time.Now().Add(f.Wait + f.Hold).After(end) {
			break
		}
		time.Sleep(f.Wait)
		what := string(f.Kind)
		if f.Also != "" {
			what += " and " + string(f.Also)
		}
		s.say("fault %d: %s, for %.0f s", len(results)+1, what, f.Hold.Seconds())
		s.setFault(true)
		r := result{Fault: f, recovery: s.make(t, f)}
		s.mu.Lock()
		results = append(results, r)
		s.mu.Unlock()
		s.setFault(false)
	}
	time.Sleep(time.Until(end))
	close(stop)
	<-stopped
	return results
}

// watch measures, compares and reports concurrently with the faults.
func (s *soakRun) watch(stop, stopped chan struct{}, end time.Time, results *[]result) {
	defer close(stopped)
	reported := map[string]bool{}
	for n := 1; ; n++ {
		select {
		case <-stop:
			s.readParts()
			s.watchCounters()
			return
		case <-time.After(readEvery):
		}
		s.readParts()
		if n%4 != 0 {
			continue
		}
		s.watchCounters()
		report := soak.Check(s.seen(), false)
		for _, v := range report.Violations { // report early
			if !reported[v] {
				reported[v] = true
				s.say("SEEN: %s", v)
			}
		}
		s.mu.Lock()
		faults, violations := len(*results), len(s.violations)
		s.mu.Unlock()
		s.say("%.0f min left; batches %d, containers %d, kills %d, faults %d, violations %d", time.Until(end).Minutes(),
			report.Batches, report.Created, report.Outcomes["done"], faults, violations+len(report.Violations))
	}
}

// ending is a function that ends a fault.
type ending func()

// make injects a fault and returns the recovery time.
func (s *soakRun) make(t *testing.T, f soak.Fault) time.Duration {
	wall := time.Now().Round(0)
	ends := []ending{s.begin(t, f.Kind, f)}
	if f.Also != "" {
		ends = append(ends, s.begin(t, f.Also, f))
	}
	time.Sleep(f.Hold)
	for i := len(ends) - 1; i >= 0; i-- {
		ends[i]()
	}
	// The latest clock value so far: a later sample is a new one.
	if now := time.Now().Round(0); now.After(wall) {
		wall = now
	}
	s.mu.Lock()
	if wall.After(s.wallLimit) {
		s.wallLimit = wall
	}
	wall = s.wallLimit
	s.mu.Unlock()

	ended := time.Now()
	limit := recoveryLimit
	if behind := wall.Sub(time.Now().Round(0)); behind > 0 {
		limit += behind
	}
	lives, _ := s.manager.alive()
	ticks, _ := stack.Scrape(s.Addresses.Manager, `estiba_manager_ticks_total{result="ok"}`)
	for last := "nothing"; ; time.Sleep(500 * time.Millisecond) {
		missing := s.missing(wall, lives, ticks)
		took := time.Since(ended)
		if missing == "" {
			s.say("recovered after %.0f s; last to recover: %s", took.Seconds(), last)
			return took
		}
		last = missing
		if took > limit {
			s.violation("%s %s: not recovered within %s: %s", f.Kind, f.Also, limit.Round(time.Second), missing)
			return took
		}
	}
}

// missing returns what has not recovered, or "".
func (s *soakRun) missing(wall time.Time, lives int, ticks float64) string {
	for _, p := range s.parts {
		if _, alive := p.alive(); !alive {
			return p.name + " does not run"
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Docker.Ping(ctx); err != nil {
		return err.Error()
	}
	scraped, err := s.Ask(`timestamp(estiba_scrape_success == 1 and estiba_docker_up == 1)`)
	if err != nil {
		return err.Error()
	}
	if len(scraped) != 1 || scraped[0].Samples[0].Value <= float64(wall.UnixNano())/1e9 {
		return fmt.Sprintf("no new scrape of the exporter: %v", scraped)
	}
	now, err := stack.Scrape(s.Addresses.Manager, `estiba_manager_ticks_total{result="ok"}`)
	if life, _ := s.manager.alive(); life != lives {
		ticks = 0
	}
	if err != nil || now <= ticks {
		return fmt.Sprintf("the manager has %g ok ticks, before %g: %v", now, ticks, err)
	}
	if _, err := stack.Scrape(s.Alertmanager, "go_goroutines"); err != nil {
		return err.Error()
	}
	return ""
}

// begin starts one fault.
func (s *soakRun) begin(t *testing.T, kind soak.Kind, f soak.Fault) ending {
	killed := func(p *part) ending {
		p.kill(syscall.SIGKILL, f.Hold)
		return func() {}
	}
	paused := func(p *part) ending {
		p.signal(syscall.SIGSTOP)
		return func() { p.signal(syscall.SIGCONT) }
	}
	switch kind {
	case soak.ExporterKilled:
		return killed(s.exporter)
	case soak.ManagerKilled:
		return killed(s.manager)
	case soak.PrometheusKilled:
		return killed(s.prometheus)
	case soak.AlertmanagerKilled:
		return killed(s.alertmanager)
	case soak.GeneratorKilled:
		return killed(s.generator)
	case soak.PrometheusPaused:
		return paused(s.prometheus)
	case soak.ExporterPaused:
		return paused(s.exporter)
	case soak.ManagerPaused:
		return paused(s.manager)
	case soak.DockerRestarted:
		return s.stopDocker(syscall.SIGTERM, f)
	case soak.DockerKilled:
		return s.stopDocker(syscall.SIGKILL, f)
	case soak.DiskFull:
		return s.fillDisk()
	case soak.ClockForward:
		s.stepClock(f.Step)
	case soak.ClockBack:
		s.stepClock(-f.Step)
	case soak.ModuleAway:
		unloadModule(t)
		return func() { loadModule(t) }
	case soak.ContainersKilled:
		s.killContainers(f)
	case soak.ContainersPaused:
		return s.pauseContainers(f)
	case soak.GeneratorCleans:
		s.note(soak.Entry{Note: soak.CleanStarts})
		return func() {
			out, err := exec.Command(program("generator"), "clean").CombinedOutput()
			s.note(soak.Entry{Note: soak.CleanEnds})
			if err != nil && f.Also == "" {
				s.violation("generator clean: %v: %s", err, out)
			}
		}
	default:
		s.violation("unknown kind of fault %q", kind)
	}
	return func() {}
}

// stopDocker stops the Engine; it and its containers restart at the end of the fault. Until
// then it may be the cause of any exit.
func (s *soakRun) stopDocker(signal syscall.Signal, f soak.Fault) ending {
	listed := s.listed()
	life, _ := s.docker.alive()
	s.live = f.Live
	s.note(soak.Entry{Note: soak.DockerStops})
	s.docker.kill(signal, f.Hold)
	return func() {
		for deadline := time.Now().Add(recoveryLimit); ; time.Sleep(200 * time.Millisecond) {
			now, alive := s.docker.alive()
			if now > life && alive && s.listed() > listed && s.residentsAreBack() {
				break
			}
			if time.Now().After(deadline) {
				s.violation("Docker is not back within %s", recoveryLimit)
				break
			}
		}
		s.note(soak.Entry{Note: soak.DockerIsUp})
	}
}

func (s *soakRun) residentsAreBack() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list, err := s.Docker.List(ctx, dockerclient.ListOptions{})
	if err != nil {
		return false
	}
	back := 0
	for _, c := range list {
		if _, ok := s.residents[c.Name]; ok && c.State == dockerclient.StateRunning {
			back++
		}
	}
	return back == len(s.residents)
}

// fillDisk allocates all free space of the disk, and again whatever is freed.
func (s *soakRun) fillDisk() ending {
	const ballast = "/var/lib/ballast"
	f, err := os.Create(ballast)
	if err != nil {
		s.violation("filling the disk: %v", err)
		return func() {}
	}
	size := int64(0)
	fill := func() {
		for block := int64(1 << 30); block >= 4096; {
			if unix.Fallocate(int(f.Fd()), 0, size, block) == nil {
				size += block
			} else {
				block /= 2
			}
		}
	}
	fill()
	s.say("disk filled with %d MiB", size>>20)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
				fill()
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		f.Close()
		if err := os.Remove(ballast); err != nil {
			s.violation("freeing the disk: %v", err)
		}
	}
}

// stepClock sets the wall clock.
func (s *soakRun) stepClock(by time.Duration) {
	s.note(soak.Entry{Note: soak.ClockStep})
	now := time.Now()
	s.mu.Lock()
	if now.After(s.wallLimit) {
		s.wallLimit = now.Round(0)
	}
	s.mu.Unlock()
	to := unix.NsecToTimespec(now.Add(by).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &to); err != nil {
		s.violation("setting the clock: %v", err)
	}
	s.note(soak.Entry{Note: soak.ClockStep})
	s.say("clock set by %.0f s", by.Seconds())
}

// some chooses up to three running containers of the generator.
func (s *soakRun) some(f soak.Fault) []dockerclient.Container {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list, err := s.Docker.List(ctx, dockerclient.ListOptions{Labels: []string{container.LabelGenerator}})
	if err != nil {
		return nil // Docker is down
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	var chosen []dockerclient.Container
	for n, draw := int(f.Draw%3)+1, f.Draw/3; n > 0 && len(list) > 0; n-- {
		i := int(draw % uint64(len(list)))
		chosen = append(chosen, list[i])
		list = append(list[:i:i], list[i+1:]...)
		draw /= 7
	}
	return chosen
}

// killContainers kills containers like docker kill.
func (s *soakRun) killContainers(f soak.Fault) {
	for _, c := range s.some(f) {
		s.note(soak.Entry{Note: soak.TamperStarts, ID: c.ID})
		s.hand(s.Docker.Kill, c, "kill")
	}
}

func (s *soakRun) pauseContainers(f soak.Fault) ending {
	paused := s.some(f)
	for _, c := range paused {
		s.note(soak.Entry{Note: soak.TamperStarts, ID: c.ID})
		s.hand(s.Docker.Pause, c, "pause")
	}
	return func() {
		for _, c := range paused {
			exec.Command("docker", "unpause", c.Name).Run() // it may no longer exist
			s.note(soak.Entry{Note: soak.TamperEnds, ID: c.ID})
		}
	}
}

// hand acts on a container, which may no longer exist.
func (s *soakRun) hand(do func(context.Context, string) error, c dockerclient.Container, what string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := do(ctx, c.ID); err != nil && !dockerclient.IsNotFound(err) && !dockerclient.IsConflict(err) &&
		!strings.Contains(err.Error(), "not running") {
		s.say("%s of %s: %v", what, c.Name, err)
	}
}
