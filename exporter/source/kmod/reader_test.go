package kmod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/estiba/estiba/exporter/source"
)

func TestReaderErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	large := New(write("large", string(big(t, 100))))
	large.max = 4096
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		name string
		src  *Source
		ctx  context.Context
		want source.Reason
	}{
		{"absent", New(filepath.Join(dir, "none")), context.Background(), source.ReasonAbsent},
		{"broken", New(write("broken", "{]")), context.Background(), source.ReasonMalformed},
		{"empty", New(write("empty", "")), context.Background(), source.ReasonCut},
		{"a folder", New(dir), context.Background(), source.ReasonRead},
		{"too large", large, context.Background(), source.ReasonTooLarge},
		{"out of time", New(write("fine", seed(seedRow))), ended, source.ReasonTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			snap, err := tt.src.Snapshot(tt.ctx)
			if snap != nil || source.ReasonOf(err) != tt.want {
				t.Errorf("%v, reason %s, want %s", err, source.ReasonOf(err), tt.want)
			}
		})
	}
	// The limit is the document's, not the buffer's.
	large.max = 1 << 20
	if snap, err := large.Snapshot(context.Background()); err != nil || len(snap.Containers) != 100 {
		t.Errorf("after a document that was too large: %v", err)
	}
}

// Missing I/O is reported once.
func TestWithoutIO(t *testing.T) {
	whole, err := os.ReadFile("../../../kmod/schema/samples/full.json")
	if err != nil {
		t.Fatal(err)
	}
	kept := regexp.MustCompile(`,"(io|disk)_[a-z_]+":"\d+"`).ReplaceAll(whole, nil)
	for name, want := range map[string]struct {
		text  []byte
		calls int
	}{"whole": {whole, 0}, "without I/O": {kept, 1}, "without containers": {[]byte(seed("")), 0}} {
		path := filepath.Join(t.TempDir(), "estiba")
		if err := os.WriteFile(path, want.text, 0o644); err != nil {
			t.Fatal(err)
		}
		calls := 0
		s := New(path)
		s.WithoutIO = func() { calls++ }
		for range 3 {
			if _, err := s.Snapshot(context.Background()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if calls != want.calls {
			t.Errorf("%s: said %d times, want %d", name, calls, want.calls)
		}
	}
}

type fixed struct {
	name string
	snap *source.Snapshot
	err  error
}

func (f fixed) Name() string { return f.name }

func (f fixed) Snapshot(context.Context) (*source.Snapshot, error) { return f.snap, f.err }

// TestAutoFallsThroughOnlyWhenAbsent: a broken module is not hidden.
func TestAutoFallsThroughOnlyWhenAbsent(t *testing.T) {
	other := fixed{name: source.Cgroup, snap: &source.Snapshot{Source: source.Cgroup}}
	for _, sentinel := range []error{
		source.ErrAbsent, source.ErrRefused, source.ErrMalformed, source.ErrCut, source.ErrTooLarge,
		source.ErrUnsupported, os.ErrClosed,
	} {
		snap, err := source.Auto{fixed{name: source.Kmod, err: sentinel}, other}.Snapshot(context.Background())
		if errors.Is(sentinel, source.ErrAbsent) {
			if err != nil || snap.Source != source.Cgroup {
				t.Errorf("module absent: %v", err)
			}
			continue
		}
		var failure *source.Failure
		if !errors.As(err, &failure) || failure.Source != source.Kmod || !errors.Is(err, sentinel) {
			t.Errorf("module with %v: %v, %v, want the module's error", sentinel, snap, err)
		}
	}
}
