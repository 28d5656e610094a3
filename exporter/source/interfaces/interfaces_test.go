package interfaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

const head = "Inter-|   Receive                                                |  Transmit\n" +
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"

const eth0 = "  eth0:  500000    5000    1    2    90     90          90         90   300000    3000    3    4    90     90       90          90\n"

// TestSelect: at most Limit interfaces and no duplicate labels, for which Prometheus would
// reject the exposition.
func TestSelect(t *testing.T) {
	names := func(all ...string) (parsed []procfile.Interface) {
		for _, name := range all {
			parsed = append(parsed, procfile.Interface{Name: name})
		}
		return parsed
	}
	for _, tt := range []struct{ names, want []string }{
		{nil, nil},
		{[]string{"eth0", "eth1"}, []string{"eth0", "eth1"}},
		{[]string{"eth0", "eth0"}, []string{"eth0"}},
		{[]string{"a\xff", "a\xfe", "b", "a\xff\xff"}, []string{"a\uFFFD", "b"}},
	} {
		var got []string
		for _, one := range Select(names(tt.names...)) {
			got = append(got, one.Name)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.names, got, tt.want)
		}
	}
	var many []procfile.Interface
	for i := range 1000 {
		many = append(many, names(fmt.Sprint("d", i))...)
	}
	if n := len(Select(many)); n != Limit {
		t.Errorf("%d interfaces, want %d", n, Limit)
	}
}

type fixed struct {
	snap *source.Snapshot
	err  error
}

func (fixed) Name() string                                         { return source.Kmod }
func (f fixed) Snapshot(context.Context) (*source.Snapshot, error) { return f.snap, f.err }

// TestSnapshot: only containers with their own network.
func TestSnapshot(t *testing.T) {
	procfs := t.TempDir()
	for pid, text := range map[string]string{"1": head + eth0, "2": head + eth0, "3": head} {
		if err := os.MkdirAll(filepath.Join(procfs, pid, "net"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(procfs, pid, "net", "dev"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	snap := &source.Snapshot{Containers: make([]source.Container, 6)}
	for i, is := range []source.Container{
		{Network: "own"}, {Network: "host"}, {Network: "own"}, {Network: "own"}, {Network: "own", State: source.Ended}, {Network: "own"},
	} {
		snap.Containers[i] = is
		snap.Containers[i].ID = fmt.Sprint(i)
	}
	for i, pid := range []uint64{1, 2, 3, 4, 1} { // the last one's first process is not known
		snap.Containers[i].Set(source.InitPID, pid)
	}
	got, err := New(fixed{snap: snap}, procfs).Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 0, 0, 0, 0, 0} {
		if n := len(got.Interfaces[fmt.Sprint(i)]); n != want {
			t.Errorf("container %d: %d interfaces, want %d", i, n, want)
		}
	}
	own := &source.Snapshot{Containers: snap.Containers, Interfaces: map[string][]source.Interface{"0": {{Name: "its own"}}}}
	if got, err := New(fixed{snap: own}, procfs).Snapshot(context.Background()); err != nil || len(got.Interfaces) != 1 ||
		got.Interfaces["0"][0].Name != "its own" {
		t.Errorf("a source with its own: %v, %v", got.Interfaces, err)
	}
	snap.Interfaces = nil
	if _, err := New(fixed{err: source.ErrAbsent}, procfs).Snapshot(context.Background()); !errors.Is(err, source.ErrAbsent) {
		t.Errorf("error %v, want the source's", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New(fixed{snap: snap}, procfs).Snapshot(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
