package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// realEngine starts a Docker Engine and an exporter; again restarts the exporter.
func realEngine(t *testing.T) (docker *dockerclient.Client, again func(), scraped func() string) {
	t.Helper()
	e := testutil.StartEngine(t)
	bin := testutil.Build(t, "./exporter")
	var p *testutil.Process
	address := ""
	again = func() {
		if p != nil {
			p.Stop(t)
		}
		address = testutil.FreeAddress(t)
		p = testutil.StartProcess(t, "exporter", bin, "--web.listen-address="+address, "--source=cgroup", "--docker.host="+e.Host)
		testutil.Eventually(t, 20*time.Second, "the exporter follows the engine", func() bool {
			text, err := scrape(address)
			return err == nil && strings.Contains(text, "\nestiba_docker_up 1\n")
		})
	}
	again()
	return e.Client(t), again, func() string {
		text, err := scrape(address)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func begin(t *testing.T, docker *dockerclient.Client, s dockerclient.Spec) (id string) {
	t.Helper()
	s.Networkless = true
	id, err := docker.Create(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := docker.Start(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestRealOOM: after the kernel kills the init process, the counter of the cgroup is gone.
// The event of the Engine remains, also for a container that is removed at its exit.
func TestRealOOM(t *testing.T) {
	docker, _, scraped := realEngine(t)
	const image = "estiba-test/oom:1"
	testutil.HungryImage(t, docker, image)
	calm := begin(t, docker, dockerclient.Spec{Name: "calm", Image: image}) // without a limit
	counter := func(id, name, value string) func() bool {
		return shows(scraped, `estiba_container_oom_events_total{id="`+id[:12]+`",name="`+name+`"} `+value+"\n")
	}
	testutil.Eventually(t, 20*time.Second, "a counter before any event", counter(calm, "calm", "0"))
	for kind, autoRemove := range map[string]bool{"stays": false, "goes": true} {
		name, id, seen := "", "", false
		// On a busy host the Engine itself misses the event of a container that ends
		// at once; hardly ever several times.
		for try := 0; try < 5 && !seen; try++ {
			name = fmt.Sprint(kind, try)
			id = begin(t, docker, dockerclient.Spec{Name: name, Image: image, Command: []string{"eat"}, MemoryBytes: 32 << 20, AutoRemove: autoRemove})
			for end := time.Now().Add(10 * time.Second); !seen && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				text := scraped()
				seen = strings.Contains(text, `estiba_container_oom_events_total{id="`+id[:12]+`",name="`+name+`"} 1`+"\n") &&
					!strings.Contains(text, `estiba_container_processes{id="`+id[:12])
			}
		}
		if !seen {
			t.Fatalf("%s: no event that outlives its container", kind)
		}
		if !autoRemove {
			testutil.Eventually(t, 10*time.Second, name+": its exit code",
				shows(scraped, `estiba_container_exit_code{id="`+id[:12]+`",name="`+name+`"} 137`+"\n"))
		}
		for range 5 {
			if !counter(id, name, "1")() {
				t.Errorf("%s: the counter is gone", name)
			}
		}
	}
	if !counter(calm, "calm", "0")() {
		t.Error("the container that lives has an event, or no counter")
	}
}

// TestRealStates: states from a real Engine, also of containers that do not run, and for
// an exporter that starts afterwards.
func TestRealStates(t *testing.T) {
	docker, again, scraped := realEngine(t)
	ctx := context.Background()
	const image = "estiba-test/lives:1"
	testutil.LivesImage(t, docker, image)
	of := func(metric, id, name, rest string) string {
		return "estiba_container_" + metric + `{id="` + id[:12] + `",name="` + name + `"` + rest + "\n"
	}
	eventually := func(what string, lines ...string) {
		t.Helper()
		testutil.Eventually(t, 30*time.Second, what, func() bool {
			text := scraped()
			for _, line := range lines {
				if !strings.Contains(text, "\n"+line) {
					return false
				}
			}
			return true
		})
	}
	check := []string{"/program", "check"}
	well := begin(t, docker, dockerclient.Spec{Name: "well", Image: image, Command: []string{"sicken", "1h"}, Health: check})
	sick := begin(t, docker, dockerclient.Spec{Name: "sick", Image: image, Command: []string{"sicken", "0s"}, Health: check})
	fails := begin(t, docker, dockerclient.Spec{Name: "fails", Image: image, Command: []string{"exit", "3", "100ms"}})
	loops := begin(t, docker, dockerclient.Spec{Name: "loops", Image: image, Command: []string{"exit", "1", "100ms"}, Restart: "always"})
	killed := begin(t, docker, dockerclient.Spec{Name: "killed", Image: image, Command: []string{"sicken", "1h"}})
	burns := begin(t, docker, dockerclient.Spec{Name: "burns", Image: image, Command: []string{"burn"}, CPUs: 0.1})
	never, err := docker.Create(ctx, dockerclient.Spec{Name: "never", Image: image, Networkless: true})
	if err != nil {
		t.Fatal(err)
	}
	eventually("healthy", of("health", well, "well", `,status="healthy"} 1`), of("state", well, "well", `,state="running"} 1`),
		of("restarts_total", well, "well", "} 0"))
	eventually("unhealthy", of("health", sick, "sick", `,status="unhealthy"} 1`))
	eventually("an exit code", of("state", fails, "fails", `,state="exited"} 1`), of("exit_code", fails, "fails", "} 3"), of("restarts_total", fails, "fails", "} 0"))
	testutil.Eventually(t, 30*time.Second, "restarts", func() bool { return valueOf(scraped(), of("restarts_total", loops, "loops", "")) >= 3 })
	eventually("in between", of("state", loops, "loops", `,state="restarting"} 1`), of("exit_code", loops, "loops", "} 1"))
	eventually("never started", of("state", never, "never", `,state="created"} 1`))
	if err := docker.Pause(ctx, killed); err != nil {
		t.Fatal(err)
	}
	eventually("paused", of("state", killed, "killed", `,state="paused"} 1`), of("processes", killed, "killed", "} 1"))
	if err := docker.Kill(ctx, killed); err != nil {
		t.Fatal(err)
	}
	eventually("killed", of("state", killed, "killed", `,state="exited"} 1`), of("exit_code", killed, "killed", "} 137"))
	eventually("a CPU limit", of("cpu_limit_cores", burns, "burns", "} 0.1"))
	testutil.Eventually(t, 20*time.Second, "throttled periods, no more than there were", func() bool {
		text := scraped()
		periods, throttled := valueOf(text, of("cpu_periods_total", burns, "burns", "")), valueOf(text, of("cpu_throttled_periods_total", burns, "burns", ""))
		return throttled > 0 && periods >= throttled
	})

	again()
	eventually("all of it, to an exporter that starts now",
		of("exit_code", fails, "fails", "} 3"), of("exit_code", killed, "killed", "} 137"), of("state", never, "never", `,state="created"} 1`),
		of("health", sick, "sick", `,status="unhealthy"} 1`), of("health", well, "well", `,status="healthy"} 1`))
	text := scraped()
	for _, none := range []string{
		of("exit_code", sick, "sick", "} "), of("exit_code", never, "never", "} "), of("health", killed, "killed", ","),
		of("processes", fails, "fails", "} "),
	} {
		if none = strings.TrimSuffix(none, "\n"); strings.Contains(text, "\n"+none) {
			t.Errorf("there is a sample %s…", none)
		}
	}
	if !strings.Contains(text, "\nestiba_containers_unseen 0\n") {
		t.Error("a container is unseen")
	}
	lint(t, text)
	if err := docker.Remove(ctx, fails); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 10*time.Second, "a removed one is forgotten", func() bool { return !strings.Contains(scraped(), fails[:12]) })
}

// TestRealWorkingSet: a file in tmpfs counts; a file on storage that was written once does
// not, although it is charged.
func TestRealWorkingSet(t *testing.T) {
	docker, _, scraped := realEngine(t)
	const image = "estiba-test/fills:1"
	testutil.LivesImage(t, docker, image)
	for _, tt := range []struct {
		name, path string
		in         bool
	}{{"tmpfs", "/t/file", true}, {"storage", "/file", false}} {
		id := begin(t, docker, dockerclient.Spec{
			Name: tt.name, Image: image, Command: []string{"fill", tt.path, "40"},
			MemoryBytes: 128 << 20, Tmpfs: map[string]string{"/t": "size=64m"},
		})
		of := func(metric string) float64 {
			return valueOf(scraped(), "estiba_container_memory_"+metric+`{id="`+id[:12]+`",name="`+tt.name+`"`)
		}
		testutil.Eventually(t, 30*time.Second, tt.name+": the file is written", func() bool { return of("usage_bytes") > 40<<20 })
		if rss := of("rss_bytes"); rss < 0 || rss > 20<<20 {
			t.Errorf("%s: %.0f bytes are resident", tt.name, rss)
		}
		working := func() bool { w := of("working_set_bytes"); return w > 0 && (w > 40<<20) == tt.in }
		testutil.Eventually(t, 40*time.Second, fmt.Sprintf("%s: in the working set: %v", tt.name, tt.in), working)
	}
}

// TestRealUnsupported: a container whose runtime keeps its processes elsewhere has its
// state, and no usage of its visible processes.
func TestRealUnsupported(t *testing.T) {
	docker, _, scraped := realEngine(t)
	const image = "estiba-test/idle:1"
	testutil.IdleImage(t, docker, image)
	begin(t, docker, dockerclient.Spec{Name: "ours", Image: image})
	id := begin(t, docker, dockerclient.Spec{Name: "elsewhere", Image: image, Runtime: testutil.Kata})
	of := `{id="` + id[:12] + `",name="elsewhere"`
	testutil.Eventually(t, 20*time.Second, "it is named", shows(scraped, "estiba_container_not_understood"+of+`,runtime="kata"} 1`+"\n"))
	testutil.Eventually(t, 30*time.Second, "it is counted", shows(scraped, "estiba_containers_unseen 1\n"))
	text := scraped()
	if strings.Contains(text, "\nestiba_container_processes"+of) || strings.Contains(text, "\nestiba_container_cpu_seconds_total"+of) {
		t.Error("its usage is exported")
	}
	if !strings.Contains(text, "\nestiba_container_state"+of+`,state="running"} 1`+"\n") || !strings.Contains(text, "\nestiba_container_info"+of) {
		t.Error("its state or info is missing")
	}
	if err := docker.Remove(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 20*time.Second, "none is unseen", shows(scraped, "estiba_containers_unseen 0\n"))
}

// valueOf returns the first sample whose line has the prefix; -1 if there is none.
func valueOf(text, begins string) float64 {
	_, rest, ok := strings.Cut(text, "\n"+strings.TrimSuffix(begins, "\n")+"} ")
	if !ok {
		return -1
	}
	rest, _, _ = strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(rest, 64)
	if err != nil {
		return -1
	}
	return v
}

// TestRealImageLabel: a moved tag does not change the label of existing containers,
// regardless of the list.
func TestRealImageLabel(t *testing.T) {
	docker, again, scraped := realEngine(t)
	const image = "estiba-test/moves:1"
	testutil.IdleImage(t, docker, image)
	id := begin(t, docker, dockerclient.Spec{Name: "old", Image: image})
	info := func(name string) func() bool {
		return shows(scraped, `estiba_container_info{id="`+id[:12]+`",name="`+name+`",container_id="`+id+`",image="`+image+`",`)
	}
	testutil.Eventually(t, 20*time.Second, "the image", info("old"))
	testutil.HungryImage(t, docker, image) // a newer image of the same name
	list, err := docker.List(context.Background(), dockerclient.ListOptions{})
	if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Image, "sha256:") {
		t.Fatalf("the engine lists %+v, %v; want the image's id", list, err)
	}
	if !info("old")() {
		t.Error("the image changed with the tag")
	}
	again()
	testutil.Eventually(t, 20*time.Second, "the image, to an exporter that has started anew", info("old"))
	if text := scraped(); strings.Contains(text, `image="sha256:`) {
		t.Error("an image's id is published")
	}
}
