//go:build browser

package fleet

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// stressImage is made by the generator out of its own program.
const stressImage = "estiba/stress"

// TestDashboards has test/browser draw Overview and Stack from a central store of three
// hosts at work: with all hosts, and with two of them chosen. What the dashboards ask
// there is asked by TestFleet, too, which needs no browser.
func TestDashboards(t *testing.T) {
	if !enter(t) {
		return
	}
	root := testutil.RepositoryRoot(t)
	n := newNetwork(t)
	c := newCentral(t, n)
	store := c.fleet + ":9090"
	hosts := []*host{newHost(t, n, "box1", store, false), newHost(t, n, "box2", store, true), newHost(t, n, "box3", store, false)}
	all(t, hosts, func(h *host) { h.boot(t) })
	began := time.Now()
	for _, h := range hosts {
		h.run(t, "alertmanager", testutil.Tool(t, "alertmanager"), "--config.file="+filepath.Join(h.dir, "config", "alertmanager.yml"),
			"--storage.path="+filepath.Join(h.dir, "alertmanager"), "--web.listen-address=127.0.0.1:9093", "--cluster.listen-address=")
		start(t, h.dir, "generator", testutil.Tool(t, "generator"), "run", "--batch=6", "--docker.host="+h.client,
			"--lock-file="+filepath.Join(h.dir, "generator.lock"))
	}
	residents := map[*host][]dockerclient.Spec{
		hosts[0]: {
			{Name: "shop-web", Command: []string{"--kind=cpu", "--share=0.04"}},
			{Name: "shop-cache", Command: []string{"--kind=ram", "--bytes=130023424", "--rate=1"}, MemoryBytes: 140 << 20},
		},
		hosts[1]: {{
			Name: "shop-database", Command: []string{"--kind=io", "--bytes=4194304", "--rate=30", "--block=4096", "--dir=/data"}, Volumes: []string{"/data"},
			MemoryBytes: 256 << 20, Labels: map[string]string{container.LabelProtect: "true"},
		}},
		hosts[2]: {{Name: "shop-report", Command: []string{"--kind=ram", "--bytes=67108864", "--rate=1"}, MemoryBytes: 128 << 20}},
	}
	for _, h := range hosts {
		testutil.Eventually(t, h.Patience, "the generator has made its image on "+h.name, func() bool { return len(h.Running(t)) > 0 })
		for _, s := range residents[h] {
			s.Image, s.Command = stressImage, append([]string{"--lifetime=2h"}, s.Command...)
			h.addContainer(t, s)
		}
	}
	testutil.Eventually(t, 2*time.Minute, "the central store has the use, class and removals of all hosts", func() bool {
		return len(c.byHost(t, `count by (host) (estiba:container_class) > 0`)) == 3 &&
			len(c.byHost(t, `sum by (host) (estiba_manager_kills_total{outcome="done"}) > 2`)) == 3
	})
	time.Sleep(time.Until(began.Add(60 * time.Second))) // graphs that show something
	for _, chosen := range []string{"box1,box2,box3", "box1,box2"} {
		cmd := exec.Command("node", filepath.Join(root, "test", "browser", "draw.mjs"), "--prometheus=http://"+c.Prometheus,
			"--since="+began.UTC().Format(time.RFC3339), "--fleet="+chosen, "--of=3")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("drawing the dashboards of %s: %v", chosen, err)
		}
	}
}
