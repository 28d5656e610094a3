package cgroup

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// TestDuringCreation: while the init process is still in the shim's cgroups, the
// processes are the runtime's.
func TestDuringCreation(t *testing.T) {
	tree := t.TempDir()
	if err := os.CopyFS(tree, os.DirFS("../../testdata/hybrid/proc")); err != nil {
		t.Fatal(err)
	}
	cgroup := filepath.Join(tree, "110", "cgroup")
	settled, err := os.ReadFile(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(tree, "100", "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	const booted, started = 1795286400 * time.Second, 86000100 * time.Millisecond
	for _, tt := range []struct {
		name   string
		member []byte
		age    time.Duration
		want   string // source of its CPU time; "": no such container yet
	}{
		{"being created", own, 2 * time.Second, ""},
		{"never gets cgroups of its own", own, 20 * time.Second, "tasks"},
		{"created", settled, 2 * time.Second, "cgroup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(cgroup, tt.member, 0o644); err != nil {
				t.Fatal(err)
			}
			now := started + tt.age
			s, err := New(Config{
				ProcFS: tree, CgroupFS: "../../testdata/hybrid/cgroup",
				Now: func() time.Time { return time.Unix(0, int64(booted+now)) }, Boottime: func() time.Duration { return now },
			})
			if err != nil {
				t.Fatal(err)
			}
			snap, err := s.Snapshot(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(snap.Containers) == 1 {
				got = snap.Containers[0].CPUSource
			}
			if got != tt.want {
				t.Errorf("%d containers, CPU from %q, want %q", len(snap.Containers), got, tt.want)
			}
			if v, _ := snap.Host.Get(source.HostProcesses); v != 7 {
				t.Errorf("%d processes, want 7", v)
			}
		})
	}
}
