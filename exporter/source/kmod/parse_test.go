package kmod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/kmod/schema"
)

const samples = "../../../kmod/schema/samples/"

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(samples + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// seed is a document with the eleven fixed keys; row replaces its container.
func seed(row string) string {
	return `{"total_memory_kb": 1000, "free_memory_kb": 400, "used_memory_kb": 600, "processes": [` + row + `]}`
}

const seedRow = `{"process_name":"containerd-shim","pid":7,"vsz_kb":30,"rss_kb":20,"memory_usage_percent":2.0,"cpu_usage_percent":0.125}`

func TestParseSamples(t *testing.T) {
	full, err := NewParser().Parse(sample(t, "full.json"))
	if err != nil {
		t.Fatal(err)
	}
	if full.Schema != "1" || full.ModuleVersion != "1.0.0" || len(full.Containers) != 2 || full.Truncated {
		t.Errorf("full.json: %+v", full)
	}
	c := &full.Containers[0]
	for f, want := range map[source.Field]uint64{
		source.PID: 12345, source.RSS: 14336, source.CPUPercent: 5, source.CPU: 200000000, source.MemoryLimit: 131072, source.NetTxPackets: 9,
	} {
		if v, ok := c.Get(f); !ok || v != want {
			t.Errorf("full.json: %s = %d, %v, want %d", f.Info().Key, v, ok, want)
		}
	}
	if c.Namespace != "moby" || c.Command != "stress" || c.CPUSource != "cgroup" || c.Network != "own" || len(c.ID) != 64 {
		t.Errorf("full.json: texts %q %q %q %q %q", c.Namespace, c.Command, c.CPUSource, c.Network, c.ID)
	}
	if _, ok := full.Containers[1].Get(source.MemoryLimit); ok {
		t.Error("full.json: a missing limit is known")
	}
	if v, ok := full.Host.Get(source.UnattributedCPU); !ok || v != 6878400000000 {
		t.Errorf("full.json: unattributed CPU %d, %v", v, ok)
	}

	runtimes, err := NewParser().Parse(sample(t, "runtimes.json"))
	if err != nil {
		t.Fatal(err)
	}
	type identity struct {
		runtime, namespace, pod, pause string
		user                           uint64
	}
	pod, sandbox := runtimes.Containers[3].Pod, runtimes.Containers[0].ID
	for i, want := range []identity{
		{"containerd", "k8s.io", sandbox, "true", 0},
		{"containerd", "k8s.io", sandbox, "", 0},
		{"containerd", "k8s.io", sandbox, "", 0},
		{"podman", "", pod, "", 0},
		{"systemd-nspawn", "", "", "", 0},
		{"podman", "", "", "", 1000},
	} {
		c := &runtimes.Containers[i]
		user, known := c.Get(source.User)
		if got := (identity{c.Runtime, c.Namespace, c.Pod, c.Pause, user}); got != want || known != (want.user != 0) {
			t.Errorf("runtimes.json: container %d: %v, want %v", i, got, want)
		}
	}

	hostile, err := NewParser().Parse(sample(t, "hostile-names.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`"},{\"pid\":`, "\x00\x01\n\r\t\x1b[31m\x7f", "\ufffd\ufffd\u00e9\u2028</scr"} {
		if got := hostile.Containers[i].Command; got != want {
			t.Errorf("hostile-names.json: command %q, want %q", got, want)
		}
	}

	ended, err := NewParser().Parse(sample(t, "ended.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{source.Running, source.Running, source.Ended} {
		if got := ended.Containers[i].State; got != want {
			t.Errorf("ended.json: state %q, want %q", got, want)
		}
	}
	if at, ok := ended.Containers[2].Get(source.EndedAt); !ok || at != 86399123456789 {
		t.Errorf("ended.json: ended at %d, %v", at, ok)
	}

	cut, err := NewParser().Parse(sample(t, "truncated.json"))
	if err != nil || !cut.Truncated {
		t.Errorf("truncated.json: %+v, %v", cut, err)
	}
}

func TestParseSeed(t *testing.T) {
	snap, err := NewParser().Parse([]byte(seed(seedRow)))
	if err != nil {
		t.Fatal(err)
	}
	c := &snap.Containers[0]
	if c.ID != "" {
		t.Errorf("id %q, want none", c.ID)
	}
	for f, want := range map[source.Field]uint64{source.PID: 7, source.MemoryPercent: 200, source.CPUPercent: 13} {
		if v, _ := c.Get(f); v != want {
			t.Errorf("%s = %d, want %d", f.Info().Key, v, want)
		}
	}
	if _, ok := c.Get(source.CPU); ok {
		t.Error("a missing key is known")
	}
	na, err := NewParser().Parse(sample(t, "seed-without-id.json"))
	if err != nil || na.Containers[0].ID != "" {
		t.Errorf("container_id N/A: %+v, %v", na, err)
	}
}

// Numbers may have any JSON notation.
func TestParseNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"100": "100 10000", "100.0": "100 10000", "1e2": "100 10000", "1E+2": "100 10000", "1000e-1": "100 10000", "1.00e2": "100 10000",
		"0.0": "0 0", "0e0": "0 0", "0.125": "- 13", "0.124": "- 12", "12.5e-2": "- 13", "1.25": "- 125", "9.995": "- 1000",
		"18446744073709551615": "18446744073709551615 -", "18446744073709551615.0": "18446744073709551615 -", "18446744073709551616": "- -",
		"1e400": "- -", "1e99999999999": "- -", "0e400": "0 0", "1e-400": "- 0", ".5": "- -", "5.": "- -", "": "- -", "e5": "- -", "1e": "- -",
		"1e+-2": "- -", "-1": "- -", "1.2.3": "- -", "1_0": "- -",
	} {
		show := func(v uint64, ok bool) string {
			if !ok {
				return "-"
			}
			return fmt.Sprint(v)
		}
		if got := show(count([]byte(text))) + " " + show(hundredths([]byte(text))); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	snap, err := NewParser().Parse([]byte(seed(strings.Replace(seedRow, `"rss_kb":20`, `"rss_kb":100.0`, 1))))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := snap.Containers[0].Get(source.RSS); v != 100 {
		t.Errorf("100.0 kB are %d", v)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(sample(t, "full.json"))
	for _, tt := range []struct {
		name, in string
		want     error
		text     string
	}{
		{"nothing", "", source.ErrCut, "0 bytes"},
		{"an array", "[]", source.ErrMalformed, "'{'"},
		{"a cut document", good[:len(good)/2], source.ErrCut, "truncated"},
		{"a cut end", strings.TrimRight(good, "\n}"), source.ErrCut, "truncated"},
		{"something behind", good + "x", source.ErrMalformed, "after the document"},
		{"two documents", good + good, source.ErrMalformed, "after the document"},
		{"no total", `{"free_memory_kb":"1","used_memory_kb":"1","processes":[]}`, source.ErrMalformed, "total_memory_kb"},
		{"no processes", `{"total_memory_kb":"1","free_memory_kb":"1","used_memory_kb":"1"}`, source.ErrMalformed, "processes"},
		{"processes as object", `{"processes":{}}`, source.ErrMalformed, "'['"},
		{"a container without pid", seed(strings.Replace(seedRow, `"pid":7,`, "", 1)), source.ErrMalformed, "pid"},
		{"a container without name", seed(strings.Replace(seedRow, `"containerd-shim"`, `""`, 1)), source.ErrMalformed, "process_name"},
		{"an id with a slash", seed(strings.Replace(seedRow, `"pid":7`, `"pid":7,"container_id":"../x"`, 1)), source.ErrMalformed, "container_id"},
		{"a negative number", seed(strings.Replace(seedRow, `"rss_kb":20`, `"rss_kb":-20`, 1)), source.ErrMalformed, "rss_kb"},
		{"a fraction for a count", seed(strings.Replace(seedRow, `"rss_kb":20`, `"rss_kb":"20.5"`, 1)), source.ErrMalformed, "rss_kb"},
		{"a number that overflows", seed(strings.Replace(seedRow, `"rss_kb":20`, `"rss_kb":"18446744073709551616"`, 1)), source.ErrMalformed, "rss_kb"},
		{"an empty number", seed(strings.Replace(seedRow, `"rss_kb":20`, `"rss_kb":""`, 1)), source.ErrMalformed, "rss_kb"},
		{"null", seed(strings.Replace(seedRow, `"rss_kb":20`, `"rss_kb":null`, 1)), source.ErrMalformed, "'n'"},
		{"a control byte", seed(strings.Replace(seedRow, "containerd", "container\n", 1)), source.ErrMalformed, "control character"},
		{"an unknown escape", seed(strings.Replace(seedRow, "containerd", `container\x`, 1)), source.ErrMalformed, "escape"},
		{"deep nesting", `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, source.ErrMalformed, "nested"},
		{"another schema", strings.Replace(good, `"schema":"1"`, `"schema":"2"`, 1), source.ErrUnsupported, `"2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewParser().Parse([]byte(tt.in))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %s", err, tt.want, tt.text)
			}
		})
	}
}

// TestEveryCutIsAnError cuts a document at every byte.
func TestEveryCutIsAnError(t *testing.T) {
	data := bytes.TrimRight(sample(t, "full.json"), "\n")
	for n := range data {
		if _, err := NewParser().Parse(data[:n]); !errors.Is(err, source.ErrCut) {
			t.Fatalf("cut at byte %d of %d: %v, want %v", n, len(data), err, source.ErrCut)
		}
	}
}

// oracle reads a document with encoding/json.
func oracle(data []byte) (map[string]any, bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var doc map[string]any
	if dec.Decode(&doc) != nil || !json.Valid(data) {
		return nil, false
	}
	return doc, true
}

func text1(v any) string { return fmt.Sprint(v) }

// sameAsOracle compares what the parser accepted with what encoding/json saw.
func sameAsOracle(data []byte, snap *source.Snapshot) error {
	doc, ok := oracle(data)
	if !ok {
		return errors.New("encoding/json refuses it")
	}
	for f := source.HostField(0); f < source.ContainersFound; f++ {
		v, known := snap.Host.Get(f)
		raw, there := doc[f.Info().Key]
		if known != there {
			return fmt.Errorf("%s known %v, there %v", f.Info().Key, known, there)
		}
		if want, _ := count([]byte(text1(raw))); there && v != want {
			return fmt.Errorf("%s = %d, want %v", f.Info().Key, v, raw)
		}
	}
	rows, _ := doc["processes"].([]any)
	if len(rows) != len(snap.Containers) {
		return fmt.Errorf("%d containers, want %d", len(snap.Containers), len(rows))
	}
	for i := range rows {
		row, _ := rows[i].(map[string]any)
		c := &snap.Containers[i]
		for _, k := range rowOrder() {
			raw, there := row[k.name]
			if k.text != nil {
				want, _ := raw.(string)
				if k.name == "container_id" && want == "N/A" {
					want = ""
				}
				if got := *k.text(c); got != want {
					return fmt.Errorf("container %d: %s = %q, want %q", i, k.name, got, want)
				}
				continue
			}
			v, known := c.Get(k.field)
			if known != there {
				return fmt.Errorf("container %d: %s known %v, there %v", i, k.name, known, there)
			}
			read := count
			if k.field.Info().Unit == source.Hundredths {
				read = hundredths
			}
			if want, _ := read([]byte(text1(raw))); there && v != want {
				return fmt.Errorf("container %d: %s = %d, want %v", i, k.name, v, raw)
			}
		}
	}
	return nil
}

func FuzzParse(f *testing.F) {
	names, err := filepath.Glob(samples + "*.json")
	if err != nil {
		f.Fatal(err)
	}
	invalid, err := filepath.Glob(samples + "invalid/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(names, invalid...) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(seed(seedRow)))
	f.Fuzz(func(t *testing.T, data []byte) {
		snap, err := NewParser().Parse(data)
		if err != nil {
			if r := source.ReasonOf(err); r != source.ReasonMalformed && r != source.ReasonCut && r != source.ReasonUnsupported {
				t.Fatalf("reason %s of %v", r, err)
			}
			return
		}
		if err := sameAsOracle(data, snap); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := Write(&again, snap); err != nil {
			t.Fatal(err)
		}
		if _, err := NewParser().Parse(again.Bytes()); err != nil {
			t.Fatalf("our own document: %v\n%s", err, again.Bytes())
		}
	})
}

// TestRandomDocuments writes random containers with encoding/json in random order, with
// numbers or strings and with unknown keys.
func TestRandomDocuments(t *testing.T) {
	parser := NewParser() // reused: its state must not matter
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		b.WriteString(`{"total_memory_kb":"9","free_memory_kb":"4","used_memory_kb":5,"unknown":{"a":[1,null,true]},"processes":[`)
		for i := range rapid.IntRange(0, 4).Draw(t, "containers") {
			if i > 0 {
				b.WriteByte(',')
			}
			var parts []string
			for _, k := range rowOrder() {
				fixed := k.text == nil && k.field <= source.CPUPercent || k.name == "process_name"
				if !fixed && rapid.Bool().Draw(t, "left out") {
					continue
				}
				var v any
				switch {
				case k.name == "container_id":
					v = rapid.StringMatching(`[A-Za-z0-9_.-]{1,64}|N/A`).Draw(t, "id")
				case k.text != nil:
					v = rapid.StringN(1, 16, 64).Draw(t, k.name)
				case k.field.Info().Unit == source.Hundredths:
					v = json.Number(fmt.Sprintf("%d.%02d", rapid.IntRange(0, 9999).Draw(t, k.name), rapid.IntRange(0, 99).Draw(t, k.name)))
				default:
					v = json.Number(fmt.Sprint(rapid.Uint64().Draw(t, k.name)))
				}
				if n, ok := v.(json.Number); ok && rapid.Bool().Draw(t, "as string") {
					v = string(n)
				}
				value, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, fmt.Sprintf("%q:%s", k.name, value))
			}
			parts = append(parts, `"zz":{"pid":[]}`)
			if rapid.Bool().Draw(t, "shuffled") {
				parts = rapid.Permutation(parts).Draw(t, "order")
			}
			b.WriteString("{" + strings.Join(parts, ", ") + "}")
		}
		b.WriteString("]}")
		snap, err := parser.Parse(b.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		if err := sameAsOracle(b.Bytes(), snap); err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
	})
}

