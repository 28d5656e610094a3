package notifications

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/stack"
)

// TestInhibition asks a real Alertmanager with the shipped configuration which alerts
// another one explains.
func TestInhibition(t *testing.T) {
	address := testutil.FreeAddress(t)
	testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"),
		"--config.file="+filepath.Join(testutil.RepositoryRoot(t), "prometheus", "alertmanager.yml"),
		"--storage.path="+t.TempDir(), "--web.listen-address="+address, "--cluster.listen-address=")
	cases := []struct {
		fires, other, subject string // other is of that subject
		elsewhere             bool   // it is on another host
		silenced              bool
	}{
		{"EstibaExporterDown", "EstibaContainerNearMemoryLimit", "container", false, true},
		{"EstibaExporterDown", "EstibaContainerNearMemoryLimit", "container", true, false},
		{"EstibaExporterDown", "EstibaScrapeFailing", "exporter", false, true},
		{"EstibaExporterDown", "EstibaScrapeFailing", "exporter", true, false},
		{"EstibaExporterDown", "EstibaManagerStale", "manager", false, false},
		{"EstibaExporterDown", "EstibaPrometheusFailing", "stack", false, false},
		{"EstibaScrapeFailing", "EstibaContainerOOMKilled", "container", false, true},
		{"EstibaScrapeFailing", "EstibaContainerOOMKilled", "container", true, false},
		{"EstibaScrapeFailing", "EstibaDockerDown", "exporter", false, false},
		{"EstibaManagerDown", "EstibaManagerStale", "manager", false, true},
		{"EstibaManagerDown", "EstibaManagerStale", "manager", true, false},
		{"EstibaManagerDown", "EstibaContainerOOMKilled", "container", false, false},
	}
	subjects := map[string]string{"EstibaExporterDown": "exporter", "EstibaScrapeFailing": "exporter", "EstibaManagerDown": "manager"}
	var all []posted
	for i, c := range cases {
		here, there := fmt.Sprintf("box%d", i), fmt.Sprintf("box%d", i)
		if c.elsewhere {
			there = fmt.Sprintf("other%d", i)
		}
		for _, a := range [][3]string{{c.fires, subjects[c.fires], here}, {c.other, c.subject, there}} {
			all = append(all, posted{Labels: map[string]string{"alertname": a[0], "subject": a[1], "severity": "warning", "host": a[2]}, StartsAt: time.Now()})
		}
	}
	// A single host has no label host.
	all = append(all, posted{Labels: map[string]string{"alertname": "EstibaExporterDown", "subject": "exporter"}, StartsAt: time.Now()},
		posted{Labels: map[string]string{"alertname": "EstibaContainerOOMKilled", "subject": "container"}, StartsAt: time.Now()})
	post(t, address, all...)

	type seen struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	var alerts []seen
	silenced := func(alert, host string) bool {
		for _, a := range alerts {
			if a.Labels["alertname"] == alert && a.Labels["host"] == host {
				return len(a.Status.InhibitedBy) > 0
			}
		}
		t.Fatalf("Alertmanager has no %s of host %q", alert, host)
		return false
	}
	testutil.Eventually(t, 20*time.Second, "Alertmanager has judged all alerts", func() bool {
		body, err := stack.Fetch("http://" + address + "/api/v2/alerts")
		return err == nil && json.Unmarshal(body, &alerts) == nil && len(alerts) == len(all) && silenced("EstibaContainerOOMKilled", "")
	})
	for i, c := range cases {
		there := fmt.Sprintf("box%d", i)
		if c.elsewhere {
			there = fmt.Sprintf("other%d", i)
		}
		if got := silenced(c.other, there); got != c.silenced {
			t.Errorf("%s while %s fires (on another host: %v): silenced %v, want %v", c.other, c.fires, c.elsewhere, got, c.silenced)
		}
		if silenced(c.fires, fmt.Sprintf("box%d", i)) {
			t.Errorf("%s silences itself", c.fires)
		}
	}
}
