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

// Moments are times at equal distances.
type Moments struct {
	Start time.Time
	Step  time.Duration
	N     int
}

// At is the i-th moment.
func (m Moments) At(i int) time.Time { return m.Start.Add(time.Duration(i) * m.Step) }

// part is the moments from i on, j not among them.
func (m Moments) part(i, j int) Moments { return Moments{Start: m.At(i), Step: m.Step, N: j - i} }

// Past is what a query would have answered at each of some moments.
type Past struct {
	series []pastSeries
	errs   []error // why the answer at a moment proves nothing; nil: all do
}

type pastSeries struct {
	labels model.Metric
	first  int       // the moment of values[0]
	values []float64 // absent where there is no sample
	has    []bool
}

// err is why the answer at the i-th moment proves nothing.
func (p *Past) err(i int) error {
	if p.errs == nil {
		return nil
	}
	return p.errs[i]
}

// at tells whether there is a sample at the i-th moment.
func (s *pastSeries) at(i int) bool {
	i -= s.first
	return i >= 0 && i < len(s.values) && s.has[i]
}

// Rows is the answer at the i-th moment.
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

// maxSplits bounds how often one question about the past is asked again in
// halves, to find the moments at which it has no answer.
const maxSplits = 64

// Range asks query at all moments at once, by the same rules as Vector. A
// query that fails at some of them is asked again in halves, so that an answer
// is missing only where there was none. An error means that Prometheus itself
// failed.
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
		return nil, fmt.Errorf("asking Prometheus about the past: %w", err)
	}
	a, err := parseRange(body, m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking Prometheus about the past: status %d: %w", code, err)
	case a.errorType == "execution" || a.errorType == "bad_data":
		return nil, fmt.Errorf("%w: %s", ErrUnusable, a.err)
	case a.status != "success":
		return nil, fmt.Errorf("asking Prometheus about the past: %s: %s", a.errorType, a.err)
	case len(a.notes) > 0:
		return nil, fmt.Errorf("%w: Prometheus warns: %s", ErrUnusable, a.notes[0])
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