// TestWriteGivesTheSampleBack parses the samples and writes them again.
func TestWriteGivesTheSampleBack(t *testing.T) {
	for _, name := range []string{"full.json", "ended.json", "no-containers.json", "truncated.json"} {
		want := sample(t, name)
		snap, err := NewParser().Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := Write(&got, snap); err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal(want, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got.Bytes(), &b); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, got.Bytes())
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s comes back as\n%s", name, got.Bytes())
		}
		validate(t, got.Bytes())
		if lines := bytes.Count(got.Bytes(), []byte("\n{")); lines != len(snap.Containers) {
			t.Errorf("%s: %d lines begin with {, want one a container", name, lines)
		}
	}
}

func validate(t *testing.T, data []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.V1))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("v1.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("v1.json")
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(instance); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
}

// big returns a document of n containers.
func big(t testing.TB, n int) []byte {
	snap, err := NewParser().Parse(sample(t, "full.json"))
	if err != nil {
		t.Fatal(err)
	}
	one := snap.Containers[0]
	snap.Containers = nil
	for i := range n {
		c := one
		c.ID = fmt.Sprintf("%064x", i*7919)
		c.Set(source.PID, uint64(1000+i))
		snap.Containers = append(snap.Containers, c)
	}
	var b bytes.Buffer
	if err := Write(&b, snap); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{200, 1000, 10000} {
		data := big(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := NewParser()
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
