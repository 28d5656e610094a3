package cgroup

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

var update = flag.Bool("update", false, "write the golden files anew")

// booted is the boot time of a tree's host, now the time since.
const (
	booted = 1780000000 * time.Second
	now    = 20000 * time.Second
)

// onTree returns a source of a tree with a clock that only the test advances.
func onTree(t testing.TB, tr *hosttree.Tree, change ...func(*Config)) *Source {
	t.Helper()
	c := Config{
		ProcFS: tr.Proc, CgroupFS: tr.Cgroup, Now: func() time.Time { return time.Unix(0, int64(booted+now)) },
		Boottime: func() time.Duration { return now },
	}
	for _, each := range change {
		each(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Release)
	return s
}

func newTree(t testing.TB, layout string, containers ...hosttree.Container) *hosttree.Tree {
	t.Helper()
	l, ok := hosttree.Layouts()[layout]
	if !ok {
		t.Fatalf("no layout %s", layout)
	}
	tr, err := hosttree.New(t.TempDir(), l)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		if err := tr.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func snapshot(t testing.TB, s *Source) *source.Snapshot {
	t.Helper()
	snap, err := s.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

var collectTime = regexp.MustCompile(`"collect_ns":"\d+"`)

// TestLayouts compares the snapshot of each layout with a reviewed document.
func TestLayouts(t *testing.T) {
	for name, layout := range hosttree.Layouts() {
		t.Run(name, func(t *testing.T) {
			hostNet := hosttree.Numbered(1)
			hostNet.HostNet = true
			tr := newTree(t, name, hosttree.Numbered(0), hostNet)
			s := onTree(t, tr, func(c *Config) { c.Owner = layout.ShimUID })
			var first bytes.Buffer
			for round := range 2 { // opened, then kept open
				var got bytes.Buffer
				if err := kmod.Write(&got, snapshot(t, s)); err != nil {
					t.Fatal(err)
				}
				text := collectTime.ReplaceAllString(got.String(), `"collect_ns":"…"`)
				if round == 0 {
					first.WriteString(text)
					continue
				}
				if want := bytes.Replace(first.Bytes(), []byte(`"sequence":"1"`), []byte(`"sequence":"2"`), 1); text != string(want) {
					t.Errorf("with open files\n%s\nwant\n%s", text, want)
				}
			}
			golden := filepath.Join("testdata", "layouts", name+".json")
			if *update {
				if err := os.WriteFile(golden, first.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if first.String() != string(want) {
				t.Errorf("%s (go test -update writes it anew)\n got %s\nwant %s", golden, first.Bytes(), want)
			}
		})
	}
}

// TestOtherUsersShims: a user's shims are trusted only by an exporter of the same user.
// For others the container has no shim.
func TestOtherUsersShims(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "rootless", c)
	for owner, trusted := range map[int]bool{0: false, 1000: true, 1001: false} {
		s := onTree(t, tr, func(c *Config) { c.Owner = owner })
		snap := snapshot(t, s)
		want := fmt.Sprint("1 app ", c.Processes[0], " 1000")
		if trusted {
			want = fmt.Sprint("1 containerd-shim ", c.ShimPID, " 1000")
		}
		one := &snap.Containers[0]
		pid, _ := one.Get(source.PID)
		user, _ := one.Get(source.User)
		if got := fmt.Sprint(len(snap.Containers), " ", one.ProcessName, " ", pid, " ", user); got != want {
			t.Errorf("exporter of user %d: %s, want %s", owner, got, want)
		}
	}
}
