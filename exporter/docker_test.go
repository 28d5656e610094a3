package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// withEngine starts an exporter of a tree with one container, following e.
func withEngine(t *testing.T, e *engine, labels ...string) (scraped func() string, c hosttree.Container) {
	t.Helper()
	tr, err := hosttree.New(t.TempDir(), hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	c = hosttree.Numbered(0)
	if err := tr.Add(c); err != nil {
		t.Fatal(err)
	}
	config := testConfig(t)
	config.ProcFS, config.CgroupFS, config.DockerHost, config.DockerLabels = tr.Proc, tr.Cgroup, e.host, labels
	address := startApp(t, config)
	return func() string {
		text, err := scrape(address)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}, c
}

func shows(scraped func() string, line string) func() bool {
	return func() bool { return strings.Contains(scraped(), "\n"+line) }
}

// TestEngineVersions: the API version is negotiated with the oldest Engine in Debian
// (1.41), one with older versions, and those without versions before 1.44.
func TestEngineVersions(t *testing.T) {
	for _, versions := range [][2]int{{12, 41}, {24, 43}, {44, 44}, {44, 52}, {44, 60}} {
		t.Run(fmt.Sprintf("1.%d to 1.%d", versions[0], versions[1]), func(t *testing.T) {
			e := startEngine(t, versions[0], versions[1])
			id := hosttree.Numbered(0).ID
			e.put("", id, &engineContainer{Name: "first", Image: "i"})
			scraped, _ := withEngine(t, e)
			testutil.Eventually(t, 10*time.Second, "the name by the first list", shows(scraped, `estiba_container_processes{id="`+id[:12]+`",name="first"} 2`))
			e.put("rename", id, &engineContainer{Name: "second", Image: "i"})
			testutil.Eventually(t, 10*time.Second, "the new name by its event", shows(scraped, `estiba_container_processes{id="`+id[:12]+`",name="second"} 2`))
			testutil.Eventually(t, 10*time.Second, "docker up", shows(scraped, "estiba_docker_up 1\n"))
		})
	}
}

// TestEngineFailures: whatever the Engine does, scrapes are fast and have the container
// with its name.
func TestEngineFailures(t *testing.T) {
	t.Parallel() // mostly waits
	e := startEngine(t, 24, 43)
	id := hosttree.Numbered(0).ID
	e.put("", id, &engineContainer{Name: "n0", Image: "i"})
	scraped, _ := withEngine(t, e)
	named := func(name string) string {
		return `estiba_container_processes{id="` + id[:12] + `",name="` + name + `"} 2`
	}
	testutil.Eventually(t, 10*time.Second, "the name", shows(scraped, named("n0")))

	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	garbage := func(status int, body string) func() {
		return func() {
			e.instead(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(status)
				fmt.Fprint(w, body)
				return true
			})
			e.stop()
			e.start(t)
		}
	}
	for i, tt := range []struct {
		name string
		fall func()
	}{
		{"down", func() { e.stop() }},
		{"an error to everything", garbage(500, `{"message":"internal"}`)},
		{"no JSON", garbage(200, "<html>proxy</html>")},
		{"JSON of another kind", garbage(200, `{"a":[1,2`)},
		{"refused", garbage(403, "")},
		{"endless", func() {
			e.instead(func(w http.ResponseWriter, _ *http.Request) bool {
				for range 1000 {
					if _, err := w.Write(bytes.Repeat([]byte(`[{"Id":"x"},`), 1000)); err != nil {
						break
					}
				}
				return true
			})
			e.stop()
			e.start(t)
		}},
		{"hanging", func() {
			e.instead(func(_ http.ResponseWriter, r *http.Request) bool {
				select {
				case <-hang:
				case <-r.Context().Done():
				}
				return true
			})
			e.stop()
			e.start(t)
		}},
	} {
		before, after := fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i+1)
		tt.fall()
		testutil.Eventually(t, 30*time.Second, tt.name+" is noticed", shows(scraped, "estiba_docker_up 0\n"))
		for range 5 {
			began := time.Now()
			text := scraped()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("engine %s: a scrape took %s", tt.name, took)
			}
			if !strings.Contains(text, "\n"+named(before)) || !strings.Contains(text, "\nestiba_scrape_success 1\n") {
				t.Errorf("engine %s: the container or its name is lost", tt.name)
			}
		}
		e.put("", id, &engineContainer{Name: after, Image: "i"}) // without an event
		e.instead(nil)
		if tt.name != "down" {
			e.stop()
		}
		e.start(t)
		testutil.Eventually(t, 45*time.Second, "after "+tt.name+": up, and the name that changed meanwhile", shows(scraped, named(after)))
	}
}

