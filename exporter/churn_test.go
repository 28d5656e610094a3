package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// A day of the generator: 2,880 times ten containers, every 30 s.
const (
	dayBatches = 2880
	dayBatch   = 10
	dayLive    = 2 // batches
	dayScrapes = 4 // per batch: 11,520 per day
)

// Two minutes of CPU time: make test-long has a tenth of a day.
var wholeDay = flag.Bool("day", false, "run TestLongDay for a complete day instead of a tenth")

// state has the values that must not grow from day to day.
type state struct {
	files      int
	goroutines int
	heap       uint64
	cpu        time.Duration
	series     int
}

// TestLongDay creates and removes containers (28,800 with -day) while one exporter is
// scraped, with events from an Engine: descriptors, goroutines, memory, series and CPU
// time per scrape must not grow.
func TestLongDay(t *testing.T) {
	testutil.Long(t)
	dir, err := os.MkdirTemp("/dev/shm", "estiba-day")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tr, err := hosttree.New(dir, hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	e := startEngine(t, 24, 43)
	c := testConfig(t)
	c.ProcFS, c.CgroupFS, c.DockerHost = tr.Proc, tr.Cgroup, e.host
	a, err := New(c, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	client := &http.Client{}
	scraped := func() string {
		resp, err := client.Get("http://" + a.Addr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	// The CPU time of the scrapes alone: making the files costs more.
	var cpu time.Duration
	batch := func(n int) (text string) {
		for i := range dayBatch {
			c := hosttree.Numbered(n*dayBatch + i)
			e.put("create", c.ID, &engineContainer{Name: fmt.Sprintf("n%d", n*dayBatch+i), Image: "i"})
			if err := tr.Add(c); err != nil {
				t.Fatal(err)
			}
			if old := n - dayLive; old >= 0 {
				c := hosttree.Numbered(old*dayBatch + i)
				if err := tr.Remove(c); err != nil {
					t.Fatal(err)
				}
				e.put("destroy", c.ID, nil)
			}
		}
		before := used(t)
		for range dayScrapes {
			text = scraped()
		}
		cpu += used(t) - before
		if got, want := strings.Count(text, "\nestiba_container_processes{"), min(n+1, dayLive)*dayBatch; got != want {
			t.Fatalf("batch %d: %d containers, want %d", n, got, want)
		}
		return text
	}
	look := func(text string) state {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		spent := cpu
		cpu = 0
		return state{len(fds), runtime.NumGoroutine(), m.HeapAlloc, spent, strings.Count(text, "\n") - strings.Count(text, "\n#")}
	}
	batches := dayBatches / 10
	if *wholeDay {
		batches = dayBatches
	}
	warm, quarter := batches/16, batches/4
	var text string
	for n := range warm {
		text = batch(n)
	}
	testutil.Eventually(t, 10*time.Second, "names by events", func() bool { return strings.Contains(scraped(), "\nestiba_containers_unnamed 0\n") })
	morning := look(text)
	cpu = 0
	n := warm
	for ; n < warm+quarter; n++ {
		text = batch(n)
	}
	first := look(text)
	for ; n < batches-quarter; n++ {
		text = batch(n)
	}
	look(text)
	for ; n < batches; n++ {
		text = batch(n)
	}
	evening := look(text)
	t.Logf("%d containers, %d scrapes: morning %+v, first quarter %+v, evening %+v", n*dayBatch, n*dayScrapes, morning, first, evening)
	// One connection of a client more or less is no leak.
	if evening.files > morning.files+6 || evening.goroutines > morning.goroutines+6 {
		t.Errorf("files %d, goroutines %d; in the morning %d and %d", evening.files, evening.goroutines, morning.files, morning.goroutines)
	}
	// The names of removed containers are kept for a minute, which may be
	// most of this day: half a kilobyte each.
	if grown := int64(evening.heap) - int64(morning.heap); grown > 2<<20+int64(batches*dayBatch)*700 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if evening.series != morning.series {
		t.Errorf("%d series, %d in the morning", evening.series, morning.series)
	}
	if perContainer := strings.Count(text, "\nestiba_container_") / (dayLive * dayBatch); perContainer > 30 {
		t.Errorf("%d series a container, want at most 30", perContainer)
	}
	if evening.cpu > first.cpu*3/2 {
		t.Errorf("scrapes of the last quarter took %s CPU, of the first %s", evening.cpu, first.cpu)
	}
}

// used returns the CPU time of this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
