package cgroup

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// edit changes a file of a process.
func edit(t *testing.T, name string, change func(text string) string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil { // it may be linked to others
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(change(string(b))), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestExits: a process that is about to exit is in "/" of each v1 hierarchy. It takes
// nothing from its container.
func TestExits(t *testing.T) {
	for _, layout := range []string{"v1-systemd", "v1-cgroupfs", "hybrid-systemd", "v2-systemd"} {
		c := hosttree.Numbered(0)
		tr := newTree(t, layout, c)
		s := onTree(t, tr)
		s.reader.max = 0 // every reading is by name
		before := snapshot(t, s).Containers[0]
		last := c.Processes[len(c.Processes)-1]
		edit(t, tr.Process(last, "stat"), func(text string) string { return strings.Replace(text, " 4194560 ", " 4194564 ", 1) })
		edit(t, tr.Process(last, "cgroup"), func(text string) string {
			lines := strings.Split(strings.TrimSpace(text), "\n")
			for i, line := range lines {
				if parts := strings.SplitN(line, ":", 3); parts[0] != "0" {
					lines[i] = parts[0] + ":" + parts[1] + ":/"
				}
			}
			return strings.Join(lines, "\n") + "\n"
		})
		after := snapshot(t, s).Containers[0]
		if after.CPUSource != before.CPUSource || after.Cgroup != before.Cgroup {
			t.Errorf("%s: CPU time from %q, cgroup %q, before %q, %q", layout, after.CPUSource, after.Cgroup, before.CPUSource, before.Cgroup)
		}
		for _, f := range []source.Field{source.CPU, source.CPUQuota, source.CPUThrottled, source.MemoryCgroup, source.MemoryLimit} {
			want, known := before.Get(f)
			if got, ok := after.Get(f); got != want || ok != known {
				t.Errorf("%s: %s is %d, %v, want %d, %v", layout, f.Info().Key, got, ok, want, known)
			}
		}
	}
}

var digits = regexp.MustCompile(`\d+`)

// TestForksCountOnce: a child with a smaller PID than its parent's is read first. If it is
// reaped before its parent is read, it is in there; its I/O is then read in vain, and all
// processes of the container are read anew.
func TestForksCountOnce(t *testing.T) {
	for name, reapedBefore := range map[string]bool{"before the parent is read": true, "after it": false} {
		t.Run(name, func(t *testing.T) {
			c := hosttree.Numbered(0)
			c.Processes = []int{5000, 4000}
			tr := newTree(t, "rootless-no-cgroups", c)
			s := onTree(t, tr, func(c *Config) { c.Owner = hosttree.Layouts()["rootless-no-cgroups"].ShimUID })
			s.reader.max = 0 // so that every reading is by name
			want, _ := snapshot(t, s).Containers[0].Get(source.CPU)
			done := false
			reap := func(at string) {
				if done || !strings.HasSuffix(at, "/"+strconv.Itoa(5000)+"/stat") {
					return
				}
				done = true
				if err := os.RemoveAll(filepath.Dir(tr.Process(4000, "stat"))); err != nil {
					t.Fatal(err)
				}
				// wait4 adds the child's counters.
				edit(t, tr.Process(5000, "stat"), func(text string) string {
					return strings.Replace(text, " 10 2 3 0 100 50 0 0 20 ", " 10 14 3 3 100 50 100 50 20 ", 1)
				})
				edit(t, tr.Process(5000, "io"), func(text string) string {
					return digits.ReplaceAllStringFunc(text, func(n string) string {
						v, _ := strconv.Atoi(n)
						return strconv.Itoa(2 * v)
					})
				})
			}
			if s.reader.opening = reap; !reapedBefore {
				read := 0
				s.reader.opening = func(at string) {
					if strings.HasSuffix(at, "/4000/stat") {
						if read++; read == 2 { // it is looked at again
							reap(tr.Process(5000, "stat"))
						}
					}
				}
			}
			for range 2 {
				if got, _ := snapshot(t, s).Containers[0].Get(source.CPU); got != want {
					t.Errorf("CPU time %d, want %d", got, want)
				}
			}
			if !done {
				t.Error("nothing was reaped")
			}
		})
	}
}
