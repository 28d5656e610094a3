//go:build browser

package browser

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestStatusPage has status.mjs look at the manager's page with no, some and many
// containers, a tick each second, and names that try to be more than text.
func TestStatusPage(t *testing.T) {
	for _, n := range []int{0, 10, 500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newStatusWorld(n, false)
			w.look(t, fmt.Sprintf("status-%d", n), []string{fmt.Sprintf("--rows=%d", n), "--lose-prometheus"})
		})
	}
	t.Run("odd", func(t *testing.T) {
		w := newStatusWorld(12, true)
		w.look(t, "status-odd", []string{"--rows=12", "--changing-mode", "--documents"},
			hostileName, scriptName, `safe\u202egnp.exe`, "without-a-break", "asking <b>Alertmanager</b>: refused", "12.0 s left", "dying", "out of scope",
			"protected by label, scrape target", "no relief, the rule kills nothing", `<i>rule</i>`, "behaves as io", "observed")
	})
}

// look serves the world, with a tick each second, and has status.mjs look at it.
func (w *statusWorld) look(t *testing.T, pictures string, options []string, texts ...string) {
	t.Helper()
	w.kills()
	w.tick()
	server := w.serve()
	defer server.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		dryRun := false
		for every := time.NewTicker(time.Second); ; {
			select {
			case <-ended:
				every.Stop()
				return
			case n := <-every.C:
				if w.odd && n.Unix()%10 == 0 {
					dryRun = !dryRun
					w.store.SetDryRun(dryRun)
				}
				w.tick()
			}
		}
	}()
	lookAtStatusPage(t, server.URL, pictures, options, texts...)
}

// lookAtStatusPage wants the texts to be on the page.
func lookAtStatusPage(t *testing.T, url, pictures string, options []string, texts ...string) {
	t.Helper()
	args := append([]string{"status.mjs", "--url=" + url, "--pictures=../../build/browser/" + pictures}, options...)
	for _, text := range texts {
		args = append(args, "--expect="+text)
	}
	look := exec.Command("node", args...)
	look.Stdout, look.Stderr = os.Stdout, os.Stderr
	if err := look.Run(); err != nil {
		t.Errorf("looking at the status page: %v", err)
	}
}
