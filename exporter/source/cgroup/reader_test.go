package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestLines: each line is cut and none is lost, wherever the buffer ends.
func TestLines(t *testing.T) {
	r := newReader(maxKept)
	path := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 1, maxLine - 1, maxLine, maxLine + 1, 16<<10 - 2, 16<<10 - 1, 16 << 10, 16<<10 + 1, 3 << 20} {
		long := strings.Repeat("x", size)
		for _, text := range []string{long, long + "\n", "a\n" + long + "\nb\n", "a\n" + long + "\n" + long + "\nb", "\n\n" + long + "\n\nb\x00\n"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, line := range strings.Split(text, "\n") {
				want = append(want, line[:min(len(line), maxLine)])
			}
			b, err := r.lines(path)
			if err != nil || string(b) != strings.Join(want, "\n") {
				t.Errorf("a line of %d, %.9q…: %d bytes, %v", size, text, len(b), err)
			}
		}
	}
	if len(r.buf) > maxFile {
		t.Errorf("a buffer of %d bytes for lines that are cut", len(r.buf))
	}
	// Without a final newline.
	if err := os.WriteFile(path, bytes.Repeat([]byte("a\n"), maxLines), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.lines(path); !errors.Is(err, errTooLong) {
		t.Errorf("lines without an end: %v", err)
	}
	if err := errors.Join(os.Truncate(path, 0), os.Truncate(path, maxHostFile+1)); err != nil { // of zeros, which take no room
		t.Fatal(err)
	}
	if _, err := r.lines(path); !errors.Is(err, errTooLong) {
		t.Errorf("a line without an end: %v", err)
	}
	if _, err := r.lines(filepath.Dir(path)); err == nil {
		t.Error("a folder was read")
	}
}

// TestManyInterrupts: a host with very many interrupts and CPUs is like any other.
func TestManyInterrupts(t *testing.T) {
	for name, more := range map[string]string{
		"interrupts": "intr 123456" + strings.Repeat(" 0", 2<<20) + "\n",
		"CPUs": func() string {
			var b strings.Builder
			for i := range 8192 {
				fmt.Fprintf(&b, "cpu%d %s\n", i, strings.Repeat("12345678901 ", 10))
			}
			return b.String()
		}(),
	} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.replace("proc/stat", "btime ", more+"btime ")
		snap := snapshot(t, onTree(t, h.Tree))
		compareValues(t, name+", first", snap, h.a.ID, usual())
		if busy, ok := snap.Host.Get(source.HostCPUBusy); !ok || busy == 0 || len(snap.Skipped) > 0 {
			t.Errorf("%s: busy %d, %t, skipped %v", name, busy, ok, snap.Skipped)
		}
	}
}
