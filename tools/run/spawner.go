package main

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts processes that die with this one, however it dies. The
// kernel ties that wish (PR_SET_PDEATHSIG, prctl(2)) to the thread that forks,
// so all forks happen on one thread that never ends.
type spawner struct {
	requests chan spawnRequest
	state    *state
}

type spawnRequest struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner(state *state) *spawner {
	s := &spawner{requests: make(chan spawnRequest), state: state}
	go func() {
		runtime.LockOSThread()
		for r := range s.requests {
			r.result <- r.cmd.Start()
		}
	}()
	return s
}

// start starts cmd, to be ended by SIGTERM if this process dies.
func (s *spawner) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	r := spawnRequest{cmd: cmd, result: make(chan error)}
	s.requests <- r
	if err := <-r.result; err != nil {
		return err
	}
	s.state.remember(cmd.Process.Pid)
	return nil
}

// stopWithParent asks for SIGTERM when the parent (make) dies.
func stopWithParent() error {
	parent := syscall.Getppid()
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0)
		if errno != 0 {
			ready <- fmt.Errorf("prctl(PR_SET_PDEATHSIG): %w", errno)
			return
		}
		ready <- nil
		select {} // the wish lives as long as its thread
	}()
	if err := <-ready; err != nil {
		return err
	}
	if syscall.Getppid() != parent {
		return errors.New("the parent process ended before the start")
	}
	return nil
}
