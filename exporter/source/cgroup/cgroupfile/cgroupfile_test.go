package cgroupfile

import (
	"slices"
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"67108864\n": 67108864, "0": 0, "7\x00\x00": 7, "": -1, "\n": -1, "max\n": -1, "1 2": -1, "-5\n": -1,
		"18446744073709551615": -1,
	} {
		if v, ok := Number([]byte(text)); ok != (want >= 0) || ok && v != uint64(want) {
			t.Errorf("Number(%q) = %d, %t, want %d", text, v, ok, want)
		}
	}
	for text, want := range map[string]string{
		"268435456\n": "limited", "9223372036854771712\n": "none", "max\n": "none", "-1\n": "none",
		"18446744073709551615\n": "none", "": "bad", "most": "bad",
	} {
		_, limited, ok := Limit([]byte(text))
		got := "bad"
		if ok {
			got = map[bool]string{true: "limited", false: "none"}[limited]
		}
		if got != want {
			t.Errorf("Limit(%q): %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]int64{
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 total=7\n": 5000, "full total=7\n": -1,
		"some total=\n": -1, "some avg10=0.00\n": -1, "full total=7\nsome total=1": 1000, "some total=18446744073709551615": -1, "": -1,
	} {
		if v, ok := Waited([]byte(text)); ok != (want >= 0) || ok && v != uint64(want) {
			t.Errorf("Waited(%q) = %d, %t, want %d", text, v, ok, want)
		}
	}
	for text, want := range map[string]int64{
		"throttled_usec 5\n": 5000, "nr_periods 1\nthrottled_time 7\n": 7, "nr_periods 1\n": -1,
		"throttled_usec 18446744073709551\n": -1,
	} {
		if v, _, ok := Throttled([]byte(text)); ok != (want >= 0) || ok && v != uint64(want) {
			t.Errorf("Throttled(%q) = %d, %t, want %d", text, v, ok, want)
		}
	}
}

func TestIOStat(t *testing.T) {
	a, b := Device{8, 0}, Device{259, 1}
	for _, tt := range []struct {
		text string
		want []Moved
		bad  int
	}{
		{"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n259:1 rbytes=10 wbytes=20\n", []Moved{{a, 1, 2}, {b, 10, 20}}, 0},
		{"253:0 253:1 8:0 rbytes=1 wbytes=2 rios=3\n", []Moved{{a, 1, 2}}, 0}, // names without statistics (Linux 5.x)
		{"8:0 \n259:1 rbytes=1 wbytes=x\n", []Moved{{b, 1, 0}}, 1},
		{"(unknown) rbytes=1 wbytes=2\n", nil, 2},
		{"8:0 rbytes=18446744073709551615 wbytes=2\n", []Moved{{a, 0, 2}}, 1},
		{"8:0 rbytes=1 wbytes=2 cost.usage=5 cost.wait=x\n", []Moved{{a, 1, 2}}, 0},
		{"", nil, 0},
		{"\x00", nil, 0},
	} {
		if got, bad := IOStat([]byte(tt.text)); !slices.Equal(got, tt.want) || bad != tt.bad {
			t.Errorf("%q: %v, %d bad, want %v, %d", tt.text, got, bad, tt.want, tt.bad)
		}
	}
}

func TestBlkio(t *testing.T) {
	a, b := Device{8, 0}, Device{253, 1}
	for _, tt := range []struct {
		text string
		want []Moved
		bad  int
	}{
		{"8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Async 4\n8:0 Discard 5\n8:0 Total 3\n253:1 Read 10\nTotal 3\n", []Moved{{a, 1, 2}, {b, 10, 0}}, 0},
		{"8:0 Read -1\n8:0 Write 2\n", []Moved{{a, 0, 2}}, 1},
		{"Read 8:0 1\n8:0 Read\nx Read 5\nTotal 0\n", nil, 1},
		{"", nil, 0},
	} {
		if got, bad := Blkio([]byte(tt.text)); !slices.Equal(got, tt.want) || bad != tt.bad {
			t.Errorf("%q: %v, %d bad, want %v, %d", tt.text, got, bad, tt.want, tt.bad)
		}
	}
}

func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		"8:0 Read 4096\n8:0 Write 1\nTotal 4097\n", "8:0 rbytes=1 wbytes=2 rios=3\n", "253:0 8:0 rbytes=1\n",
		"some avg10=0.00 total=5\nfull total=6\n", "usage_usec 5\nuser_usec 99999999999999999999\n", "max\n", "-1\n", "",
		"nr_periods 10\nnr_throttled 2\nthrottled_time 123456789\n", "usage_usec 18446744073709551616\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, parse := range map[string]func([]byte) ([]Moved, int){"io.stat": IOStat, "blkio": Blkio} {
			devices, bad := parse(data)
			if len(devices)+bad > len(data) {
				t.Errorf("%s %q: %d devices, %d bad", name, data, len(devices), bad)
			}
			seen := map[Device]bool{}
			for _, d := range devices {
				if seen[d.Device] {
					t.Errorf("%s %q: %s twice", name, data, d.Device)
				}
				seen[d.Device] = true
				if back, ok := ParseDevice([]byte(d.String())); !ok || back != d.Device {
					t.Errorf("%s %q: device %s", name, data, d)
				}
			}
			Sum(devices)
		}
		if v, found, ok := Value(data, "usage_usec", 1000); ok && (!found || v%1000 != 0 || !strings.Contains(string(data), "usage_usec")) {
			t.Errorf("value of %q is %d", data, v)
		}
		Number(data)
		Limit(data)
		Throttled(data)
		Waited(data)
	})
}
