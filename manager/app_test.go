package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/web"
	"github.com/estiba/estiba/manager/run"
)

// asManager is the environment variable that makes the test program run as the manager:
// this saves compiling it per test, and puts the manager under the race detector.
const asManager = "ESTIBA_TEST_AS_MANAGER"

func TestMain(m *testing.M) {
	if os.Getenv(asManager) == "" {
		os.Exit(m.Run())
	}
	if err := execute(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

// steppingClock is the real time plus an offset.
type steppingClock struct {
	mu   sync.Mutex
	away time.Duration
}

func (c *steppingClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.away)
}

// step sets the offset.
func (c *steppingClock) step(away time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// runApp runs the manager in the test process. The returned function stops it.
func (w *realWorld) runApp(t *testing.T, o run.Options) (*run.App, func()) {
	t.Helper()
	o.PrometheusURL, o.Engine, o.DockerHost, o.Logger = w.prometheus, w.docker, w.host, log.NewNopLogger()
	o.AuditFile = filepath.Join(t.TempDir(), "audit.jsonl")
	o.Web = web.Config{ListenAddress: testutil.FreeAddress(t)}
	a, err := run.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return a, stop
}

// tickCount returns the number of ticks with a result.
func tickCount(t *testing.T, a *run.App, result string) (n int) {
	t.Helper()
	_, after, found := strings.Cut(get(t, "http://"+a.Addr().String()+"/metrics"), "estiba_manager_ticks_total{result=\""+result+"\"} ")
	if !found {
		t.Fatalf("no ticks with result %s", result)
	}
	fmt.Sscan(after, &n)
	return n
}
