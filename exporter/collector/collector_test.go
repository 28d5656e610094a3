package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

type fakeNames struct {
	byID  map[string]*runtimes.Info
	sizes map[string]int64
	ooms  map[string]runtimes.OOM
	idle  []*runtimes.Info
	down  bool
	view  *runtimes.View // nil: computed from the other fields
}

func (f fakeNames) Find(user uint32, id, _, _ string) (*runtimes.Info, bool) {
	return f.byID[container.Key(user, id)], true
}

func (f fakeNames) Size(i *runtimes.Info) (int64, bool) {
	n, ok := f.sizes[i.ID]
	return n, ok
}

func (f fakeNames) Measured() time.Time           { return time.Unix(100, 0) }
func (f fakeNames) OOMs() map[string]runtimes.OOM { return f.ooms }
func (f fakeNames) Up(*runtimes.Info) bool        { return !f.down }
func (f fakeNames) Status() []runtimes.Status {
	return []runtimes.Status{{Kind: runtimes.Docker, Up: !f.down}}
}

func (f fakeNames) View() *runtimes.View {
	if f.view != nil {
		return f.view
	}
	v := &runtimes.View{Idle: f.idle}
	for _, i := range f.byID {
		if i.State.Runs() {
			v.Running = append(v.Running, i)
		}
	}
	return v
}

type fakeSource struct {
	mu   sync.Mutex
	snap *source.Snapshot
	err  error
}

func (f *fakeSource) Name() string { return source.Kmod }

func (f *fakeSource) Snapshot(context.Context) (*source.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap, f.err
}

func (f *fakeSource) set(s *source.Snapshot, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snap, f.err = s, err
}

// runs is the state of a container with a health check and one restart.
var runs = runtimes.State{Status: runtimes.StateRunning, Inspected: true, Restarts: 1, Health: runtimes.HealthHealthy, Runtime: "runc"}

// exited is the state of a container ended by a signal.
func exited(at time.Time) runtimes.State {
	return runtimes.State{Status: runtimes.StateExited, Inspected: true, ExitCode: 137, Runtime: "runc", Changed: at}
}

// world returns a snapshot of n containers with all fields, and their names.
func world(n int) (*source.Snapshot, fakeNames) {
	s := &source.Snapshot{Source: source.Kmod, Schema: "1", ModuleVersion: "1.0.0"}
	for f := source.HostField(0); int(f) < source.NumHostFields; f++ {
		s.Host.Set(f, 1_000_000_007+uint64(f))
	}
	s.Host.Set(source.ContainersFound, uint64(n))
	ns := fakeNames{byID: map[string]*runtimes.Info{}, sizes: map[string]int64{}}
	for i := range n {
		c := source.Container{ID: fmt.Sprintf("%012x%052x", i*7919, i), Namespace: "moby", Cgroup: fmt.Sprintf("/docker/%d", i)}
		for f := source.Field(0); int(f) < source.NumFields; f++ {
			if f != source.User {
				c.Set(f, uint64(i)*1_000_003+uint64(f)*97)
			}
		}
		s.Containers = append(s.Containers, c)
		ns.byID[c.ID] = &runtimes.Info{ID: c.ID, Name: fmt.Sprintf("na\"me\\%d\n", i), Image: "im/age:1", Labels: container.Labels{Managed: true, Kind: container.KindCPU, Errors: []string{"estiba.knd"}}, Extra: map[string]string{"a.b": "c"}, State: runs}
		ns.sizes[c.ID] = int64(i) << 20
	}
	return s, ns
}

func newTest(c Config, src source.Source, n Names) *Collector {
	if c.Limit == 0 {
		c.Limit = 20000
	}
	c.Timeout = time.Minute
	c.ModulePresent = func() bool { return true }
	return New(c, src, n, log.NewNopLogger())
}

func get(t testing.TB, h http.Handler, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("answer %d: %s", w.Code, w.Body)
	}
	return w
}

func parse(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	m, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("not the text format: %v\n%s", err, text)
	}
	return m
}

