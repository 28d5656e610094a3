package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// installDocker installs the distribution's Docker Engine when there is none.
func (s *system) installDocker(ctx context.Context) error {
	if s.engine.ping(ctx) == nil {
		return nil
	}
	if s.options.own {
		return fmt.Errorf("no Docker Engine answers at DOCKER_HOST=unix://%s: start it, or unset DOCKER_HOST", s.options.docker)
	}
	if _, err := exec.LookPath("dockerd"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("there is no Docker Engine, and no apt-get to install one with: install Docker, then run again")
	}
	if err := s.step(ctx, "reading the package lists", "apt-update", aptQuiet, "apt-get", "-q", "update"); err != nil {
		return err
	}
	if err := s.aptInstall(ctx, "installing the Docker Engine", "apt-install", "docker.io", "iptables"); err != nil {
		return err
	}
	// From Debian 13 on the command is a package of its own. It is for people: nothing here needs it.
	if _, err := exec.LookPath("docker"); err != nil {
		if err := s.aptInstall(ctx, "installing the command docker", "apt-install-cli", "docker-cli"); err != nil {
			s.out.line("%v", err)
		}
	}
	return ctx.Err()
}

var aptQuiet = []string{"DEBIAN_FRONTEND=noninteractive"}

// aptInstall installs packages. A machine that has just started may be updating itself.
func (s *system) aptInstall(ctx context.Context, title, log string, packages ...string) error {
	args := append([]string{"-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"}, packages...)
	return s.step(ctx, title, log, aptQuiet, "apt-get", args...)
}

// startDocker starts the Docker Engine if none answers. An Engine that runs
// already, or that the service manager starts, is used and never stopped.
func (s *system) startDocker(ctx context.Context) error {
	if s.engine.ping(ctx) == nil {
		s.out.line("docker runs already: it is used, and left alone at the end")
		return nil
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		err := s.step(ctx, "starting the Docker service", "docker-service", nil, "systemctl", "start", "docker")
		if err == nil {
			s.onDown(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				s.step(ctx, "stopping the Docker service", "docker-service", nil, "systemctl", "stop", "docker.socket", "docker")
			})
			return nil
		}
		s.out.line("%v", err)
	}
	dockerd := &service{
		name:  "dockerd",
		argv:  []string{"dockerd", "--host=unix://" + s.options.docker, "--pidfile=" + filepath.Join(s.dirs.state, "dockerd.pid")},
		ready: s.engine.ping,
	}
	err := s.startService(ctx, dockerd)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Nested machines often may not set up a bridge. Our containers have no
	// network, so the Engine does without.
	log := filepath.Join(s.dirs.logs, "dockerd.log")
	first := filepath.Join(s.dirs.logs, "dockerd-first-try.log")
	if err := os.Rename(log, first); err != nil {
		first = log
	}
	s.out.line("the Docker Engine does not start as it is (see %s); trying without a network of its own", s.dirs.relative(first))
	dockerd.argv = append(dockerd.argv, "--bridge=none", "--iptables=false", "--ip6tables=false")
	if err := s.startService(ctx, dockerd); err != nil {
		return fmt.Errorf("the Docker Engine: %w", err)
	}
	return nil
}
