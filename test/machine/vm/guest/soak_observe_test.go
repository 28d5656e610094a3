//go:build estiba_vm

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/test/machine/vm/soak"
)

// observer collects the Engine's events and the managers' audit records in one order.
type observer struct {
	docker *dockerclient.Client
	began  time.Time

	mu      sync.Mutex
	history []soak.Entry
	records []*recordFile
	lists   int // number of lists after opening the stream
}

// recordFile is a manager's audit log, or the generator's log, with the read position.
type recordFile struct {
	path string
	dry  bool
	log  bool // it is the generator's log
	at   int64
	torn int // incomplete lines, from a full disk
}

// observe starts to watch the Engine's events and returns when the stream is open.
func (s *soakRun) observe(t *testing.T) *observer {
	t.Helper()
	o := &observer{docker: s.Docker, began: s.booted, records: []*recordFile{
		{path: s.Record}, {path: dryRecord, dry: true}, {path: filepath.Join(os.TempDir(), "generator.log"), log: true},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for ctx.Err() == nil {
			if o.stream(ctx) && ctx.Err() == nil {
				o.note(soak.Entry{Note: soak.StreamDropped})
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	go func() { // the audit logs, also without events
		for ctx.Err() == nil {
			o.note()
			time.Sleep(250 * time.Millisecond)
		}
	}()
	for deadline := time.Now().Add(slack); o.listed() == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("opening the Engine's event stream timed out")
		}
	}
	return o
}

// note reads the audit logs to their ends and adds entries.
func (o *observer) note(entries ...soak.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.records {
		o.drain(r)
	}
	for _, e := range entries {
		e.At = time.Since(o.began)
		o.history = append(o.history, e)
		if e.List != nil {
			o.lists++
		}
	}
}

func (o *observer) drain(r *recordFile) {
	f, err := os.Open(r.path)
	if err != nil {
		return // not created yet
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, r.at, 1<<30))
	if err != nil {
		return
	}
	for {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return
		}
		r.at += int64(len(text)) + 1
		data = rest
		if r.log {
			if name := soak.ParseGaveUp(text); name != "" {
				o.history = append(o.history, soak.Entry{At: time.Since(o.began), Note: soak.GaveUp, ID: name})
			}
			continue
		}
		if line, ok := soak.ParseLine(text); ok && line.Carried() {
			continue
		} else if ok {
			o.history = append(o.history, soak.Entry{At: time.Since(o.began), Line: &line, Dry: r.dry})
		} else if len(bytes.TrimSpace(text)) > 0 {
			r.torn++
		}
	}
}

// stream reads the Engine's events until the stream ends; true if it was opened.
func (o *observer) stream(ctx context.Context) bool {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/var/run/docker.sock")
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://docker/events?filters="+url.QueryEscape(`{"type":["container"]}`), nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	// The stream is open: earlier changes are in the list.
	running, err := o.docker.List(ctx, dockerclient.ListOptions{})
	if err != nil {
		return false
	}
	list := make([]soak.Running, len(running))
	for i, c := range running {
		list[i] = soak.Running{ID: c.ID, Name: c.Name, Labels: c.Labels, Paused: c.State == dockerclient.StatePaused}
	}
	o.note(soak.Entry{List: list})
	for decoder := json.NewDecoder(resp.Body); ; {
		var text json.RawMessage
		if err := decoder.Decode(&text); err != nil {
			return true
		}
		if event, err := soak.ParseEvent(text); err == nil {
			o.note(soak.Entry{Event: &event})
		}
	}
}

func (o *observer) listed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lists
}

// seen returns all entries so far.
func (o *observer) seen() []soak.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.history[:len(o.history):len(o.history)]
}

// starts is how often a container was started, or found running after an outage of the
// Engine.
func (o *observer) starts(id string) (n int) {
	for _, e := range o.seen() {
		if e.Event != nil && e.Event.ID == id && e.Event.Action == "start" {
			n++
		}
		for _, r := range e.List {
			if r.ID == id {
				n++
			}
		}
	}
	return n
}
