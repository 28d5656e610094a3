package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/policytest/promtest"
	"github.com/estiba/estiba/manager/why"
)

// whyEngine is an Engine that cannot kill: a call of a method that it lacks is a panic.
type whyEngine struct {
	enforce.Engine
	containers []dockerclient.Container
	err        error
}

func (e whyEngine) Runtime(context.Context) (string, error) { return container.Docker, e.err }

func (e whyEngine) List(context.Context, dockerclient.ListOptions) ([]dockerclient.Container, error) {
	return e.containers, e.err
}

func (e whyEngine) Inspect(_ context.Context, id string) (dockerclient.Container, error) {
	for _, c := range e.containers {
		if c.ID == id {
			return c, e.err
		}
	}
	return dockerclient.Container{}, errors.New("no such container")
}

func whyRunning(name string, start time.Time) dockerclient.Container {
	return dockerclient.Container{
		ID: container.HashID(name), Name: name, State: dockerclient.StateRunning, StartedAt: start,
		Labels: map[string]string{"estiba.managed": "true", "estiba.kind": "ram"},
	}
}

// whyRecord writes a kill that ended and returns the audit file.
func whyRecord(t *testing.T, name string, start, at time.Time) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(file, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rec := audit.Record{
		Time: at, KillID: "k1\x1b[31m", Rule: "old", Container: container.HashID(name), Name: name, StartedAt: start, Mode: policy.Live, Action: "remove",
		Query: "time() - estiba_container_start_time_seconds", Value: 60,
	}
	if err := l.Intent(rec); err != nil {
		t.Fatal(err)
	}
	rec.Outcome, rec.Acted, rec.Time = audit.OutcomeDone, true, at.Add(time.Second)
	if err := l.Outcome(rec); err != nil {
		t.Fatal(err)
	}
	return file
}

// Without Prometheus the record still answers, and what it cannot answer is an error.
func TestWhyWithoutPrometheus(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	start := now.Add(-time.Hour)
	file := whyRecord(t, "dead", start, now.Add(-time.Minute))
	running := whyEngine{containers: []dockerclient.Container{whyRunning("alive", start)}}
	down := whyEngine{err: errors.New("connection refused")}
	short, missing := container.ShortID(container.HashID("dead")), filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		engine whyEngine
		about  WhyOptions
		err    error // nil is none, errors.ErrUnsupported any, without output
		want   string
	}{
		"died":              {running, WhyOptions{Container: "dead", Audit: file}, nil, "was killed by the manager at 2026-11-30 11:59:01 UTC"},
		"by id":             {running, WhyOptions{Container: short, Audit: file}, nil, "the action was remove (kill k1?[31m)"},
		"lives":             {running, WhyOptions{Container: "alive", Audit: file}, ErrIncomplete, "Whether rule surplus selects it is unknown"},
		"in the past":       {running, WhyOptions{Container: "alive", Audit: file, At: now.Add(-time.Minute)}, ErrIncomplete, "Unknown: what is decided"},
		"no audit log":      {running, WhyOptions{Container: "alive", Audit: missing}, ErrIncomplete, "Unknown: kills of it before now, "},
		"no Docker":         {down, WhyOptions{Container: "dead", Audit: file}, ErrIncomplete, "Unknown: what runs, connection refused."},
		"nobody answers":    {down, WhyOptions{Container: "dead", Audit: missing}, why.ErrUnknown, ""},
		"unknown":           {running, WhyOptions{Container: "nothing", Audit: file}, why.ErrUnknown, ""},
		"before it started": {running, WhyOptions{Container: "dead", Audit: file, At: start.Add(-time.Second)}, errors.ErrUnsupported, ""},
		"in the future":     {running, WhyOptions{Container: "dead", Audit: file, At: now.Add(time.Second)}, errors.ErrUnsupported, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := gather.Options{PrometheusURL: "http://127.0.0.1:1", Engine: c.engine, Now: func() time.Time { return now }}
			var out bytes.Buffer
			err := Why(context.Background(), o, c.about, &out)
			if errors.Is(c.err, errors.ErrUnsupported) {
				if err == nil || out.Len() > 0 {
					t.Errorf("error %v, output %s", err, &out)
				}
				return
			}
			if !errors.Is(err, c.err) || !strings.Contains(out.String(), c.want) || strings.Count(strings.TrimSpace(out.String()), "\n") > 0 {
				t.Errorf("error %v, want %v; output %s\nwant %s", err, c.err, &out, c.want)
			}
		})
	}
}

