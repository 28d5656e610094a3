//go:build estiba_guest

package guest

import (
	"bytes"
	"flag"
	"slices"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/bpf"
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/kmod"
)

// from is the source under test. The tests of what containers are and of their numbers
// hold for the bpf source as well, which then answers for the module.
var from = flag.String("source", source.Kmod, "kmod or bpf")

// sourceBPF is the source of the running test; nil: the module is.
var sourceBPF *cgroup.Source

// useBPF makes the bpf source answer for the duration of the test.
func useBPF(t *testing.T) {
	t.Helper()
	s, err := bpf.New(cgroup.Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: cgroupRoot}, bpf.Events{
		Absent: func(reason error) { t.Fatalf("the bpf source is not available: %v", reason) },
		Loaded: func(fromFiles []string) { t.Logf("from files: %q", fromFiles) },
	})
	if err != nil {
		t.Fatal(err)
	}
	sourceBPF = s
	t.Cleanup(func() { sourceBPF = nil })
}

// listed waits until the source lists containers. The bpf source leaves one without a
// cgroup of its own out for its first seconds, when its processes may be the runtime's.
func listed(t *testing.T, shims ...*shim) {
	t.Helper()
	if sourceBPF == nil {
		return
	}
	eventually(t, "containers without cgroups", func() bool {
		d := fresh(t)
		return !slices.ContainsFunc(shims, func(s *shim) bool { return d.find(s.id) == nil })
	})
}

// bpfDocument is a snapshot of the bpf source as a document.
func bpfDocument(t *testing.T) []byte {
	t.Helper()
	snap, err := sourceBPF.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range snap.Containers {
		snap.Containers[i].State = source.Running
	}
	var text bytes.Buffer
	if err := kmod.Write(&text, snap); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}
