package machines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/estiba/estiba/exporter/source"
)

type changing struct {
	snap *source.Snapshot
	err  error
}

func (*changing) Name() string                                         { return source.Kmod }
func (c *changing) Snapshot(context.Context) (*source.Snapshot, error) { return c.snap, c.err }

func TestMachines(t *testing.T) {
	procfs := t.TempDir()
	cmdline := func(pid int, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(procfs, fmt.Sprint(pid)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(procfs, fmt.Sprint(pid), "cmdline"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmdline(1, "/usr/bin/containerd-shim-runc-v2\x00-namespace\x00kata\x00-id\x00a\x00")
	cmdline(2, "/opt/kata/bin/containerd-shim-kata-v2\x00-namespace\x00k8s.io\x00-id\x00b\x00")
	cmdline(3, "")
	src := &changing{}
	s := New(src, procfs)
	is := func(what string, want ...string) {
		t.Helper()
		snap, err := s.Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got := snap.Containers[i].Machine; got != want[i] {
				t.Errorf("%s: container %d: machine %q, want %q", what, i, got, want[i])
			}
		}
	}
	containers := func(pids ...uint64) {
		src.snap = &source.Snapshot{Containers: make([]source.Container, len(pids))}
		for i, pid := range pids {
			src.snap.Containers[i].ID = string(rune('a' + i))
			src.snap.Containers[i].Set(source.PID, pid)
		}
	}
	containers(1, 2, 3, 4)
	is("first", "", "containerd-shim-kata-v2", "", "")
	if err := os.RemoveAll(filepath.Join(procfs, "2")); err != nil {
		t.Fatal(err)
	}
	is("looked up once", "", "containerd-shim-kata-v2", "", "")
	src.snap.Containers[1].State = source.Ended
	is("ended", "", "containerd-shim-kata-v2", "", "")
	src.err = source.ErrAbsent
	if _, err := s.Snapshot(context.Background()); !errors.Is(err, source.ErrAbsent) {
		t.Errorf("error %v, want the source's", err)
	}
	src.err = nil
	containers(1)
	is("most are gone", "")
	if len(s.shims) != 1 {
		t.Errorf("%d shims are known, want the one that is there", len(s.shims))
	}
}
