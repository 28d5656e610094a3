package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestOddForAWhile: after a temporarily bad or missing line nothing counts twice, and
// counting continues.
func TestOddForAWhile(t *testing.T) {
	const v1 = "blkio/blkio.throttle.io_service_bytes_recursive"
	head := func(s string) string { return strings.Join(strings.SplitAfter(s, "\n")[:2], "") }
	drop := func(word string) func(string) string {
		return func(s string) string {
			var left []string
			for _, line := range strings.SplitAfter(s, "\n") {
				if !strings.HasPrefix(strings.TrimSpace(line), word) {
					left = append(left, line)
				}
			}
			return strings.Join(left, "")
		}
	}
	swap := func(old, with string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, with, 1) }
	}
	nothing := func(string) string { return "" }
	for _, tt := range []struct {
		name, layout, file string
		odd                func(string) string
		field              source.Field
		want               uint64
		old, with          string // growth of the other one by 1
	}{
		{"a number", "v2-systemd", "v2/io.stat", swap("rbytes=700000", "rbytes=x"), source.DiskRead, 770000, "rbytes=70000 ", "rbytes=70001 "},
		{"empty", "v2-systemd", "v2/io.stat", nothing, source.DiskRead, 770000, "rbytes=70000 ", "rbytes=70001 "},
		{"NULs", "v2-systemd", "v2/io.stat", func(string) string { return "\x00\x00\x00" }, source.DiskRead, 770000, "rbytes=70000 ", "rbytes=70001 "},
		{"a device is missing", "v2-systemd", "v2/io.stat", drop("8:0"), source.DiskRead, 770000, "rbytes=70000 ", "rbytes=70001 "},
		{"a number of version 1", "v1-cgroupfs", v1, swap("Read 700000", "Read x"), source.DiskRead, 770000, "Read 70000\n", "Read 70001\n"},
		{"empty, version 1", "v1-cgroupfs", v1, nothing, source.DiskRead, 770000, "Read 70000\n", "Read 70001\n"},
		{"a device is missing, version 1", "v1-cgroupfs", v1, drop("8:0"), source.DiskRead, 770000, "Read 70000\n", "Read 70001\n"},
		{"an interface", "v2-systemd", "net/dev", swap("500000", "50x"), source.NetRxBytes, 550000, " 50000 ", " 50001 "},
		{"an interface is missing", "v2-systemd", "net/dev", drop("eth0"), source.NetRxBytes, 550000, " 50000 ", " 50001 "},
		{"headings", "v2-systemd", "net/dev", head, source.NetRxBytes, 550000, " 50000 ", " 50001 "},
	} {
		for _, length := range []int{1, 3, 6} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, length), func(t *testing.T) {
				w := watch(t, tt.layout)
				check := func(step string, want uint64) {
					t.Helper()
					if v, ok := w.after(5 * time.Second).Get(tt.field); !ok || v != want {
						t.Errorf("%s: %d, %t, want %d", step, v, ok, want)
					}
				}
				b, err := os.ReadFile(w.file(tt.file))
				if err != nil {
					t.Fatal(err)
				}
				put := func(s string) {
					if err := os.WriteFile(w.file(tt.file), []byte(s), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want := tt.want
				check("before", want)
				put(tt.odd(string(b)))
				for range length {
					check("odd", want)
				}
				if grown := swap(tt.old, tt.with)(tt.odd(string(b))); grown != tt.odd(string(b)) {
					put(grown)
					want++
					check("grown", want)
				}
				put(swap(tt.old, tt.with)(string(b)))
				want = tt.want + 1
				check("after", want)
				check("later", want)
			})
		}
	}
}

// TestRenamedInterface: a renamed interface continues, and one that replaces another
// counts from zero.
func TestRenamedInterface(t *testing.T) {
	w := watch(t, "v2-systemd")
	is := func(step string, want uint64) {
		t.Helper()
		if v, ok := w.after(5 * time.Second).Get(source.NetRxBytes); !ok || v != want {
			t.Errorf("%s: %d, %t, want %d", step, v, ok, want)
		}
	}
	is("before", 550000)
	w.replace("net/dev", "  eth0:  500000 ", "  wan0:  500007 ")
	is("renamed", 550007)
	w.replace("net/dev", "  wan0:  500007 ", "  wan0:  500017 ")
	is("later", 550017)
	w.replace("net/dev", "  wan0:  500017    5000    0    0    0     0          0         0   300000    3000 ",
		"  eth2:  30    1    0    0    0     0          0         0   20    1 ")
	is("another one", 550047)
	w.replace("net/dev", "  eth2:  30 ", "  eth2:  40 ")
	is("later still", 550057)
}