// A decision remembers what a manager that starts would.
func TestWhyRemembers(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	rec := audit.Record{Time: now, Rule: "old", Container: "a", StartedAt: now.Add(-time.Hour), Mode: policy.Live, Phase: audit.Done}
	failed, later, dry := rec, rec, rec
	failed.Outcome = audit.OutcomeFailed
	later.Outcome, later.Container, later.Time = audit.OutcomeFailed, "b", now.Add(time.Second)
	dry.Mode, dry.Container = policy.DryRun, "d"
	p := audit.Past{Records: []audit.Record{failed, later}, Unfinished: []audit.Record{rec, dry}}
	m := remembered(p, now)
	if len(m.Passed) != 1 || !m.Passed[policy.Candidate{Rule: "old", ID: "a"}].At.Equal(now) {
		t.Errorf("passed over: %+v", m.Passed)
	}
	if len(m.InFlight) != 1 || m.InFlight["a"] != "old" {
		t.Errorf("in flight: %+v", m.InFlight)
	}
	same, other := whyRunning("same", now), whyRunning("other", now)
	p.State.Signalled = map[string]time.Time{same.ID: now, other.ID: now.Add(-time.Hour), "gone": now}
	list := []dockerclient.Container{same, other, whyRunning("third", now)}
	k := recordedKills{&asker{Options: gather.Options{Engine: whyEngine{containers: list}}, recorded: p}}
	if signalled := k.Review(context.Background(), list); !signalled[same.ID] || signalled[other.ID] || len(signalled) > 2 {
		t.Errorf("signalled: %v", signalled)
	}
	if !k.Busy("a") || k.Busy("b") || k.Busy("d") {
		t.Error("busy: only a is")
	}
}

// whyPolicy kills what is older than a minute, half a minute later.
const whyPolicy = `
mode: live
interval: 5s
keep: []
rules:
  - name: old
    query: time() - max by (id) (estiba_container_start_time_seconds) > 60
    for: 30s
    action: stop
    cooldown: 1m
`

// A time in the past is answered as a back-test decides.
func TestWhyInThePast(t *testing.T) {
	ctx := context.Background()
	s, err := promtest.Start(ctx, testutil.Tool(t, "prometheus"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := s.Write(ctx, whyHistory("web", start)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.yml")
	if err := os.WriteFile(file, []byte(whyPolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	record := whyRecord(t, "other", start, start.Add(109*time.Second)) // within the ticks before the last answer
	o := gather.Options{PrometheusURL: s.URL, Engine: whyEngine{containers: []dockerclient.Container{whyRunning("web", start)}}, Now: time.Now}
	for after, want := range map[time.Duration]string{
		50 * time.Second:  "The only rule, old, does not select it.",
		85 * time.Second:  "as pending_for: the rule's for has not passed; 10 s of its for of 30 s remain",
		95 * time.Second:  "rule old selects it with the value 1m 35s (rank 1), and no guard spares it: it is killed then (action stop).",
		115 * time.Second: "as cooling_down: the rule's cooldown has not passed; 55 s of its cooldown of 1m remain",
		time.Hour:         "unknown, since Prometheus' history does not have this container at that time.",
	} {
		var out bytes.Buffer
		err := Why(ctx, o, WhyOptions{
			Container: "web", At: start.Add(after), Policy: file, Audit: record, Output: "json",
		}, &out)
		var a why.Answer
		if wrong := json.Unmarshal(out.Bytes(), &a); wrong != nil {
			t.Fatalf("%v, %v in %s", err, wrong, &out)
		}
		if incomplete := after == time.Hour; errors.Is(err, ErrIncomplete) != incomplete || (len(a.Unknown) > 0) != incomplete {
			t.Errorf("after %s: error %v, unknown %q", after, err, a.Unknown)
		}
		if !strings.Contains(strings.ToLower(a.Text), strings.ToLower(want)) {
			t.Errorf("after %s: %s\nwant %s", after, a.Text, want)
		}
	}
}

// whyHistory is two minutes of a container, every 5 s.
func whyHistory(name string, start time.Time) []promtest.Series {
	id := container.HashID(name)
	about := func(metric string, more ...string) map[string]string {
		labels := map[string]string{"__name__": metric, "id": container.ShortID(id), "name": name}
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		return labels
	}
	list := []promtest.Series{
		{Labels: about("estiba_container_info", "container_id", id, "runtime", container.Docker, "kind", "ram", "managed", "true", "protected", "false")},
		{Labels: about("estiba_container_start_time_seconds")},
		{Labels: map[string]string{"__name__": "estiba_snapshot_timestamp_seconds"}},
		{Labels: map[string]string{"__name__": "estiba_snapshot_sequence"}},
		{Labels: map[string]string{"__name__": "estiba_scrape_success"}},
	}
	for i := range 25 {
		at := start.Add(time.Duration(i) * 5 * time.Second)
		for k, v := range []float64{1, float64(start.Unix()), float64(at.Unix()), float64(i + 1), 1} {
			list[k].Samples = append(list[k].Samples, promtest.Sample{At: at, Value: v})
		}
	}
	return list
}
