//go:build estiba_guest

package guest

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// held is what the kernel keeps of tasks, network namespaces and cgroups; the
// last are counted only once they are removed.
func held(t *testing.T) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{"dying cgroups": keyed(t, cgroupRoot+"/cgroup.stat", "nr_dying_descendants")}
	for _, slab := range []string{"task_struct", "mm_struct", "net_namespace"} {
		// Else what each CPU keeps at hand counts as used.
		if err := os.WriteFile("/sys/kernel/slab/"+slab+"/shrink", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 2 && (f[0] == "task_struct" || f[0] == "mm_struct" || f[0] == "net_namespace") {
			found[f[0]], _ = strconv.ParseUint(f[1], 10, 64)
		}
	}
	return found
}

// What was referenced while it was read is let go: of containers that ended
// unseen, at the next reading and the end of their time in the document or when
// the module goes.
func TestNothingIsHeld(t *testing.T) {
	var before map[string]uint64
	for _, rounds := range []int{1, 3} { // once to warm up
		before = held(t)
		for range rounds {
			t.Run("load", func(t *testing.T) {
				module(t, "min_interval_ms=1")
				for range 12 {
					id := newID()
					start(t, options{id: id, cgroup: "docker/" + id, load: "sleep;threads 2", unshare: "pn"})
				}
				for range 5 {
					fresh(t)
				}
			})
		}
	}
	var after map[string]uint64
	eventually(t, "what was held to be freed", func() bool {
		after = held(t)
		for what, n := range after {
			if n > before[what]+8 {
				t.Logf("%s: %d, before %d", what, n, before[what])
				return false
			}
		}
		return true
	})
	t.Logf("before %v, after %v", before, after)
	if len(after) < 3 {
		t.Errorf("not counted: %v", after)
	}
}
