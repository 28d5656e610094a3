// Package history holds what docs/history.md promises: what Prometheus has taken it
// keeps, and what is sent to a central store arrives there.
package history

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/static/contract"
	"github.com/estiba/estiba/test/system/stack"
)

// counted is a series that is one higher at each snapshot, so that a lost sample is
// seen.
const counted = "estiba_snapshot_sequence"

// host is an exporter and its Prometheus with the shipped configuration, scraping
// each second.
type host struct {
	stack.Stack
	t          *testing.T
	dir        string
	config     string
	prometheus *testutil.Process
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), Stack: stack.Stack{Patience: time.Minute, Addresses: stack.Addresses{
		Exporter: testutil.FreeAddress(t), Prometheus: testutil.FreeAddress(t), Alertmanager: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t),
	}}}
	testutil.StartProcess(t, "exporter", testutil.Tool(t, "exporter"), "--web.listen-address="+h.Exporter, "--docker.host=unix:///nobody-there")
	h.config = stack.PrometheusConfig(t, testutil.RepositoryRoot(t), filepath.Join(h.dir, "config"), h.Addresses)
	stack.RewriteYAML(t, h.config, eachSecond)
	return h
}

func eachSecond(root map[string]any) {
	maps.Copy(root["global"].(map[string]any), map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s"})
}

func (h *host) start(args ...string) {
	h.t.Helper()
	h.prometheus = testutil.StartProcess(h.t, "prometheus", append([]string{
		testutil.Tool(h.t, "prometheus"),
		"--config.file=" + h.config, "--storage.tsdb.path=" + filepath.Join(h.dir, "data"), "--web.listen-address=" + h.Prometheus,
	}, args...)...)
	h.Ready(h.t, h.Prometheus)
}

// values are all samples of counted so far, the oldest first.
func values(t *testing.T, s *stack.Stack, selector string) []float64 {
	t.Helper()
	list := s.Query(t, counted+selector+"[1h]")
	if len(list) > 1 {
		t.Fatalf("%d series, want one: %v", len(list), list)
	}
	if len(list) == 0 {
		return nil
	}
	all := make([]float64, 0, len(list[0].Samples))
	for _, one := range list[0].Samples {
		all = append(all, one.Value)
	}
	return all
}

// collect waits for n samples and gives all of them.
func (h *host) collect(n int) (all []float64) {
	h.t.Helper()
	testutil.Eventually(h.t, time.Minute, "samples come in", func() bool {
		all = values(h.t, &h.Stack, "")
		return len(all) >= n
	})
	return all
}

func TestNothingIsLostInARestart(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	all := h.collect(8)
	for what, end := range map[string]func(){
		"kill -9": func() { h.prometheus.Kill() },
		"SIGTERM": func() { h.prometheus.Stop(t) },
	} {
		end()
		h.start()
		after := h.collect(len(all) + 3)
		if !slices.Equal(after[:len(all)], all) {
			t.Errorf("after %s the history begins with %v, it was %v", what, after[:len(all)], all)
		}
		all = after
	}
}

// A snapshot is a whole history, and Prometheus starts on it.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start("--web.enable-admin-api")
	all := h.collect(5)
	answer, err := http.Post("http://"+h.Prometheus+"/api/v1/admin/tsdb/snapshot", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var made struct {
		Status string
		Data   struct{ Name string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil || made.Status != "success" {
		t.Fatalf("%+v, %v", made, err)
	}
	h.prometheus.Stop(t)
	if err := os.Rename(filepath.Join(h.dir, "data", "snapshots", made.Data.Name), filepath.Join(h.dir, "restored")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(h.dir, "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(h.dir, "restored"), filepath.Join(h.dir, "data")); err != nil {
		t.Fatal(err)
	}
	h.start()
	if after := h.collect(len(all)); !slices.Equal(after[:len(all)], all) {
		t.Errorf("restored: %v, it was %v", after, all)
	}
}

// store is a central Prometheus that takes what others send.
type store struct {
	stack.Stack
	t          *testing.T
	dir        string
	prometheus *testutil.Process
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{t: t, dir: t.TempDir(), Stack: stack.Stack{Patience: time.Minute, Addresses: stack.Addresses{Prometheus: testutil.FreeAddress(t)}}}
	if err := os.WriteFile(filepath.Join(s.dir, "prometheus.yml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

func (s *store) start() {
	s.t.Helper()
	s.prometheus = testutil.StartProcess(s.t, "store", testutil.Tool(s.t, "prometheus"), "--web.enable-remote-write-receiver",
		"--config.file="+filepath.Join(s.dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+s.Prometheus)
	s.Ready(s.t, s.Prometheus)
}

// to sends to the store in place of the example's address.
func (s *store) to(root map[string]any) {
	for _, one := range root["remote_write"].([]any) {
		settings := one.(map[string]any)
		settings["url"] = "http://" + s.Prometheus + "/api/v1/write"
		delete(settings, "basic_auth")
	}
}

// gapless waits until the store has what was scraped up to now, and fails if it has
// not all of it. The store is away for a while in between.
func (s *store) gapless(t *testing.T) {
	t.Helper()
	const selector = `{host="box1"}`
	some := func(n int) (all []float64) {
		testutil.Eventually(t, time.Minute, "samples arrive", func() bool {
			all = values(t, &s.Stack, selector)
			return len(all) >= n
		})
		return all
	}
	before := some(3)
	s.prometheus.Kill()
	time.Sleep(6 * time.Second) // the outage
	s.start()
	all := some(len(before) + 10)
	for i := range all[1:] {
		// Two scrapes close together, after a late one, get the same snapshot.
		if all[i+1] != all[i]+1 && all[i+1] != all[i] {
			t.Fatalf("after %v comes %v: something was lost on the way (%v)", all[i], all[i+1], all)
		}
	}
}

func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	s, h := newStore(t), newHost(t)
	stack.AddYAML(t, h.config, filepath.Join(testutil.RepositoryRoot(t), "prometheus", "examples", "remote-write.yml"))
	stack.RewriteYAML(t, h.config, s.to)
	// The store ends first, and samples of its last second would be waited for.
	h.start("--storage.remote.flush-deadline=1s")
	s.gapless(t)
	if own := h.Query(t, `count({host!=""})`); len(own) > 0 {
		t.Errorf("the host's own answers carry the store's label: %v", own)
	}
	asked, err := contract.Others()
	if err != nil {
		t.Fatal(err)
	}
	wanted := "estiba.*|scrape_.*"
	for _, m := range asked {
		wanted += "|" + m.Name
	}
	if foreign := s.Query(t, `count({host="box1", __name__!~"`+wanted+`"})`); len(foreign) > 0 {
		t.Errorf("%v unexpected series", foreign[0].Samples)
	}
	if rules := s.Query(t, `{host="box1", __name__=~"ALERTS|estiba:.*"}`); len(rules) == 0 {
		t.Error("neither alerts nor recorded series came")
	}
}

func TestAgent(t *testing.T) {
	t.Parallel()
	s, h := newStore(t), newHost(t)
	example, err := os.ReadFile(filepath.Join(testutil.RepositoryRoot(t), "prometheus", "examples", "agent.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.config, example, 0o644); err != nil {
		t.Fatal(err)
	}
	stack.RewriteYAML(t, h.config, s.to)
	stack.RewriteYAML(t, h.config, eachSecond)
	agent := "--agent"
	if testutil.Before(t, testutil.Tool(t, "prometheus"), "3.0") {
		agent = "--enable-feature=agent"
	}
	testutil.StartProcess(t, "agent", testutil.Tool(t, "prometheus"), agent, "--config.file="+h.config,
		"--storage.agent.path="+filepath.Join(h.dir, "agent"), "--storage.remote.flush-deadline=1s", "--web.listen-address="+h.Prometheus)
	s.gapless(t)
}
