package procfile

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const statRest = " S 7 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 12345 4096 17 18446744073709551615 0"

func TestParseStat(t *testing.T) {
	for _, comm := range []string{"sh", "a b", ") S 1 (", "(((", "x)\n(y", "\x00\xff"} {
		p, err := ParseStat([]byte("42 ("+comm+")"+statRest), "sh")
		want := Stat{PID: 42, Start: 12345, Comm: comm, State: 'S', Parent: 7, Threads: 5, VSZ: 4096, RSS: 17, User: 40, System: 60, Minor: 3, Major: 7}
		if err != nil || p != want {
			t.Errorf("comm %q: %+v, %v", comm, p, err)
		}
	}
	whole := "42 (sh)" + statRest
	for n := range whole {
		p, err := ParseStat([]byte(whole[:n]), "")
		if parent := n > strings.Index(whole, " 7 ")+2; parent != (p.State == 'S' && p.Parent == 7) {
			t.Errorf("%q: state %c, parent %d", whole[:n], p.State, p.Parent)
		}
		if start := n > strings.Index(whole, " 4096 "); start != (err == nil) {
			t.Errorf("%q: %v", whole[:n], err)
		}
		want := StatRSS | StatVSZ
		if n > strings.Index(whole, " 17 ") {
			want = StatRSS
		}
		if n > strings.Index(whole, " 17 ")+3 {
			want = 0
		}
		if err == nil && p.Unknown != want {
			t.Errorf("%q: unknown %b, want %b", whole[:n], p.Unknown, want)
		}
	}
}

// TestParseStatOdd: signed fields can be negative. An impossible field is unknown and
// does not affect others.
func TestParseStatOdd(t *testing.T) {
	const huge = "18446744073709551615"
	usual := Stat{PID: 42, Start: 12345, Comm: "sh", State: 'S', Parent: 7, Threads: 5, VSZ: 4096, RSS: 17, User: 40, System: 60, Minor: 3, Major: 7}
	for _, tt := range []struct {
		from, to string
		want     func(*Stat)
	}{
		{" 10 20 30 40 ", " 10 20 -5 40 ", func(p *Stat) { p.User = 10 }},
		{" 10 20 30 40 ", " 10 20 30 -5 ", func(p *Stat) { p.System = 20 }},
		{" 4096 17 ", " 4096 -17 ", func(p *Stat) { p.RSS = 0 }},
		{" 20 0 5 0 ", " -2 0 5 -1 ", func(*Stat) {}},       // priority, itrealvalue
		{" S 7 ", " S -1 ", func(p *Stat) { p.Parent = 0 }}, // outside of what is seen
		{" 10 20 30 40 ", " 10 x 30 40 ", func(p *Stat) { p.System, p.Unknown = 0, StatSystem }},
		{" 10 20 30 40 ", " 10 " + huge + " 30 40 ", func(p *Stat) { p.System, p.Unknown = 0, StatSystem }},
		{" 10 20 30 40 ", " 10 18446744073709551616 30 40 ", func(p *Stat) { p.System, p.Unknown = 0, StatSystem }},
		{" 10 20 30 40 ", " 1844674407370 20 30 40 ", func(p *Stat) { p.User, p.Unknown = 0, StatUser }},
		{" 10 20 30 40 ", " 10 20 1844674407370 40 ", func(p *Stat) { p.User, p.Unknown = 0, StatUser }},
		{" 1 2 3 4 10 ", " " + huge + " 2 3 4 10 ", func(p *Stat) { p.Minor, p.Unknown = 0, StatMinor }},
		{" 1 2 3 4 10 ", " 1 2 3 " + huge + " 10 ", func(p *Stat) { p.Major, p.Unknown = 0, StatMajor }},
		{" 20 0 5 0 ", " 20 0 " + huge + " 0 ", func(p *Stat) { p.Threads, p.Unknown = 0, StatThreads }},
		{" 12345 4096 17 ", " 12345 " + huge + " 17 ", func(p *Stat) { p.VSZ, p.Unknown = 0, StatVSZ }},
		{" 4096 17 ", " 4096 " + huge + " ", func(p *Stat) { p.RSS, p.Unknown = 0, StatRSS }},
		{" 18446744073709551615 0", " 99999999999999999999999999 " + strings.Repeat("x", 1<<16), func(*Stat) {}}, // nothing that is used
		{" 12345 ", " x ", nil},
		{" 12345 ", " -12345 ", nil},
		{" 12345 ", " " + huge + " ", nil},
		{" S 7 ", " S 4294967296 ", nil},
	} {
		got, err := ParseStat([]byte("42 (sh)"+strings.Replace(statRest, tt.from, tt.to, 1)), "")
		if tt.want == nil {
			if err == nil {
				t.Errorf("%s: accepted", tt.to)
			}
			continue
		}
		want := usual
		tt.want(&want)
		if err != nil || got != want {
			t.Errorf("%.120s: %+v, %v, want %+v", tt.to, got, err, want)
		}
	}
}

