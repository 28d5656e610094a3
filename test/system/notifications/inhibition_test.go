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
	"github.com/estiba/estiba/test/system/stack"
)

// containerAlerts are the alerts with the subject container.
var containerAlerts = []string{
	"EstibaContainerNearMemoryLimit", "EstibaContainerOOMKilled", "EstibaContainerThrottled", "EstibaContainerDiskFilling",
	"EstibaContainerLabelMisspelt", "EstibaNoManagedContainerOfKind", "EstibaContainerKilled",
}

// inhibits lists, for each source alert, the alerts that it inhibits on the same host.
// No other pair inhibits, and nothing inhibits across hosts.
var inhibits = map[string][]string{
	"EstibaExporterDown": append([]string{
		"EstibaScrapeFailing", "EstibaKernelModuleMissing", "EstibaDockerDown", "EstibaRuntimeDown", "EstibaScrapedTooSeldom", "EstibaContainersUnseen",
		"EstibaManagerStale", "EstibaHostSilent",
	}, containerAlerts...),
	"EstibaScrapeFailing": append([]string{"EstibaManagerStale", "EstibaHostSilent"}, containerAlerts...),
	"EstibaHostSilent": append([]string{
		"EstibaKernelModuleMissing", "EstibaDockerDown", "EstibaRuntimeDown", "EstibaScrapedTooSeldom", "EstibaContainersUnseen", "EstibaManagerStale", "EstibaKillBudgetExhausted",
		"EstibaRuleStopped", "EstibaManagerKillRefused", "EstibaManagerPolicyRejected",
	}, containerAlerts...),
	"EstibaManagerDown": {
		"EstibaManagerStale", "EstibaManagerCannotKill", "EstibaManagerKillRefused", "EstibaManagerCannotRecord", "EstibaKillBudgetExhausted",
		"EstibaRuleStopped", "EstibaKillPending", "EstibaManagerPolicyRejected",
	},
	notStored: append([]string{
		"EstibaExporterDown", "EstibaHostSilent", "EstibaScrapeFailing", "EstibaKernelModuleMissing", "EstibaDockerDown", "EstibaRuntimeDown", "EstibaScrapedTooSeldom", "EstibaContainersUnseen",
		"EstibaManagerDown", "EstibaManagerStale",
		notScraped,
	}, containerAlerts...),
}

// Alerts that are inhibited by their label problem.
const (
	notStored  = "EstibaPrometheusFailing: samples are not stored"
	notScraped = "EstibaAlertmanagerFailing: it is not scraped"
)

// TestInhibition fires every pair of shipped alerts, with the labels of their rules, at a
// real Alertmanager with the shipped configuration: on one host, on two hosts, and
// without the label host.
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
	for _, name := range []string{notStored, notScraped} {
		alert, problem, _ := strings.Cut(name, ": ")
		one := stack.Alert{Name: name, Labels: maps.Clone(byName[alert].Labels)}
		one.Labels["problem"] = problem
		byName[name] = one
		shipped = append(shipped, one)
	}
	for source, targets := range inhibits {
		for _, name := range append([]string{source}, targets...) {
			if _, ok := byName[name]; !ok {
				t.Fatalf("no alert named %s", name)
			}
		}
	}

	var all []posted
	// expected is, by host and name, whether an alert is inhibited.
	expected := map[[2]string]bool{}
	fire := func(name, host string, inhibited bool) {
		labels := maps.Clone(byName[name].Labels)
		labels["alertname"], _, _ = strings.Cut(name, ": ")
		if host != "" {
			labels["host"] = host
		}
		all = append(all, posted{Labels: labels, StartsAt: time.Now()})
		expected[[2]string{host, name}] = inhibited
	}
	for i, source := range shipped {
		for j, other := range shipped {
			if i == j {
				continue
			}
			pair := fmt.Sprintf("%d-%d", i, j)
			// A pair that inhibits each other would send no message at all.
			by, back := slices.Contains(inhibits[source.Name], other.Name), slices.Contains(inhibits[other.Name], source.Name)
			if by && back {
				t.Errorf("%s and %s inhibit each other", source.Name, other.Name)
			}
			fire(source.Name, "box"+pair, back)
			fire(other.Name, "box"+pair, by)
			fire(source.Name, "one"+pair, false)
			fire(other.Name, "two"+pair, false)
		}
	}
	// A single host without the label host.
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
		t.Errorf("%d of %d alerts are wrong:\n%s", len(wrong), len(expected), strings.Join(wrong[:min(40, len(wrong))], "\n"))
	}
	t.Logf("%d alerts checked", len(expected))
}

// compare returns the alerts whose inhibition differs from expected.
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
		if problem := a.Labels["problem"]; problem != "" {
			name += ": " + problem
		}
		if got := len(a.Status.InhibitedBy) > 0; got != expected[[2]string{host, name}] {
			wrong = append(wrong, fmt.Sprintf("%s on host %q: inhibited %v", name, host, got))
		}
	}
	slices.Sort(wrong)
	return wrong
}
