package top

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/estiba/estiba/exporter/source"
)

func TestRates(t *testing.T) {
	last, now, describe := world()
	f := NewFigures(last, now, describe)
	rows := map[string]*Row{}
	for i := range f.Rows {
		rows[f.Rows[i].ID] = &f.Rows[i]
	}
	web, odd, db, young := rows["4f5e8c1d9b7a"], rows["c0ffee00c0ff"], rows["abababababab"], rows["121212121212"]
	for name, c := range map[string]struct {
		got  Value
		want float64 // -1: unknown
	}{
		"interval":                  {f.Interval, 2},
		"cpu":                       {web.CPU, 125},
		"throttled":                 {web.Throttled, 25},
		"working set":               {web.WorkingSet, 100 << 20},
		"of the limit":              {web.OfLimit, 78.125},
		"pressure":                  {web.PressureCPU, 12.5},
		"bytes written per second":  {web.DiskWrite, 1 << 20},
		"bytes received per second": {web.NetRx, 3000},
		"age":                       {web.Age, 3602},
		"no limit":                  {db.OfLimit, -1},
		"new OOM kills":             {db.OOMKillsNew, 1},
		"all OOM kills":             {db.OOMKills, 2},
		"no network":                {db.NetRx, -1},
		"a counter that fell":       {odd.CPU, -1},
		"no memory cgroup":          {odd.WorkingSet, -1},
		"no processes":              {odd.Processes, -1},
		"the source's window":       {young.CPU, 7.25},
		"a container without rates": {young.DiskRead, -1},
		"sum":                       {f.Sum.CPU, 125 + 10 + 7.25},
		"sum of what is known":      {f.Sum.NetRx, 3000},
		"unattributed CPU":          {f.Unattributed.CPU, 0},
		"unattributed memory":       {f.Unattributed.RSS, 900 << 20},
		"unattributed swap":         {f.Unattributed.Swap, -1},
		"host CPU":                  {f.Host.CPU, 42.5},
		"host memory":               {f.Host.MemoryUsed, 6 << 30},
		"host pressure":             {f.Host.PressureCPU, 20},
		"no host pressure":          {f.Host.PressureIO, -1},
	} {
		if v, ok := c.got.Get(); ok != (c.want >= 0) || ok && v != c.want {
			t.Errorf("%s: %v %v, want %v", name, v, ok, c.want)
		}
	}
	if v, letter := db.pressure(); v != Known(50) || letter != 'm' {
		t.Errorf("the largest pressure is %v of %c", v, letter)
	}
}

// A seed document has a percentage, and no counter to compute one from.
func TestPercentageWithoutCounter(t *testing.T) {
	last, now, describe := world()
	for _, r := range []*Reading{last, now} {
		c := one("4f5e8c1d9b7a6023", "nginx", fields{source.PID: 10, source.CPUPercent: 333})
		r.Snapshot.Containers = []source.Container{c}
	}
	if f := NewFigures(last, now, describe); f.Rows[0].CPU != Known(3.33) {
		t.Errorf("CPU %v", f.Rows[0].CPU)
	}
}

// The first refresh has no rates; and a restarted container keeps its id but none of its
// counters.
func TestRatesNeedTheSameLife(t *testing.T) {
	last, now, describe := world()
	for _, r := range NewFigures(nil, now, describe).Rows {
		if r.DiskWrite.known || r.PressureCPU.known || r.NetRx.known {
			t.Errorf("%s has rates in the first refresh", r.ID)
		}
	}
	for i := range now.Snapshot.Containers {
		pid, _ := now.Snapshot.Containers[i].Get(source.PID)
		now.Snapshot.Containers[i].Set(source.PID, pid+1000)
	}
	for _, r := range NewFigures(last, now, describe).Rows {
		if r.DiskWrite.known || r.OOMKillsNew.known {
			t.Errorf("%s has rates across a restart", r.ID)
		}
	}
	if f := NewFigures(last, last, describe); f.Interval.known || f.Host.CPU.known || f.Unattributed.CPU.known {
		t.Errorf("rates of the same reading: %+v", f)
	}
}

func TestJSON(t *testing.T) {
	last, now, describe := world()
	f := NewFigures(last, now, describe)
	var out bytes.Buffer
	if err := writeJSON(&out, &f, Look{Order: "memory", Tree: true}); err != nil {
		t.Fatal(err)
	}
	if b := out.Bytes(); bytes.Count(b, []byte("\n")) != 1 || bytes.ContainsFunc(b[:len(b)-1], func(r rune) bool { return !plain(r) }) {
		t.Errorf("not one line of plain text: %q", b)
	}
	var parsed struct {
		Containers []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &parsed); err != nil {
		t.Fatal(err)
	}
	if len(parsed.Containers) != 5 || parsed.Containers[0]["name"] != "shop-db-1" {
		t.Errorf("not all containers in the order of memory: %v", parsed.Containers)
	}
	for _, c := range parsed.Containers {
		if c["id"] != "c0ffee00c0ff" {
			continue
		}
		if want := bytes.ToValidUTF8([]byte(hostile), []byte("\ufffd")); c["command"] != string(want) {
			t.Errorf("command %q, want %q", c["command"], want)
		}
		if _, ok := c["cpu_percent"]; ok {
			t.Error("an unknown value is in the JSON")
		}
	}
}

func TestMachine(t *testing.T) {
	if got := parsePressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n"); got != Known(1234000) {
		t.Errorf("pressure %v", got)
	}
	for _, text := range []string{"", "some", "some total=x", "full total=1"} {
		if got := parsePressure(text); got.known {
			t.Errorf("pressure of %q is %v", text, got)
		}
	}
	if got := parseLoad("0.50 1.25 2.00 1/234 5678\n"); got != [3]Value{Known(0.5), Known(1.25), Known(2)} {
		t.Errorf("load %v", got)
	}
	if got := parseLoad("x"); got[0].known {
		t.Errorf("load %v", got)
	}
}
