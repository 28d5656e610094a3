package promql

import (
	"context"
	"sort"
	"sync"
	"time"
)

// Chapter is all that decisions ask Prometheus, answered for a row of moments
// in the past, and what its history knows of the containers, which a live
// decision asks the Docker Engine for. It is for one goroutine at a time.
type Chapter struct {
	Moments
	fresh, starts, infos, protected *Past
	answers, pressures              []*Past
	reach                           []time.Duration
	first, counts                   map[time.Duration]*Past

	known    []knownContainer // by id
	misspelt []int            // series of infos that tell of misspelt labels
	started  [2]startedAt
}

// PastContainer is a container as the history knows it.
type PastContainer struct {
	ID                 string // 64 hex digits where the exporter knew them, else the label id
	Name, Image, Kind  string
	Managed, Protected bool
	Start              time.Time // of the life that was measured; zero is not known
	LabelError         bool      // a label of Estiba's was misspelt
	Why                []string  // what the manager of that time said protects it
}

// The queries for containers. What the manager of that time protected stands
// in its own metrics, which need not carry the label host.
const (
	infoQuery      = `{__name__=~"estiba_container_info|estiba_container_label_errors"}`
	protectedQuery = `estiba_manager_protected`
)

// Chapter asks everything about the moments m, several questions at a time.
func (c *Client) Chapter(ctx context.Context, questions []Question, m Moments) (*Chapter, error) {
	ch := &Chapter{
		Moments: m, answers: make([]*Past, len(questions)), pressures: make([]*Past, len(questions)), reach: make([]time.Duration, len(questions)),
		first: map[time.Duration]*Past{}, counts: map[time.Duration]*Past{},
	}
	type errand struct {
		query Expr
		n     int
		to    **Past
	}
	var errands []errand
	// One moment more tells which containers had started, but not been seen yet.
	for _, each := range []struct {
		text string
		n    int
		to   **Past
	}{{freshQuery, m.N, &ch.fresh}, {startQuery, m.N + 1, &ch.starts}, {infoQuery, m.N + 1, &ch.infos}} {
		query, err := c.Parse(each.text)
		if err != nil {
			return nil, err
		}
		errands = append(errands, errand{query, each.n, each.to})
	}
	protected, err := ParseExpr(protectedQuery, "")
	if err != nil {
		return nil, err
	}
	errands = append(errands, errand{protected, m.N, &ch.protected})
	for i, q := range questions {
		errands = append(errands, errand{q.Query, m.N, &ch.answers[i]})
		if q.Pressure != nil {
			errands = append(errands, errand{*q.Pressure, m.N, &ch.pressures[i]})
		}
		if ch.reach[i], err = c.recorded.reachOf(ctx, c.api, q.Query, time.Now()); err != nil {
			return nil, err
		}
	}
	windows := map[time.Duration]*[2]*Past{}
	for _, reach := range ch.reach {
		if _, asked := windows[reach]; asked || reach == 0 {
			continue
		}
		first, counts, err := c.historyQueries(reach)
		if err != nil {
			return nil, err
		}
		windows[reach] = &[2]*Past{}
		errands = append(errands, errand{first, m.N, &windows[reach][0]}, errand{counts, m.N, &windows[reach][1]})
	}
	var wg sync.WaitGroup
	errs := make([]error, len(errands))
	slots := make(chan struct{}, 2)
	for i, e := range errands {
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
	for reach, w := range windows {
		ch.first[reach], ch.counts[reach] = w[0], w[1]
	}
	ch.learn()
	return ch, nil
}

// Fresh is what Client.Fresh would have said at the i-th moment.
func (ch *Chapter) Fresh(i int, maxAge time.Duration) (Freshness, error) {
	rows, err := ch.fresh.Rows(i)
	if err != nil {
		return Freshness{}, err
	}
	return freshOf(rows, ch.At(i), maxAge), nil
}

// Answers is what Client.Ask would have said at the i-th moment.
func (ch *Chapter) Answers(i int) []Result {
	results := make([]Result, len(ch.answers))
	starts, startsErr := ch.startsAt(i)
	for k := range results {
		r := &results[k]
		r.Reach = ch.reach[k]
		var rows []Row
		if rows, r.Err = ch.answers[k].Rows(i); r.Err == nil {
			r.Err = startsErr
		}
		r.compose(rows, starts, func(reach time.Duration) history {
			first, err := ch.first[reach].Rows(i)
			if err != nil {
				return history{err: err}
			}
			counts, err := ch.counts[reach].Rows(i)
			if err != nil {
				return history{err: err}
			}
			return historyOf(first, counts, reach, ch.At(i))
		})
		if ch.pressures[k] == nil {
			continue
		}
		number, err := ch.pressures[k].Rows(i)
		if err == nil {
			var p *float64
			if p, err = numberOf(number); err == nil {
				r.Answer.Pressure, r.Answer.PressureKnown = *p, true
			}
		}
		r.PressureErr = err
	}
	return results
}

// Containers is what ran at the i-th moment, by id: what Prometheus knew of,
// and what had started by then but was seen only at the next moment. A
// container that had ended since the last scrape is still among them.
func (ch *Chapter) Containers(i int) ([]PastContainer, error) {
	if err := ch.infos.err(i); err != nil {
		return nil, err
	}
	starts, err := ch.startsAt(i)
	if err != nil {
		return nil, err
	}
	whys, err := ch.protected.Rows(i)
	if err != nil {
		return nil, err
	}
	var later map[string]time.Time
	if ch.infos.err(i+1) == nil {
		later, _ = ch.startsAt(i + 1) // without it nobody is known to have started
	}
	list := make([]PastContainer, 0, len(ch.known))
	at := map[string]int{} // of those that something more is said about
	for _, k := range ch.known {
		c, now := k.PastContainer, ch.infos.series[k.series].at(i)
		if c.Start = starts[k.label]; !now {
			c.Start = later[k.label]
			if c.Start.IsZero() || c.Start.After(ch.At(i)) || !ch.infos.series[k.series].at(i+1) {
				continue
			}
		}
		if n := len(list); n > 0 && list[n-1].ID == c.ID {
			continue // described twice, as when its labels have just changed
		}
		list = append(list, c)
		if len(whys) > 0 || len(ch.misspelt) > 0 {
			at[k.label] = len(list) - 1
		}
	}
	for _, series := range ch.misspelt {
		if n, ok := at[string(ch.infos.series[series].labels["id"])]; ok && ch.infos.series[series].at(i) {
			list[n].LabelError = true
		}
	}
	for _, r := range whys {
		if n, ok := at[string(r.Labels["id"])]; ok {
			list[n].Why = append(list[n].Why, string(r.Labels["why"]))
		}
	}
	return list, nil
}

// knownContainer is a container of the chapter, whenever it ran.
type knownContainer struct {
	PastContainer
	series int    // of infos
	label  string // its id as the metrics have it
}

// learn reads the labels of the chapter's containers, once for all moments.
func (ch *Chapter) learn() {
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
		if full := string(l["container_id"]); full != "" {
			c.ID = full
		}
		ch.known = append(ch.known, c)
	}
	sort.SliceStable(ch.known, func(i, j int) bool { return ch.known[i].ID < ch.known[j].ID })
}

// startsAt is asked for twice at each moment, so the last two are kept.
func (ch *Chapter) startsAt(i int) (map[string]time.Time, error) {
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
