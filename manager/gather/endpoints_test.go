package gather

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

var noon = time.Unix(1_800_000_000, 0)

// own is the exporter's target.
var own = promql.Target{Known: true, Job: "estiba", Instance: "exporter:10120"}

// scraper is a Prometheus with lists set by the test.
type scraper struct {
	targets, alertmanagers atomic.Pointer[[]string] // hosts; nil: down
}

func (s *scraper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	list := func(from *atomic.Pointer[[]string], key string, one func(host string) string) {
		hosts := from.Load()
		if hosts == nil {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		var all []string
		for _, h := range *hosts {
			all = append(all, one(h))
		}
		fmt.Fprintf(w, `{"status":"success","data":{%q:[%s]}}`, key, strings.Join(all, ","))
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/targets"):
		list(&s.targets, "activeTargets", func(h string) string {
			job, instance := "other", h
			if h == "exporter" {
				job, instance = own.Job, own.Instance
			}
			return fmt.Sprintf(`{"scrapeUrl":"http://%s:9100/metrics","labels":{"job":%q,"instance":%q}}`, h, job, instance)
		})
	case strings.HasSuffix(r.URL.Path, "/alertmanagers"):
		list(&s.alertmanagers, "activeAlertmanagers", func(h string) string { return fmt.Sprintf(`{"url":"http://%s:9093/api/v2/alerts"}`, h) })
	case strings.HasSuffix(r.URL.Path, "/query"):
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	default:
		http.NotFound(w, r)
	}
}

// scraped are endpoints of a scraper. By default no name resolves.
func scraped(t *testing.T) (*endpoints, *scraper) {
	t.Helper()
	s := &scraper{}
	s.alertmanagers.Store(&[]string{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := promql.New(server.URL, "", "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoints(client, "http://127.0.0.1:9090")
	e.resolver.lookup = func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
	return e, s
}

func (s *scraper) scrape(hosts ...string) { s.targets.Store(&hosts) }
func (s *scraper) notify(hosts ...string) { s.alertmanagers.Store(&hosts) }

func named(name string) dockerclient.Container {
	return dockerclient.Container{ID: strings.Repeat("c", 64), Name: name}
}

func at(address string) dockerclient.Container {
	return dockerclient.Container{ID: strings.Repeat("a", 64), Name: "x", Networks: []string{address}}
}

func wantProtections(t *testing.T, e *endpoints, c dockerclient.Container, when string, want ...policy.Protection) {
	t.Helper()
	if got := e.protections(c, ""); !slices.Equal(got, want) {
		t.Errorf("%s: %s is protected by %v, want %v", when, c.Name, got, want)
	}
}

// Without a list of targets there is an error; an empty list, or one without the
// exporter, is incomplete.
func TestIncompleteLists(t *testing.T) {
	e, s := scraped(t)
	db, exporter, am := named("db"), named("exporter"), named("am")
	e.setListed([]dockerclient.Container{db, exporter, am})
	ctx := context.Background()
	refresh := func(after time.Duration, exporter promql.Target, fails bool, when string) {
		t.Helper()
		if err := e.refresh(ctx, noon.Add(after), exporter); (err != nil) != fails {
			t.Errorf("%s: %v", when, err)
		}
	}
	refresh(0, own, true, "Prometheus is down")
	s.scrape()
	refresh(time.Second, own, true, "Prometheus has just started")
	s.scrape("db")
	refresh(2*time.Second, own, true, "the exporter is not on the list")
	wantProtections(t, e, db, "even so", policy.ProtectedByScrapeTarget)
	s.scrape("db", "exporter")
	refresh(3*time.Second, promql.Target{}, true, "there is no snapshot")
	s.notify("am")
	refresh(4*time.Second, own, false, "complete")
	wantProtections(t, e, am, "complete", policy.ProtectedByAlertmanager)

	// A restart of Prometheus loses nothing later, and incomplete lists are requested
	// again in the next tick.
	s.scrape()
	s.notify()
	for after := 2 * time.Minute; after < 10*time.Minute; after += time.Minute {
		refresh(after, own, true, "restarted")
		wantProtections(t, e, db, "restarted", policy.ProtectedByScrapeTarget)
		wantProtections(t, e, am, "restarted", policy.ProtectedByAlertmanager)
	}
	added := named("new")
	e.setListed([]dockerclient.Container{db, exporter, am, added})
	s.scrape("db", "exporter", "new")
	s.notify("am")
	refresh(10*time.Minute+time.Second, own, false, "complete again")
	wantProtections(t, e, added, "at the next tick", policy.ProtectedByScrapeTarget)
}

// A host that is no longer listed is protected until it has been absent for a whole
// period.
func TestShrinkingLists(t *testing.T) {
	e, s := scraped(t)
	db, am := named("db"), named("am")
	e.setListed([]dockerclient.Container{db, am, named("exporter")})
	s.scrape("db", "exporter")
	s.notify("am")
	refresh := func(after time.Duration) {
		t.Helper()
		if err := e.refresh(context.Background(), noon.Add(after), own); err != nil {
			t.Fatal(err)
		}
	}
	refresh(0)
	s.scrape("exporter")
	s.notify()
	refresh(time.Second) // too early
	refresh(60 * time.Second)
	wantProtections(t, e, db, "absent once", policy.ProtectedByScrapeTarget)
	wantProtections(t, e, am, "absent once", policy.ProtectedByAlertmanager)
	s.scrape("exporter", "db")
	refresh(120 * time.Second)
	s.scrape("exporter")
	refresh(180 * time.Second)
	wantProtections(t, e, db, "absent again", policy.ProtectedByScrapeTarget)
	wantProtections(t, e, am, "absent for two minutes")
	refresh(240 * time.Second)
	wantProtections(t, e, db, "absent twice")
}

// Two lists in quick succession, as after a clock was set back, are not enough.
func TestAbsence(t *testing.T) {
	f := &absence{}
	for after, gone := range []bool{false, false, false} {
		if f.missing(noon.Add(time.Duration(after)*derivedTTL/3)) != gone {
			t.Errorf("after %d thirds", after)
		}
	}
	if !f.missing(noon.Add(derivedTTL)) {
		t.Error("it never goes")
	}
	if f = (&absence{since: noon.Add(time.Hour)}); f.missing(noon) || f.missing(noon.Add(time.Second)) {
		t.Error("a clock that was set back takes it away")
	}
}

// A host may be scraped and notified, in any spelling.
func TestHowHostsAreWritten(t *testing.T) {
	e, s := scraped(t)
	s.scrape("exporter", "DB.", "[::ffff:172.18.0.5]", "[fe80::1%25eth0]", "127.0.0.1", "localhost", "host.docker.internal", "0.0.0.0")
	s.notify("db")
	e.setListed([]dockerclient.Container{named("exporter"), named("db")})
	if err := e.refresh(context.Background(), noon, own); err != nil {
		t.Fatal(err)
	}
	got := e.protections(named("Db"), "")
	slices.Sort(got)
	if !slices.Equal(got, []policy.Protection{policy.ProtectedByAlertmanager, policy.ProtectedByScrapeTarget}) {
		t.Errorf("db is protected by %v", got)
	}
	wantProtections(t, e, at("172.18.0.5"), "IPv4 in IPv6", policy.ProtectedByScrapeTarget)
	wantProtections(t, e, at("fe80:0::1"), "with a zone", policy.ProtectedByScrapeTarget)
	for _, c := range []dockerclient.Container{at("127.0.0.1"), at("0.0.0.0"), named("localhost"), named("x"), {ID: strings.Repeat("d", 64)}} {
		wantProtections(t, e, c, "the host's own")
	}
}

// A name that has never resolved may be any container with a network.
func TestNameThatNeverResolved(t *testing.T) {
	e, s := scraped(t)
	s.scrape("exporter", "alias")
	exporter, other, alone := named("exporter"), named("other"), named("alone")
	alone.Networkless = true
	e.setListed([]dockerclient.Container{exporter, other, alone})
	if err := e.refresh(context.Background(), noon, own); err != nil {
		t.Fatal(err)
	}
	wantProtections(t, e, exporter, "never", policy.ProtectedByScrapeTarget, policy.ProtectedByTargetUnknown)
	wantProtections(t, e, other, "never", policy.ProtectedByTargetUnknown)
	wantProtections(t, e, alone, "never")
	if got := e.unresolved(); !slices.Equal(got, []string{"alias"}) {
		t.Errorf("unresolved: %v", got)
	}
	service := named("shop-1")
	service.Labels = map[string]string{"com.docker.compose.service": "alias"}
	e.setListed([]dockerclient.Container{exporter, other, service})
	wantProtections(t, e, other, "it is a service's name")
	e.setListed([]dockerclient.Container{exporter, other})
	wantProtections(t, e, other, "the service is gone", policy.ProtectedByTargetUnknown)
	e.resolver.lookup = func(context.Context, string) ([]string, error) { return []string{"172.18.0.9"}, nil }
	if err := e.refresh(context.Background(), noon.Add(nameRetry+time.Second), own); err != nil {
		t.Fatal(err)
	}
	wantProtections(t, e, other, "resolved")
	wantProtections(t, e, at("172.18.0.9"), "resolved", policy.ProtectedByScrapeTarget)
}

// A probe's target is protected, but an external page makes no container suspect.
func TestProbedHosts(t *testing.T) {
	e, _ := scraped(t)
	e.take(promql.Endpoints{Probed: []string{"shop", "www.example"}}, true, noon)
	e.publish()
	wantProtections(t, e, named("shop"), "probed", policy.ProtectedByScrapeTarget)
	wantProtections(t, e, named("other"), "probed")
}

// Prometheus itself is found by its name.
func TestPrometheusItself(t *testing.T) {
	e := newEndpoints(nil, "http://prometheus:9090")
	wantProtections(t, e, named("prometheus"), "listed or not", policy.ProtectedByPrometheus, policy.ProtectedByTargetUnknown)
	e.setListed([]dockerclient.Container{named("prometheus")})
	wantProtections(t, e, named("prometheus"), "listed", policy.ProtectedByPrometheus)
	wantProtections(t, e, named("other"), "listed")
}

// names runs a resolver with a fake clock.
func names(t *testing.T, lookup func(ctx context.Context, host string) ([]string, error), f func(r *resolver, refresh func(hosts ...string) time.Duration)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		r := newResolver(lookup, func() {})
		f(r, func(hosts ...string) time.Duration {
			set := map[string]bool{}
			for _, h := range hosts {
				set[h] = true
			}
			begun := time.Now()
			r.refresh(context.Background(), begun, set)
			return time.Since(begun)
		})
		time.Sleep(time.Minute) // hanging lookups end
	})
}

func TestLookUpsThatFail(t *testing.T) {
	answer, fail := []string{"10.0.0.1"}, error(nil)
	lookup := func(context.Context, string) ([]string, error) { return answer, fail }
	names(t, lookup, func(r *resolver, refresh func(hosts ...string) time.Duration) {
		expect := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			got, resolved := r.of("db")
			slices.Sort(got)
			if !slices.Equal(got, want) || !resolved {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		refresh("db")
		expect("resolved", "10.0.0.1")
		for _, err := range []error{errors.New("i/o timeout"), nil} { // no address is a failure
			answer, fail = nil, err
			for range 1000 {
				time.Sleep(derivedTTL)
				refresh("db")
			}
			expect("failed for hours", "10.0.0.1")
		}
		answer, fail = []string{"10.0.0.2"}, nil
		time.Sleep(derivedTTL)
		refresh("db")
		expect("another address", "10.0.0.1", "10.0.0.2")
		time.Sleep(derivedTTL)
		refresh("db")
		expect("another address, for a minute", "10.0.0.2")
		refresh()
		if _, resolved := r.of("db"); resolved {
			t.Error("an unused name is kept")
		}
	})
}

// A name server that hangs blocks for a limited time; the number of parallel lookups is
// limited, to one per name.
func TestNameServerThatHangs(t *testing.T) {
	var now, most, asked atomic.Int64
	lookup := func(ctx context.Context, _ string) ([]string, error) {
		asked.Add(1)
		n := now.Add(1)
		defer now.Add(-1)
		for {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	hosts := make([]string, 40)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("host-%d", i)
	}
	names(t, lookup, func(_ *resolver, refresh func(hosts ...string) time.Duration) {
		if d := refresh(hosts...); d != nameWait {
			t.Errorf("waited for %s", d)
		}
		refresh(hosts...)
		if n := most.Load(); n != maxNames {
			t.Errorf("%d look-ups together", n)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := asked.Load(); n != 40 {
			t.Errorf("%d look-ups of 40 names", n)
		}
		if d := refresh(); d != 0 {
			t.Errorf("waited for %s, with nothing to wait for", d)
		}
	})
	// A resolved name is looked up again while others wait.
	hang := false
	names(t, func(ctx context.Context, _ string) ([]string, error) {
		if hang {
			<-ctx.Done()
		}
		return []string{"10.0.0.1"}, ctx.Err()
	}, func(_ *resolver, refresh func(hosts ...string) time.Duration) {
		refresh("db")
		hang = true
		time.Sleep(derivedTTL)
		if d := refresh("db"); d != 0 {
			t.Errorf("waited %s for a name that has resolved", d)
		}
	})
}

// A real Prometheus returns empty lists for some seconds after it is ready. When there
// is no error, the lists are complete.
func TestPrometheusThatHasJustStarted(t *testing.T) {
	program := testutil.Tool(t, "prometheus")
	dir := t.TempDir()
	address := testutil.FreeAddress(t)
	config := fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: db, static_configs: [{targets: ["db:9100"]}]}
  - {job_name: estiba, static_configs: [{targets: [%q]}]}
alerting: {alertmanagers: [{static_configs: [{targets: ["am:9093"]}]}]}
`, address)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	testutil.StartProcess(t, "prometheus", program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	client, err := promql.New("http://"+address, "", "", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 20*time.Second, "Prometheus is ready", func() bool {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	e := newEndpoints(client, "http://"+address)
	e.resolver.lookup = func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
	e.setListed([]dockerclient.Container{named("db"), named("am")})
	exporter := promql.Target{Known: true, Job: "estiba", Instance: address}
	first, tries := e.refresh(context.Background(), time.Now(), exporter), 0
	if first == nil {
		t.Skip("this Prometheus had its targets at once")
	}
	testutil.Eventually(t, 30*time.Second, "the lists are known", func() bool {
		tries++
		return e.refresh(context.Background(), time.Now(), exporter) == nil
	})
	t.Logf("%v; known after %d tries", first, tries)
	wantProtections(t, e, named("db"), "known", policy.ProtectedByScrapeTarget)
	wantProtections(t, e, named("am"), "known", policy.ProtectedByAlertmanager)
}
