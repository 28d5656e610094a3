package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// TestFleet has three hosts and a central store. One host is cut off, dies, and comes
// back; one lets its manager ask the central store.
func TestFleet(t *testing.T) {
	if !enter(t) {
		return
	}
	began := time.Now()
	say := func(format string, args ...any) {
		t.Helper()
		t.Logf("[%3.0f s] "+format, append([]any{time.Since(began).Seconds()}, args...)...)
	}
	n := newNetwork(t)
	c := newCentral(t, n)
	store := c.fleet + ":9090"
	box1, box2, box3 := newHost(t, n, "box1", store, false), newHost(t, n, "box2", store, true), newHost(t, n, "box3", store, false)
	hosts := []*host{box1, box2, box3}
	say("three hosts boot")
	residents := map[*host][]dockerclient.Container{}
	all(t, hosts, func(h *host) { h.boot(t); testutil.IdleImage(t, h.Docker, idleImage) })
	for _, h := range hosts {
		residents[h] = []dockerclient.Container{
			h.add(t, h.name+"-bystander", nil),
			h.add(t, h.name+"-protected", map[string]string{container.LabelManaged: "true", container.LabelKind: "cpu", container.LabelProtect: "true"}),
		}
	}

	say("all is well: each manager removes the surplus of its own host")
	all(t, hosts, func(h *host) { h.populate(t, 2); h.isTidy(t) })
	testutil.Eventually(t, time.Minute, "the central store has the containers, records and alerts of all hosts", func() bool {
		for _, query := range []string{
			`count by (host) (estiba_container_info{managed="true", protected="false"}) == 4`,
			`count by (host) (estiba:container_memory_usage:percent) == 6`,
			`count by (host) (ALERTS{alertname="EstibaWatchdog", alertstate="firing"}) == 1`,
			`sum by (host) (estiba_manager_kills_total{outcome="done"}) == 4`,
		} {
			if got := c.byHost(t, query); len(got) != 3 {
				return false
			}
		}
		return true
	})
	if lost := c.Query(t, `{__name__=~"estiba.*", host=""}`); len(lost) > 0 {
		t.Errorf("%d series of ours have no host, %v among them", len(lost), lost[0].Labels)
	}
	testutil.Eventually(t, time.Minute, "no host is silent", func() bool { return c.silent(t) == "" })
	for _, h := range []string{".*", "box2"} {
		c.showsData(t, h)
	}

	say("box1 is cut off; it and box2 get a surplus")
	cut := time.Now()
	box1.cut(t)
	all(t, []*host{box1, box2}, func(h *host) { h.populate(t, 2); h.isTidy(t) })
	say("both have removed it")
	testutil.Eventually(t, time.Minute, "the central store shows that box1 is silent", func() bool { return c.silent(t) == "box1 firing" })
	if list := samples(t, &c.Stack, `{host="box1"}`); len(list) == 0 || list[len(list)-1].At > float64(cut.Unix()+4) {
		t.Errorf("box1 is cut off since %v, and the central store has %v", cut, list)
	}
	say("central store: box1 says nothing; box1 is joined again after %.0f s", time.Since(cut).Seconds())
	box1.join(t)
	for _, h := range hosts {
		c.hasAllOf(t, h, began)
	}
	testutil.Eventually(t, time.Minute, "no host is silent", func() bool { return c.silent(t) == "" })
	say("central store: nothing is missing")
	for _, h := range hosts {
		h.Survived(t, residents[h]...)
	}

	say("box1 is cut off once more, and killed")
	cut = time.Now()
	box1.cut(t)
	had := len(samples(t, &box1.Stack, ""))
	testutil.Eventually(t, time.Minute, "box1 goes on scraping", func() bool { return len(samples(t, &box1.Stack, "")) > had+3 })
	history := samples(t, &box1.Stack, "")
	box1.fail()
	all(t, []*host{box2, box3}, func(h *host) { h.populate(t, 2); h.isTidy(t) })
	say("box2 and box3 have removed a surplus of theirs meanwhile")
	testutil.Eventually(t, time.Minute, "the central store shows that box1 is silent", func() bool { return c.silent(t) == "box1 firing" })
	say("box1 comes back")
	back := time.Now()
	box1.join(t)
	box1.boot(t)
	if running := box1.Running(t); len(running) > 0 {
		t.Errorf("containers have outlived their host: %v", running)
	}
	residents[box1] = []dockerclient.Container{box1.add(t, "box1-newcomer", nil)}
	box1.populate(t, 2)
	box1.isTidy(t)
	if own := samples(t, &box1.Stack, ""); len(own) < len(history) || !slices.Equal(own[:len(history)], history) {
		t.Errorf("the history of box1 begins with %v, it was %v", own, history)
	}
	c.hasAllOf(t, box1, back)
	testutil.Eventually(t, time.Minute, "no host is silent", func() bool { return c.silent(t) == "" })
	c.hasAllOf(t, box2, began)
	c.hasAllOf(t, box3, began)
	// What waited when box1 ended is not sent any more; all before that was.
	there := samples(t, &c.Stack, `{host="box1"}`)
	sent := 0
	for sent < len(history) && slices.Contains(there, history[sent]) {
		sent++
	}
	for _, one := range history[sent:] {
		if slices.Contains(there, one) || one.At < float64(cut.Unix()-30) {
			t.Errorf("the central store lacks %v of box1, and not only the last before its end", one)
			break
		}
	}
	say("box1 has its whole history; the central store lacks the last %d samples before its end, which could not be sent", len(history)-sent)

	say("box3's manager asks the central store, which does not scrape the exporter itself: it removes nothing")
	box3.manager.kill()
	if out := box3.plan(t, store); !strings.Contains(out, "several exporters found") {
		t.Errorf("without --host, at a store of several hosts, the manager plans:\n%s", out)
	}
	box3.startManager(t, store, true)
	box3.populate(t, 1)
	box3.hasTicked(t, "without knowing what is scraped", func(last tick) bool {
		return last.Result == "prometheus_error" && strings.Contains(last.Error, "exporter missing")
	})
	if got := box3.Removable(t); len(got[container.KindCPU]) != 2 || len(got[container.KindDisk]) != 2 {
		t.Errorf("containers were removed: %v are left", got)
	}
	box3.manager.kill()
	box3.startManager(t, "127.0.0.1:9090", box3.named)
	box3.isTidy(t)

	say("the hosts join a swarm, and are found by it")
	c.findsTheSwarm(t, hosts)

	for _, h := range hosts {
		h.Survived(t, residents[h]...)
		h.matchTheRecord(t)
	}
	say("done")
}

