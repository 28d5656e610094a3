package promql

import (
	"errors"
	"fmt"
	"math"
)

// rangeAnswer is a decoded response of /api/v1/query_range.
type rangeAnswer struct {
	envelope
	series []pastSeries
}

// parseRange decodes an answer with a matrix over m. A day of a thousand
// containers is tens of millions of samples, so these are read by hand;
// everything around them is left to encoding/json.
//
// https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
func parseRange(body []byte, m Moments) (rangeAnswer, error) {
	var a rangeAnswer
	s := newScanner(body)
	err := s.answer(&a.envelope, func() error {
		var kind string
		return s.result(&kind, func() error {
			if kind != "matrix" {
				return fmt.Errorf("expected a matrix, found a %s", kind)
			}
			return s.array(func() error {
				one, err := s.series(m)
				a.series = append(a.series, one)
				return err
			})
		})
	})
	return a, err
}

// series reads {"metric":{…},"values":[[1700000000.123,"1.5"],…]}.
func (s *scanner) series(m Moments) (pastSeries, error) {
	var one pastSeries
	err := s.object(func(key string) error {
		switch key {
		case "metric":
			var err error
			one.labels, err = s.metric()
			return err
		case "values":
			one.values, one.has = make([]float64, m.N), make([]bool, m.N)
			return s.array(func() error { return s.sample(&one, m) })
		case "histograms":
			return errors.New("expected a float, found a histogram")
		}
		return s.skip()
	})
	return one, err
}

// sample reads a point and stores it at its time.
func (s *scanner) sample(to *pastSeries, m Moments) error {
	stamp, value, err := s.point()
	if err != nil {
		return err
	}
	i := int(math.Round((stamp - float64(m.Start.UnixMilli())/1e3) / m.Step.Seconds()))
	if i < 0 || i >= m.N {
		return fmt.Errorf("unexpected sample at %v", stamp)
	}
	to.values[i], to.has[i] = value, true
	return nil
}
