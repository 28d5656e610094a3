package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// Result is one rule's answer, ready for the decision.
type Result struct {
	Answer policy.Answer
	Err    error         // why it is unusable
	Failed bool          // Prometheus itself failed, as opposed to answering nonsense
	Reach  time.Duration // how far back the query looks
	// PressureErr is why the rule's pressure is not known, when it was asked.
	PressureErr error
}

// Question is what a rule asks.
type Question struct {
	Query Expr
	// Pressure is one number; nil asks for none.
	Pressure *Expr
}

// Ask evaluates all questions at one moment, side by side, with the start and
// the history of every container they name.
func (c *Client) Ask(ctx context.Context, questions []Question, at time.Time) []Result {
	results := make([]Result, len(questions))
	rows := make([][]Row, len(questions))
	var starts map[string]time.Time
	var startsErr error
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		starts, startsErr = c.starts(ctx, at)
	}()
	for i, question := range questions {
		q := question.Query
		wg.Add(1)
		go func() {
			defer wg.Done()
			if rows[i], results[i].Err = c.Vector(ctx, q, at); results[i].Err == nil {
				results[i].Reach, results[i].Err = c.recorded.reachOf(ctx, c.api, q, at)
			}
		}()
	}
	pressures := make([]*float64, len(questions))
	for i, question := range questions {
		if question.Pressure == nil {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			pressures[i], results[i].PressureErr = c.number(ctx, *question.Pressure, at)
		}()
	}
	wg.Wait()

	histories := map[time.Duration]history{}
	for i := range results {
		r := &results[i]
		if r.Err == nil {
			r.Err = startsErr
		}
		r.compose(rows[i], starts, func(reach time.Duration) history {
			h, asked := histories[reach]
			if !asked {
				h = c.history(ctx, reach, at)
				histories[reach] = h
			}
			return h
		})
		if p := pressures[i]; p != nil {
			r.Answer.Pressure, r.Answer.PressureKnown = *p, true
		}
	}
	return results
}

// compose makes the answer out of its rows, or marks it as unusable.
func (r *Result) compose(rows []Row, starts map[string]time.Time, of func(reach time.Duration) history) {
	var h history
	if r.Err == nil && r.Reach > 0 && len(rows) > 0 {
		h = of(r.Reach)
		r.Err = h.err
	}
	if r.Err == nil {
		r.Answer.Samples, r.Err = samples(rows, starts, h)
	}
	if r.Err != nil {
		r.Answer = policy.Answer{Unusable: true}
		r.Failed = !errors.Is(r.Err, ErrUnusable)
	}
}

func samples(rows []Row, starts map[string]time.Time, h history) ([]policy.Sample, error) {
	list := make([]policy.Sample, 0, len(rows))
	for _, row := range rows {
		id := string(row.Labels["id"])
		if id == "" {
			return nil, fmt.Errorf("%w: a row without the label id", ErrUnusable)
		}
		list = append(list, policy.Sample{ID: id, Value: row.Value, Start: starts[id], WindowFilled: h.filled(id)})
	}
	return list, nil
}

// number asks for exactly one finite number.
func (c *Client) number(ctx context.Context, query Expr, at time.Time) (*float64, error) {
	rows, err := c.Vector(ctx, query, at)
	if err != nil {
		return nil, fmt.Errorf("pressure: %w", err)
	}
	return numberOf(rows)
}

func numberOf(rows []Row) (*float64, error) {
	if len(rows) != 1 {
		return nil, fmt.Errorf("%w: pressure: %d samples, want one", ErrUnusable, len(rows))
	}
	if v := rows[0].Value; !math.IsNaN(v) && !math.IsInf(v, 0) {
		return &v, nil
	}
	return nil, fmt.Errorf("%w: pressure: not a finite number", ErrUnusable)
}

const startQuery = `estiba_container_start_time_seconds`

// starts is when each container's measured life began, by label id. One that
// has two answers is left out: then nobody knows which life was measured.
func (c *Client) starts(ctx context.Context, at time.Time) (map[string]time.Time, error) {
	query, err := c.Parse(startQuery)
	if err != nil {
		return nil, err
	}
	rows, err := c.Vector(ctx, query, at)
	if err != nil {
		return nil, fmt.Errorf("start times: %w", err)
	}
	return startsOf(rows), nil
}

func startsOf(rows []Row) map[string]time.Time {
	starts := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		id := string(r.Labels["id"])
		if _, twice := starts[id]; twice || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || r.Value <= 0 {
			starts[id] = time.Time{}
			continue
		}
		starts[id] = unix(r.Value)
	}
	return starts
}
