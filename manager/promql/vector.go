package promql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// instantAnswer is a decoded response of /api/v1/query.
type instantAnswer struct {
	envelope
	kind      string  // resultType
	histogram bool    // a sample was a histogram
	rows      []Row   // of a vector
	oldest    float64 // time of a sample, in seconds since the epoch
	youngest  float64
	points    []point
}

// point is one sample of a matrix, whose series do not matter.
type point struct{ stamp, value float64 }

// instant evaluates query at one time and decodes the result of any type. It has its own
// decoder, like ranges: a tick reads some thousand samples.
//
// https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
func (c *Client) instant(ctx context.Context, query Expr, at time.Time) (instantAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	form := url.Values{
		"query": {query.String()}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1e3, 'f', 3, 64)},
		"timeout": {c.timeout.String()},
	}
	body, code, err := c.post(ctx, "/api/v1/query", form)
	if err != nil {
		return instantAnswer{}, err
	}
	a, err := parseInstant(body)
	if err != nil {
		return a, fmt.Errorf("HTTP status %d: %w", code, err)
	}
	if err := a.failure(code); err != nil {
		return a, err
	}
	return a, a.evaluated(at)
}

// maxOff is the tolerated difference between the time of a result and the requested
// one: that is rounded to milliseconds, in some stores to seconds.
const maxOff = 1.5

// evaluated is an error if the result is of another time than requested, as from a
// cache in between.
func (a *instantAnswer) evaluated(at time.Time) error {
	asked := float64(at.UnixMilli()) / 1e3
	if len(a.rows) == 0 || (a.oldest >= asked-maxOff && a.youngest <= asked+maxOff) {
		return nil
	}
	return fmt.Errorf("%w: expected evaluation at %[3]s, found %[2]s", ErrUnusable, unix(a.oldest).UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
}

func parseInstant(body []byte) (instantAnswer, error) {
	var a instantAnswer
	s := newScanner(body)
	err := s.answer(&a.envelope, func() error {
		return s.result(&a.kind, func() error {
			switch a.kind {
			case "vector":
				return s.array(func() error { return s.row(&a) })
			case "matrix":
				return s.array(func() error { return s.points(&a) })
			}
			return s.skip()
		})
	})
	return a, err
}

// result reads the data of a query result, with its two keys in any order; read reads
// the result when its type is known.
func (s *scanner) result(kind *string, read func() error) error {
	known, there, before := false, false, -1
	err := s.object(func(key string) error {
		switch key {
		case "resultType":
			known = true
			return s.decode(kind)
		case "result":
			if there = true; known {
				return read()
			}
			before = s.Pos
		}
		return s.skip()
	})
	switch {
	case err != nil:
		return err
	case !there:
		return errors.New("response without result")
	case before < 0:
		return nil
	}
	after := s.Pos
	s.Pos = before
	err = read()
	s.Pos = after
	return err
}

// row reads {"metric":{…},"value":[1700000000.123,"1.5"]}.
func (s *scanner) row(to *instantAnswer) error {
	var r Row
	has := false
	err := s.object(func(key string) (err error) {
		switch key {
		case "metric":
			r.Labels, err = s.metric()
			return err
		case "value":
			has = true
			stamp, value, err := s.point()
			if r.Value = value; len(to.rows) == 0 {
				to.oldest, to.youngest = stamp, stamp
			}
			to.oldest, to.youngest = min(to.oldest, stamp), max(to.youngest, stamp)
			return err
		case "histogram":
			to.histogram = true
		}
		return s.skip()
	})
	if err == nil && !has && !to.histogram {
		err = errors.New("sample without value")
	}
	to.rows = append(to.rows, r)
	return err
}

// points reads {"metric":{…},"values":[[1700000000.123,"1.5"],…]}.
func (s *scanner) points(to *instantAnswer) error {
	return s.object(func(key string) error {
		switch key {
		case "values":
			return s.array(func() error {
				stamp, value, err := s.point()
				to.points = append(to.points, point{stamp, value})
				return err
			})
		case "histograms":
			to.histogram = true
		}
		return s.skip()
	})
}
