package contract

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/status"
)

// TestDescriptors compares the descriptors of both programs with the contract, in both
// directions.
func TestDescriptors(t *testing.T) {
	got, want := map[string]bool{}, map[string]bool{}
	line := func(name, kind string, labels []string) string {
		return fmt.Sprintf("%s %s {%s}", name, kind, strings.Join(sorted(labels), ","))
	}
	for _, d := range collector.Descs(collector.Estiba) {
		got[line(d.Name, string(d.Type), d.Labels)] = true
	}
	for _, d := range status.Descriptors() {
		got[line(d.Name, d.Type, d.Labels)] = true
	}
	for _, m := range ownMetrics(t) {
		want[line(m.Name, m.Type, m.Labels)] = true
	}
	equal(t, "descriptors", got, want)
}

// TestExporterPublishes scrapes the exporter with a document of the module, and without
// it.
func TestExporterPublishes(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	samples := filepath.Join(testutil.RepositoryRoot(t), "kmod", "schema", "samples")
	for _, c := range []struct {
		file             string
		containers, host bool // whether they are published
	}{
		{"full.json", true, true},
		{"no-containers.json", false, true},
		{"absent.json", false, false},
	} {
		t.Run(c.file, func(t *testing.T) {
			families := scrape(t, "exporter", bin, "--source=kmod", "--source.kmod-file="+filepath.Join(samples, c.file),
				"--docker.host=unix://"+filepath.Join(t.TempDir(), "none.sock"))
			published(t, families, "estiba_", "estiba_manager_")
			for name, want := range map[string]bool{
				"estiba_container_info": c.containers, "estiba_container_cpu_seconds_total": c.containers, "estiba_host_cpus": c.host,
			} {
				if _, ok := families[name]; ok != want {
					t.Errorf("%s is published: %v, want %v", name, ok, want)
				}
			}
		})
	}
}

// TestManagerPublishes runs the manager without Prometheus and Docker: the metrics that
// are always present must be present.
func TestManagerPublishes(t *testing.T) {
	bin := testutil.Build(t, "./manager")
	for _, policy := range []string{"one-of-each-kind.yml", "high-low.yml"} {
		t.Run(policy, func(t *testing.T) {
			dir := t.TempDir()
			families := scrape(t, "manager", bin, "run", "--prometheus.url=http://"+testutil.FreeAddress(t),
				"--config.file="+filepath.Join(testutil.RepositoryRoot(t), "manager", "policies", policy),
				"--docker.host=unix://"+filepath.Join(dir, "none.sock"), "--audit.file="+filepath.Join(dir, "audit.jsonl"))
			published(t, families, "estiba_manager_", "-")
			// Kills must be counted from 0, or the first one does not fire an alert.
			kills := 0
			for _, m := range families["estiba_manager_kills_total"].GetMetric() {
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				if labels["mode"] == "live" && (labels["outcome"] == "done" || labels["outcome"] == "failed" || labels["outcome"] == "unknown") {
					kills++
				}
			}
			if kills == 0 {
				t.Error("no series of estiba_manager_kills_total with the mode and outcomes that the alerts ask for")
			}
		})
	}
}

// TestHostLabel: with several hosts in one Prometheus, the series of the manager need the
// label host as those of the exporter do.
func TestHostLabel(t *testing.T) {
	none := "--docker.host=unix://" + filepath.Join(t.TempDir(), "none.sock")
	for name, args := range map[string][]string{
		"exporter": {"--source=kmod", "--source.kmod-file=" + filepath.Join(testutil.RepositoryRoot(t), "kmod", "schema", "samples", "full.json")},
		"manager":  {"run", "--prometheus.url=http://" + testutil.FreeAddress(t), "--audit.file=" + filepath.Join(t.TempDir(), "audit.jsonl")},
	} {
		seen := 0
		for family, f := range scrape(t, name, testutil.Build(t, "./"+name), append(args, none, "--host=box1")...) {
			if !strings.HasPrefix(family, "estiba") {
				continue
			}
			for _, sample := range f.GetMetric() {
				host := ""
				for _, l := range sample.GetLabel() {
					if l.GetName() == "host" {
						host = l.GetValue()
					}
				}
				if seen++; host != "box1" {
					t.Errorf("%s: %s has the host %q, want box1", name, family, host)
					break
				}
			}
		}
		if seen < 20 {
			t.Errorf("%s: only %d series", name, seen)
		}
	}
}

// published checks each family with the prefix, and without the other one, against the
// contract, and the presence of those that are always present.
func published(t *testing.T, families map[string]*dto.MetricFamily, prefix, not string) {
	t.Helper()
	for _, m := range ownMetrics(t) {
		if !strings.HasPrefix(m.Name, prefix) || strings.HasPrefix(m.Name, not) {
			continue
		}
		f, ok := families[m.Name]
		if !ok {
			if m.Always {
				t.Errorf("%s is not published", m.Name)
			}
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); kind != m.Type {
			t.Errorf("%s is a %s, the contract says %s", m.Name, kind, m.Type)
		}
		for _, sample := range f.GetMetric() {
			var names []string
			for _, l := range sample.GetLabel() {
				names = append(names, l.GetName())
			}
			if got, want := fmt.Sprint(sorted(names)), fmt.Sprint(sorted(m.Labels)); got != want {
				t.Errorf("%s has the labels %s, the contract says %s", m.Name, got, want)
				break
			}
		}
	}
	listed := map[string]bool{}
	for _, m := range ownMetrics(t) {
		listed[m.Name] = true
	}
	for name := range families {
		if strings.HasPrefix(name, "estiba") && !listed[name] {
			t.Errorf("%s is published and not in the contract", name)
		}
	}
}

// scrape starts a program on a free address and reads its metrics as Prometheus does.
func scrape(t *testing.T, name, bin string, args ...string) map[string]*dto.MetricFamily {
	t.Helper()
	address := testutil.FreeAddress(t)
	testutil.StartProcess(t, name, append([]string{bin, "--web.listen-address=" + address}, args...)...)
	client := http.Client{Timeout: 5 * time.Second}
	var body string
	testutil.Eventually(t, 30*time.Second, name+" answers a scrape", func() bool {
		resp, err := client.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		body = string(data)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("what %s publishes: %v", name, err)
	}
	return families
}

// ownMetrics returns the contract without the recorded series.
func ownMetrics(t *testing.T) []Metric {
	t.Helper()
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	var metrics []Metric
	for _, m := range own {
		if m.Type != "record" {
			metrics = append(metrics, m)
		}
	}
	return metrics
}

func sorted(list []string) []string {
	out := append([]string{}, list...)
	sort.Strings(out)
	return out
}
