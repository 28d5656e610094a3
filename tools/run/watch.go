package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	tailEvery    = 500 * time.Millisecond
	summaryEvery = 30 * time.Second
)

// link is a page and what is on it.
type link struct{ url, text string }

func (l link) String() string { return l.url + "  " + l.text }

// links are the pages for a person. Prometheus is not among them: this build of it has the
// API only.
func (s *system) links() []link {
	links := []link{
		{s.ports.url(partManager) + "/", "what the manager decided about each container, and why"},
		{s.ports.url(partAlertmanager) + "/", "alerts and silences (Alertmanager)"},
		{s.ports.url(partExporter) + "/metrics", "what the exporter publishes"},
	}
	if s.grafana.answers() {
		links = append(links, s.grafanaLink())
	}
	return links
}

// intro is what a person is to know once everything runs. Of the links it has those that answer.
func (s *system) intro(ctx context.Context) string {
	var b strings.Builder
	b.WriteString("\nEstiba runs. Look at:\n")
	for _, l := range s.links() {
		if err := httpReady(l.url)(ctx); err != nil {
			s.out.line("no page: %v", err)
			continue
		}
		fmt.Fprintf(&b, "  %s\n", l)
	}
	bin, prometheus := s.dirs.relative(s.dirs.bin), s.ports.url(partPrometheus)
	server := ""
	if !s.ports.usual(partPrometheus) {
		server = " --prometheus.url=" + prometheus
	}
	fmt.Fprintf(&b, `
Try, in another terminal (Prometheus is here without its web UI, so with its API):
  curl -s %[1]s/metrics | grep estiba_container_cpu_seconds_total
  curl -s '%[2]s/api/v1/query?query=estiba:container_class'
  curl -s %[3]s/api/v1/decisions
  %[4]s/manager plan --config.file=manager/policies/one-of-each-kind.yml%[5]s
  %[4]s/manager report%[5]s
  %[4]s/amtool --alertmanager.url=%[6]s alert
  %[4]s/exporter dump

Logs are in %[7]s/, each kill's record in %[8]s. Ctrl-C stops it all.

`, s.ports.url(partExporter), prometheus, s.ports.url(partManager), bin, server, s.ports.url(partAlertmanager),
		s.dirs.relative(s.dirs.logs), s.dirs.relative(s.auditFile()))
	return b.String()
}

// watch shows what happens until ctx ends: each batch of the generator, each
// kill of the manager, and now and then what runs.
func (s *system) watch(ctx context.Context) error {
	grafana := s.grafanaNews(ctx)
	s.out.text(s.intro(ctx))

	generator := newFollower(filepath.Join(s.dirs.logs, "generator.log"), 0)
	defer generator.close()
	// The record goes on from run to run: only new lines are news.
	audit := newFollower(s.auditFile(), s.auditStart)
	defer audit.close()

	killed := 0
	lines, summary := time.NewTicker(tailEvery), time.NewTicker(summaryEvery)
	defer lines.Stop()
	defer summary.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-grafana:
			s.reportGrafana()
			grafana = nil
		case <-lines.C:
			generator.each(func(line string) {
				if text := batchLine(line); text != "" {
					s.out.line("%s", text)
				}
			})
			audit.each(func(line string) {
				text, done := killLine(line)
				if text != "" {
					s.out.line("%s", text)
				}
				if done {
					killed++
				}
			})
		case <-summary.C:
			running, err := s.runningByKind(ctx)
			if err != nil {
				s.out.line("Prometheus gives no answer now: %v", err)
				continue
			}
			s.out.line("managed containers running: %s; removed so far: %d", running, killed)
		}
	}
}

// batchLine is what the generator says, in plain words, with the error where there is one.
func batchLine(line string) string {
	message := logField(line, "msg")
	if message == "" {
		return ""
	}
	if err := logField(line, "err"); err != "" {
		message += ": " + err
	}
	return "generator: " + message
}

// logField is the value of a quoted field of a line in logfmt, or "".
func logField(line, key string) string {
	_, rest, ok := strings.Cut(line, " "+key+"=")
	if !ok {
		return ""
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return ""
	}
	value, err := strconv.Unquote(quoted)
	if err != nil {
		return ""
	}
	return value
}

// killLine is one outcome of the manager's record in plain words, or "", and
// whether the container is gone by it.
func killLine(line string) (text string, done bool) {
	var r struct{ Phase, Rule, Kind, Container, Name, Action, Outcome, Guard, Error string }
	if err := json.Unmarshal([]byte(line), &r); err != nil || r.Phase != "outcome" {
		return "", false
	}
	id := r.Container
	if len(id) > 12 {
		id = id[:12]
	}
	outcome := r.Outcome
	for _, detail := range []string{r.Guard, r.Error} {
		if detail != "" {
			outcome += ", " + detail
		}
	}
	return fmt.Sprintf("manager: %s %s %s (kind %s, rule %s): %s", r.Action, id, r.Name, r.Kind, r.Rule, outcome), r.Outcome == "done"
}

// runningByKind asks Prometheus how many managed containers of each kind run.
func (s *system) runningByKind(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	query := url.Values{"query": {`count by (kind) (estiba_container_info{managed="true"})`}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ports.url(partPrometheus)+"/api/v1/query?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric struct{ Kind string }
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	var parts []string
	for _, r := range answer.Data.Result {
		parts = append(parts, fmt.Sprintf("%s %v", r.Metric.Kind, r.Value[1]))
	}
	if len(parts) == 0 {
		return "none yet", nil
	}
	sort.Strings(parts)
	return strings.Join(parts, ", "), nil
}

// follower reads the lines that are appended to a file, which may not exist
// yet, and may be replaced by a new one (rotation).
type follower struct {
	path   string
	offset int64
	file   *os.File
	reader *bufio.Reader
	part   string // a line whose end has not been written yet
}

// newFollower starts at offset, the length the file had.
func newFollower(path string, offset int64) *follower { return &follower{path: path, offset: offset} }

func (f *follower) each(do func(line string)) {
	if f.file == nil {
		file, err := os.Open(f.path)
		if err != nil {
			return
		}
		if info, err := file.Stat(); err == nil && info.Size() < f.offset {
			f.offset = 0
		}
		if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
			file.Close()
			return
		}
		f.file, f.reader = file, bufio.NewReader(file)
	}
	for {
		line, err := f.reader.ReadString('\n')
		f.part += line
		if err != nil {
			break
		}
		do(strings.TrimSuffix(f.part, "\n"))
		f.part = ""
	}
	if f.replaced() {
		f.close()
		f.offset = 0
	}
}

// replaced reports whether the path now names another file than the open one.
func (f *follower) replaced() bool {
	now, err := os.Stat(f.path)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	open, err := f.file.Stat()
	return err == nil && !os.SameFile(now, open)
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.part = nil, ""
}
