package promql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// recordings are the recording rules of Prometheus at one time.
type recordings struct {
	rules []recording
	// past: they are evaluated for a time of which the rules are known, but not their
	// state.
	past bool
}

// recording is one recording rule.
type recording struct {
	name     string
	expr     Expr
	interval time.Duration // of its group
	last     time.Time     // its last evaluation
	failed   string        // why its last evaluation failed; "" if it did not
	broken   error         // why its query cannot be parsed
}

// maxInterval is the longest interval that is plausible. The rules of a Prometheus for
// policy tests are never due.
const maxInterval = 24 * time.Hour

// recordings returns the recording rules and their state.
//
// https://prometheus.io/docs/prometheus/latest/querying/api/#rules
func (c *Client) recordings(ctx context.Context) (recordings, error) {
	var answer struct {
		Groups []struct {
			Name     string    `json:"name"`
			Interval float64   `json:"interval"`
			Last     time.Time `json:"lastEvaluation"`
			Rules    []struct {
				Type   string    `json:"type"`
				Name   string    `json:"name"`
				Query  string    `json:"query"`
				Health string    `json:"health"`
				Error  string    `json:"lastError"`
				Last   time.Time `json:"lastEvaluation"`
			} `json:"rules"`
		} `json:"groups"`
	}
	var found recordings
	if err := c.page(ctx, "/api/v1/rules", url.Values{"type": {"record"}}, &answer); err != nil {
		return found, fmt.Errorf("getting the recording rules of Prometheus: %w", err)
	}
	for _, g := range answer.Groups {
		for _, r := range g.Rules {
			if r.Type != "recording" {
				continue
			}
			one := recording{name: r.Name, interval: time.Duration(g.Interval * float64(time.Second)), last: r.Last}
			one.expr, one.broken = ParseExpr(r.Query, "")
			if !g.Last.IsZero() && g.Last.Before(one.last) {
				one.last = g.Last
			}
			switch {
			case one.last.IsZero():
				one.failed = "it has not been evaluated yet"
			case r.Health != "ok":
				one.failed = fmt.Sprintf("health %q: %s", r.Health, r.Error)
			}
			found.rules = append(found.rules, one)
		}
	}
	return found, nil
}

// of are the rules whose series e may read.
func (r recordings) of(e Expr) []int {
	var list []int
	for i, one := range r.rules {
		if slices.ContainsFunc(e.reads, func(s selector) bool { return s.matches(one.name) }) {
			list = append(list, i)
		}
	}
	return list
}

// reading is what a query reads through recording rules.
type reading struct {
	reach time.Duration // how far it looks back, through all rules
	rules bool          // it reads recorded series
	at    time.Time     // oldest evaluation of them
	stale error         // a rule fails, or its evaluation is too old
	// unknown is why this cannot be determined: a name with a colon without a rule,
	// which by convention is recorded somewhere, or a rule that cannot be parsed.
	unknown error
}

// read follows a query to what its recording rules read, at a time. Recorded series may
// be as old as maxAge.
func (r recordings) read(e Expr, at time.Time, maxAge time.Duration) reading {
	w := walk{recordings: r, now: at, maxAge: maxAge, below: map[int][]int{}, been: map[int]visit{}}
	w.follow(e, r.of(e), at, 0)
	return w.found
}

// walk is one traversal of the rules.
type walk struct {
	recordings
	now    time.Time
	maxAge time.Duration
	steps  int
	below  map[int][]int // the rules whose series a rule may read
	been   map[int]visit
	found  reading
}

// visit is how far back a rule has been followed.
type visit struct {
	asked time.Time
	back  time.Duration
	times int
}

// maxSteps limits a walk: rules may read each other's series in a cycle.
const maxSteps = 10_000

