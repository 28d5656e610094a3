package docker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/testutil"
)

// TestNothingRuns asks what the dashboards ask on a healthy host without containers:
// each panel has data, or words for it that there is none.
func TestNothingRuns(t *testing.T) {
	t.Parallel()
	if testutil.Alone(t) {
		return
	}
	w := newWorld(t)
	w.startManager(t)
	testutil.Eventually(t, w.Patience, "all parts are scraped, and the manager has decided twice", func() bool {
		return len(w.Query(t, "up == 1")) == 4 && len(w.Query(t, "estiba_containers == 0")) == 1 && w.Ticks(t, "ok") >= 2
	})
	ctx, cancel := context.WithTimeout(context.Background(), w.Patience)
	defer cancel()
	var wrong []string
	// Rates need a second scrape of what has just been started.
	for deadline := time.Now().Add(w.Patience / 2); ; time.Sleep(time.Second) {
		answers, err := queries.CheckAgainst(ctx, "http://"+w.Prometheus)
		if err != nil {
			t.Fatal(err)
		}
		if wrong = silent(answers); wrong == nil || time.Now().After(deadline) {
			break
		}
	}
	for _, text := range wrong {
		t.Error(text)
	}
	if fires := w.Query(t, `ALERTS{alertstate="firing", severity=~"warning|critical"}`); len(fires) > 0 {
		t.Errorf("a healthy host without containers raises alarms: %v", fires)
	}
}

// silent lists the panels that would have nothing to say.
func silent(answers []queries.Answer) (wrong []string) {
	type panel struct {
		dashboard string
		id        int
	}
	last := panel{}
	for i, a := range answers {
		if a.Err != nil {
			wrong = append(wrong, fmt.Sprintf("%s, %s: %v\n%s", a.Dashboard, a.Panel, a.Err, a.Asked))
			continue
		}
		this := panel{a.Dashboard, a.ID}
		if a.ID == 0 || this == last {
			continue // no panel, or not its first query: what is said of the panel is said once
		}
		last = this
		series := 0
		for _, other := range answers[i:] {
			if other.Dashboard == a.Dashboard && other.ID == a.ID {
				series += other.Series
			}
		}
		// A table says by a row that it has none: its first query has to give it.
		if a.Type == "table" && a.Series == 0 || series == 0 && a.NoValue == "" {
			wrong = append(wrong, fmt.Sprintf("%s, %s: no data, and nothing is said of it\n%s", a.Dashboard, a.Panel, a.Asked))
		}
	}
	return wrong
}