// TestDockerLabels: allowed labels and those of compose are exported and others are not;
// invalid ones are counted, hostile ones are harmless.
func TestDockerLabels(t *testing.T) {
	e := startEngine(t, 24, 43)
	id := hosttree.Numbered(0).ID
	e.put("", id, &engineContainer{Name: "n", Image: `reg/im"age:1`, Labels: map[string]string{
		"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "estiba.kind": "disk", "estiba.managed": "ture",
		"team": "a\"b\\c\nd", "secret": "s3cret", "a.b-c": "x",
	}})
	scraped, _ := withEngine(t, e, "team", "a.b-c", "absent")
	prefix := `{id="` + id[:12] + `",name="n"`
	testutil.Eventually(t, 10*time.Second, "labels", shows(scraped, `estiba_container_info`+prefix+`,container_id="`+id+`",image="reg/im\"age:1",kind="disk",`+
		`managed="false",protected="false",namespace="moby",runtime="docker",compose_project="shop",compose_service="web",pod="",pod_namespace="",pod_container="",`+
		`container_label_team="a\"b\\c\nd",container_label_a_b_c="x",container_label_absent=""} 1`))
	text := scraped()
	if strings.Contains(text, "s3cret") {
		t.Error("a label outside the allowlist is exported")
	}
	if !strings.Contains(text, "\nestiba_container_label_errors"+prefix+`,label="estiba.managed"} 1`+"\n") {
		t.Error("a misspelt value is not counted")
	}
	lint(t, text)
}

// TestNoEngineAtAll: an exporter that starts before Docker connects later.
func TestNoEngineAtAll(t *testing.T) {
	e := startEngine(t, 24, 43)
	e.stop()
	id := hosttree.Numbered(0).ID
	e.put("", id, &engineContainer{Name: "late", Image: "i"})
	scraped, _ := withEngine(t, e)
	testutil.Eventually(t, 10*time.Second, "without an engine: exported without a name",
		shows(scraped, `estiba_container_processes{id="`+id[:12]+`",name=""} 2`))
	text := scraped()
	if !strings.Contains(text, "\nestiba_docker_up 0\n") || !strings.Contains(text, "\nestiba_containers_unnamed 1\n") {
		t.Error("that docker is absent does not show")
	}
	unknown := `estiba_container_info{id="` + id[:12] + `",name="",container_id="` + id + `",image="",kind="",managed="",protected="",`
	if !strings.Contains(text, "\n"+unknown) || strings.Contains(text, "\nestiba_container_oom_events_total{") {
		t.Error("labels from docker have a value before its report")
	}
	e.start(t)
	testutil.Eventually(t, 20*time.Second, "the name once there is one", shows(scraped, `estiba_container_processes{id="`+id[:12]+`",name="late"} 2`))
	text = scraped()
	known := `estiba_container_info{id="` + id[:12] + `",name="late",container_id="` + id + `",image="i",kind="",managed="false",protected="false",`
	if !strings.Contains(text, "\n"+known) || !strings.Contains(text, "\nestiba_container_oom_events_total{id=\""+id[:12]+`",name="late"} 0`+"\n") {
		t.Error("a container without labels lacks its docker values")
	}
}

// TestOOMEventOfAContainerThatEnds: the counter continues after the other samples end.
func TestOOMEventOfAContainerThatEnds(t *testing.T) {
	e := startEngine(t, 24, 43)
	tr, err := hosttree.New(t.TempDir(), hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	victim := hosttree.Numbered(0)
	if err := tr.Add(victim); err != nil {
		t.Fatal(err)
	}
	e.put("", victim.ID, &engineContainer{Name: "victim", Image: "i"})
	config := testConfig(t)
	config.ProcFS, config.CgroupFS, config.DockerHost = tr.Proc, tr.Cgroup, e.host
	address := startApp(t, config)
	scraped := func() string {
		text, err := scrape(address)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	counter := `estiba_container_oom_events_total{id="` + victim.ID[:12] + `",name="victim"} `
	testutil.Eventually(t, 10*time.Second, "the counter before any event", shows(scraped, counter+"0\n"))
	if err := tr.Remove(victim); err != nil {
		t.Fatal(err)
	}
	e.put("oom", victim.ID, &engineContainer{Name: "victim", Image: "i"})
	e.put("die", victim.ID, &engineContainer{Name: "victim", Image: "i"})
	testutil.Eventually(t, 10*time.Second, "the event", shows(scraped, counter+"1\n"))
	text := scraped()
	if strings.Contains(text, `estiba_container_processes{id="`+victim.ID[:12]) || !strings.Contains(text, "\n"+counter+"1\n") {
		t.Error("want the counter of the container that ended, and nothing else of it")
	}
	lint(t, text)
}