// follow descends from e, which is evaluated at asked and whose window ends back before
// the query's. rules are those that it may read.
func (w *walk) follow(e Expr, rules []int, asked time.Time, back time.Duration) {
	own := e.reachAt(asked)
	w.found.reach = max(w.found.reach, back+own)
	if name := w.unrecorded(e); name != "" {
		w.unknown(fmt.Errorf("%s looks like a recorded series, but no recording rule has that name", name))
	}
	if w.steps++; w.steps > maxSteps {
		w.unknown(errors.New("recording rules depend on each other in a cycle"))
		return
	}
	for _, i := range rules {
		one := w.rules[i]
		seen := w.seen(one, asked)
		w.judge(one, seen)
		// The oldest sample that e reads was recorded at the begin of its range, or,
		// without a range, at the last evaluation.
		oldest := back + max(own, asked.Sub(seen))
		was, again := w.been[i]
		if again && (was.times > len(w.rules) || !seen.Before(was.asked) && oldest <= was.back) {
			continue // no further back; also ends a cycle
		}
		if again && was.asked.Before(seen) {
			seen = was.asked
		}
		if _, known := w.below[i]; !known {
			w.below[i] = w.of(one.expr)
		}
		w.been[i] = visit{seen, max(oldest, was.back), was.times + 1}
		w.follow(one.expr, w.below[i], seen, max(oldest, was.back))
	}
}

// judge evaluates the series of one rule, evaluated at seen.
func (w *walk) judge(one recording, seen time.Time) {
	w.found.rules = true
	if one.broken != nil {
		w.unknown(fmt.Errorf("recording rule %s: %w", one.name, one.broken))
	}
	if w.found.at.IsZero() || seen.Before(w.found.at) {
		w.found.at = seen
	}
	if w.past || w.found.stale != nil {
		return
	}
	if one.failed != "" {
		w.found.stale = fmt.Errorf("recording rule %s: %s", one.name, one.failed)
	} else if age := w.now.Sub(seen); age > w.maxAge {
		w.found.stale = fmt.Errorf("recording rule %s: last evaluation %s ago", one.name, age.Round(100*time.Millisecond))
	}
}

func (w *walk) unknown(err error) {
	if w.found.unknown == nil {
		w.found.unknown = fmt.Errorf("%w: %w", ErrUnusable, err)
	}
}

// unrecorded is a name with a colon in e without a rule; "" is none.
func (r recordings) unrecorded(e Expr) string {
	for _, s := range e.reads {
		name := s.exact()
		if strings.Contains(name, ":") && !slices.ContainsFunc(r.rules, func(one recording) bool { return one.name == name }) {
			return name
		}
	}
	return ""
}

// seen is the evaluation that is visible at a time. If the last one is later, the one
// before counts.
func (r recordings) seen(one recording, at time.Time) time.Time {
	step := max(one.interval, time.Second)
	switch late := one.last.Sub(at); {
	case r.past && step > maxInterval:
		return at // not evaluated, its series are written
	case r.past:
		return at.Add(-step)
	case one.last.IsZero():
		return at // and failed
	case late > 0:
		return one.last.Add(-(late + step - 1).Truncate(step)) // earlier by whole intervals
	}
	return one.last
}

// maxDelay is how long before the reported time of an evaluation its newest data may
// be: an evaluation begins a little after it is due and reads what was stored when it
// was due; and a scrape has the time of its beginning, but is stored at its end.
const maxDelay = time.Second

// snapshotAt is the time of the exporter's snapshot that recording rules saw when
// evaluated at a time.
func (c *Client) snapshotAt(ctx context.Context, evaluated time.Time) (time.Time, error) {
	query, err := c.Parse(snapshotName)
	if err != nil {
		return time.Time{}, err
	}
	rows, err := c.Vector(ctx, query, evaluated.Add(-maxDelay))
	if err != nil {
		return time.Time{}, fmt.Errorf("snapshot before the evaluation of recording rules: %w", err)
	}
	if len(rows) != 1 {
		return time.Time{}, fmt.Errorf("snapshot before the evaluation of recording rules: expected 1 sample, found %d", len(rows))
	}
	return unix(rows[0].Value), nil
}
