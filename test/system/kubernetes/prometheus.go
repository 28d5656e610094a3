package kubernetes

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// monitor has the fields of the PodMonitor that the manifests use.
type monitor struct {
	Spec struct {
		Selector  any `yaml:"selector"`
		Endpoints []struct {
			Port          string           `yaml:"port"`
			Interval      string           `yaml:"interval"`
			ScrapeTimeout string           `yaml:"scrapeTimeout"`
			Relabelings   []map[string]any `yaml:"relabelings"`
		} `yaml:"podMetricsEndpoints"`
	} `yaml:"spec"`
}

// CheckPrometheus scrapes the exporter's pod with a real Prometheus, as the operator would
// configure it from the PodMonitor and the PrometheusRule, and checks the labels of what is
// stored and what the rules make of it.
func (n *Node) CheckPrometheus(t *testing.T, prometheus string) {
	t.Helper()
	n.Say("scraped by Prometheus")
	e := n.startExporter(t, n.o.WithNames, func(c *cri.ContainerConfig) { c.Args = append(c.Args, "--metrics.names=both") })
	defer n.Containerd.StopPod(t, e.Pod)
	s := &stack.Stack{Patience: n.Patience, Addresses: stack.Addresses{Prometheus: testutil.FreeAddress(t)}}
	dir := t.TempDir()
	config := n.configuration(t, dir, n.serve(t, e))
	testutil.StartProcess(t, "prometheus", prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+s.Prometheus)
	s.Ready(t, s.Prometheus)
	const from = `job="estiba-exporter",instance="` + nodeName + `",host="` + nodeName + `"`
	containers := n.containers(e)
	for query, want := range map[string]int{
		`estiba_container_info{` + from + `,pod="cart",pod_namespace="shop",pod_container="db",namespace="k8s.io"}`: 1,
		`estiba_container_info{` + from + `}`: len(containers),
		`estiba:container_cpu_usage:percent`:  len(containers),
		`estiba:container_class`:              len(containers),
		// As the rules of Kubernetes' mixin have it.
		`container_memory_working_set_bytes{container!="",namespace="shop",pod="cart"}`:              2,
		`sum by (pod) (rate(container_cpu_usage_seconds_total{namespace="shop",container!=""}[1m]))`: 2,
	} {
		testutil.Eventually(t, n.Patience, fmt.Sprintf("%s has %d series", query, want), func() bool {
			return len(s.Query(t, query)) == want
		})
	}
	for _, query := range []string{
		`{exported_pod!=""}`, `{exported_namespace!=""}`, `{exported_container!=""}`, `{exported_job!=""}`, `{exported_instance!=""}`, `{endpoint!=""}`,
		`ALERTS{severity="critical"}`, `estiba_container_cpu_seconds_total{pod!=""}`,
	} {
		if found := s.Query(t, query); len(found) > 0 {
			t.Errorf("%s has %d series, such as %v", query, len(found), found[0].Labels)
		}
	}
}

// serve serves the pages of the exporter's pod to this host, whose Prometheus is not in its
// network.
func (n *Node) serve(t *testing.T, e *exporter) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := e.get(e.port("metrics"), r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Write(text)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// configuration writes what the operator makes of the objects: its own labels of the
// target first, then the relabelings of the PodMonitor.
func (n *Node) configuration(t *testing.T, dir, address string) string {
	t.Helper()
	var m monitor
	object(t, n.o.WithNames, "PodMonitor", &m)
	var rules struct {
		Spec map[string]any `yaml:"spec"`
	}
	object(t, n.o.WithNames, "PrometheusRule", &rules)
	var relabel []map[string]any
	for _, r := range m.Spec.Endpoints[0].Relabelings {
		one := map[string]any{}
		for key, value := range r {
			name, ok := map[string]string{
				"sourceLabels": "source_labels", "targetLabel": "target_label", "replacement": "replacement", "action": "action", "regex": "regex",
			}[key]
			if !ok {
				t.Fatalf("relabeling with %s", key)
			}
			one[name] = value
		}
		relabel = append(relabel, one)
	}
	write := func(name string, content any) string {
		text, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	type values = map[string]any
	return write("prometheus.yml", values{
		"global":     values{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{write("rules.yml", rules.Spec)},
		"scrape_configs": []values{{
			"job_name": "podMonitor/estiba/estiba-exporter/0",
			"static_configs": []values{{"targets": []string{address}, "labels": values{
				"namespace": "estiba", "pod": "estiba-exporter-x7k2p", "container": "exporter", "endpoint": "metrics",
				"job": "estiba/estiba-exporter", "__meta_kubernetes_pod_node_name": nodeName,
			}}},
			"relabel_configs": relabel,
		}},
	})
}

// object decodes the object of a kind.
func object(t *testing.T, manifests []byte, kind string, to any) {
	t.Helper()
	for document := range strings.SplitSeq(string(manifests), "\n---\n") {
		if strings.Contains("\n"+document, "\nkind: "+kind+"\n") {
			if err := yaml.NewDecoder(bytes.NewReader([]byte(document))).Decode(to); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			return
		}
	}
	t.Fatalf("no %s", kind)
}