// flat returns all samples of containers as name{sorted labels} → value.
func flat(families map[string]*dto.MetricFamily) map[string]float64 {
	m := map[string]float64{}
	for name, f := range families {
		for _, metric := range f.Metric {
			var labels []string
			for _, l := range metric.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			sort.Strings(labels)
			v := metric.GetGauge().GetValue()
			if f.GetType() == dto.MetricType_COUNTER {
				v = metric.GetCounter().GetValue()
			}
			m[name+"{"+strings.Join(labels, ",")+"}"] = v
		}
	}
	return m
}

// naive exports the containers with client_golang, from the same table of families.
type naive struct {
	rows     []row
	ended    []row
	families []family
}

func (n naive) Describe(chan<- *prometheus.Desc) {}

func (n naive) Collect(ch chan<- prometheus.Metric) {
	for _, f := range n.families {
		rows := n.rows
		if f.ended {
			rows = slices.Concat(rows, n.ended)
		}
		for _, p := range f.points {
			for i := range rows {
				v, ok := p.value(&rows[i])
				if !ok {
					continue
				}
				x := float64(v)
				switch p.unit {
				case source.Kilobytes:
					x *= 1024
				case source.Nanos:
					x /= 1e9
				case source.Hundredths:
					x /= 100
				}
				if p.signed {
					x = float64(int64(v))
				}
				pairs := prometheus.Labels{}
				rest := string(p.labels(&rows[i])) + p.extra
				for rest != "" {
					name, after, _ := strings.Cut(rest, `="`)
					end := 0
					for end = 0; after[end] != '"'; end++ {
						if after[end] == '\\' {
							end++
						}
					}
					pairs[name] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(after[:end])
					rest = strings.TrimPrefix(after[end+1:], ",")
				}
				t := prometheus.GaugeValue
				if f.Type == Counter {
					t = prometheus.CounterValue
				}
				ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(f.Name, f.Help, nil, pairs), t, x)
			}
		}
	}
}