func TestParseStatm(t *testing.T) {
	for text, ok := range map[string]bool{"2048 256 1\n": true, "0 0 0\n": true, "-1 256\n": false, "2048 -256\n": false, "2048\n": false, "": false} {
		if _, _, err := ParseStatm([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseHostStat(t *testing.T) {
	known := func(v uint64) Number { return Number{v, true} }
	cpus := "cpu  1 2 3 4 5 6 7 8 9 10\n"
	for i := range 256 {
		cpus += fmt.Sprintf("cpu%d 1 2 3 4 5 6 7 8 9 10\n", i)
	}
	whole := HostStat{Boot: known(1780000000)}
	for i := range whole.Modes {
		whole.Modes[i] = known(uint64(i + 1))
	}
	with := func(change func(*HostStat)) HostStat {
		s := whole
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name, text string
		want       HostStat
		bad        int
	}{
		{"256 CPUs", cpus + "intr " + strings.Repeat("0 ", 20000) + "\nbtime 1780000000\n", with(func(s *HostStat) { s.CPUs = 256 }), 0},
		{"wrapped processes, short softirq", "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\nprocesses -2049562273\nsoftirq 1\nbtime 1780000000\n", with(func(s *HostStat) { s.CPUs = 1 }), 0},
		{
			"an old kernel", "cpu 1 2 3 4 5 6 7\nbtime 1780000000\n",
			with(func(s *HostStat) { s.Modes[Steal], s.Modes[Guest], s.Modes[GuestNice] = Number{}, Number{}, Number{} }), 0,
		},
		{"iowait below zero", "cpu 1 2 3 4 -5 6 7 8 9 10\nbtime 1780000000\n", with(func(s *HostStat) { s.Modes[IOWait] = known(0) }), 0},
		{"a mode that is no number", "cpu 1 2 3 4 x 6 7 8 9 10\nbtime 1780000000\n", with(func(s *HostStat) { s.Modes[IOWait] = Number{} }), 1},
		{
			"a mode that slipped below zero", "cpu 1 2 3 18446744073709551615 5 6 7 8 9 10\nbtime 1780000000\n",
			with(func(s *HostStat) { s.Modes[Idle] = Number{} }), 1,
		},
		{"no btime", "cpu 1 2 3 4 5 6 7 8 9 10\n", with(func(s *HostStat) { s.Boot = Number{} }), 0},
		{"btime below zero", "cpu 1 2 3 4 5 6 7 8 9 10\nbtime -1\n", with(func(s *HostStat) { s.Boot = Number{} }), 1},
		{"no CPUs", "btime 1780000000\n", HostStat{Boot: known(1780000000)}, 0},
		{"nothing", "", HostStat{}, 0},
		{"NULs", "\x00\x00\x00", HostStat{}, 0},
	} {
		if got, bad := ParseHostStat([]byte(tt.text)); got != tt.want || bad != tt.bad {
			t.Errorf("%s: %+v, %d bad, want %+v, %d", tt.name, got, bad, tt.want, tt.bad)
		}
	}
}

func TestParseMeminfo(t *testing.T) {
	known := func(v uint64) Number { return Number{v, true} }
	const usual = "MemTotal: 16 kB\nMemFree: 4 kB\nMemAvailable: 9 kB\nSwapTotal: 2 kB\nSwapFree: 1 kB\n"
	whole := Meminfo{known(16), known(4), known(9), known(2), known(1)}
	for _, tt := range []struct {
		name, text string
		want       Meminfo
		bad        int
	}{
		{"as usual", usual, whole, 0},
		{"a line without a space", "ShadowCallStack:10373888 kB\n" + usual, whole, 0},
		{"several values", "        total:    used:    free:\nMem:  260579328 136073216 124506112 0 4915200 94064640\n" + usual, whole, 0},
		{"an empty line", "\n" + usual + "\n", whole, 0},
		{"NULs behind", usual + strings.Repeat("\x00", 512), whole, 0},
		{"no space", strings.ReplaceAll(usual, " ", ""), whole, 0},
		{
			"no memory", strings.Replace(usual, "MemTotal: 16", "MemTotal: 0", 1),
			Meminfo{Free: known(4), Available: known(9), SwapTotal: known(2), SwapFree: known(1)},
			1,
		},
		{
			"no swap", strings.Replace(strings.Replace(usual, "SwapTotal: 2", "SwapTotal: 0", 1), "SwapFree: 1", "SwapFree: 0", 1),
			Meminfo{known(16), known(4), known(9), known(0), known(0)},
			0,
		},
		{
			"another unit", strings.Replace(usual, "MemTotal: 16 kB", "MemTotal: 16MB", 1),
			Meminfo{Free: known(4), Available: known(9), SwapTotal: known(2), SwapFree: known(1)},
			1,
		},
		{"no space in front", strings.ReplaceAll(usual, ": ", ":"), whole, 0},
		{
			"an old kernel", strings.Replace(usual, "MemAvailable: 9 kB\n", "", 1),
			Meminfo{Total: known(16), Free: known(4), SwapTotal: known(2), SwapFree: known(1)},
			0,
		},
		{
			"below zero", strings.Replace(usual, "MemFree: 4", "MemFree: -4", 1),
			Meminfo{Total: known(16), Available: known(9), SwapTotal: known(2), SwapFree: known(1)},
			1,
		},
		{"nothing", "", Meminfo{}, 0},
	} {
		if got, bad := ParseMeminfo([]byte(tt.text)); got != tt.want || bad != tt.bad {
			t.Errorf("%s: %+v, %d bad, want %+v, %d", tt.name, got, bad, tt.want, tt.bad)
		}
	}
}

func TestParseInterfaces(t *testing.T) {
	const heading = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	const eth0 = "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
	usual := [NumTraffic]uint64{1, 2, 3, 4, 9, 10, 11, 12}
	named := func(names ...string) (all []Interface) {
		for _, name := range names {
			all = append(all, Interface{name, usual})
		}
		return all
	}
	for _, tt := range []struct {
		name, text string
		want       []Interface
		bad        int
		fails      bool
	}{
		{
			"two and loopback", heading + "    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n" + eth0 + strings.Replace(eth0, "eth0: ", "eth1:", 1),
			named("eth0", "eth1"), 0, false,
		},
		{"an alias", heading + strings.Replace(eth0, "eth0", "eth0:1", 1), named("eth0:1"), 0, false},
		{"carriage returns", heading + strings.Replace(eth0, "\n", "\r\n", 1), named("eth0"), 0, false},
		{"NULs behind", heading + eth0 + "\x00\x00\x00", named("eth0"), 0, false},
		{
			"the largest numbers", heading + "veth.7:18446744073709551615 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n",
			[]Interface{{"veth.7", [NumTraffic]uint64{1<<64 - 1, 1, 2, 3, 8, 9, 10, 11}}},
			0, false,
		},
		{"a line that is short", heading + "eth1: 1 2 0\n" + eth0, named("eth0"), 1, false},
		{"a number below zero", heading + "eth1: -1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n" + eth0, named("eth0"), 1, false},
		{"no number", heading + "eth1: 1 2 3 x 5 6 7 8 9 10 11 12 13 14 15 16\n" + eth0, named("eth0"), 1, false},
		{"no name", heading + strings.Replace(eth0, "eth0", "", 1) + eth0, named("eth0"), 1, false},
		{
			"the same one twice", heading + eth0 + "eth0: 2 1 3 4 5 6 7 8 9 10 11 13 13 14 15 16\n",
			[]Interface{{"eth0", [NumTraffic]uint64{2, 2, 3, 4, 9, 10, 11, 13}}},
			0, false,
		},
		{"the same one twice, once odd", heading + "eth0: x 1 3 4 5 6 7 8 9 10 11 13 13 14 15 16\n" + eth0, named("eth0"), 1, false},
		{"no interface", heading, nil, 0, false},
		{"no headings", eth0, nil, 0, true},
		{"nothing", "", nil, 0, true},
	} {
		got, bad, err := ParseInterfaces([]byte(tt.text))
		if !slices.Equal(got, tt.want) || bad != tt.bad || (err != nil) != tt.fails {
			t.Errorf("%s: %+v, %d bad, %v, want %+v, %d", tt.name, got, bad, err, tt.want, tt.bad)
		}
	}
	// Truncated anywhere, no incomplete number counts.
	for n := range len(eth0) {
		if got, _, _ := ParseInterfaces([]byte(heading + eth0[:n])); len(got) > 0 && got[0].Counts != usual {
			t.Errorf("%q: %+v", eth0[:n], got)
		}
	}
	many := heading
	for range 2 {
		for i := range 1000 {
			many += strings.Replace(eth0, "eth0", fmt.Sprint("d", i), 1)
		}
	}
	if got, bad, _ := ParseInterfaces([]byte(many)); len(got) != 1000 || bad != 0 || got[999].Name != "d999" || got[0].Counts != usual {
		t.Errorf("%d interfaces, %d bad, want 1000", len(got), bad)
	}
}

// TestSecondLine: of duplicate keys the first valid line counts, without a fault.
func TestSecondLine(t *testing.T) {
	known := func(v uint64) Number { return Number{v, true} }
	for text, want := range map[string]Number{
		"MemTotal: x kB\nMemTotal: 16 kB\n":                      known(16),
		"MemTotal: 16 kB\nMemTotal: x kB\n":                      known(16),
		"MemTotal: 16 kB\nMemTotal: 17 kB\n":                     known(16),
		"MemTotal:\nMemTotal: 18446744073709551615\nMemTotal:16": known(16),
	} {
		if got, bad := ParseMeminfo([]byte(text)); got.Total != want || bad != 0 {
			t.Errorf("%q: %+v, %d bad, want %+v", text, got.Total, bad, want)
		}
	}
	if got, bad := ParseMeminfo([]byte("MemTotal: x kB\nMemTotal: y kB\n")); got.Total.Known || bad != 1 {
		t.Errorf("two odd lines: %+v, %d bad", got, bad)
	}
	const io = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\n"
	if got, err := ParseIO([]byte("rchar: x\nwchar: -1\n" + io)); err != nil || got != [NumIO]uint64{1, 2, 3, 4, 5, 6} {
		t.Errorf("io: %v, %v", got, err)
	}
	whole := HostStat{CPUs: 1, Boot: known(7)}
	for i := range whole.Modes {
		whole.Modes[i] = known(uint64(i + 1))
	}
	const cpus = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\nbtime 7\n"
	for _, text := range []string{"cpu x 2 y\nbtime z\n" + cpus, cpus + "cpu 9 9 9\nbtime 9\n", cpus + "cpu x\nbtime x\n"} {
		if got, bad := ParseHostStat([]byte(text)); got != whole || bad != 0 {
			t.Errorf("%q: %+v, %d bad", text, got, bad)
		}
	}
	const status = "Name:\ta\nPPid:\t12\nUid:\t0\t0\t0\t0\nThreads:\t3\n"
	for _, text := range []string{
		"Name:\nPPid:\t-1\nUid:\tx\nThreads:\tx\n" + status, status + "Name:\tb\nPPid:\tx\nUid:\tx\nThreads:\t9\n",
		status + "Uid:\t7\nPPid:\t7\n",
	} {
		if got := ParseStatus([]byte(text)); got != (Status{HasUID: true, Name: "a", Parent: 12, HasPPid: true, Threads: 3}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseMembership(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"0::/a\n":                                {"": "/a"},
		"3:cpu,cpuacct:/x:y:z\n1:name=systemd:/": {"cpu": "/x:y:z", "cpuacct": "/x:y:z", "name=systemd": "/"},
		"0::/../../b\n":                          {"": "/../../b"},
		"0::/a b (deleted)\x00\n":                {"": "/a b (deleted)"},
		"0::\n1:cpu\n:::\n\n":                    {},
		"":                                       {},
	} {
		if got := ParseMembership([]byte(text)); !maps.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]Status{
		"Name:\tx\nUid:\t0\t1\t2\t3\nNSpid:\t7\t1\n":  {HasUID: true, PIDSpace: 2, Name: "x"},
		"Uid:\t1000\t0\t0\t0\n":                       {UID: 1000, HasUID: true}, // a kernel before NSpid
		"Uid:\t-1\n":                                  {},
		"Name:\tUid:\n":                               {Name: "Uid:"},
		"Name:\ta b\nPPid:\t12\nThreads:\t3\n":        {Name: "a b", Parent: 12, HasPPid: true, Threads: 3},
		"PPid:\t-1\nThreads:\t18446744073709551615\n": {},
		"": {},
	} {
		if got := ParseStatus([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// FuzzFiles runs all parsers on the same bytes and checks accepted values in another
// way.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		"42 (a b) S 7 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 12345 4096 17 1 0",
		"1 () S) S 18446744073709551615 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 1 2 3",
		"1 (x) S -1 1 1 0 -1 0 1 2 3 4 10 20 -30 40 20 0 5 0 1 2 -3",
		"Inter-| R |\n face |b |\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
		"0::/a/b\n3:cpu,cpuacct:/x:y\n", "0::/../../docker/abc\n1:cpu:/\x00\n::::\n", "shim\x00-namespace\x00moby\x00-id\x00abc\x00",
		"cpu  1 2 3 4 -5 6\ncpu0 1\nbtime 1780000000\nprocesses -2049562273\nsoftirq 1\n",
		"MemTotal: 1 kB\nMem: 1 2 3 4 5 6\nShadowCallStack:10373888 kB\n\nMemFree:2 kB\n\x00\x00\x00",
		"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 18446744073709551615\n",
		"Uid:\t0\t0\t0\t0\nNSpid:\t1\t2\n", "2048 256 128 10 0 300 0\n", "99999999999999999999 (a) S 1", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := ParseStat(data, "comm"); err == nil {
			// comm is between the first and the last bracket.
			if !bytes.HasPrefix(data, []byte(fmt.Sprintf("%d (", p.PID))) && !bytes.HasPrefix(data, []byte("0")) {
				t.Errorf("stat %q: pid %d", data, p.PID)
			}
			again := fmt.Sprintf("%d (%s) %c %d 0 0 0 0 0 %d 0 %d 0 %d %d 0 0 0 0 %d 0 %d %d %d 0", p.PID, p.Comm, p.State, p.Parent, p.Minor,
				p.Major, p.User, p.System, p.Threads, p.Start, p.VSZ, p.RSS)
			if q, err := ParseStat([]byte(again), ""); p.State < 0x80 && p.Unknown == 0 && (err != nil || q != p) {
				t.Errorf("stat %q: %+v comes back as %+v, %v", data, p, q, err)
			}
		}
		if size, resident, err := ParseStatm(data); err == nil {
			again := fmt.Sprintf("%d %d 0 0 0 0 0\n", size, resident)
			if s, r, err := ParseStatm([]byte(again)); err != nil || s != size || r != resident {
				t.Errorf("statm %q: %d %d comes back as %d %d, %v", data, size, resident, s, r, err)
			}
		}
		for controller, path := range ParseMembership(data) {
			if strings.ContainsAny(controller, ":\n,") || strings.Contains(path, "\n") || path[0] != '/' {
				t.Errorf("membership %q: %q at %q", data, controller, path)
			}
		}
		for _, arg := range ParseArguments(data) {
			if strings.ContainsRune(arg, 0) {
				t.Errorf("arguments %q: %q", data, arg)
			}
		}
		for _, n := range []func() int{
			func() int {
				all, bad, _ := ParseInterfaces(data)
				names := map[string]bool{}
				for _, one := range all {
					if names[one.Name] || one.Name == "lo" || one.Name == "" || !bytes.Contains(data, []byte(one.Name)) {
						t.Errorf("net/dev %q: an interface %q", data, one.Name)
					}
					names[one.Name] = true
				}
				return bad
			},
			func() int { _, bad := ParseMeminfo(data); return bad },
			func() int { _, bad := ParseHostStat(data); return bad },
		} {
			if n() > len(data) {
				t.Errorf("%q: more bad lines than bytes", data)
			}
		}
		ParseStatus(data)
		_, _ = ParseIO(data)
	})
}
