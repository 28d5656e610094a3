package promql

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/internal/jsonscan"
)

// scanner reads Prometheus' answers. It accepts no object with a duplicate key: parsers
// disagree on which one counts.
type scanner struct {
	jsonscan.Scanner
	depth int
}

func newScanner(text []byte) *scanner { return &scanner{Scanner: jsonscan.Scanner{Data: text}} }

// skip skips one value of any type.
func (s *scanner) skip() error {
	switch c, _ := s.Peek(); c {
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	}
	return s.Skip(s.depth)
}

// decode decodes one value of any type into to.
func (s *scanner) decode(to any) error {
	if _, err := s.Peek(); err != nil {
		return err
	}
	from := s.Pos
	if err := s.skip(); err != nil {
		return err
	}
	return json.Unmarshal(s.Data[from:s.Pos], to)
}

// object reads an object; field reads the value of each key.
func (s *scanner) object(field func(key string) error) error {
	var few [24]string
	seen := few[:0]
	return s.list('{', '}', func() error {
		b, err := s.Key()
		if err != nil {
			return err
		}
		key := string(b)
		if slices.Contains(seen, key) {
			return fmt.Errorf("duplicate key %.40q", key)
		}
		seen = append(seen, key)
		return field(key)
	})
}

func (s *scanner) array(item func() error) error { return s.list('[', ']', item) }

func (s *scanner) list(open, end byte, item func() error) error {
	if err := s.Expect(open); err != nil {
		return err
	}
	if s.depth++; s.depth > jsonscan.MaxDepth {
		return s.Bad("nested deeper than %d", jsonscan.MaxDepth)
	}
	defer func() { s.depth-- }()
	for first := true; ; first = false {
		more, err := s.More(first, end)
		if err != nil || !more {
			return err
		}
		if err := item(); err != nil {
			return err
		}
	}
}

// point reads [1700000000.123,"1.5"].
func (s *scanner) point() (stamp, value float64, err error) {
	if err := s.Expect('['); err != nil {
		return 0, 0, err
	}
	b, err := s.Number()
	if err != nil {
		return 0, 0, err
	}
	if stamp, err = strconv.ParseFloat(string(b), 64); err != nil {
		return 0, 0, err
	}
	if err := s.Expect(','); err != nil {
		return 0, 0, err
	}
	if b, err = s.Text(); err != nil {
		return 0, 0, err
	}
	if value, err = strconv.ParseFloat(string(b), 64); err != nil {
		return 0, 0, err
	}
	return stamp, value, s.Expect(']')
}

// metric reads an object of strings.
func (s *scanner) metric() (model.Metric, error) {
	m := model.Metric{}
	err := s.object(func(key string) error {
		v, err := s.Text()
		m[model.LabelName(key)] = model.LabelValue(v)
		return err
	})
	return m, err
}
