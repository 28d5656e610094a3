// Package promql asks Prometheus and believes nothing that is not proved:
// errors, warnings, partial answers and shapes other than the one asked for
// are "unusable", never "zero".
package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// API is the part of Prometheus' HTTP interface that is used.
type API interface {
	Query(ctx context.Context, query string, ts time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error)
	Rules(ctx context.Context, matches []string) (v1.RulesResult, error)
	Targets(ctx context.Context) (v1.TargetsResult, error)
	AlertManagers(ctx context.Context) (v1.AlertManagersResult, error)
}

// Client asks one Prometheus, about one host if Host is not empty.
type Client struct {
	api      API
	raw      api.Client   // of its addresses
	past     *http.Client // without a limit of time: the past may be long
	host     string
	timeout  time.Duration // of one query
	recorded recorded
}

// New prepares a client for the Prometheus at url. It does not connect. host
// is the value of the label host that every query is held to; "" is none.
func New(url, host string, timeout time.Duration) (*Client, error) {
	// A long past is hundreds of megabytes: compressing them costs Prometheus
	// more than sending them, over loopback above all.
	transport := func(limit time.Duration, plain bool) *http.Transport {
		return &http.Transport{
			DisableCompression:    plain,
			Proxy:                 http.ProxyFromEnvironment,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       time.Minute,
			ResponseHeaderTimeout: limit,
		}
	}
	c, err := api.NewClient(api.Config{Address: url, RoundTripper: transport(timeout, false)})
	if err != nil {
		return nil, fmt.Errorf("prometheus url %q: %w", url, err)
	}
	return &Client{api: v1.NewAPI(c), raw: c, past: &http.Client{Transport: transport(0, true)}, host: host, timeout: timeout}, nil
}

// ErrUnusable marks an answer that came but proves nothing.
var ErrUnusable = errors.New("unusable answer")

// Row is one sample of an instant vector.
type Row struct {
	Labels model.Metric
	Value  float64
}

// Vector asks query at one moment. The answer must be an instant vector
// without warnings or notes; rows of another host are dropped. An answer that
// is not so wraps ErrUnusable; any other error means that Prometheus failed.
func (c *Client) Vector(ctx context.Context, query Expr, at time.Time) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, warnings, infos, err := c.api.Query(ctx, query.String(), at, v1.WithTimeout(c.timeout))
	if err != nil {
		return nil, fmt.Errorf("asking Prometheus: %w", err)
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("%w: Prometheus warns: %s", ErrUnusable, warnings[0])
	}
	if len(infos) > 0 {
		return nil, fmt.Errorf("%w: Prometheus notes: %s", ErrUnusable, infos[0])
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("%w: a %s, not an instant vector", ErrUnusable, value.Type())
	}
	rows := make([]Row, 0, len(vector))
	for _, s := range vector {
		if s.Histogram != nil {
			return nil, fmt.Errorf("%w: a histogram, not a number", ErrUnusable)
		}
		if host, has := s.Metric["host"]; has && c.host != "" && string(host) != c.host {
			continue
		}
		rows = append(rows, Row{Labels: s.Metric, Value: float64(s.Value)})
	}
	return rows, nil
}

// ParseNumber prepares a query that gives one number, be it a scalar or a
// vector.
func (c *Client) ParseNumber(query string) (Expr, error) {
	e, err := c.Parse(query)
	if err != nil || !e.scalar {
		return e, err
	}
	return c.Parse("vector(" + strings.TrimSpace(query) + "\n)")
}

// Parse prepares a query for this client's host.
func (c *Client) Parse(query string) (Expr, error) { return ParseExpr(query, c.host) }
