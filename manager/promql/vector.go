package promql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// instantAnswer is a decoded answer of /api/v1/query.
type instantAnswer struct {
	status, errorType, err string
	notes                  []string // warnings and infos
	kind                   string   // resultType
	histogram              bool     // a row was one
	rows                   []Row
}

// instant asks query at one moment and decodes what comes, whatever it is. It
// is read by hand like ranges: a tick reads some thousand rows.
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
		return a, fmt.Errorf("status %d: %w", code, err)
	}
	if a.status != "success" {
		return a, fmt.Errorf("%s: %s", a.errorType, a.err)
	}
	return a, nil
}

// post sends a form and reads the whole answer, unless it is larger than any that
// is worth reading.
func (c *Client) post(ctx context.Context, path string, form url.Values) (body []byte, code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.raw.URL(path, nil).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.plain.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, c.longest+1))
	if err == nil && int64(len(body)) > c.longest {
		return nil, resp.StatusCode, fmt.Errorf("an answer of more than %d bytes", c.longest)
	}
	return body, resp.StatusCode, err
}

func parseInstant(body []byte) (instantAnswer, error) {
	var a instantAnswer
	s := scanner{text: body}
	err := s.answer(&a.status, &a.errorType, &a.err, &a.notes, func() error {
		return s.object(func(key string) error {
			switch {
			case key == "resultType":
				return s.decode(&a.kind)
			case key == "result" && a.kind == "vector":
				return s.array(func() error { return s.row(&a) })
			}
			return s.skip()
		})
	})
	if err != nil {
		return a, fmt.Errorf("an answer that cannot be read: %w", err)
	}
	return a, nil
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
			_, r.Value, err = s.point()
			return err
		case "histogram":
			to.histogram = true
		}
		return s.skip()
	})
	if err == nil && !has && !to.histogram {
		err = errors.New("a row without a value")
	}
	to.rows = append(to.rows, r)
	return err
}

// metric reads an object of texts.
func (s *scanner) metric() (model.Metric, error) {
	m := model.Metric{}
	err := s.object(func(key string) error {
		v, err := s.string()
		m[model.LabelName(key)] = model.LabelValue(v)
		return err
	})
	return m, err
}

// string reads a text; those without escapes cost one copy.
func (s *scanner) string() (string, error) {
	if s.peek() != '"' {
		return "", fmt.Errorf("byte %d begins no text", s.at)
	}
	rest := s.text[s.at+1:]
	end := bytes.IndexByte(rest, '"')
	if end >= 0 && bytes.IndexByte(rest[:end], '\\') < 0 {
		s.at += end + 2
		return string(rest[:end]), nil
	}
	var v string
	err := s.decode(&v)
	return v, err
}
