package promql

import (
	"context"
	"sort"
	"sync"
	"time"
)

// Chapter is all that decisions ask Prometheus, answered for a row of moments
// in the past, and what its history knows of the containers, which a live
// decision asks the Docker Engine for.
type Chapter struct {
	Moments
	fresh, starts, infos, protected *Past
	answers, pressures              []*Past
	reach                           []time.Duration
	first, counts                   map[time.Duration]*Past
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
	var starts map[string]time.Time
	startRows, startsErr := ch.starts.Rows(i)
	if startsErr == nil {
		starts = startsOf(startRows)
	}
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
	found := map[string]*PastContainer{}
	bad := map[string]bool{}
	for _, at := range []int{i, i + 1} {
		infos, err := ch.infos.Rows(at)
		if err != nil {
			if at > i {
				continue
			}
			return nil, err
		}
		startRows, err := ch.starts.Rows(at)
		if err != nil {
			if at > i {
				continue
			}
			return nil, err
		}
		starts := startsOf(startRows)
		for _, r := range infos {
			id := string(r.Labels["id"])
			if r.Labels["__name__"] != "estiba_container_info" {
				bad[id] = true
				continue
			}
			start := starts[id]
			if _, known := found[id]; known || (at > i && (start.IsZero() || start.After(ch.At(i)))) {
				continue
			}
			c := &PastContainer{
				ID: id, Name: string(r.Labels["name"]), Image: string(r.Labels["image"]), Kind: string(r.Labels["kind"]),
				Managed: r.Labels["managed"] == "true", Protected: r.Labels["protected"] == "true", Start: start,
			}
			if full := string(r.Labels["container_id"]); full != "" {
				c.ID = full
			}
			found[id] = c
		}
	}
	whys, err := ch.protected.Rows(i)
	if err != nil {
		return nil, err
	}
	for _, r := range whys {
		if c, ok := found[string(r.Labels["id"])]; ok {
			c.Why = append(c.Why, string(r.Labels["why"]))
		}
	}
	list := make([]PastContainer, 0, len(found))
	for id, c := range found {
		c.LabelError = bad[id]
		list = append(list, *c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, nil
}
