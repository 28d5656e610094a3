//go:build estiba_guest

package guest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The exporter detects the module and publishes its metrics.
func TestExporterReadsTheModule(t *testing.T) {
	module(t)
	id := newID()
	shims := []*shim{
		start(t, options{id: id, cgroup: "docker/" + id, load: "burst 100"}),
		start(t, options{load: "mem 10"}),
	}
	cmd := exec.Command("/bin/exporter", "--source=auto", "--web.listen-address=127.0.0.1:10120")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	get := func() string {
		out, _ := exec.Command("wget", "-q", "-O", "-", "http://127.0.0.1:10120/metrics").Output()
		return string(out)
	}
	// A shared snapshot may be older than the containers.
	eventually(t, "containers in the metrics", func() bool {
		metrics := get()
		for _, s := range shims {
			if !strings.Contains(metrics, `estiba_container_cpu_seconds_total{id="`+s.id[:12]+`"`) {
				return false
			}
		}
		return true
	})
	metrics := get()
	for _, line := range []string{
		`estiba_source_active{source="kmod"} 1`, `estiba_source_active{source="cgroup"} 0`,
		"estiba_kernel_module_loaded 1", "estiba_scrape_success 1", "estiba_containers 2",
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, metrics)
		}
	}
	for _, s := range shims {
		if !strings.Contains(metrics, `container_id="`+s.id+`"`) {
			t.Errorf("no info of %s", s.id)
		}
	}

	dump := exec.Command("/bin/exporter", "dump", "--source=auto")
	dump.Stderr = os.Stderr
	text, err := dump.Output()
	if err != nil {
		t.Fatalf("dump: %v", err)
	}
	save(t, "exporter-dump", text)
	d, err := parse(text)
	if err != nil {
		t.Fatalf("dump: %v in\n%s", err, text)
	}
	for _, s := range shims {
		d.container(t, s.id)
	}
}
