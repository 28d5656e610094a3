package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	adminPassword    = "admin_password"
	grafanaContainer = "estiba-run-grafana"
	grafanaPullTime  = 10 * time.Minute
	grafanaReadyTime = 2 * time.Minute
	// How long the list of links waits for a Grafana that is starting.
	grafanaWait = 20 * time.Second
)

// grafana is the container with Grafana. It comes up beside the rest, which works without it.
type grafana struct {
	here chan struct{} // closed when the image is on the Engine
	done chan struct{} // closed when the rest is valid
	err  error
	// The password was made by this run, so nobody has seen it yet.
	newPassword string
}

// startGrafana begins to start Grafana. down stops it.
func (s *system) startGrafana(ctx context.Context) error {
	if !s.options.grafana {
		return s.removeOldGrafana(ctx)
	}
	image, err := s.grafanaImage()
	if err != nil {
		return err
	}
	g := &grafana{here: make(chan struct{}), done: make(chan struct{})}
	s.grafana = g
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(g.done)
		g.err = s.runGrafana(ctx, g, image)
	}()
	s.onDown(func() {
		cancel()
		<-g.done
		s.removeGrafana()
	})
	return nil
}

func (s *system) runGrafana(ctx context.Context, g *grafana, image string) error {
	has, err := s.engine.hasImage(ctx, image)
	if err != nil {
		return fmt.Errorf("asking the Engine for %s: %w", image, err)
	}
	if !has {
		s.out.line("pulling %s, in the background", image)
		within, cancel := context.WithTimeout(ctx, grafanaPullTime)
		defer cancel()
		if err := s.engine.pull(within, image); err != nil {
			return fmt.Errorf("%s is not on the Engine and cannot be pulled: %w", image, err)
		}
	}
	close(g.here)
	if err := s.removeOldGrafana(ctx); err != nil {
		return err
	}
	if err := s.ports.free(ctx, 0, partGrafana); err != nil {
		return err
	}
	c, err := s.grafanaSpec(image)
	if err != nil {
		return err
	}
	if err := s.engine.start(ctx, grafanaContainer, c); err != nil {
		return fmt.Errorf("starting %s: %w", image, err)
	}
	return s.waitGrafana(ctx)
}

// removeOldGrafana removes the container of a run that was killed.
func (s *system) removeOldGrafana(ctx context.Context) error {
	if err := s.engine.remove(ctx, grafanaContainer, 1); err != nil {
		return fmt.Errorf("removing an earlier container %s: %w", grafanaContainer, err)
	}
	return nil
}

func (s *system) waitGrafana(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, grafanaReadyTime)
	defer cancel()
	ready := httpReady(s.ports.url(partGrafana) + "/api/health")
	for {
		// Whoever else answers there is not the container.
		ended, code, err := s.engine.exited(within, grafanaContainer)
		if err == nil && ended {
			return fmt.Errorf("it ended with exit code %d; its output is in %s", code, s.dirs.relative(s.grafanaLog()))
		}
		if err == nil && ready(within) == nil {
			return nil
		}
		if err := pause(within, 200*time.Millisecond); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("it did not answer at %s within %s (an Engine on another machine, as Docker Desktop's?); its output is in %s",
				s.ports.url(partGrafana), grafanaReadyTime, s.dirs.relative(s.grafanaLog()))
		}
	}
}

func (s *system) grafanaLog() string { return filepath.Join(s.dirs.logs, "grafana.log") }

// removeGrafana stops and removes the container; what it wrote stays as a log.
func (s *system) removeGrafana() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin+10*time.Second)
	defer cancel()
	if log, err := os.Create(s.grafanaLog()); err == nil {
		s.engine.logs(ctx, grafanaContainer, log) // the container may not have been made
		log.Close()
	}
	if err := s.engine.remove(ctx, grafanaContainer, int(stopWithin.Seconds())); err != nil {
		s.out.line("removing the container %s: %v", grafanaContainer, err)
		return
	}
	if s.grafana.err == nil {
		s.out.line("grafana stopped")
	}
}

// answers reports whether Grafana is known to be up.
func (g *grafana) answers() bool {
	if g == nil {
		return false
	}
	select {
	case <-g.done:
		return g.err == nil
	default:
		return false
	}
}

// grafanaNews waits a little for a Grafana that is starting. The channel is nil if there is
// nothing to report later.
func (s *system) grafanaNews(ctx context.Context) <-chan struct{} {
	g := s.grafana
	if g == nil {
		return nil
	}
	select {
	case <-g.here:
		select {
		case <-g.done:
		case <-ctx.Done():
		case <-time.After(grafanaWait):
		}
	case <-g.done:
	case <-time.After(time.Second): // it is being pulled
	}
	if g.answers() {
		return nil // it is among the links
	}
	return g.done
}

// reportGrafana says where Grafana is, or why there is none.
func (s *system) reportGrafana() {
	switch err := s.grafana.err; {
	case errors.Is(err, context.Canceled):
	case err != nil:
		s.out.line("without Grafana: %v; the status page has graphs, too", err)
	default:
		s.out.line("Grafana runs: %s", s.grafanaLink())
	}
}

