//go:build estiba_guest

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
)

const file = "/proc/estiba"

// values is a JSON object whose values are strings.
type values map[string]string

type document struct {
	host         values
	unattributed values
	containers   []values // running
	ended        []values // recently ended
	text         []byte
}

// parse accepts only objects of strings, as in version 1.
func parse(text []byte) (*document, error) {
	// Go's parser accepts invalid UTF-8; others do not.
	if !utf8.Valid(text) {
		return nil, errors.New("parse document: not UTF-8")
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("parse document: %w", err)
	}
	d := &document{host: values{}, text: text}
	for key, raw := range top {
		var err error
		switch key {
		case "processes":
			err = json.Unmarshal(raw, &d.containers)
		case "unattributed":
			err = json.Unmarshal(raw, &d.unattributed)
		default:
			var s string
			err = json.Unmarshal(raw, &s)
			d.host[key] = s
		}
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", key, err)
		}
	}
	all := d.containers
	d.containers = nil
	for _, c := range all {
		switch {
		case c["state"] == "ended":
			d.ended = append(d.ended, c)
		case c["state"] == "running" && len(d.ended) == 0:
			d.containers = append(d.containers, c)
		default:
			return nil, fmt.Errorf("state %q after %d ended containers", c["state"], len(d.ended))
		}
	}
	return d, nil
}

// number returns the value of key, which must exist.
func (v values) number(t *testing.T, key string) uint64 {
	t.Helper()
	s, ok := v[key]
	if !ok {
		t.Fatalf("no %s in %v", key, v)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return n
}

func (v values) float(t *testing.T, key string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(v[key], 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return f
}

func (d *document) find(id string) values {
	for _, c := range d.containers {
		if c["container_id"] == id {
			return c
		}
	}
	return nil
}

func (d *document) container(t *testing.T, id string) values {
	t.Helper()
	c := d.find(id)
	if c == nil {
		t.Fatalf("no container %s in the document:\n%s", id, d.text)
	}
	return c
}

func read(t *testing.T) *document {
	t.Helper()
	var text []byte
	var err error
	if sourceBPF != nil {
		text = bpfDocument(t)
	} else if text, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	d, err := parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return d
}

func boottime(t *testing.T) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}

// fresh reads until it gets a snapshot that was started after the call.
func fresh(t *testing.T) *document {
	t.Helper()
	now := boottime(t)
	for range 2000 {
		d := read(t)
		if d.host.number(t, "boottime_ns") >= now {
			return d
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("no new snapshot")
	return nil
}

// save sends a document to the host, which validates it against the schema.
func save(t *testing.T, name string, text []byte) {
	t.Helper()
	if *from == source.BPF {
		return // the exporter's own documents are validated elsewhere
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("ESTIBA_OUT"), name+".json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}
