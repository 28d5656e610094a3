package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// central is the place where the hosts' figures meet: a Prometheus that receives, with
// the shipped configuration for it.
type central struct {
	place
	stack.Stack
	dir string
}

func newCentral(t *testing.T, n *network) *central {
	t.Helper()
	c := &central{place: n.add(t, "central"), dir: t.TempDir()}
	c.Stack = stack.Stack{Addresses: stack.Addresses{Prometheus: c.watch + ":9090"}, Patience: time.Minute}
	if err := os.CopyFS(filepath.Join(c.dir, "config"), os.DirFS(filepath.Join(testutil.RepositoryRoot(t), "prometheus"))); err != nil {
		t.Fatal(err)
	}
	fleet := filepath.Join(c.dir, "config", "examples", "fleet")
	eachTwoSeconds(t, filepath.Join(fleet, "central.yml"))
	// Two minutes of silence are too long for a test.
	rules, err := os.ReadFile(filepath.Join(fleet, "central.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	sooner := strings.NewReplacer("[6h])) > 60", "[6h])) > 15", "for: 1m", "for: 4s").Replace(string(rules))
	if err := os.WriteFile(filepath.Join(fleet, "central.rules.yml"), []byte(sooner), 0o644); err != nil || len(sooner) != len(rules) {
		t.Fatalf("the alert with shorter times: %v", err)
	}
	c.run(t, "central", "9090", "central.yml", "--web.enable-remote-write-receiver")
	c.Ready(t, c.Prometheus)
	return c
}

func eachTwoSeconds(t *testing.T, config string) {
	t.Helper()
	stack.RewriteYAML(t, config, func(root map[string]any) {
		global := root["global"].(map[string]any)
		for _, key := range []string{"scrape_interval", "scrape_timeout", "evaluation_interval"} {
			global[key] = "2s"
		}
	})
}

// run starts a Prometheus there with one of the configurations for fleets.
func (c *central) run(t *testing.T, name, port, config string, args ...string) {
	t.Helper()
	start(t, c.dir, name, append([]string{
		"nsenter", "--net=/run/netns/central", testutil.Tool(t, "prometheus"),
		"--config.file=" + filepath.Join(c.dir, "config", "examples", "fleet", config),
		"--storage.tsdb.path=" + filepath.Join(c.dir, name), "--web.listen-address=0.0.0.0:" + port,
	}, args...)...)
}

// byHost asks for an instant vector and gives its values by host.
func (c *central) byHost(t *testing.T, promql string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, one := range c.Query(t, promql) {
		values[one.Labels["host"]] = one.Samples[0].Value
	}
	return values
}

// silent are the hosts that are silent by the central store, with
// the state of the alert.
func (c *central) silent(t *testing.T) string {
	t.Helper()
	var list []string
	for _, one := range c.Query(t, `ALERTS{alertname="EstibaHostSilent"}`) {
		list = append(list, one.Labels["host"]+" "+one.Labels["alertstate"])
	}
	return strings.Join(list, ", ")
}

// counted is a series that is another number at each scrape.
const counted = "estiba_snapshot_sequence"

// samples are all samples of counted, the oldest first.
func samples(t *testing.T, s *stack.Stack, selector string) []stack.Sample {
	t.Helper()
	list := s.Query(t, counted+selector+"[1h]")
	if len(list) != 1 {
		t.Logf("%d series of %s%s, want one", len(list), counted, selector)
		return nil
	}
	return list[0].Samples
}

// hasAllOf waits until the central store has every sample since a moment that the
// host's own Prometheus has now.
func (c *central) hasAllOf(t *testing.T, h *host, since time.Time) {
	t.Helper()
	var own []stack.Sample
	testutil.Eventually(t, h.Patience, h.name+" has scraped", func() bool {
		own = slices.DeleteFunc(samples(t, &h.Stack, ""), func(one stack.Sample) bool { return one.At < float64(since.UnixMilli())/1000 })
		return len(own) > 0
	})
	testutil.Eventually(t, 2*time.Minute, "the central store has all of "+h.name, func() bool {
		there := samples(t, &c.Stack, fmt.Sprintf("{host=%q}", h.name))
		return !slices.ContainsFunc(own, func(one stack.Sample) bool { return !slices.Contains(there, one) })
	})
	t.Logf("%s: the central store has all %d samples since %s", h.name, len(own), since.Format(time.TimeOnly))
}