// grafanaImage is the image that compose uses, so that there is one pin.
func (s *system) grafanaImage() (string, error) {
	if image := os.Getenv("ESTIBA_GRAFANA_IMAGE"); image != "" {
		return image, nil
	}
	data, err := os.ReadFile(filepath.Join(s.dirs.root, "docker-compose.yml"))
	if err != nil {
		return "", fmt.Errorf("looking for Grafana's release: %w", err)
	}
	m := regexp.MustCompile(`\$\{ESTIBA_GRAFANA_IMAGE:-([^}]+)\}`).FindSubmatch(data)
	if m == nil {
		return "", errors.New("docker-compose.yml names no image of Grafana")
	}
	return string(m[1]), nil
}

// grafanaSpec is the container of docker-compose.yml, but in the host's network: loopback
// is where Prometheus is, and the only place where Grafana is to listen.
func (s *system) grafanaSpec(image string) (container, error) {
	uid := grafanaUser()
	data := filepath.Join(s.dirs.state, "grafana")
	if err := os.MkdirAll(data, 0o750); err != nil {
		return container{}, fmt.Errorf("making a place for Grafana: %w", err)
	}
	if err := os.Chown(data, uid, 0); err != nil {
		return container{}, fmt.Errorf("making a place for Grafana: %w", err)
	}
	binds := []string{
		filepath.Join(s.dirs.root, "grafana", "provisioning") + ":/etc/grafana/provisioning:ro",
		filepath.Join(s.dirs.root, "grafana", "dashboards") + ":/etc/estiba/dashboards:ro",
		data + ":/var/lib/grafana",
	}
	env := []string{
		"ESTIBA_PROMETHEUS_URL=" + s.ports.url(partPrometheus),
		"ESTIBA_DASHBOARDS=/etc/estiba/dashboards",
		"GF_SERVER_HTTP_ADDR=127.0.0.1",
		"GF_SERVER_HTTP_PORT=" + strconv.Itoa(s.ports[partGrafana]),
		"GF_SERVER_ROOT_URL=" + s.ports.url(partGrafana),
		"GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH=/etc/estiba/dashboards/estiba-overview.json",
		"GF_AUTH_ANONYMOUS_ENABLED=false",
		"GF_USERS_ALLOW_SIGN_UP=false",
		"GF_USERS_AUTO_ASSIGN_ORG_ROLE=Viewer",
		"GF_ANALYTICS_REPORTING_ENABLED=false",
		"GF_ANALYTICS_CHECK_FOR_UPDATES=false",
		"GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false",
		"GF_LOG_MODE=console",
	}
	// Taken at Grafana's first start; later they live in its folder.
	for _, secret := range []string{adminPassword, "secret_key"} {
		file := s.grafanaSecret(secret)
		made, err := makeSecret(file, uid)
		if err != nil {
			return container{}, fmt.Errorf("making a secret of Grafana: %w", err)
		}
		if secret == adminPassword {
			s.grafana.newPassword = made
		}
		inside := "/run/secrets/grafana_" + secret
		binds = append(binds, file+":"+inside+":ro")
		env = append(env, "GF_SECURITY_"+strings.ToUpper(secret)+"__FILE="+inside)
	}
	return container{
		Image: image,
		User:  fmt.Sprintf("%d:0", uid),
		Env:   env,
		Labels: map[string]string{
			"estiba.protect":            "true",
			"org.label-schema.group":    "monitoring",
			"io.github.estiba.make-run": "true",
		},
		HostConfig: hostConfig{
			Binds:          binds,
			NetworkMode:    "host",
			UsernsMode:     "host", // a network of the host's own needs its users, too
			ReadonlyRootfs: true,
			Tmpfs:          map[string]string{"/tmp": "size=64m,mode=1777"},
			CapDrop:        []string{"ALL"},
			// SELinux would keep a container from the repository's files.
			SecurityOpt: []string{"no-new-privileges:true", "label=disable"},
			Memory:      512 << 20,
			PidsLimit:   256,
		},
	}, nil
}

// grafanaUser owns Grafana's folder: who called sudo, so that it can be read and removed
// without; else the user of the image.
func grafanaUser() int {
	if uid, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && uid > 0 {
		return uid
	}
	return 472
}

func (s *system) grafanaSecret(name string) string {
	return filepath.Join(s.dirs.state, "grafana_"+name)
}

// grafanaLink is where to look at it, and how to get in.
func (s *system) grafanaLink() link {
	password := "password: cat " + s.dirs.relative(s.grafanaSecret(adminPassword))
	if s.grafana.newPassword != "" {
		password = "password " + s.grafana.newPassword + " (shown once; kept in " + s.dirs.relative(s.grafanaSecret(adminPassword)) + ")"
	}
	return link{url: s.ports.url(partGrafana) + "/", text: "dashboards (Grafana): user admin, " + password}
}

// makeSecret writes 32 random hex digits to a file for user uid, and returns them. One that
// is there stays, and "" is returned.
func makeSecret(file string, uid int) (string, error) {
	if info, err := os.Stat(file); err == nil && info.Size() > 0 {
		return "", os.Chown(file, uid, 0)
	}
	random := make([]byte, 16)
	rand.Read(random)
	secret := hex.EncodeToString(random)
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		return "", err
	}
	return secret, os.Chown(file, uid, 0)
}
