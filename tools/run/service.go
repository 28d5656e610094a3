package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	readyWithin  = 60 * time.Second
	stopWithin   = 30 * time.Second
	restartPause = 2 * time.Second
	// A part that ends this often in a row without having lived for
	// livedLong is broken: it is left down, and said so.
	maxRestarts = 5
	livedLong   = time.Minute
)

// service is one long-running part.
type service struct {
	name  string
	argv  []string
	ready func(ctx context.Context) error // nil: running is enough
}

// startService starts svc, waits until it is ready, and from then on restarts
// it when it ends by itself. down stops it.
func (s *system) startService(ctx context.Context, svc *service) error {
	log := filepath.Join(s.dirs.logs, svc.name+".log")
	os.Remove(log)
	process, exits, err := s.launch(svc, log)
	if err != nil {
		return fmt.Errorf("starting %s: %w", svc.name, err)
	}
	failed := s.waitReady(ctx, svc, exits)
	if errors.Is(failed, errEnded) {
		return fmt.Errorf("%s ended at its start; the end of %s:\n%s", svc.name, s.dirs.relative(log), tail(log, 15))
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.supervise(svc, log, process, exits, stop)
	}()
	s.onDown(func() {
		close(stop)
		<-stopped
	})
	if failed != nil {
		return fmt.Errorf("%w; the end of %s:\n%s", failed, s.dirs.relative(log), tail(log, 15))
	}
	s.out.line("%s runs (pid %d)", svc.name, process.Pid)
	return nil
}

var errEnded = errors.New("ended at its start")

// waitReady returns nil once svc is ready, and errEnded if it ended instead.
func (s *system) waitReady(ctx context.Context, svc *service, exits <-chan error) error {
	if svc.ready == nil {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for svc.ready(within) != nil {
		select {
		case <-exits:
			return errEnded
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s was not ready within %s", svc.name, readyWithin)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// launch starts the process; the channel gets its end.
func (s *system) launch(svc *service, log string) (*os.Process, <-chan error, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	cmd := exec.Command(svc.argv[0], svc.argv[1:]...)
	cmd.Dir = s.dirs.root
	cmd.Stdout, cmd.Stderr = f, f
	if err := s.spawner.start(cmd); err != nil {
		return nil, nil, err
	}
	exits := make(chan error, 1)
	go func() { exits <- cmd.Wait() }()
	return cmd.Process, exits, nil
}

// supervise restarts svc whenever it ends, and ends it when stop closes.
func (s *system) supervise(svc *service, log string, process *os.Process, exits <-chan error, stop <-chan struct{}) {
	restarts, started := 0, time.Now()
	for {
		var err error
		select {
		case <-stop:
			s.end(svc, process, exits)
			return
		case err = <-exits:
		}
		if time.Since(started) > livedLong {
			restarts = 0
		}
		if restarts++; restarts > maxRestarts {
			s.out.line("%s ended %d times in a row and is left down (%v); the end of %s:\n%s", svc.name, restarts, err, s.dirs.relative(log), tail(log, 15))
			<-stop
			return
		}
		s.out.line("%s ended by itself (%v): starting it again", svc.name, err)
		select {
		case <-stop:
			return
		case <-time.After(restartPause):
		}
		started = time.Now()
		if process, exits, err = s.launch(svc, log); err != nil {
			s.out.line("starting %s again: %v", svc.name, err)
			<-stop
			return
		}
	}
}

// end sends SIGTERM and, after a while, SIGKILL.
func (s *system) end(svc *service, process *os.Process, exits <-chan error) {
	process.Signal(syscall.SIGTERM)
	select {
	case <-exits:
		s.out.line("%s stopped", svc.name)
	case <-time.After(stopWithin):
		process.Kill()
		<-exits
		s.out.line("%s did not stop within %s and was killed", svc.name, stopWithin)
	}
}

// httpReady asks url once; anything but 200 is an error.
func httpReady(url string) func(context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", url, resp.Status)
		}
		return nil
	}
}