// showsData asks the central store every query of the dashboards, for one host or all.
func (c *central) showsData(t *testing.T, host string) {
	t.Helper()
	var faults []string
	asked := 0
	testutil.Eventually(t, time.Minute, "the dashboards have data for the hosts "+host, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		answers, err := queries.CheckHost(ctx, "http://"+c.Prometheus, host)
		if err != nil {
			t.Fatal(err)
		}
		asked, faults = len(answers), nil
		for _, a := range answers {
			if a.Err != nil || a.Empty() {
				faults = append(faults, fmt.Sprintf("%s, %s: %d series, %v\n%s", a.Dashboard, a.Panel, a.Series, a.Err, a.Asked))
			}
		}
		if len(faults) > 0 {
			t.Log(strings.Join(faults, "\n"))
		}
		return len(faults) == 0
	})
	t.Logf("hosts %s: %d queries of the dashboards have data in the central store", host, asked)
}

// plan is what the manager would do if it asked the Prometheus at that address,
// without --host.
func (h *host) plan(t *testing.T, address string) string {
	t.Helper()
	out, _ := exec.Command("nsenter", "--target="+h.pid, "--net", "--", testutil.Tool(t, "manager"), "plan",
		"--config.file="+filepath.Join(h.dir, "policy.yml"), "--prometheus.url=http://"+address, "--docker.host="+h.client).CombinedOutput()
	return string(out)
}

// tick is what the manager reports of its last one.
type tick struct {
	Tick       int
	Result     string
	Error      string
	Containers []struct {
		Name      string
		InScope   bool `json:"in_scope"`
		Protected []string
		Reason    string
	}
	NotContainers int `json:"candidates_gone"`
}

func (h *host) lastTick(t *testing.T) (last tick) {
	t.Helper()
	body, err := stack.Fetch("http://" + h.Manager + "/api/v1/decisions")
	if err == nil {
		err = json.Unmarshal(body, &last)
	}
	if err != nil {
		t.Fatalf("decisions of %s: %v, %s", h.name, err, body)
	}
	return last
}

// hasTicked waits for a tick that is like that, and has begun since: the second from
// now on at the earliest.
func (h *host) hasTicked(t *testing.T, what string, like func(tick) bool) {
	t.Helper()
	first := h.lastTick(t)
	var last tick
	defer func() {
		if t.Failed() {
			t.Logf("the last tick of %s: %+v", h.name, last)
		}
	}()
	testutil.Eventually(t, h.Patience, "the manager of "+h.name+" ticks "+what, func() bool {
		last = h.lastTick(t)
		return last.Tick >= first.Tick+2 && like(last)
	})
}

// findsTheSwarm makes a Docker Swarm of the hosts, and has a Prometheus scrape them by
// what a manager of it knows.
func (c *central) findsTheSwarm(t *testing.T, hosts []*host) {
	t.Helper()
	first := hosts[0]
	do(t, "docker", "--host="+first.client, "swarm", "init", "--advertise-addr="+first.fleet)
	token := do(t, "docker", "--host="+first.client, "swarm", "join-token", "--quiet", "worker")
	for _, h := range hosts[1:] {
		do(t, "docker", "--host="+h.client, "swarm", "join", "--advertise-addr="+h.fleet, "--token="+token, first.fleet+":2377")
	}
	config := filepath.Join(c.dir, "config", "examples", "fleet", "scrape-swarm.yml")
	eachTwoSeconds(t, config)
	stack.RewriteYAML(t, config, func(root map[string]any) {
		for _, one := range root["scrape_configs"].([]any) {
			job := one.(map[string]any)
			delete(job, "basic_auth")
			delete(job, "scheme")
			if found, ok := job["dockerswarm_sd_configs"].([]any); ok {
				found[0].(map[string]any)["host"] = first.client
			}
		}
	})
	c.run(t, "swarm", "9091", "scrape-swarm.yml")
	s := &central{Stack: stack.Stack{Addresses: stack.Addresses{Prometheus: c.watch + ":9091"}, Patience: time.Minute}}
	s.Ready(t, s.Prometheus)
	testutil.Eventually(t, time.Minute, "exporter and manager of each node are scraped under its name", func() bool {
		for job, port := range map[string]string{"estiba": "10120", "estiba-manager": "10121"} {
			up := map[string]string{}
			for _, one := range s.Query(t, fmt.Sprintf(`up{job=%q} == 1`, job)) {
				up[one.Labels["host"]] = one.Labels["instance"]
			}
			for _, h := range hosts {
				if up[h.name] != h.fleet+":"+port {
					return false
				}
			}
		}
		// And what is computed there goes by the same name.
		return len(s.byHost(t, `count by (host) (estiba:container_memory_usage:percent)`)) == len(hosts)
	})
}
