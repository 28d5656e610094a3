package promql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// rangeAnswer is a decoded answer of /api/v1/query_range.
type rangeAnswer struct {
	status, errorType, err string
	notes                  []string // warnings and infos
	series                 []pastSeries
}

// parseRange decodes an answer with a matrix over m. A day of a thousand
// containers is tens of millions of samples, so these are read by hand;
// everything around them is left to encoding/json.
//
// https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
func parseRange(body []byte, m Moments) (rangeAnswer, error) {
	var a rangeAnswer
	s := scanner{text: body}
	err := s.answer(&a.status, &a.errorType, &a.err, &a.notes, func() error { return s.data(&a, m) })
	if err != nil {
		return a, fmt.Errorf("an answer that cannot be read: %w", err)
	}
	return a, nil
}

// answer reads what all answers of Prometheus have in common.
func (s *scanner) answer(status, errorType, errText *string, notes *[]string, data func() error) error {
	return s.object(func(key string) error {
		switch key {
		case "status":
			return s.decode(status)
		case "errorType":
			return s.decode(errorType)
		case "error":
			return s.decode(errText)
		case "warnings", "infos":
			var list []string
			err := s.decode(&list)
			*notes = append(*notes, list...)
			return err
		case "data":
			return data()
		}
		return s.skip()
	})
}

func (s *scanner) data(a *rangeAnswer, m Moments) error {
	return s.object(func(key string) error {
		switch key {
		case "resultType":
			var kind string
			if err := s.decode(&kind); err != nil {
				return err
			}
			if kind != "matrix" {
				return fmt.Errorf("a %s, not a matrix", kind)
			}
			return nil
		case "result":
			return s.array(func() error {
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
						return errors.New("a histogram, not a number")
					}
					return s.skip()
				})
				a.series = append(a.series, one)
				return err
			})
		}
		return s.skip()
	})
}

// sample reads a point and puts it at its moment.
func (s *scanner) sample(to *pastSeries, m Moments) error {
	stamp, value, err := s.point()
	if err != nil {
		return err
	}
	i := int(math.Round((stamp - float64(m.Start.UnixMilli())/1e3) / m.Step.Seconds()))
	if i < 0 || i >= m.N {
		return fmt.Errorf("a sample at %v, which was not asked for", stamp)
	}
	to.values[i], to.has[i] = value, true
	return nil
}

// point reads [1700000000.123,"1.5"].
func (s *scanner) point() (stamp, value float64, err error) {
	if err := s.expect('['); err != nil {
		return 0, 0, err
	}
	from := s.at
	for s.at < len(s.text) && s.text[s.at] != ',' {
		s.at++
	}
	if stamp, err = strconv.ParseFloat(string(bytes.TrimSpace(s.text[from:s.at])), 64); err != nil {
		return 0, 0, err
	}
	if err := s.expect(','); err != nil {
		return 0, 0, err
	}
	if err := s.expect('"'); err != nil {
		return 0, 0, err
	}
	from = s.at
	end := bytes.IndexByte(s.text[from:], '"')
	if end < 0 {
		return 0, 0, errEnd
	}
	s.at += end + 1
	if value, err = strconv.ParseFloat(string(s.text[from:from+end]), 64); err != nil {
		return 0, 0, err
	}
	return stamp, value, s.expect(']')
}

var errEnd = errors.New("it ends too early")

// scanner walks over JSON text.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\t' || s.text[s.at] == '\r') {
		s.at++
	}
}

func (s *scanner) peek() byte {
	s.space()
	if s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) expect(c byte) error {
	if got := s.peek(); got == 0 {
		return errEnd
	} else if got != c {
		return fmt.Errorf("byte %d is %q, want %q", s.at, got, c)
	}
	s.at++
	return nil
}

// skip passes over one value of any shape.
func (s *scanner) skip() error {
	var any json.RawMessage
	return s.decode(&any)
}

// decode reads one value of any shape into to.
func (s *scanner) decode(to any) error {
	s.space()
	from, depth, inText := s.at, 0, false
	for ; s.at < len(s.text); s.at++ {
		c := s.text[s.at]
		switch {
		case inText && c == '\\':
			s.at++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth < 0 || (depth == 0 && !inText && c == ',') {
			break // the end of a number or a word
		}
		if depth == 0 && !inText && (c == '"' || c == '}' || c == ']') {
			s.at++
			break
		}
	}
	if s.at > len(s.text) {
		return errEnd
	}
	return json.Unmarshal(s.text[from:s.at], to)
}

func (s *scanner) object(field func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.string()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return field(key)
	})
}

func (s *scanner) array(item func() error) error { return s.list('[', ']', item) }

func (s *scanner) list(open, end byte, item func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.peek() == end {
		s.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.peek() == end {
			s.at++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}
