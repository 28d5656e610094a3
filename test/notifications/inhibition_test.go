package notifications

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/stack"
)

// ofContainers are all alerts with the subject container.
var ofContainers = []string{"EstibaContainerNearMemoryLimit", "EstibaContainerOOMKilled", "EstibaContainerThrottled", "EstibaContainerDiskFilling",
	"EstibaContainerLabelMisspelt", "EstibaNoManagedContainerOfKind", "EstibaContainerKilled"}

// silences are the alerts that silence others of the same host, and which: none but
// these, and nothing of another host.
var silences = map[string][]string{
	"EstibaExporterDown":  append([]string{"EstibaScrapeFailing", "EstibaKernelModuleMissing", "EstibaDockerDown", "EstibaManagerStale", "EstibaHostSilent"}, ofContainers...),
	"EstibaScrapeFailing": append([]string{"EstibaManagerStale", "EstibaHostSilent"}, ofContainers...),
	"EstibaHostSilent": append([]string{"EstibaKernelModuleMissing", "EstibaDockerDown", "EstibaManagerStale", "EstibaKillBudgetExhausted",
		"EstibaRuleStopped", "EstibaManagerPolicyRejected"}, ofContainers...),
	"EstibaManagerDown": {"EstibaManagerStale", "EstibaManagerCannotKill", "EstibaManagerCannotRecord", "EstibaKillBudgetExhausted", "EstibaRuleStopped",
		"EstibaKillPending", "EstibaManagerPolicyRejected"},
}

// TestInhibition asks a real Alertmanager with the shipped configuration of every pair
// of shipped alerts, with the labels of their rules, whether the one silences the
// other: on the same host, on another one, and where no alert has a host.
func TestInhibition(t *testing.T) {
	root := testutil.RepositoryRoot(t)
	address := testutil.FreeAddress(t)
	testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"),
		"--config.file="+filepath.Join(root, "prometheus", "alertmanager.yml"),
		"--storage.path="+t.TempDir(), "--web.listen-address="+address, "--cluster.listen-address=")
	shipped := stack.Alerts(t, root, "rules/alerts.rules.yml", "examples/fleet/central.rules.yml")
	byName := map[string]stack.Alert{}
	for _, a := range shipped {
		byName[a.Name] = a
	}
	for source, targets := range silences {
		for _, name := range append([]string{source}, targets...) {
			if _, ok := byName[name]; !ok {
				t.Fatalf("no alert is called %s", name)
			}
		}
	}

	var all []posted
	// expected is by host and name whether an alert is silenced.
	expected := map[[2]string]bool{}
	fire := func(name, host string, silenced bool) {
		labels := maps.Clone(byName[name].Labels)
		labels["alertname"] = name
		if host != "" {
			labels["host"] = host
		}
		all = append(all, posted{Labels: labels, StartsAt: time.Now()})
		expected[[2]string{host, name}] = silenced
	}
	for i, source := range shipped {
		for j, other := range shipped {
			if i == j {
				continue
			}
			pair := fmt.Sprintf("%d-%d", i, j)
			// Either may silence the other; both at once would be nobody's message.
			by, back := slices.Contains(silences[source.Name], other.Name), slices.Contains(silences[other.Name], source.Name)
			if by && back {
				t.Errorf("%s and %s silence each other", source.Name, other.Name)
			}
			fire(source.Name, "box"+pair, back)
			fire(other.Name, "box"+pair, by)
			fire(source.Name, "one"+pair, false)
			fire(other.Name, "two"+pair, false)
		}
	}
	// A single host has no label host, and nothing there but what it says of itself.
	fire("EstibaExporterDown", "", false)
	for _, name := range []string{"EstibaManagerDown", "EstibaManagerStale", "EstibaContainerOOMKilled", "EstibaPrometheusFailing"} {
		fire(name, "", name == "EstibaManagerStale" || name == "EstibaContainerOOMKilled")
	}
	for part := range slices.Chunk(all, 500) {
		post(t, address, part...)
	}

	var wrong []string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		wrong = compare(t, address, expected)
		if wrong == nil || time.Now().After(deadline) {
			break
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%d of %d alerts are not as they should be:\n%s", len(wrong), len(expected), strings.Join(wrong[:min(40, len(wrong))], "\n"))
	}
	t.Logf("%d alerts judged", len(expected))
}

// compare tells which alerts are silenced in another way than expected.
func compare(t *testing.T, address string, expected map[[2]string]bool) (wrong []string) {
	t.Helper()
	var alerts []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	body, err := stack.Fetch("http://" + address + "/api/v2/alerts")
	if err == nil {
		err = json.Unmarshal(body, &alerts)
	}
	if err != nil {
		return []string{err.Error()}
	}
	if len(alerts) != len(expected) {
		return []string{fmt.Sprintf("Alertmanager has %d alerts of %d", len(alerts), len(expected))}
	}
	for _, a := range alerts {
		host, name := a.Labels["host"], a.Labels["alertname"]
		if got := len(a.Status.InhibitedBy) > 0; got != expected[[2]string{host, name}] {
			wrong = append(wrong, fmt.Sprintf("%s on host %q: silenced %v", name, host, got))
		}
	}
	slices.Sort(wrong)
	return wrong
}
