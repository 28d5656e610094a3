// Package victoriametrics holds what docs/existing-prometheus.md says about vmagent,
// vmalert and VictoriaMetrics: they take the shipped scrape configuration and rules, and
// the dashboards show with them what they show with Prometheus.
package victoriametrics

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// side is one of the two: a store with its scraper and its rules.
type side struct {
	stack.Stack
	rules string // host:port with /api/v1/rules
}

// world is one host whose exporter and manager are scraped by both.
type world struct {
	t                    *testing.T
	engine               *testutil.Engine
	prometheus, victoria side
	exporter             *testutil.Process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, root := t.TempDir(), testutil.RepositoryRoot(t)
	w := &world{t: t, engine: testutil.StartEngine(t)}
	addresses := stack.Addresses{
		Exporter: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t), Prometheus: testutil.FreeAddress(t), Alertmanager: testutil.FreeAddress(t),
	}
	w.prometheus = side{stack.Stack{Addresses: addresses, Patience: 2 * time.Minute}, addresses.Prometheus}
	config := stack.PrometheusConfig(t, root, filepath.Join(dir, "config"), addresses)

	// Before the first scrape, so that both see the same containers under the same names.
	generator := exec.Command(testutil.Build(t, "./generator"), "once", "--batch=6", "--seed="+stack.SeedWithAllKinds,
		"--docker.host="+w.engine.Host, "--lock-file="+filepath.Join(t.TempDir(), "lock"))
	if out, err := generator.CombinedOutput(); err != nil {
		t.Fatalf("generator: %v\n%s", err, out)
	}
	w.exporter = testutil.StartProcess(t, "exporter", testutil.Build(t, "./exporter"), "--web.listen-address="+addresses.Exporter, "--docker.host="+w.engine.Host)
	w.prometheus.Ready(t, addresses.Exporter)
	testutil.Eventually(t, time.Minute, "all containers have names", func() bool {
		return stack.Scraped(t, addresses.Exporter, "estiba_containers") == 6 && stack.Scraped(t, addresses.Exporter, "estiba_containers_unnamed") == 0
	})
	testutil.StartProcess(t, "prometheus", testutil.Tool(t, "prometheus"),
		"--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "prometheus"), "--web.listen-address="+addresses.Prometheus)
	w.prometheus.Ready(t, addresses.Prometheus)
	// It removes nothing: the containers stay the same for both sides.
	testutil.StartProcess(t, "manager", testutil.Build(t, "./manager"), "run", "--dry-run",
		"--config.file="+filepath.Join(root, "manager", "policies", "one-of-each-kind.yml"), "--prometheus.url=http://"+addresses.Prometheus,
		"--docker.host="+w.engine.Host, "--web.listen-address="+addresses.Manager, "--audit.file="+filepath.Join(dir, "audit.jsonl"))

	store, agent, alert := testutil.FreeAddress(t), testutil.FreeAddress(t), testutil.FreeAddress(t)
	testutil.StartProcess(t, "victoria-metrics", testutil.Tool(t, "victoria-metrics"),
		"-storageDataPath="+filepath.Join(dir, "store"), "-httpListenAddr="+store)
	// vmagent has no rules and no alerting, and rejects them by default.
	testutil.StartProcess(t, "vmagent", testutil.Tool(t, "vmagent"),
		"-promscrape.config="+config, "-promscrape.config.strictParse=false", "-remoteWrite.url=http://"+store+"/api/v1/write",
		"-remoteWrite.tmpDataPath="+filepath.Join(dir, "agent"), "-httpListenAddr="+agent)
	testutil.StartProcess(t, "vmalert", testutil.Tool(t, "vmalert"),
		"-rule="+filepath.Join(root, "prometheus", "rules", "*.rules.yml"), "-evaluationInterval=5s",
		"-datasource.url=http://"+store, "-remoteWrite.url=http://"+store, "-remoteRead.url=http://"+store,
		"-notifier.blackhole", "-httpListenAddr="+alert)
	addresses.Prometheus = store
	w.victoria = side{stack.Stack{Addresses: addresses, Patience: 2 * time.Minute}, alert}
	return w
}

// dashboards returns how many series each query of the dashboards has, and what is wrong
// with it.
func (s *side) dashboards(t *testing.T) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	answers, err := queries.CheckAgainst(ctx, "http://"+s.Prometheus)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, a := range answers {
		all[fmt.Sprintf("%s, %s: %s", a.Dashboard, a.Panel, a.Expr)] = fmt.Sprintf("%d series, error %v", a.Series, a.Err)
	}
	return all
}

