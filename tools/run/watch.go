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
	"strings"
	"time"
)

const (
	tailEvery    = 500 * time.Millisecond
	summaryEvery = 30 * time.Second
)

const whereToLook = `
Estiba runs. Look at:
  http://%[2]s/        what the manager decided about each container, and why
  http://%[3]s/        history and queries (Prometheus; this build answers queries, it carries no page)
  http://%[4]s/        notifications (Alertmanager)

Try, in another terminal:
  curl -s http://%[1]s/metrics | grep estiba_container_cpu_seconds_total
  curl -s http://%[3]s/api/v1/query --data-urlencode 'query=estiba:container_class'
  curl -s http://%[2]s/api/v1/decisions
  %[5]s/manager plan --config.file manager/policies/one-of-each-kind.yml --prometheus.url http://%[3]s
  %[5]s/manager report --prometheus.url http://%[3]s
  %[5]s/exporter dump

Logs are in %[6]s/, each kill's record in %[7]s. Ctrl-C stops it all.

`

// watch shows what happens until ctx ends: each batch of the generator, each
// kill of the manager, and now and then what runs.
func (s *system) watch(ctx context.Context) error {
	s.out.text(fmt.Sprintf(whereToLook, exporterAddress, managerAddress, prometheusAddress, alertmanagerAddress,
		s.dirs.relative(s.dirs.bin), s.dirs.relative(s.dirs.logs), s.dirs.relative(s.auditFile())))

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
			running, err := runningByKind(ctx)
			if err != nil {
				s.out.line("Prometheus gives no answer now: %v", err)
				continue
			}
			s.out.line("managed containers running: %s; removed so far: %d", running, killed)
		}
	}
}

// batchLine is what the generator says, in plain words.
func batchLine(line string) string {
	_, rest, ok := strings.Cut(line, ` msg="`)
	if !ok {
		return ""
	}
	message, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return ""
	}
	return "generator: " + message
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
func runningByKind(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	query := url.Values{"query": {`count by (kind) (estiba_container_info{managed="true"})`}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+prometheusAddress+"/api/v1/query?"+query.Encode(), nil)
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

// replaced tells whether the path now names another file than the open one.
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