// TestNetworkOwnerCannotBeRead: if the owner of a network namespace is not readable,
// another container gets the counters.
func TestNetworkOwnerCannotBeRead(t *testing.T) {
	h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
	h.Tree = newTree(t, "v2-systemd", h.a, h.b)
	h.link(h.b.Processes[0], "ns/net", "net:[4026541000]")
	h.write(fmt.Sprintf("proc/%d/net/dev", h.a.Processes[0]), "x\n")
	snap := snapshot(t, onTree(t, h.Tree))
	var got []string
	for _, c := range snap.Containers {
		v, _ := c.Get(source.NetRxBytes)
		got = append(got, fmt.Sprint(c.Network, " ", v))
	}
	if fmt.Sprint(got) != "[shared 0 own 550000]" || snap.Skipped[source.ReasonLine] != 1 {
		t.Errorf("%v, skipped %v", got, snap.Skipped)
	}
}

// TestStacks: a device counts if no device below it does.
func TestStacks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sys    map[string]string // files and, with "->", links
		ioStat string
		read   int64
		write  int64
	}{
		{
			"two stacks, the layers are listed",
			map[string]string{"252:0/slaves/sda/dev": "8:0\n", "252:1/slaves/sdb/dev": "8:16\n"},
			"252:0 rbytes=100 wbytes=10\n252:1 rbytes=60 wbytes=70\n", 160, 80,
		},
		{
			"two stacks, a disk is listed",
			map[string]string{"252:0/slaves/sda/dev": "8:0\n", "252:1/slaves/sdb/dev": "8:16\n"},
			"252:0 rbytes=100 wbytes=10\n252:1 rbytes=60 wbytes=70\n8:0 rbytes=101 wbytes=11\n", 161, 81,
		},
		{
			"layer on a layer that is not listed",
			map[string]string{"252:0/slaves/sda/dev": "8:0\n", "252:1/slaves/dm-0/dev": "252:0\n"},
			"252:1 rbytes=60 wbytes=70\n8:0 rbytes=60 wbytes=70\n", 60, 70,
		},
		{
			"a ring",
			map[string]string{"252:0/slaves/a/dev": "252:1\n", "252:1/slaves/b/dev": "252:0\n"},
			"8:0 rbytes=1 wbytes=2\n", 1, 2,
		},
		{"two loops", nil, "7:0 rbytes=100 wbytes=0\n7:1 rbytes=7 wbytes=0\n", 107, 0},
		{
			"swap in memory below a layer",
			map[string]string{"252:0/slaves/ram0/dev": "1:0\n"},
			"252:0 rbytes=100 wbytes=0\n1:0 rbytes=100 wbytes=0\n8:0 rbytes=7 wbytes=0\n", 7, 0,
		},
		{"a loop and a disk", nil, "7:0 rbytes=100 wbytes=0\n8:0 rbytes=7 wbytes=0\n", 7, 0},
		{
			"paths of NVMe",
			map[string]string{"259:0->": "nvme0n1", "259:1->": "nvme0c0n1", "259:2->": "nvme0c1n1"},
			"259:1 rbytes=40 wbytes=1\n259:2 rbytes=60 wbytes=1\n259:0 rbytes=100 wbytes=2\n", 100, 2,
		},
		{
			"paths of NVMe alone",
			map[string]string{"259:1->": "nvme0c0n1", "259:2->": "nvme0c1n1"},
			"259:1 rbytes=40 wbytes=1\n259:2 rbytes=60 wbytes=1\n", 100, 2,
		},
		{"the same one twice", nil, "8:0 rbytes=40 wbytes=2\n8:0 rbytes=30 wbytes=3\n", 40, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{t: t, a: hosttree.Numbered(0)}
			h.Tree = newTree(t, "v2-systemd", h.a)
			root := filepath.Dir(h.Proc)
			for name, text := range tt.sys {
				device, link := strings.CutSuffix(name, "->")
				if !link {
					h.write("sys/dev/block/"+name, text)
					continue
				}
				h.write("sys/block/"+text+"/queue/rotational", "0\n")
				h.write("sys/dev/block/x", "")
				if err := os.Symlink("../../block/"+text, filepath.Join(root, "sys/dev/block", device)); err != nil {
					t.Fatal(err)
				}
			}
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), root)+"/io.stat", tt.ioStat)
			s := onTree(t, h.Tree, func(c *Config) { c.SysFS = filepath.Join(root, "sys") })
			compareValues(t, "first", snapshot(t, s), h.a.ID, usual().but(values{source.DiskRead: tt.read, source.DiskWrite: tt.write}))
		})
	}
}

