package promql

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

// RangeWindow is the results of all queries of decisions, for a range of times in the
// past, and the containers of the history, which a live decision gets from the Docker
// Engine. It is not safe for concurrent use.
type RangeWindow struct {
	Moments
	fresh, starts, infos, protected *Past
	answers, reliefValues           []*Past
	reach                           []time.Duration
	behind                          []time.Duration // how long before a time the recorded series of a query were evaluated
	counts                          map[time.Duration]*Past
	scrapes                         scrapes

	known    []knownContainer        // by id
	infosOf  map[string][]seriesInfo // by label id
	misspelt []int                   // series of infos with label errors
	started  [2]startedAt
}

// PastContainer is a container in the history.
type PastContainer struct {
	ID                 string // 64 hex digits if the exporter knew them, else the label id
	Name, Image, Kind  string
	Managed, Protected bool
	Start              time.Time // of the measured life; zero is unknown
	Runtime            string    // "" is unknown
	Kubernetes         bool      // in a pod of Kubernetes
	LabelError         bool      // an estiba. label was invalid
	LabelsKnown        bool      // the exporter knew the container's name, image and labels
	ComposeProject     string
	ComposeService     string
	Labels             map[string]string // by LabelName; those that the exporter publishes
	Why                []string          // protections published by the manager of that time
}

// The queries for containers. The manager of that time published protections in its own
// metrics, which need not have the label host.
const (
	infoQuery      = `{__name__=~"estiba_container_info|estiba_container_label_errors"}`
	protectedQuery = `estiba_manager_protected`
)

