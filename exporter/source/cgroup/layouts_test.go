package cgroup

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/tree"
	"github.com/estiba/estiba/exporter/source/kmod"
)

var update = flag.Bool("update", false, "write the golden files anew")

// booted is when the host of a tree was, and now how long ago that is.
const (
	booted = 1780000000 * time.Second
	now    = 20000 * time.Second
)

// onTree makes a source of a tree, at a clock that stands still unless the
// test moves it.
func onTree(t testing.TB, tr *tree.Tree, change ...func(*Config)) *Source {
	t.Helper()
	c := Config{ProcFS: tr.Proc, CgroupFS: tr.Cgroup, Now: func() time.Time { return time.Unix(0, int64(booted+now)) },
		Boottime: func() time.Duration { return now }}
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

func newTree(t testing.TB, layout string, containers ...tree.Container) *tree.Tree {
	t.Helper()
	l, ok := tree.Layouts()[layout]
	if !ok {
		t.Fatalf("no layout %s", layout)
	}
	tr, err := tree.New(t.TempDir(), l)
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

// TestLayouts compares the snapshot of each layout with the one that a person
// has looked at, written as a document.
func TestLayouts(t *testing.T) {
	for name, layout := range tree.Layouts() {
		t.Run(name, func(t *testing.T) {
			hostNet := tree.Numbered(1)
			hostNet.HostNet = true
			tr := newTree(t, name, tree.Numbered(0), hostNet)
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

// TestOtherUsersShims: a user's shims are for an exporter of the same user.
func TestOtherUsersShims(t *testing.T) {
	tr := newTree(t, "rootless", tree.Numbered(0))
	for owner, want := range map[int]int{0: 0, 1000: 1, 1001: 0} {
		s := onTree(t, tr, func(c *Config) { c.Owner = owner })
		if got := len(snapshot(t, s).Containers); got != want {
			t.Errorf("exporter of user %d sees %d containers of user 1000, want %d", owner, got, want)
		}
	}
}
