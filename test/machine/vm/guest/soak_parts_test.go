//go:build estiba_vm

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/test/machine/vm/soak"
)

// part is a program under the soak's service manager, which restarts it when it exits, as
// systemd does.
type part struct {
	s    *soakRun
	name string
	argv func(life int) []string
	own  bool // one of ours: it must not exit, except while starting during a fault

	mu      sync.Mutex
	process *os.Process // nil between two lives
	lives   int
	begun   time.Time     // of this life
	away    time.Duration // outage after the current kill
	killed  bool
	over    bool
	inFault bool // it was started during a fault
	life    []soak.Reading
	done    chan struct{}
}

// restartAfter is the delay before a restart after an unexpected exit.
const restartAfter = 2 * time.Second

// part starts a program, which is stopped at the end of the run.
func (s *soakRun) part(t *testing.T, name string, own bool, argv func(life int) []string) *part {
	t.Helper()
	p := &part{s: s, name: name, argv: argv, own: own, done: make(chan struct{})}
	log, err := os.Create(filepath.Join(os.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		defer log.Close()
		for p.live(log) {
		}
	}()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			fmt.Printf("end of the log of %s:\n%s\n", name, tail(log.Name(), 6000))
		}
	})
	s.parts = append(s.parts, p)
	return p
}

func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-n):])
}

// live runs one life; false if it was the last.
func (p *part) live(log *os.File) bool {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return false
	}
	p.lives++
	argv := p.argv(p.lives)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.mu.Unlock()
		p.s.violation("starting %s: %v", p.name, err)
		time.Sleep(restartAfter)
		return true
	}
	p.process, p.begun, p.killed, p.inFault, p.life = cmd.Process, time.Now(), false, p.s.inFault(), nil
	p.mu.Unlock()
	err := cmd.Wait()
	p.mu.Lock()
	p.process = nil
	asked, wait, over := p.killed, p.away, p.over
	p.s.lived(p)
	p.mu.Unlock()
	switch {
	case over:
		return false
	case asked:
		time.Sleep(wait)
	default:
		p.s.endedByItself(p, err)
		time.Sleep(restartAfter)
	}
	return true
}

// kill ends the life with signal; the next one starts after away.
func (p *part) kill(signal syscall.Signal, away time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed, p.away = true, away
	if p.process != nil {
		p.process.Signal(signal)
	}
}

func (p *part) signal(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		p.process.Signal(signal)
	}
}

// end stops the program for good.
func (p *part) end() {
	p.mu.Lock()
	p.over = true
	if p.process != nil {
		p.process.Signal(syscall.SIGCONT)
		p.process.Signal(syscall.SIGTERM)
	}
	p.mu.Unlock()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// alive returns the number of the life, and whether it is still running.
func (p *part) alive() (life int, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lives, p.process != nil
}

// read records the current usage of the process.
func (p *part) read(goroutines int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return
	}
	proc := filepath.Join("/proc", strconv.Itoa(p.process.Pid))
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	fds, err2 := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil || err2 != nil {
		return // it is exiting
	}
	r := soak.Reading{At: time.Since(p.begun), FDs: len(fds), Goroutines: goroutines}
	for _, line := range strings.Split(string(status), "\n") {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			r.RSSKB, _ = strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(text, " kB")))
		}
	}
	if r.RSSKB > 0 {
		p.life = append(p.life, r)
	}
}