// recorded returns the values of a recorded series by its labels.
func (s *side) recorded(t *testing.T, name string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, one := range s.Query(t, name) {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(one.Labels)) {
			// vmalert adds its own: the group that recorded it.
			if key != "__name__" && key != "alertgroup" {
				labels = append(labels, key+"="+one.Labels[key])
			}
		}
		all[strings.Join(labels, " ")] = one.Samples[0].Value
	}
	return all
}

// alert returns the state of an alert: firing, pending or "".
func (s *side) alert(t *testing.T, name string) string {
	t.Helper()
	body, err := stack.Fetch("http://" + s.rules + "/api/v1/alerts")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	for _, one := range answer.Data.Alerts {
		if one.Labels["alertname"] == name {
			return one.State
		}
	}
	return ""
}

// unhealthy returns the rules whose last evaluation failed, and the number of all rules.
func (s *side) unhealthy(t *testing.T) (failed []string, all int) {
	t.Helper()
	body, err := stack.Fetch("http://" + s.rules + "/api/v1/rules")
	if err != nil {
		return []string{err.Error()}, 0
	}
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	for _, group := range answer.Data.Groups {
		for _, rule := range group.Rules {
			if all++; rule.Health != "ok" {
				failed = append(failed, fmt.Sprintf("%s: %s: %s", rule.Name, rule.Health, rule.LastError))
			}
		}
	}
	return failed, all
}

// differences lists what differs between two maps.
func differences[V any](one, other map[string]V, same func(a, b V) bool) (list []string) {
	for _, key := range slices.Sorted(maps.Keys(one)) {
		if v, ok := other[key]; !ok || !same(one[key], v) {
			list = append(list, fmt.Sprintf("%s: Prometheus %v, VictoriaMetrics %v", key, one[key], other[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(other)) {
		if _, ok := one[key]; !ok {
			list = append(list, fmt.Sprintf("%s: only in VictoriaMetrics: %v", key, other[key]))
		}
	}
	return list
}

// agree waits until two maps of both sides are the same.
func agree[V any](w *world, what string, get func(*side) map[string]V, same func(a, b V) bool) {
	w.t.Helper()
	var left []string
	compared := 0
	deadline := time.Now().Add(w.victoria.Patience)
	for {
		one := get(&w.prometheus)
		compared = len(one)
		left = differences(one, get(&w.victoria), same)
		if len(one) == 0 {
			left = []string{"Prometheus has nothing"}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(3 * time.Second)
	}
	w.t.Logf("%s: %d compared", what, compared)
	if len(left) > 0 {
		w.t.Errorf("%s: %d differences\n%s", what, len(left), strings.Join(left, "\n"))
	}
}

func TestVictoriaMetrics(t *testing.T) {
	w := newWorld(t)

	t.Log("every rule is evaluated")
	_, want := w.prometheus.unhealthy(t)
	var last []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("rules that fail in vmalert: %s", strings.Join(last, "\n"))
		}
	})
	testutil.Eventually(t, w.victoria.Patience, "vmalert has evaluated all rules", func() bool {
		failed, all := w.victoria.unhealthy(t)
		last = failed
		return len(failed) == 0 && all == want && all > 0
	})

	t.Log("the recorded series are the same")
	for _, name := range []string{"estiba:container_class", "estiba:container_kind", "estiba:container_memory_usage:percent"} {
		agree(w, name, func(s *side) map[string]float64 { return s.recorded(t, name) },
			func(a, b float64) bool { return math.Abs(a-b) <= 0.1*max(a, b)+0.05 })
	}
	agree(w, "CPU", func(s *side) map[string]float64 { return s.recorded(t, "estiba:container_cpu_usage:percent") },
		func(a, b float64) bool { return math.Abs(a-b) <= 0.3*max(a, b)+5 })

	t.Log("the dashboards have the same data")
	agree(w, "dashboards", func(s *side) map[string]string {
		all := s.dashboards(t)
		// A counter's first value counts as an increase in VictoriaMetrics.
		maps.DeleteFunc(all, func(query, _ string) bool { return strings.HasPrefix(query, "estiba-overview, Throttled") })
		return all
	}, func(a, b string) bool { return a == b })

	t.Log("an alert fires")
	w.exporter.Stop(t)
	stopped := time.Now()
	for _, s := range []*side{&w.prometheus, &w.victoria} {
		testutil.Eventually(t, 3*time.Minute, "EstibaExporterDown fires", func() bool { return s.alert(t, "EstibaExporterDown") == "firing" })
		t.Logf("http://%s: after %s", s.rules, time.Since(stopped).Round(time.Second))
	}
}
