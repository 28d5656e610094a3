package fleet

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// exporters answers scrapes at each address, on one port that is free at all of them,
// as so many hosts would.
func exporters(t *testing.T, addresses ...string) (port string) {
	t.Helper()
	_, port, _ = net.SplitHostPort(testutil.FreeAddress(t))
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "estiba_snapshot_timestamp_seconds %d\n", time.Now().Unix())
	})
	for _, address := range addresses {
		l, err := net.Listen("tcp", address+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: answer}}
		s.Start()
		t.Cleanup(s.Close)
	}
	return port
}

// scraper starts a Prometheus with one of the shipped configurations that find hosts,
// changed as a test without TLS and with one port for exporters and managers must.
func scraper(t *testing.T, config, port string, change func(dir string, job map[string]any)) *stack.Stack {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testutil.RepositoryRoot(t), "prometheus"))); err != nil {
		t.Fatal(err)
	}
	fleet := filepath.Join(dir, "examples", "fleet")
	stack.RewriteYAML(t, filepath.Join(fleet, config), func(root map[string]any) {
		root["global"] = map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s"}
		for _, one := range root["scrape_configs"].([]any) {
			job := one.(map[string]any)
			delete(job, "basic_auth")
			delete(job, "scheme")
			change(fleet, job)
			rules, _ := job["relabel_configs"].([]any)
			for _, r := range rules {
				if to, ok := r.(map[string]any)["replacement"].(string); ok {
					r.(map[string]any)["replacement"] = strings.NewReplacer("10120", port, "10121", port).Replace(to)
				}
			}
		}
	})
	s := &stack.Stack{Addresses: stack.Addresses{Prometheus: testutil.FreeAddress(t)}, Patience: time.Minute}
	testutil.StartProcess(t, "prometheus", testutil.Tool(t, "prometheus"), "--config.file="+filepath.Join(fleet, config),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+s.Prometheus)
	s.Ready(t, s.Prometheus)
	return s
}

// finds waits until exporters and managers of exactly these hosts are scraped.
func finds(t *testing.T, s *stack.Stack, port string, hosts ...string) {
	t.Helper()
	for _, job := range []string{"estiba", "estiba-manager"} {
		var up []string
		testutil.Eventually(t, time.Minute, fmt.Sprintf("job %s has the hosts %v", job, hosts), func() bool {
			up = nil
			for _, one := range s.Query(t, fmt.Sprintf(`up{job=%q} == 1`, job)) {
				if one.Labels["instance"] == one.Labels["host"]+":"+port {
					up = append(up, one.Labels["host"])
				}
			}
			slices.Sort(up)
			return slices.Equal(up, hosts)
		})
	}
}

func TestFileDiscovery(t *testing.T) {
	t.Parallel()
	port := exporters(t, "127.0.0.2", "127.0.0.3")
	var file string
	write := func(hosts ...string) {
		text := "- targets: [" + strings.Join(hosts, ", ") + "]\n"
		// As an editor or a tool does it: never half a file.
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	s := scraper(t, "scrape-file.yml", port, func(dir string, _ map[string]any) {
		file = filepath.Join(dir, "hosts.yml")
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		write("127.0.0.2")
	})
	finds(t, s, port, "127.0.0.2")
	write("127.0.0.2", "127.0.0.3")
	finds(t, s, port, "127.0.0.2", "127.0.0.3")
	write("127.0.0.3")
	finds(t, s, port, "127.0.0.3")
}

func TestHTTPDiscovery(t *testing.T) {
	t.Parallel()
	port := exporters(t, "127.0.0.2", "127.0.0.3")
	var mu sync.Mutex
	hosts, broken, asked := []string{"127.0.0.2"}, false, 0
	inventory := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; broken {
			http.Error(w, "no inventory today", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode([]map[string]any{{"targets": hosts, "labels": map[string]string{"site": "north"}}})
	}))
	t.Cleanup(inventory.Close)
	change := func(what func()) {
		mu.Lock()
		defer mu.Unlock()
		what()
	}
	s := scraper(t, "scrape-http.yml", port, func(_ string, job map[string]any) {
		if list, ok := job["http_sd_configs"].([]any); ok {
			one := list[0].(map[string]any)
			one["url"], one["refresh_interval"] = inventory.URL, "1s"
		}
	})
	finds(t, s, port, "127.0.0.2")
	change(func() { hosts = []string{"127.0.0.2", "127.0.0.3"} })
	finds(t, s, port, "127.0.0.2", "127.0.0.3")
	if up := s.Query(t, `up{job="estiba", site="north"} == 1`); len(up) != 2 {
		t.Errorf("%d hosts have the label of the inventory, want 2", len(up))
	}
	var until int
	change(func() { broken, until = true, asked+6 })
	testutil.Eventually(t, time.Minute, "the inventory fails", func() bool { mu.Lock(); defer mu.Unlock(); return asked >= until })
	finds(t, s, port, "127.0.0.2", "127.0.0.3")
	change(func() { hosts, broken = []string{"127.0.0.3"}, false })
	finds(t, s, port, "127.0.0.3")
}
