package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

type query struct{ from, want, expr string }

// queries reads testdata/cadvisor/queries.txt.
func queries(t *testing.T) (list []query) {
	t.Helper()
	text, err := os.ReadFile("testdata/cadvisor/queries.txt")
	if err != nil {
		t.Fatal(err)
	}
	from := ""
	for _, line := range strings.Split(string(text), "\n") {
		want, expr, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			from = strings.Trim(line, "[]")
		case want == "none":
			_, expr, _ = strings.Cut(expr, ": ")
			fallthrough
		case want == "answer" || want == "quiet":
			list = append(list, query{from, want, expr})
		default:
			t.Fatalf("queries.txt: %q", line)
		}
	}
	return list
}

// TestCAdvisorDashboards scrapes the exporter with Prometheus in place of cAdvisor and
// evaluates the queries of dashboards and rules for cAdvisor.
func TestCAdvisorDashboards(t *testing.T) {
	prometheus := testutil.Tool(t, "prometheus")
	dir := t.TempDir()
	e := startEngine(t, 24, 43)
	const n = 3
	for i := range n {
		e.put("", hosttree.Numbered(i).ID, &engineContainer{
			Name: fmt.Sprintf("shop-web-%d", i), Image: "shop/web:1",
			Labels: map[string]string{"com.docker.compose.service": "web"},
		})
	}
	module := filepath.Join(dir, "estiba")
	moving(t, module, n, 0)
	p := startProgram(t, testutil.Build(t, "./exporter"), nil, "--source=kmod", "--source.kmod-file="+module, "--docker.host="+e.host,
		"--metrics.names=cadvisor", "--docker.label=com.docker.compose.service")
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(
		"scrape_configs:\n- job_name: cadvisor\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  static_configs: [{targets: ['%s']}]\n", p.address)), 0o644); err != nil {
		t.Fatal(err)
	}
	address := testutil.FreeAddress(t)
	testutil.StartProcess(t, "prometheus", prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	step := 0
	testutil.Eventually(t, 60*time.Second, "samples over some seconds, and the sizes of the layers", func() bool {
		step++
		moving(t, module, n, step)
		got, err := ask(address, `min(count_over_time(container_last_seen{name!=""}[1m])) > 5 and min(container_fs_usage_bytes)`)
		return err == nil && len(got) == 1
	})
	list := queries(t)
	if len(list) < 50 {
		t.Fatalf("only %d queries", len(list))
	}
	for _, q := range list {
		got, err := ask(address, q.expr)
		if err != nil {
			t.Errorf("%s: %s: %v", q.from, q.expr, err)
			continue
		}
		above := 0
		for _, v := range got {
			if v > 0 {
				above++
			}
		}
		if q.want == "answer" && above == 0 || q.want == "none" && len(got) > 0 || q.want == "quiet" && above > 0 {
			t.Errorf("%s: %s gives %v, want %s", q.from, q.expr, got, q.want)
		}
	}
	// And the right ones: a counter that grows by a known amount a step, a
	// gauge of a known size, by the label that people select with.
	for expr, want := range map[string]float64{
		`count(container_memory_rss{name=~"shop-web-.*",image="shop/web:1",id=~"/docker/.+"})`:            n,
		`container_memory_rss{name="shop-web-1"}`:                                                         float64(movingValue(source.RSS, 1, 0)) * 1024,
		`container_spec_memory_limit_bytes{name="shop-web-2"}`:                                            float64(movingValue(source.MemoryLimit, 2, 0)) * 1024,
		`sum(container_cpu_usage_seconds_total) - sum(container_cpu_usage_seconds_total{cpu="total"})`:    0,
		`container_spec_cpu_quota{name="shop-web-1"} / container_spec_cpu_period`:                         1.5,
		`container_fs_usage_bytes{name="shop-web-1"}`:                                                     4096,
		`count(container_memory_rss{container_label_com_docker_compose_service="web"})`:                   n,
		`count(count by (interface) (container_network_receive_bytes_total))`:                             1,
		`container_memory_usage_bytes{name="shop-web-0"} - container_memory_working_set_bytes > bool 0`:   1,
		`(container_memory_cache + container_memory_rss)/container_memory_usage_bytes{name="shop-web-0"}`: 1,
		`machine_cpu_cores`:                                     8,
		`sum(scrape_samples_scraped) > bool 0`:                  1,
		`count({__name__=~"estiba_container_.*"}) or vector(0)`: 0,
	} {
		got, err := ask(address, expr)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s gives %v, %v, want %v", expr, got, err, want)
		}
	}
}

// moving writes a document in which every counter has grown since the last step.
func moving(t *testing.T, path string, n, step int) {
	t.Helper()
	snap := &source.Snapshot{Source: source.Kmod, Schema: "1", Module: "estiba", ModuleVersion: "1.0.0"}
	for f, v := range map[source.HostField]uint64{
		source.MemoryTotal: 16 << 20, source.MemoryFree: 4 << 20, source.MemoryUsed: 12 << 20, source.CPUs: 8,
		source.Realtime: uint64(time.Now().UnixNano()), source.Boottime: 3600e9, source.Sequence: uint64(step), source.ContainersFound: uint64(n),
	} {
		snap.Host.Set(f, v)
	}
	for i := range n {
		c := source.Container{
			ID: hosttree.Numbered(i).ID, ProcessName: "containerd-shim", Namespace: "moby",
			Cgroup: "/docker/" + hosttree.Numbered(i).ID, CPUSource: "cgroup", Network: "own",
		}
		for f := source.Field(0); f < source.EndedAt; f++ {
			if f != source.User {
				c.Set(f, movingValue(f, i, step))
			}
		}
		snap.Containers = append(snap.Containers, c)
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := kmod.Write(f, snap); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// movingValue is the value for container i at a step; gauges are constant.
func movingValue(f source.Field, i, step int) uint64 {
	switch f {
	case source.PID, source.InitPID, source.Processes, source.Threads:
		return uint64(100 + i)
	case source.RSS, source.VSZ, source.PeakRSS:
		return uint64(4096 + i)
	case source.MemoryCgroup:
		return uint64(16384 + i)
	case source.MemoryLimit:
		return uint64(32768 + i)
	case source.MemoryInactiveFile, source.Swap:
		return uint64(1024 + i)
	case source.StartTime:
		return 60e9
	case source.CPUQuota:
		return 150e6
	case source.CPUPeriod:
		return 100e6
	}
	return uint64(1+i) * uint64(1+step) * 50_000_000
}

// ask evaluates an expression now and returns the values of its samples.
func ask(address, expr string) ([]float64, error) {
	resp, err := http.PostForm("http://"+address+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" || answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("%s %s %s", answer.Status, answer.Error, answer.Data.ResultType)
	}
	var samples []struct{ Value [2]any }
	if err := json.Unmarshal(answer.Data.Result, &samples); err != nil {
		return nil, err
	}
	values := []float64{}
	for _, s := range samples {
		text, _ := s.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}