// TestFastPathEqualsClientGolang compares the text with that of client_golang for the
// same rows, in every format.
func TestFastPathEqualsClientGolang(t *testing.T) {
	snap, ns := world(17)
	gone := fmt.Sprintf("%064x", 1<<60)
	ns.ooms = map[string]runtimes.OOM{
		snap.Containers[3].ID: {Info: ns.byID[snap.Containers[3].ID], Events: 2, Last: time.Now()},
		gone:                  {Info: &runtimes.Info{ID: gone, Name: "gone"}, Events: 1, Last: time.Now()},
	}
	c := newTest(Config{NameSet: Both, Host: "h", DockerLabels: []string{"a.b", "none"}}, &fakeSource{snap: snap}, ns)
	ns.idle = []*runtimes.Info{{ID: fmt.Sprintf("%064x", 1<<61), Name: "idle", State: exited(time.Now())}}
	kata := ns.byID[snap.Containers[5].ID]
	kata.State.Runtime = "kata"
	rows, omitted, unnamed := c.rows(snap, ns.ooms)
	if omitted != 0 || unnamed != 0 {
		t.Fatalf("omitted %d, unnamed %d", omitted, unnamed)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(naive{rows, c.ended(rows, ns.ooms, ns.View(), nil), c.families}); err != nil {
		t.Fatal(err)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*dto.MetricFamily{}
	for _, f := range gathered {
		want[f.GetName()] = f
	}
	wantFlat := flat(want)
	// One is unsupported; a container with a row has no exit code.
	if len(wantFlat) < 16*(len(c.families)-2) {
		t.Fatalf("only %d samples to compare", len(wantFlat))
	}
	h := c.Handler(prometheus.NewRegistry())
	got := parse(t, get(t, h).Body.Bytes())
	for name, f := range want {
		g := got[name]
		if g == nil || g.GetType() != f.GetType() || g.GetHelp() != f.GetHelp() {
			t.Errorf("%s: %v, want type %v and help %q", name, g, f.GetType(), f.GetHelp())
		}
	}
	same(t, "text", wantFlat, flat(got))

	packed := get(t, h, "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(packed.Body)
	if err != nil || packed.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("gzip: %v, %v", err, packed.Header())
	}
	unpacked, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "gzip", wantFlat, flat(parse(t, unpacked)))

	binary := get(t, h, "Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	dec := expfmt.NewDecoder(binary.Body, expfmt.ResponseFormat(binary.Header()))
	fromProto := map[string]*dto.MetricFamily{}
	for {
		var f dto.MetricFamily
		if err := dec.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		fromProto[f.GetName()] = proto.Clone(&f).(*dto.MetricFamily)
	}
	same(t, "protobuf", wantFlat, flat(fromProto))

	om := get(t, h, "Accept", "application/openmetrics-text;version=1.0.0").Body.String()
	if !strings.HasSuffix(om, "\n# EOF\n") || strings.Count(om, "# EOF") != 1 {
		t.Error("OpenMetrics does not end with # EOF")
	}
	if !strings.Contains(om, "# TYPE estiba_container_cpu_seconds counter\n") || !strings.Contains(om, "\nestiba_container_cpu_seconds_total{") {
		t.Error("OpenMetrics: a counter keeps its suffix in TYPE or loses it in the sample")
	}
}

func same(t *testing.T, format string, want, got map[string]float64) {
	t.Helper()
	for key, v := range want {
		g, ok := got[key]
		if !ok {
			t.Errorf("%s: no %s", format, key)
		} else if math.Abs(g-v) > 1e-12*math.Abs(v) {
			t.Errorf("%s: %s = %v, want %v", format, key, g, v)
		}
	}
	for key := range got {
		name, _, _ := strings.Cut(key, "{")
		ours := strings.Contains(name, "container_") && name != "estiba_container_label_errors"
		if _, ok := want[key]; !ok && ours {
			t.Errorf("%s: %s is too much", format, key)
		}
	}
}

// TestFailureIsASample checks the samples without a snapshot.
func TestFailureIsASample(t *testing.T) {
	src := &fakeSource{}
	src.set(nil, &source.Failure{Source: source.Kmod, Err: fmt.Errorf("document: %w", source.ErrCut)})
	c := newTest(Config{NameSet: Estiba}, src, fakeNames{})
	h := c.Handler(prometheus.NewRegistry())
	families := parse(t, get(t, h).Body.Bytes())
	for _, d := range selfDescs() {
		if families[d.Name] == nil {
			t.Errorf("%s is missing when the source fails", d.Name)
		}
	}
	values := flat(families)
	for key, want := range map[string]float64{
		`estiba_scrape_success{}`:                                    0,
		`estiba_source_errors_total{reason="cut",source="kmod"}`:     1,
		`estiba_source_errors_total{reason="refused",source="kmod"}`: 0,
		`estiba_source_active{source="kmod"}`:                        0,
		`estiba_source_active{source="cgroup"}`:                      0,
		`estiba_kernel_module_loaded{}`:                              1,
		`estiba_kernel_module_info{schema="",version=""}`:            0,
	} {
		if v, ok := values[key]; !ok || v != want {
			t.Errorf("%s = %v, %v, want %v", key, v, ok, want)
		}
	}
	if n := len(families["estiba_source_errors_total"].Metric); n != len(source.Names())*len(source.Reasons()) {
		t.Errorf("%d error counters, want every combination", n)
	}
	if c.Ready() {
		t.Error("ready without a snapshot")
	}
	snap, _ := world(1)
	src.set(snap, nil)
	values = flat(parse(t, get(t, h).Body.Bytes()))
	if values[`estiba_scrape_success{}`] != 1 || values[`estiba_kernel_module_info{schema="1",version="1.0.0"}`] != 1 || !c.Ready() {
		t.Errorf("after the source came back: %v, ready %v", values, c.Ready())
	}
}

// TestScrapeTimeout: a scrape ends a little before the timeout of Prometheus, and never
// after the configured one.
func TestScrapeTimeout(t *testing.T) {
	h := newTest(Config{}, &fakeSource{}, fakeNames{}).Handler(prometheus.NewRegistry()).(*handler)
	for header, want := range map[string]time.Duration{
		"": time.Minute, "10": 9 * time.Second, "0.5": 450 * time.Millisecond, "120": time.Minute,
		"+Inf": time.Minute, "Inf": time.Minute, "infinity": time.Minute, "1e300": time.Minute, "9223372037": time.Minute, "1e400": time.Minute,
		"NaN": time.Minute, "-1": time.Minute, "-Inf": time.Minute, "0": time.Minute, "10s": time.Minute,
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
		if got := h.timeout(r); got != want {
			t.Errorf("header %q: %s, want %s", header, got, want)
		}
	}
}

func TestLimitAndDuplicatesAreCounted(t *testing.T) {
	snap, ns := world(5)
	snap.Containers = append(snap.Containers, snap.Containers[0]) // the same id again
	other := source.Container{ID: snap.Containers[0].ID[:12] + strings.Repeat("f", 52)}
	snap.Containers = append(snap.Containers, other) // the same label id
	snap.Host.Set(source.ContainersFound, uint64(len(snap.Containers)+3))
	for limit, want := range map[int]string{4: "4 6", 20: "5 5"} {
		c := newTest(Config{NameSet: Estiba, Limit: limit}, &fakeSource{snap: snap}, ns)
		families := parse(t, get(t, c.Handler(prometheus.NewRegistry())).Body.Bytes())
		v := flat(families)
		if got := fmt.Sprint(v[`estiba_containers{}`], v[`estiba_containers_omitted{}`]); got != want {
			t.Errorf("limit %d: containers and omitted %s, want %s", limit, got, want)
		}
		if n := len(families["estiba_container_processes"].Metric); fmt.Sprint(n) != want[:1] {
			t.Errorf("limit %d: %d series", limit, n)
		}
	}
}

// TestEndedContainersHaveNoSamples: an exited container is neither counted nor exported
// nor missed, even if it runs again with the same id.
func TestEndedContainersHaveNoSamples(t *testing.T) {
	snap, ns := world(3)
	again := snap.Containers[0]
	again.State = source.Ended
	again.Set(source.CPU, 1)
	snap.Containers[0].State = source.Running
	snap.Containers[2].State = source.Ended
	snap.Containers = append(snap.Containers, again)
	snap.Host.Set(source.ContainersFound, 2)
	for _, set := range []NameSet{Estiba, CAdvisor} {
		c := newTest(Config{NameSet: set}, &fakeSource{snap: snap}, ns)
		text := get(t, c.Handler(prometheus.NewRegistry())).Body.String()
		v := flat(parse(t, []byte(text)))
		if v[`estiba_containers{}`] != 2 || v[`estiba_containers_omitted{}`] != 0 {
			t.Errorf("%s: %v containers, %v omitted, want 2 and 0", set, v[`estiba_containers{}`], v[`estiba_containers_omitted{}`])
		}
		if gone := snap.Containers[2].ID[:12]; strings.Contains(text, gone) {
			t.Errorf("%s: %s ended and is published", set, gone)
		}
	}
}

// TestEveryPublishedMetricIsDescribed compares the descriptors with a full exposition.
func TestEveryPublishedMetricIsDescribed(t *testing.T) {
	snap, ns := world(3)
	ns.byID[snap.Containers[2].ID].State.Runtime = "io.containerd.kata.v2"
	snap.Interfaces = map[string][]source.Interface{snap.Containers[0].ID: {{Name: "eth0"}}}
	snap.Containers[0].HasOpenFiles = true
	ns.idle = []*runtimes.Info{{ID: strings.Repeat("e", 64), State: exited(time.Now())}}
	for _, set := range []NameSet{Estiba, CAdvisor, Both} {
		c := newTest(Config{NameSet: set, Interfaces: true, OpenFiles: true}, &fakeSource{snap: snap}, ns)
		families := parse(t, get(t, c.Handler(prometheus.NewRegistry())).Body.Bytes())
		for _, d := range Descs(set) {
			f := families[d.Name]
			if f == nil {
				t.Errorf("%s: %s is described and not published", set, d.Name)
				continue
			}
			var have []string
			for _, l := range f.Metric[0].Label {
				have = append(have, l.GetName())
			}
			want := append([]string(nil), d.Labels...)
			sort.Strings(have)
			sort.Strings(want)
			if strings.Join(have, " ") != strings.Join(want, " ") || strings.ToLower(f.GetType().String()) != string(d.Type) {
				t.Errorf("%s: %s is a %s with labels %v, described as %s with %v", set, d.Name, f.GetType(), have, d.Type, want)
			}
			delete(families, d.Name)
		}
		for name := range families {
			t.Errorf("%s: %s is published and not described", set, name)
		}
	}
	series := 0
	for _, f := range containerFamilies() {
		series += len(f.points)
	}
	// 33; one more for a container whose memory is limited, three for one whose CPU is,
	// one for one with a health check. One that ended has an exit code and none of
	// most others, one that is not understood says so.
	if series > 33+1+3+1+2 {
		t.Errorf("%d series a container, want at most 40", series)
	}
}

// TestInterfaces: one series per interface, with both names, only with the option.
func TestInterfaces(t *testing.T) {
	snap, ns := world(2)
	id := snap.Containers[1].ID
	ns.byID[id].Name = "n"
	snap.Interfaces = map[string][]source.Interface{id: {{Name: "eth0", Counts: [8]uint64{1, 2, 3, 4, 5, 6, 7, 8}}, {Name: `e"1`, Counts: [8]uint64{11}}}}
	text := func(on bool) string {
		return get(t, newTest(Config{NameSet: Both, Interfaces: on, Host: "h"}, &fakeSource{snap: snap}, ns).Handler(prometheus.NewRegistry())).Body.String()
	}
	got := flat(parse(t, []byte(text(true))))
	for name, want := range map[string]float64{
		"receive_bytes": 1, "receive_packets": 2, "receive_errors": 3, "receive_dropped": 4, "transmit_bytes": 5, "transmit_packets": 6,
		"transmit_errors": 7, "transmit_dropped": 8,
	} {
		if v, ok := got[fmt.Sprintf(`estiba_container_interface_%s_total{host="h",id=%q,interface="eth0",name="n"}`, name, id[:12])]; !ok || v != want {
			t.Errorf("%s: %v, %v, want %v", name, v, ok, want)
		}
	}
	if v := got[fmt.Sprintf(`estiba_container_interface_receive_bytes_total{host="h",id=%q,interface=%q,name="n"}`, id[:12], `e"1`)]; v != 11 {
		t.Errorf("the second interface: %v, want 11", v)
	}
	if v := got[`container_network_receive_packets_dropped_total{host="h",id="/docker/1",image="im/age:1",interface="eth0",name="n"}`]; v != 4 {
		t.Errorf("under cAdvisor's name: %v, want 4", v)
	}
	if strings.Contains(text(false), `interface="eth0"`) {
		t.Error("exported without the option")
	}
}

// TestOpenFiles: with both names, if known, only with the option.
func TestOpenFiles(t *testing.T) {
	snap, ns := world(3)
	id := snap.Containers[1].ID
	ns.byID[id].Name = "n"
	snap.Containers[1].OpenFiles, snap.Containers[1].HasOpenFiles = 42, true
	snap.Containers[2].HasOpenFiles = true
	text := func(set NameSet, on bool) string {
		return get(t, newTest(Config{NameSet: set, OpenFiles: on, Host: "h"}, &fakeSource{snap: snap}, ns).Handler(prometheus.NewRegistry())).Body.String()
	}
	for set, names := range map[NameSet][]string{
		Estiba: {"estiba_container_open_files"}, CAdvisor: {"container_file_descriptors"}, Both: {"estiba_container_open_files", "container_file_descriptors"},
	} {
		on, off := text(set, true), text(set, false)
		for _, name := range []string{"estiba_container_open_files", "container_file_descriptors"} {
			want := 0
			if slices.Contains(names, name) {
				want = 2
			}
			if n := strings.Count(on, "\n"+name+"{"); n != want {
				t.Errorf("%s: %d samples of %s, want %d", set, n, name, want)
			}
			if strings.Contains(off, name) {
				t.Errorf("%s: %s exported without the option", set, name)
			}
		}
	}
	got := flat(parse(t, []byte(text(Both, true))))
	for name, want := range map[string]float64{
		fmt.Sprintf(`estiba_container_open_files{host="h",id=%q,name="n"}`, id[:12]):                                                        42,
		fmt.Sprintf(`estiba_container_open_files{host="h",id=%q,name=%q}`, snap.Containers[2].ID[:12], ns.byID[snap.Containers[2].ID].Name): 0,
		`container_file_descriptors{host="h",id="/docker/1",image="im/age:1",name="n"}`:                                                     42,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %v, %v, want %v", name, v, ok, want)
		}
	}
}

// TestCPULimit: a limit in cores without insignificant digits, and periods only for a
// container that has, or had, a limit.
func TestCPULimit(t *testing.T) {
	const quota, period, periods, throttled = source.CPUQuota, source.CPUPeriod, source.CPUPeriods, source.CPUThrottledPeriods
	for name, tt := range map[string]struct {
		is                        map[source.Field]uint64
		cores, periods, throttled string
	}{
		"half a core":      {map[source.Field]uint64{quota: 50e6, period: 100e6, periods: 7, throttled: 3}, "0.5", "7", "3"},
		"not used yet":     {map[source.Field]uint64{quota: 250e6, period: 100e6, periods: 0, throttled: 0}, "2.5", "0", "0"},
		"a third":          {map[source.Field]uint64{quota: 33333e3, period: 100e6}, "0.33333", "", ""},
		"two thirds":       {map[source.Field]uint64{quota: 2e6, period: 3e6}, "0.666667", "", ""},
		"64 cores":         {map[source.Field]uint64{quota: 6400e6, period: 100e6}, "64", "", ""},
		"lifted":           {map[source.Field]uint64{period: 100e6, periods: 7, throttled: 3}, "", "7", "3"},
		"never limited":    {map[source.Field]uint64{period: 100e6, periods: 0, throttled: 0}, "", "", ""},
		"nothing is known": {nil, "", "", ""},
		"no period":        {map[source.Field]uint64{quota: 50e6, period: 0}, "", "", ""},
	} {
		snap, ns := world(1)
		fresh := source.Container{ID: snap.Containers[0].ID}
		for f, v := range tt.is {
			fresh.Set(f, v)
		}
		snap.Containers[0] = fresh
		text := get(t, newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, ns).Handler(prometheus.NewRegistry())).Body.String()
		for metric, want := range map[string]string{"limit_cores": tt.cores, "periods_total": tt.periods, "throttled_periods_total": tt.throttled} {
			_, after, there := strings.Cut(text, "\nestiba_container_cpu_"+metric+"{")
			_, value, _ := strings.Cut(after, "} ")
			value, _, _ = strings.Cut(value, "\n")
			if there != (want != "") || there && value != want {
				t.Errorf("%s: %s %q, %v, want %q", name, metric, value, there, want)
			}
		}
	}
}

