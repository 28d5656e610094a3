package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strings"
)

// envelope is the common part of all responses of Prometheus.
//
// https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview
type envelope struct {
	status, errorType, err string
	notes                  []string // warnings and infos
}

// answer reads a whole response; data reads its data.
func (s *scanner) answer(a *envelope, data func() error) error {
	err := s.object(func(key string) error {
		switch key {
		case "status":
			return s.decode(&a.status)
		case "errorType":
			return s.decode(&a.errorType)
		case "error":
			return s.decode(&a.err)
		case "warnings", "infos":
			var list []string
			err := s.decode(&list)
			a.notes = append(a.notes, list...)
			return err
		case "data":
			return data()
		}
		return s.skip()
	})
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return fmt.Errorf("decoding response: %w", err)
	}
	return nil
}

// failure is the error of a response, nil if it succeeded. A success with another
// status than 200, or with an error, is a failure.
func (a envelope) failure(code int) error {
	switch {
	case a.status == "success" && (a.errorType != "" || a.err != ""):
		return fmt.Errorf("response has status success and an error: %s: %s", a.errorType, a.err)
	case a.status == "success" && code != http.StatusOK:
		return fmt.Errorf("response has status success and HTTP status %d", code)
	case a.status != "success":
		return fmt.Errorf("%s: %s", a.errorType, a.err)
	}
	return nil
}

// errNoPage: Prometheus has no such endpoint.
var errNoPage = errors.New("page not found")

// page requests an endpoint of Prometheus' API and decodes its data.
func (c *Client) page(ctx context.Context, path string, query neturl.Values, data any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u := c.raw.URL(path, nil)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	body, code, err := c.read(c.pages, req)
	if err != nil {
		return err
	}
	if code == http.StatusNotFound {
		return errNoPage
	}
	var a envelope
	var raw json.RawMessage
	s := newScanner(body)
	if err := s.answer(&a, func() error { return s.decode(&raw) }); err != nil {
		return fmt.Errorf("HTTP status %d: %w", code, err)
	}
	if err := a.failure(code); err != nil {
		return err
	}
	if raw == nil {
		return errors.New("response without data")
	}
	return json.Unmarshal(raw, data)
}

// post sends a form and reads the whole response.
func (c *Client) post(ctx context.Context, path string, form neturl.Values) (body []byte, code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.raw.URL(path, nil).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.read(c.plain, req)
}

// read reads the whole response, unless it exceeds the limit.
func (c *Client) read(client *http.Client, req *http.Request) (body []byte, code int, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, c.longest+1))
	if err == nil && int64(len(body)) > c.longest {
		return nil, resp.StatusCode, fmt.Errorf("response exceeds %d bytes", c.longest)
	}
	return body, resp.StatusCode, err
}
