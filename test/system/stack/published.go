package stack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
)

// SeedWithAllKinds makes a generator's batch of twelve hold every kind in both loads.
const SeedWithAllKinds = "10"

// IsPublished waits until the exporter has each running container by name,
// with its kind and full id.
func (s *Stack) IsPublished(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, s.Patience, "every running container is in /metrics by name", func() bool {
		body, err := Fetch("http://" + s.Exporter + "/metrics")
		if err != nil {
			t.Logf("scrape: %v", err)
			return false
		}
		for name, c := range s.Running(t) {
			info := infoLine(string(body), name)
			if info == "" || !strings.Contains(info, fmt.Sprintf("kind=%q", c.Labels[container.LabelKind])) ||
				!strings.Contains(info, fmt.Sprintf("container_id=%q", c.ID)) {
				return false
			}
		}
		return true
	})
}

func infoLine(metrics, name string) string {
	for _, line := range strings.Split(metrics, "\n") {
		if strings.HasPrefix(line, "estiba_container_info{") && strings.Contains(line, fmt.Sprintf("name=%q", name)) {
			return line
		}
	}
	return ""
}

// Floors are what a container of high load shows at least, in the metric of
// its kind. An emulated machine gets less done.
type Floors struct {
	CPUPercent, RSSBytes, IORate, DiskBytesRate float64
}

// IsMeasured waits until Prometheus has the generated containers as what they
// are called: each high one shows in the metric of its kind and has class high.
func (s *Stack) IsMeasured(t *testing.T, floors Floors) {
	t.Helper()
	high := func(kind container.Kind) []string { return s.generated(t, kind, "high") }
	over := func(query string, floor float64, kind container.Kind) {
		t.Helper()
		testutil.Eventually(t, s.Patience, fmt.Sprintf("%s over %g of each high container of kind %s", query, floor, kind), func() bool {
			values := s.ByName(t, query)
			for _, name := range high(kind) {
				if values[name] <= floor {
					return false
				}
			}
			return true
		})
	}
	over("estiba:container_cpu_usage:percent", floors.CPUPercent, container.KindCPU)
	over("estiba_container_memory_rss_bytes", floors.RSSBytes, container.KindRAM)
	over("estiba:container_io_activity:rate30s", floors.IORate, container.KindIO)
	over("estiba:container_disk_io:bytes_rate30s", floors.DiskBytesRate, container.KindDisk)
	for _, kind := range container.Kinds() {
		over(`estiba:container_class{class="high"}`, 0, kind)
	}
}

// AreToldApart waits until each low container has class low and no other, and
// each high one the kind that it declares.
func (s *Stack) AreToldApart(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, s.Patience, "each generated container has the one class it should", func() bool {
		highNow, lowNow := s.ByName(t, `estiba:container_class{class="high"}`), s.ByName(t, `estiba:container_class{class="low"}`)
		for _, kind := range container.Kinds() {
			for _, load := range []string{"high", "low"} {
				for _, name := range s.generated(t, kind, load) {
					_, isHigh := highNow[name]
					_, isLow := lowNow[name]
					if isHigh == isLow || isHigh != (load == "high") {
						return false
					}
				}
			}
		}
		return true
	})
	testutil.Eventually(t, s.Patience, "the kind of each high container is the declared one", func() bool {
		for _, k := range container.Kinds() {
			got := s.ByName(t, fmt.Sprintf(`estiba:container_kind{kind=%q}`, k))
			for _, name := range s.generated(t, k, "high") {
				if _, ok := got[name]; !ok {
					return false
				}
			}
		}
		return true
	})
}

// generated lists the generator's running containers of a kind and load.
func (s *Stack) generated(t *testing.T, kind container.Kind, load string) []string {
	t.Helper()
	var names []string
	for name, c := range s.Running(t) {
		if c.Labels[container.LabelKind] == string(kind) && c.Labels[container.LabelLoad] == load {
			names = append(names, name)
		}
	}
	return names
}

// KillsAreNotified waits until Alertmanager has the alert about killed containers.
func (s *Stack) KillsAreNotified(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, s.Patience, "Alertmanager has the alert about killed containers", func() bool {
		body, err := Fetch("http://" + s.Alertmanager + "/api/v2/alerts")
		return err == nil && strings.Contains(string(body), "EstibaContainerKilled")
	})
}

// DashboardsHaveData runs every query of every dashboard: all but those that
// may be empty while containers run have to answer with data.
func (s *Stack) DashboardsHaveData(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	var missing []string
	asked := 0
	// Rates need two scrapes of a manager that has only just started.
	for deadline := time.Now().Add(s.Patience * 3 / 4); ; time.Sleep(time.Second) {
		answers, err := queries.CheckAgainst(ctx, "http://"+s.Prometheus)
		if err != nil {
			t.Fatal(err)
		}
		asked, missing = len(answers), nil
		for _, a := range answers {
			if a.Err != nil || a.Empty() || a.Series == 0 && a.MayBeEmpty == grafana.NoContainer {
				missing = append(missing, fmt.Sprintf("dashboard %s, %s: %d series, %v\n%s", a.Dashboard, a.Panel, a.Series, a.Err, a.Asked))
			}
		}
		if asked > 0 && missing == nil || time.Now().After(deadline) {
			break
		}
	}
	if asked == 0 {
		t.Fatal("the dashboards have no queries")
	}
	for _, text := range missing {
		t.Error(text)
	}
	t.Logf("%d queries of the dashboards asked", asked)
}
