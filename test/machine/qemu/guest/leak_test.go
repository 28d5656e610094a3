//go:build estiba_guest

package guest

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// held counts tasks, network namespaces and removed cgroups in the kernel.
func held(t *testing.T) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{"dying cgroups": keyed(t, cgroupRoot+"/cgroup.stat", "nr_dying_descendants")}
	for _, slab := range []string{"task_struct", "mm_struct", "net_namespace"} {
		// Otherwise per-CPU slabs count as used.
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

// References are dropped: those to containers that exited between reads at the next read,
// at the end of their time in the document, or when the module is unloaded.
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
	eventually(t, "references dropped", func() bool {
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
