package promql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// Moments are times at a fixed interval.
type Moments struct {
	Start time.Time
	Step  time.Duration
	N     int
}

// At is the i-th time.
func (m Moments) At(i int) time.Time { return m.Start.Add(time.Duration(i) * m.Step) }

// part is the times from i up to but not including j.
func (m Moments) part(i, j int) Moments { return Moments{Start: m.At(i), Step: m.Step, N: j - i} }

// Past is the result of a query at each of some times.
type Past struct {
	series []pastSeries
	errs   []error // why the result at a time is unusable; nil: all usable
}

type pastSeries struct {
	labels model.Metric
	first  int       // index of the time of values[0]
	values []float64 // absent without a sample
	has    []bool
}

// err is why the result at the i-th time is unusable.
func (p *Past) err(i int) error {
	if p.errs == nil {
		return nil
	}
	return p.errs[i]
}

// at reports whether there is a sample at the i-th time.
func (s *pastSeries) at(i int) bool {
	i -= s.first
	return i >= 0 && i < len(s.values) && s.has[i]
}

// Rows is the result at the i-th time.
func (p *Past) Rows(i int) ([]Row, error) {
	if err := p.err(i); err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(p.series))
	for k := range p.series {
		if s := &p.series[k]; s.at(i) {
			rows = append(rows, Row{Labels: s.labels, Value: s.values[i-s.first]})
		}
	}
	return rows, nil
}

// maxSplits limits how often a range query is repeated in halves to find the times at
// which it fails.
const maxSplits = 64

// Range evaluates query at all times at once, by the rules of Vector. If it fails at
// some times, it is repeated in halves, so that only these have no result. An error
// means that Prometheus itself failed.
func (c *Client) Range(ctx context.Context, query Expr, m Moments) (*Past, error) {
	splits := maxSplits
	return c.rangeOf(ctx, query, m, &splits)
}

func (c *Client) rangeOf(ctx context.Context, query Expr, m Moments, splits *int) (*Past, error) {
	p, err := c.rangeOnce(ctx, query, m)
	if err == nil || !errors.Is(err, ErrUnusable) {
		return p, err
	}
	if m.N == 1 || *splits == 0 {
		p = &Past{errs: make([]error, m.N)}
		for i := range p.errs {
			p.errs[i] = err
		}
		return p, nil
	}
	*splits--
	half := m.N / 2
	a, err := c.rangeOf(ctx, query, m.part(0, half), splits)
	if err != nil {
		return nil, err
	}
	b, err := c.rangeOf(ctx, query, m.part(half, m.N), splits)
	if err != nil {
		return nil, err
	}
	for _, s := range b.series {
		s.first += half
		a.series = append(a.series, s)
	}
	if a.errs == nil {
		a.errs = make([]error, half)
	}
	if b.errs == nil {
		b.errs = make([]error, m.N-half)
	}
	a.errs = append(a.errs, b.errs...)
	return a, nil
}

func (c *Client) rangeOnce(ctx context.Context, query Expr, m Moments) (*Past, error) {
	seconds := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64) }
	form := url.Values{
		"query": {query.String()}, "start": {seconds(m.Start)}, "end": {seconds(m.At(m.N - 1))},
		"step": {strconv.FormatFloat(m.Step.Seconds(), 'f', -1, 64)},
	}
	body, code, err := c.post(ctx, "/api/v1/query_range", form)
	if err != nil {
		return nil, fmt.Errorf("querying the history: %w", err)
	}
	a, err := parseRange(body, m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("querying the history: status %d: %w", code, err)
	case a.errorType == "execution" || a.errorType == "bad_data":
		return nil, fmt.Errorf("%w: %s", ErrUnusable, a.err)
	case a.failure(code) != nil:
		return nil, fmt.Errorf("querying the history: %w", a.failure(code))
	case len(a.notes) > 0:
		return nil, fmt.Errorf("%w: warning from Prometheus: %s", ErrUnusable, a.notes[0])
	}
	p := &Past{}
	for _, s := range a.series {
		if host, has := s.labels["host"]; has && c.host != "" && string(host) != c.host {
			continue
		}
		p.series = append(p.series, s)
	}
	return p, nil
}