// TestOddHost: unparsable or impossible values of the host are absent and counted, and
// correct again afterwards.
func TestOddHost(t *testing.T) {
	const cpu = "cpu  800000 0 400000 8000000 8000 0 4000 0 0 0\n"
	busy := []source.HostField{source.HostCPUBusy, source.UnattributedCPU}
	for _, tt := range []struct {
		name, file, old, with string
		absent                []source.HostField
	}{
		{"a column", "stat", cpu, "cpu  800000 0 x 8000000 8000 0 4000 0 0 0\n", append(busy, source.HostCPUSystem)},
		{"the last column that is used", "stat", cpu, "cpu  800000 0 400000 8000000 8000 0 x\n", append(busy, source.HostCPUSoftIRQ)},
		{"no line of the CPUs", "stat", cpu, "", append(busy, source.HostCPUUser)},
		{"boot in the future", "stat", "btime 1780000000", "btime 1999999999", []source.HostField{source.Boottime}},
		{"a time that cannot be", "stat", cpu, "cpu  800000 0 400000 500000000000 8000 0 4000 0 0 0\n", []source.HostField{source.HostCPUIdle}},
		{"busy for a time that cannot be", "stat", cpu, "cpu  500000000000 0 400000 8000000 8000 0 4000 0 0 0\n", append(busy, source.HostCPUUser)},
		{"a time that there was none for since", "stat", cpu, "cpu  800000 0 400000 9000000 8000 0 4000 0 0 0\n", []source.HostField{source.HostCPUIdle}},
		{"busy for a time that there was none for since", "stat", cpu, "cpu  1800000 0 400000 8000000 8000 0 4000 0 0 0\n", append(busy, source.HostCPUUser)},
		{"no total", "meminfo", "MemTotal", "Nothing", []source.HostField{source.MemoryTotal, source.MemoryUsed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{t: t, a: hosttree.Numbered(0), live: true}
			h.Tree = newTree(t, "v2-systemd", h.a)
			s := onTree(t, h.Tree)
			good, err := os.ReadFile(filepath.Join(h.Proc, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, s)
			if n := before.Skipped[source.ReasonLine]; n != 0 {
				t.Errorf("%d counted before", n)
			}
			h.replace("proc/"+tt.file, tt.old, tt.with)
			snap := snapshot(t, s)
			for _, f := range tt.absent {
				if v, ok := snap.Host.Get(f); ok {
					t.Errorf("field %d is %d", f, v)
				}
			}
			if n := snap.Skipped[source.ReasonLine]; n != 1 {
				t.Errorf("%d counted, want 1", n)
			}
			h.write("proc/"+tt.file, string(good))
			snap = snapshot(t, s)
			for _, f := range tt.absent {
				is, ok := snap.Host.Get(f)
				if was, _ := before.Host.Get(f); !ok || is != was {
					t.Errorf("field %d was %d and is %d, %t", f, was, is, ok)
				}
			}
		})
	}
	t.Run("an old kernel", func(t *testing.T) {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.replace("proc/stat", cpu, "cpu  800000 0 400000 8000000\n")
		snap := snapshot(t, onTree(t, h.Tree))
		if v, ok := snap.Host.Get(source.HostCPUBusy); !ok || v != 12000e9 {
			t.Errorf("busy %d, %t", v, ok)
		}
	})
}

// TestNetDevThatIsAFolder: a net/dev that is a directory is counted.
func TestNetDevThatIsAFolder(t *testing.T) {
	h := &host{t: t, a: hosttree.Numbered(0)}
	h.Tree = newTree(t, "v2-systemd", h.a)
	h.write(fmt.Sprintf("proc/%d/net/dev/x", h.a.Processes[0]), "")
	snap := snapshot(t, onTree(t, h.Tree))
	if _, ok := snap.Containers[0].Get(source.NetRxBytes); ok || snap.Skipped[source.ReasonLine] != 1 {
		t.Errorf("known %t, skipped %v", ok, snap.Skipped)
	}
}

// TestNothingUnderstood: storage traffic is absent if its file has neither a device nor
// a total.
func TestNothingUnderstood(t *testing.T) {
	for _, text := range []string{"\x00\x00", "what is this\n", "(unknown) rbytes=1 wbytes=x\n"} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", text)
		snap := snapshot(t, onTree(t, h.Tree))
		if v, ok := snap.Containers[0].Get(source.DiskRead); ok || snap.Skipped[source.ReasonLine] == 0 {
			t.Errorf("%q: %d, known %t, skipped %v", text, v, ok, snap.Skipped)
		}
	}
}
