package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// hurry is how many times sooner than the shipped rules the test's are to fire.
const hurry = 5

// TestNotifications follows what happens to real containers and programs to the
// messages at a webhook: each alert arrives once, and once more when it is resolved.
// The rules are the shipped ones, in a hurry.
func TestNotifications(t *testing.T) {
	t.Parallel()
	if testutil.Alone(t) {
		return
	}
	inbox, hook := stack.WebInbox(t)
	w := newWorld(t, func(w *world) {
		w.notify(t, hook)
		inAHurry(t, w.prometheusConfig(t))
	})

	t.Log("a container near its memory limit, and a surplus that the manager removes")
	w.startManager(t)
	// In such a hurry the parts are missed while they start.
	testutil.Eventually(t, time.Minute, "all parts are scraped, and none is missed", func() bool {
		return len(w.Query(t, `up == 1`)) == 4 && len(w.Query(t, `ALERTS{severity=~"critical|warning"}`)) == 0
	})
	await(t, inbox, "EstibaWatchdog", "firing")
	time.Sleep(2 * time.Second) // what resolved while they started is sent by then
	inbox.Clear()
	w.generate(t, "--batch=12", "--seed="+stack.SeedWithAllKinds)
	cache := w.startContainer(t, dockerclient.Spec{
		Name: "shop-cache", Image: "estiba/stress", MemoryBytes: 140 << 20,
		Command: []string{"--lifetime=2h", "--kind=ram", "--bytes=130023424", "--rate=1"},
	})
	near := await(t, inbox, "EstibaContainerNearMemoryLimit", "firing")
	short := cache.ID[:12]
	if !strings.Contains(near.Annotations["description"], "shop-cache ("+short+")") ||
		!strings.HasSuffix(near.Annotations["dashboard_url"], "var-id="+short) {
		t.Errorf("the container near its limit: %+v", near)
	}
	removed := await(t, inbox, "EstibaContainerKilled", "firing")
	testutil.Eventually(t, 90*time.Second, "one container of each kind is left", func() bool { return w.OneOfEach(t) })
	named := false
	for _, line := range w.RecordLines(t) {
		named = named || strings.Contains(removed.Annotations["description"], fmt.Sprintf("%s (%s, kill %s)", line.Name, line.ID[:12], line.KillID))
	}
	if !named {
		t.Errorf("who was removed? %q", removed.Annotations["description"])
	}

	t.Log("the exporter dies; alerts that follow from it are inhibited")
	w.exporter.Kill()
	await(t, inbox, "EstibaExporterDown", "firing")
	time.Sleep(80 * time.Second / hurry) // what is kept firing for a minute is given up
	w.startExporter(t)
	await(t, inbox, "EstibaExporterDown", "resolved")
	time.Sleep(80 * time.Second / hurry) // resolved and new alerts would have arrived by then
	if got := tally(t, inbox)["EstibaContainerNearMemoryLimit"]; got != (times{firing: 1}) {
		t.Errorf("messages of the container that was near its limit all the time: %+v", got)
	}

	t.Log("the container ends")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := w.Docker.Remove(ctx, cache.ID); err != nil {
		t.Fatal(err)
	}
	await(t, inbox, "EstibaContainerNearMemoryLimit", "resolved")

	got := tally(t, inbox)
	if killed := got["EstibaContainerKilled"]; killed.firing < 1 || killed.firing > 4 || killed.resolved > 0 {
		t.Errorf("messages of removals: %+v, want at most one message a kind", killed)
	}
	delete(got, "EstibaContainerKilled")
	// There is no module here; whether that alert has arrived by now depends on how long it took.
	delete(got, "EstibaKernelModuleMissing")
	if want := map[string]times{"EstibaExporterDown": {1, 1}, "EstibaContainerNearMemoryLimit": {1, 1}}; !maps.Equal(got, want) {
		t.Errorf("messages: %+v, want %+v", got, want)
	}
}

// notify has Alertmanager post everything to a webhook at once, by the shipped example.
func (w *world) notify(t *testing.T, hook string) {
	t.Helper()
	dir := filepath.Join(w.dir, "alertmanager-config")
	w.alertmanagerConfig = stack.AlertmanagerConfig(t, w.root, dir, "receivers-webhook.yml", func(config map[string]any) {
		secret := filepath.Join(w.dir, "webhook")
		if err := os.WriteFile(secret, []byte(hook), 0o600); err != nil {
			t.Fatal(err)
		}
		stack.WebhookAt(t, config, hook, secret)
		stack.Impatient(config["route"].(map[string]any))
	})
}

// inAHurry divides the times of the configuration's rules by hurry, and scrapes and
// evaluates every two seconds.
func inAHurry(t *testing.T, config string) {
	t.Helper()
	stack.RewriteYAML(t, config, func(root map[string]any) {
		maps.Copy(root["global"].(map[string]any), map[string]any{"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"})
	})
	stack.RewriteYAML(t, filepath.Join(filepath.Dir(config), "rules", "alerts.rules.yml"), func(root map[string]any) {
		for _, group := range root["groups"].([]any) {
			for _, r := range group.(map[string]any)["rules"].([]any) {
				rule := r.(map[string]any)
				for _, key := range []string{"for", "keep_firing_for"} {
					if text, ok := rule[key].(string); ok {
						d, err := model.ParseDuration(text)
						if err != nil {
							t.Fatal(err)
						}
						rule[key] = model.Duration(time.Duration(d) / hurry).String()
					}
				}
			}
		}
	})
}

// message is one alert in a message to a webhook.
type message struct {
	Status      string // firing, resolved
	Labels      map[string]string
	Annotations map[string]string
}

// messages are all alerts of all messages, in their order.
func messages(t *testing.T, inbox *stack.Inbox) (list []message) {
	t.Helper()
	for _, text := range inbox.All() {
		var m struct{ Alerts []message }
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		list = append(list, m.Alerts...)
	}
	return list
}

func await(t *testing.T, inbox *stack.Inbox, alert, status string) (found message) {
	t.Helper()
	testutil.Eventually(t, 2*time.Minute, alert+" arrives: "+status, func() bool {
		for _, m := range messages(t, inbox) {
			if m.Labels["alertname"] == alert && m.Status == status {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// times is how often an alert arrived.
type times struct{ firing, resolved int }

func tally(t *testing.T, inbox *stack.Inbox) map[string]times {
	t.Helper()
	counts := map[string]times{}
	for _, m := range messages(t, inbox) {
		n := counts[m.Labels["alertname"]]
		if m.Status == "firing" {
			n.firing++
		} else {
			n.resolved++
		}
		counts[m.Labels["alertname"]] = n
	}
	return counts
}
