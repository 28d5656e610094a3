package cgroup

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestNothingGrows makes one file at a time bad on an idle host. No counter may change,
// and all fields are known again afterwards.
func TestNothingGrows(t *testing.T) {
	number := regexp.MustCompile(`[0-9]+`)
	odd := []func(r *rand.Rand, b []byte) []byte{
		func(*rand.Rand, []byte) []byte { return nil },
		func(_ *rand.Rand, b []byte) []byte { return make([]byte, len(b)) },
		func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b)+1)] },
		func(_ *rand.Rand, b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
		func(_ *rand.Rand, b []byte) []byte { return bytes.TrimRight(b, "\n") },
		func(r *rand.Rand, b []byte) []byte { return line(r, b, func(string) string { return "" }) },
		func(r *rand.Rand, b []byte) []byte { return line(r, b, func(s string) string { return s + s }) },
		func(r *rand.Rand, b []byte) []byte {
			return line(r, b, func(s string) string { return number.ReplaceAllString(s, "x") + s })
		},
		one(number, "0"), one(number, "-1"), one(number, "18446744073709551615"), one(number, "9223372036854775807"),
		one(number, "99999999999999999999999"), one(number, "1e3"), one(number, " "),
	}
	rounds := 800
	if testing.Short() {
		rounds = 40
	}
	for _, layout := range []string{"v2-systemd", "v1-cgroupfs", "hybrid-systemd", "rootless-no-cgroups"} {
		t.Run(layout, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 7))
			now := now
			all := []hosttree.Container{hosttree.Numbered(0), hosttree.Numbered(1)}
			tree := newTree(t, layout, all...)
			s := onTree(t, tree, func(c *Config) {
				c.Owner = hosttree.Layouts()[layout].ShimUID
				c.Now = func() time.Time { return time.Unix(0, int64(booted+now)) }
				c.Boottime = func() time.Duration { return now }
			})
			truth := snapshot(t, s)
			var files []string
			for _, dir := range []string{tree.Proc, tree.Cgroup} {
				if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.Name() == "exe" { // which leads out of the tree
						return err
					}
					if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
						files = append(files, path)
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			for round := range rounds {
				file := files[r.IntN(len(files))]
				whole, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text := odd[r.IntN(len(odd))](r, whole)
				for _, put := range [][]byte{text, whole} {
					if err := os.WriteFile(file, put, 0o644); err != nil {
						t.Fatal(err)
					}
					now += 5 * time.Second
					snap := snapshot(t, s)
					faults := grown(truth, snap, bytes.Equal(put, whole))
					if len(faults) > 0 {
						t.Errorf("round %d: %s is %q: %s", round, strings.TrimPrefix(file, filepath.Dir(tree.Proc)), put, strings.Join(faults, ", "))
						return
					}
				}
			}
		})
	}
}

// line changes one line.
func line(r *rand.Rand, b []byte, change func(string) string) []byte {
	lines := strings.SplitAfter(string(b), "\n")
	i := r.IntN(len(lines))
	lines[i] = change(lines[i])
	return []byte(strings.Join(lines, ""))
}

// one replaces one number.
func one(number *regexp.Regexp, with string) func(r *rand.Rand, b []byte) []byte {
	return func(r *rand.Rand, b []byte) []byte {
		all := number.FindAllIndex(b, -1)
		if len(all) == 0 {
			return b
		}
		at := all[r.IntN(len(all))]
		return []byte(string(b[:at[0]]) + with + string(b[at[1]:]))
	}
}

// grown returns the changed counters of a snapshot; with whole, the missing ones too.
func grown(truth, snap *source.Snapshot, whole bool) (faults []string) {
	counting := map[source.Field]bool{
		source.MinorFaults: true, source.MajorFaults: true, source.IOReadBytes: true, source.IOWriteBytes: true,
		source.IOReadCalls: true, source.IOWriteCalls: true,
	}
	for f := source.CPU; f <= source.CPUThrottledPeriods; f++ {
		counting[f] = true
	}
	for f := source.OOMKills; f < source.EndedAt; f++ {
		counting[f] = true
	}
	found := 0
	for i := range truth.Containers {
		want := &truth.Containers[i]
		for j := range snap.Containers {
			got := &snap.Containers[j]
			if got.ID != want.ID {
				continue
			}
			found++
			for f := range counting {
				was, _ := want.Get(f)
				is, ok := got.Get(f)
				if ok && is != was || whole && !ok {
					if _, known := want.Get(f); known {
						faults = append(faults, f.Info().Key+" of "+got.ID[:4]+" is "+text(is)+", was "+text(was))
					}
				}
			}
		}
	}
	if whole && found != len(truth.Containers) {
		faults = append(faults, "a container is missing")
	}
	return faults
}

func text(v uint64) string { return strconv.FormatUint(v, 10) }