func TestLabelID(t *testing.T) {
	full := strings.Repeat("0123456789abcdef", 4)
	pidOnly := source.Container{}
	pidOnly.Set(source.PID, 42)
	for want, c := range map[string]source.Container{
		"0123456789ab":          {ID: full},
		"pid-42":                pidOnly,
		"my-container-number-1": {ID: "my-container-number-1"},
		strings.ToUpper(full):   {ID: strings.ToUpper(full)},
	} {
		if got := labelID(&c); got != want {
			t.Errorf("labelID(%q) = %q, want %q", c.ID, got, want)
		}
	}
}

func TestConcurrentScrapes(t *testing.T) {
	snap, ns := world(50)
	src := &fakeSource{snap: snap}
	h := newTest(Config{NameSet: Both}, src, ns).Handler(prometheus.NewRegistry())
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if n := strings.Count(w.Body.String(), "\nestiba_container_processes{"); n != 50 {
				t.Errorf("%d containers, want 50", n)
			}
		}()
	}
	wg.Wait()
}

func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{200, 1000, 10000} {
		snap, ns := world(n)
		ns.view = ns.View()
		h := newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, ns).Handler(prometheus.NewRegistry())
		for _, encoding := range []string{"identity", "gzip"} {
			b.Run(fmt.Sprintf("%d/%s", n, encoding), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					get(b, h, "Accept-Encoding", encoding)
				}
			})
		}
	}
}
