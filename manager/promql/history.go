package promql

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/prometheus/common/model"
)

// What may be missing in a window. Prometheus scrapes at a fixed interval, so the
// number of samples in a window is known: window divided by interval.
const (
	// maxMissing samples of the exporter, or one in a hundred if that is more: over a
	// day a host misses some scrapes. Of a container, relative to the exporter.
	maxMissing      = 2
	missingOfMany   = 100
	maxGap          = 3.5 // scrape intervals between two samples: two scrapes missed, and jitter
	startSlack      = 1.5 // scrape intervals before the first sample of the window
	intervalSamples = 5 * time.Minute
	// maxReach limits the history that is queried to find gaps.
	maxReach = 31 * 24 * time.Hour
)

// history is how much of a range each container has samples for. The zero value is that
// of a query without a range: always filled.
type history struct {
	asked    bool
	err      error
	full     bool          // the exporter was scraped throughout the range
	from     time.Time     // begin of the range
	interval time.Duration // between scrapes
	most     int           // samples of the exporter in the range
	count    map[string]int
}

// filled reports whether the life that began at start and Prometheus cover the whole
// range. Averages of a young or restarted container, or of a Prometheus that was down,
// are over less than the rule asks for.
func (h history) filled(id string, start time.Time) bool {
	if !h.asked {
		return true
	}
	return h.full && h.count[id] >= h.most-maxMissing && !start.IsZero() && !start.After(h.from.Add(h.interval))
}

// scrapes are the times of the exporter's scrapes and their snapshots.
type scrapes []scrape

type scrape struct{ at, snapshot time.Time }

// scrapes returns the scrapes within reach, and a few more, so that the interval is
// known for short ranges as well.
func (c *Client) scrapes(ctx context.Context, reach time.Duration, at time.Time) (scrapes, error) {
	query, err := c.Parse(snapshotName + "[" + model.Duration(reach+intervalSamples).String() + "]")
	if err != nil {
		return nil, err
	}
	a, err := c.instant(ctx, query, at)
	switch {
	case err != nil:
		return nil, fmt.Errorf("history: %w", err)
	case len(a.notes) > 0:
		return nil, fmt.Errorf("%w: history: warning from Prometheus: %s", ErrUnusable, a.notes[0])
	case a.kind != "matrix" || a.histogram:
		return nil, fmt.Errorf("%w: history: expected a matrix, found a %s", ErrUnusable, a.kind)
	}
	return scrapesOf(a.points), nil
}

// scrapesOf drops scrapes with a repeated snapshot: nothing was measured.
func scrapesOf(points []point) scrapes {
	sort.Slice(points, func(i, j int) bool { return points[i].stamp < points[j].stamp })
	var list scrapes
	for i, p := range points {
		if i > 0 && (p.stamp == points[i-1].stamp || p.value == points[i-1].value) {
			continue
		}
		list = append(list, scrape{unix(p.stamp), unix(p.value)})
	}
	return list
}

// interval is the scrape interval: the lower quartile of the distances, which neither
// gaps nor doubled scrapes change.
func (s scrapes) interval() time.Duration {
	if len(s) < 2 {
		return 0
	}
	distances := make([]time.Duration, len(s)-1)
	for i := range distances {
		distances[i] = s[i+1].at.Sub(s[i].at)
	}
	slices.Sort(distances)
	return distances[len(distances)/4]
}

// fill reports whether the scrapes cover the window between two times.
func (s scrapes) fill(from, to time.Time, interval time.Duration) bool {
	if interval <= 0 {
		return false
	}
	times := func(n float64) time.Duration { return time.Duration(n * float64(interval)) }
	first := sort.Search(len(s), func(i int) bool { return !s[i].at.Before(from) })
	end := sort.Search(len(s), func(i int) bool { return s[i].at.After(to) })
	if first >= end { // a window shorter than an interval may have no scrape
		return to.Sub(from) <= times(startSlack) && end > 0 && to.Sub(s[end-1].at) <= times(maxGap)
	}
	before := first > 0 && s[first].at.Sub(s[first-1].at) <= times(maxGap)
	if !before && s[first].at.Sub(from) > times(startSlack) {
		return false
	}
	for i := first + 1; i < end; i++ {
		if s[i].at.Sub(s[i-1].at) > times(maxGap) {
			return false
		}
	}
	expected := int(to.Sub(from) / interval)
	return to.Sub(s[end-1].at) <= times(maxGap) && expected-(end-first) <= max(maxMissing, expected/missingOfMany)
}

// latest is the last snapshot scraped by a time; zero is none.
func (s scrapes) latest(at time.Time) time.Time {
	end := sort.Search(len(s), func(i int) bool { return s[i].at.After(at) })
	if end == 0 {
		return time.Time{}
	}
	return s[end-1].snapshot
}

// countsQuery counts the samples of the exporter and of each container within reach.
// Both are counted alike, so it does not matter whether the oldest edge belongs to the
// range, as before Prometheus 3.
func (c *Client) countsQuery(reach time.Duration) (Expr, error) {
	return c.Parse(`count_over_time({__name__=~"estiba_container_start_time_seconds|estiba_snapshot_timestamp_seconds"}[` + model.Duration(reach).String() + `])`)
}

// history evaluates a window by its scrapes and by the samples of each container.
func (c *Client) history(ctx context.Context, s scrapes, reach time.Duration, at time.Time) history {
	if reach > maxReach {
		return historyOf(s, nil, reach, at)
	}
	query, err := c.countsQuery(reach)
	if err != nil {
		return history{err: err}
	}
	rows, err := c.Vector(ctx, query, at)
	if err != nil {
		return history{err: fmt.Errorf("history: %w", err)}
	}
	return historyOf(s, rows, reach, at)
}

func historyOf(s scrapes, counts []Row, reach time.Duration, at time.Time) history {
	h := history{asked: true, from: at.Add(-reach), interval: s.interval(), count: make(map[string]int, len(counts))}
	h.full = reach <= maxReach && s.fill(h.from, at, h.interval)
	for _, r := range counts {
		if id := string(r.Labels["id"]); id != "" {
			h.count[id] += int(r.Value)
		} else {
			h.most += int(r.Value)
		}
	}
	return h
}