// RangeWindow runs all queries for the times m, several at a time.
func (c *Client) RangeWindow(ctx context.Context, perRule []Queries, m Moments) (*RangeWindow, error) {
	ch := &RangeWindow{
		Moments: m, answers: make([]*Past, len(perRule)), reliefValues: make([]*Past, len(perRule)),
		reach: make([]time.Duration, len(perRule)), behind: make([]time.Duration, len(perRule)),
		counts: map[time.Duration]*Past{}, infosOf: map[string][]seriesInfo{},
	}
	rules, err := c.recordings(ctx)
	if err != nil {
		return nil, err
	}
	rules.past = true
	last := m.At(m.N - 1)
	type rangeQuery struct {
		query Expr
		n     int
		to    **Past
	}
	var queries []rangeQuery
	// One time more shows which containers had started but were not seen yet.
	for _, each := range []struct {
		text string
		n    int
		to   **Past
	}{{freshQuery, m.N, &ch.fresh}, {startQuery, m.N + 1, &ch.starts}, {infoQuery, m.N + 1, &ch.infos}} {
		query, err := c.Parse(each.text)
		if err != nil {
			return nil, err
		}
		queries = append(queries, rangeQuery{query, each.n, each.to})
	}
	protected, err := ParseExpr(protectedQuery, "")
	if err != nil {
		return nil, err
	}
	queries = append(queries, rangeQuery{protected, m.N, &ch.protected})
	for i, q := range perRule {
		queries = append(queries, rangeQuery{q.Query, m.N, &ch.answers[i]})
		if q.Relief != nil {
			queries = append(queries, rangeQuery{*q.Relief, m.N, &ch.reliefValues[i]})
		}
		if q.Query.edge {
			return nil, fmt.Errorf("query %q: @ start() and @ end() have another meaning in a range query", q.Query)
		}
		// A time set by @ is farthest back at the last time.
		read := rules.read(q.Query, last, 0)
		if ch.reach[i] = read.reach; read.rules {
			ch.behind[i] = last.Sub(read.at)
		}
	}
	deepest, windows := slices.Max(append(ch.behind, 0)), map[time.Duration]**Past{}
	for _, reach := range ch.reach {
		if windows[reach] != nil || reach == 0 {
			continue
		}
		deepest = max(deepest, min(reach, maxReach))
		counts, err := c.countsQuery(min(reach, maxReach))
		if err != nil {
			return nil, err
		}
		windows[reach] = new(*Past)
		queries = append(queries, rangeQuery{counts, m.N, windows[reach]})
	}
	if deepest > 0 {
		if ch.scrapes, err = c.scrapes(ctx, deepest+last.Sub(m.Start), last); err != nil {
			return nil, err
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(queries))
	slots := make(chan struct{}, 2)
	for i, e := range queries {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			part := m
			part.N = e.n
			*e.to, errs[i] = c.Range(ctx, e.query, part)
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	for reach, counts := range windows {
		ch.counts[reach] = *counts
	}
	ch.learn()
	return ch, nil
}

// Fresh is the result of Client.Fresh at the i-th time.
func (ch *RangeWindow) Fresh(i int, maxAge time.Duration) (Freshness, error) {
	rows, err := ch.fresh.Rows(i)
	if err != nil {
		return Freshness{}, err
	}
	return freshOf(rows, ch.At(i), maxAge), nil
}

// Answers is the result of Client.Evaluate at the i-th time.
func (ch *RangeWindow) Answers(i int) []Result {
	results := make([]Result, len(ch.answers))
	starts, startsErr := ch.startsAt(i)
	k := knowledge{starts: starts, infos: ch.infosAt(i)}
	for q := range results {
		r := &results[q]
		r.Reach = ch.reach[q]
		var rows []Row
		if rows, r.Err = ch.answers[q].Rows(i); r.Err == nil {
			r.Err = startsErr
		}
		r.compose(rows, k, ch.history(r, i, len(rows)))
		if ch.behind[q] > 0 && r.Err == nil {
			r.Answer.At = ch.scrapes.latest(ch.At(i).Add(-ch.behind[q]))
		}
		if ch.reliefValues[q] == nil {
			continue
		}
		number, err := ch.reliefValues[q].Rows(i)
		if err == nil {
			var p *float64
			if p, err = numberOf(number); err == nil {
				r.Answer.ReliefValue, r.Answer.ReliefValueKnown = *p, true
			}
		}
		r.ReliefErr = err
	}
	return results
}

// history is the result of Client.history at the i-th time.
func (ch *RangeWindow) history(r *Result, i, rows int) history {
	if r.Err != nil || r.Reach == 0 || rows == 0 {
		return history{}
	}
	counts, err := ch.counts[r.Reach].Rows(i)
	if err != nil {
		return history{err: err}
	}
	return historyOf(ch.scrapes, counts, r.Reach, ch.At(i))
}

// infosAt is what was known of containers at the i-th time, by label id.
func (ch *RangeWindow) infosAt(i int) map[string]info {
	if ch.infos.err(i) != nil {
		return nil
	}
	k := knowledge{infos: make(map[string]info, len(ch.infosOf))}
	for id, list := range ch.infosOf {
		for _, s := range list {
			if ch.infos.series[s.series].at(i) {
				k.add(id, s.info)
			}
		}
	}
	return k.infos
}

// Containers are the containers at the i-th time, by id: those in Prometheus, and those
// that had started but were seen only at the next time. A container that has exited
// since the last scrape is included.
func (ch *RangeWindow) Containers(i int) ([]PastContainer, error) {
	if err := ch.infos.err(i); err != nil {
		return nil, err
	}
	starts, err := ch.startsAt(i)
	if err != nil {
		return nil, err
	}
	protections, err := ch.protected.Rows(i)
	if err != nil {
		return nil, err
	}
	var later map[string]time.Time
	if ch.infos.err(i+1) == nil {
		later, _ = ch.startsAt(i + 1) // if unknown, no container has started
	}
	list := make([]PastContainer, 0, len(ch.known))
	at := map[string]int{} // index of those with further series
	for _, k := range ch.known {
		c, now := k.PastContainer, ch.infos.series[k.series].at(i)
		if c.Start = starts[k.label]; !now {
			c.Start = later[k.label]
			if c.Start.IsZero() || c.Start.After(ch.At(i)) || !ch.infos.series[k.series].at(i+1) {
				continue
			}
		}
		if n := len(list); n > 0 && list[n-1].ID == c.ID {
			continue // two series, as after a change of labels
		}
		list = append(list, c)
		if len(protections) > 0 || len(ch.misspelt) > 0 {
			at[k.label] = len(list) - 1
		}
	}
	for _, series := range ch.misspelt {
		if n, ok := at[string(ch.infos.series[series].labels["id"])]; ok && ch.infos.series[series].at(i) {
			list[n].LabelError = true
		}
	}
	for _, r := range protections {
		if n, ok := at[string(r.Labels["id"])]; ok {
			list[n].Why = append(list[n].Why, string(r.Labels["why"]))
		}
	}
	return list, nil
}

// knownContainer is a container of the window, at any time.
type knownContainer struct {
	PastContainer
	series int    // of infos
	label  string // its id in metrics
}

// seriesInfo is what one series of infos has of a container.
type seriesInfo struct {
	series int
	info
}

// learn reads the labels of the window's containers once.
func (ch *RangeWindow) learn() {
	for i, s := range ch.infos.series {
		if s.labels["__name__"] != "estiba_container_info" {
			ch.misspelt = append(ch.misspelt, i)
			continue
		}
		l := s.labels
		c := knownContainer{series: i, label: string(l["id"]), PastContainer: PastContainer{
			ID: string(l["id"]), Name: string(l["name"]), Image: string(l["image"]), Kind: string(l["kind"]),
			Managed: l["managed"] == "true", Protected: l["protected"] == "true",
		}}
		known := infoOf(l)
		c.Runtime, c.Kubernetes, c.LabelsKnown = known.measured.Runtime, known.measured.Kubernetes, known.labelsKnown
		c.ComposeProject, c.ComposeService, c.Labels = string(l["compose_project"]), string(l["compose_service"]), publishedLabels(l)
		ch.infosOf[c.label] = append(ch.infosOf[c.label], seriesInfo{i, known})
		if full := string(l["container_id"]); full != "" {
			c.ID = full
		}
		ch.known = append(ch.known, c)
	}
	sort.SliceStable(ch.known, func(i, j int) bool { return ch.known[i].ID < ch.known[j].ID })
}

// startsAt is called twice for each time, so the last two are cached.
func (ch *RangeWindow) startsAt(i int) (map[string]time.Time, error) {
	kept := &ch.started[i%2]
	if !kept.known || kept.i != i {
		rows, err := ch.starts.Rows(i)
		*kept = startedAt{known: true, i: i, err: err}
		if err == nil {
			kept.starts = startsOf(rows)
		}
	}
	return kept.starts, kept.err
}

type startedAt struct {
	known  bool
	i      int
	starts map[string]time.Time
	err    error
}
