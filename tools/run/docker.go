package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const dockerSocket = "/var/run/docker.sock"

// installDocker installs the distribution's Docker Engine when there is none.
func (s *system) installDocker(ctx context.Context) error {
	if dockerReady(ctx) == nil {
		return nil
	}
	if _, err := exec.LookPath("dockerd"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("there is no Docker Engine, and no apt-get to install one with: install Docker, then run again")
	}
	quiet := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := s.step(ctx, "reading the package lists", "apt-update", quiet, "apt-get", "-q", "update"); err != nil {
		return err
	}
	return s.step(ctx, "installing the Docker Engine", "apt-install", quiet,
		"apt-get", "-q", "install", "-y", "--no-install-recommends", "docker.io", "iptables")
}

// startDocker starts the Docker Engine if none answers. An Engine that runs
// already, or that the service manager starts, is used and never stopped.
func (s *system) startDocker(ctx context.Context) error {
	if dockerReady(ctx) == nil {
		s.out.line("docker runs already: it is used, and left alone at the end")
		return nil
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		if err := s.step(ctx, "starting the Docker service", "docker-service", nil, "systemctl", "start", "docker"); err == nil {
			s.onDown(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				s.step(ctx, "stopping the Docker service", "docker-service", nil, "systemctl", "stop", "docker.socket", "docker")
			})
			return nil
		} else {
			s.out.line("%v", err)
		}
	}
	dockerd := &service{
		name:  "dockerd",
		argv:  []string{"dockerd", "--host=unix://" + dockerSocket, "--pidfile=" + filepath.Join(s.dirs.state, "dockerd.pid")},
		ready: dockerReady,
	}
	err := s.startService(ctx, dockerd)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Nested machines often may not set up a bridge. Our containers have no
	// network, so the Engine does without.
	s.out.line("the Docker Engine does not start as it is (see %s); trying without a network of its own", s.dirs.relative(filepath.Join(s.dirs.logs, "dockerd.log")))
	dockerd.argv = append(dockerd.argv, "--bridge=none", "--iptables=false", "--ip6tables=false")
	if err := s.startService(ctx, dockerd); err != nil {
		return fmt.Errorf("the Docker Engine: %w", err)
	}
	return nil
}

// dockerReady asks the Engine's socket for _ping.
func dockerReady(ctx context.Context) error {
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", dockerSocket)
			},
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the Docker Engine answers %s", resp.Status)
	}
	return nil
}
