// Package promtest runs a Prometheus in a temporary folder, whose history can be
// written.
package promtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Server is a running Prometheus. Close stops it.
type Server struct {
	URL string

	dir    string
	cmd    *exec.Cmd
	done   chan struct{}
	client *http.Client
}

// Time limits.
const (
	startTime = 30 * time.Second
	stopTime  = 10 * time.Second
	pollEvery = 20 * time.Millisecond
)

// Start runs the program binary (a path, or a name in PATH) on a free port of loopback,
// with rules as its rule file if there are any. The rules can be listed; they are not
// evaluated.
func Start(ctx context.Context, binary string, rules []byte) (*Server, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		return nil, fmt.Errorf("no Prometheus to run the tests with, set --prometheus.binary: %w", err)
	}
	dir, err := os.MkdirTemp("", "estiba-prometheus-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for Prometheus: %w", err)
	}
	s := &Server{dir: dir, done: make(chan struct{}), client: &http.Client{}}
	if err := s.start(ctx, path, rules); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, path string, rules []byte) error {
	// The interval is so long that the rules are never due: their results are written
	// with the history.
	// Series are written one after the other, so most samples are older than the
	// newest: without the window only the last hour of a history could be written.
	config := "global: {evaluation_interval: 100000h}\nstorage: {tsdb: {out_of_order_time_window: 10y}}\n"
	if len(rules) > 0 {
		if err := os.WriteFile(filepath.Join(s.dir, "rules.yml"), rules, 0o600); err != nil {
			return fmt.Errorf("writing the rules of Prometheus: %w", err)
		}
		config += "rule_files: [rules.yml]\n"
	}
	file := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing the configuration of Prometheus: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	s.URL = "http://" + address
	var log bytes.Buffer
	s.cmd = exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+address,
		"--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y", "--log.level=warn")
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("starting %s: %w", path, err)
	}
	go func() { s.cmd.Wait(); close(s.done) }()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if s.ready(ctx) {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s exited: %s", path, bytes.TrimSpace(log.Bytes()))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", path, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

func (s *Server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/-/ready", nil)
	if err != nil {
		return false
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Close stops the Prometheus and removes its folder.
func (s *Server) Close() error {
	if s.cmd != nil {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(stopTime):
			s.cmd.Process.Kill()
			<-s.done
		}
	}
	return os.RemoveAll(s.dir)
}

// freeAddress is an address that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
