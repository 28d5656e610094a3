package main

import (
	"bytes"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/kmod/schema"
)

var update = flag.Bool("update", false, "update the golden files")

// trees returns the fixtures and the flags to use them.
func trees(t *testing.T) map[string][]string {
	t.Helper()
	absent := filepath.Join(t.TempDir(), "none")
	tree := func(name string) []string {
		return []string{
			"--source=auto", "--source.kmod-file=" + absent,
			"--path.procfs=testdata/" + name + "/proc", "--path.sysfs=" + absent, "--path.cgroup=testdata/" + name + "/cgroup",
		}
	}
	return map[string][]string{
		"hybrid":     tree("hybrid"),
		"v2-systemd": tree("v2-systemd"),
		"kmod":       append([]string{"--source=kmod", "--source.kmod-file=../kmod/schema/samples/full.json"}, tree("hybrid")[2:]...),
		"seed":       {"--source=auto", "--source.kmod-file=../kmod/schema/samples/seed-without-id.json"},
		"broken":     {"--source=auto", "--source.kmod-file=../kmod/schema/samples/invalid/cut-document.json"},
	}
}

// Parts that differ between runs.
var (
	volatileLines = regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?(?:go|process)_.*\n`)
	volatile      = regexp.MustCompile(`(?m)^((?:estiba_scrape_duration_seconds|estiba_snapshot_\w+|container_last_seen|estiba_exporter_build_info)(?:\{[^}]*\})?) .*$`)
	buildLabels   = regexp.MustCompile(`(estiba_exporter_build_info)\{[^}]*\}`)
	volatileKeys  = regexp.MustCompile(`"(sequence|boottime_ns|realtime_ns|collect_ns|cpu_window_ns)":"\d+"`)
)

func TestGoldenMetrics(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	for name, flags := range trees(t) {
		t.Run(name, func(t *testing.T) {
			address := testutil.FreeAddress(t)
			argv := append([]string{
				bin, "--web.listen-address=" + address, "--metrics.names=both", "--host=h1",
				"--docker.host=unix://" + filepath.Join(t.TempDir(), "none.sock"), "--podman.host=none", "--cri.endpoint=none",
			}, flags...)
			testutil.StartProcess(t, "exporter", argv...)
			var text string
			testutil.Eventually(t, 20*time.Second, "an exposition with a completed window", func() bool {
				var err error
				text, err = scrape(address)
				return err == nil && (name == "broken" || strings.Contains(text, "estiba_container_cpu_usage_percent{"))
			})
			lint(t, text)
			if name == "broken" && !strings.Contains(text, "estiba_source_errors_total{host=\"h1\",reason=\"cut\",source=\"kmod\"}") {
				t.Error("the broken document is not counted")
			}
			text = volatileLines.ReplaceAllString(text, "")
			text = volatile.ReplaceAllString(text, "$1 …")
			text = buildLabels.ReplaceAllString(text, "$1{…}")
			text = regexp.MustCompile(`(estiba_source_errors_total\{.*reason="cut",source="kmod"\}) [1-9]\d*`).ReplaceAllString(text, "$1 …")
			compare(t, filepath.Join("testdata", "golden", name+".prom"), text)
		})
	}
}

func TestGoldenDump(t *testing.T) {
	bin := testutil.Build(t, "./exporter")
	for _, name := range []string{"hybrid", "v2-systemd", "kmod"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(bin, append([]string{"dump"}, trees(t)[name]...)...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			validate(t, out)
			compare(t, filepath.Join("testdata", "golden", name+".json"), volatileKeys.ReplaceAllString(string(out), `"$1":"…"`))
		})
	}
	out, err := exec.Command(bin, append([]string{"dump"}, trees(t)["broken"]...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "truncated") {
		t.Errorf("dump of a broken document: %v, %s", err, out)
	}
}

func scrape(address string) (string, error) {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// cadvisorNames are older than the naming conventions.
var cadvisorNames = regexp.MustCompile(`^(container|machine)_`)

func lint(t *testing.T, text string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatalf("not the text format: %v\n%s", err, text)
	}
	for _, p := range problems {
		if !cadvisorNames.MatchString(p.Metric) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func validate(t *testing.T, document []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.V1))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("v1.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("v1.json")
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatalf("not JSON: %v\n%s", err, document)
	}
	if err := compiled.Validate(instance); err != nil {
		t.Errorf("invalid document: %v\n%s", err, document)
	}
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := 0; i < len(a) || i < len(b); i++ {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Fatalf("%s, line %d (update with go test -update)\n got %s\nwant %s", golden, i+1, y, x)
		}
	}
}
