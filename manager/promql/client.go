// Package promql asks Prometheus and believes nothing that is not proved:
// errors, warnings, partial answers and shapes other than the one asked for
// are "unusable", never "zero".
package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/manager/httpclient"
)

// API is the part of Prometheus' HTTP interface that is used.
type API interface {
	Rules(ctx context.Context, matches []string) (v1.RulesResult, error)
	Targets(ctx context.Context) (v1.TargetsResult, error)
	AlertManagers(ctx context.Context) (v1.AlertManagersResult, error)
}

// Client asks one Prometheus, about one host if Host is not empty.
type Client struct {
	api      API
	raw      api.Client   // of its addresses
	plain    *http.Client // for queries; their contexts limit the time
	host     string
	timeout  time.Duration // of one query
	longest  int64         // bytes of one answer
	recorded recorded
}

// maxAnswer bounds an answer in memory. A thousand containers are 0.3 MiB in an
// instant answer, and an hour of 10,000 at each tick, the most that is asked for at
// once, some 110 MiB.
const maxAnswer = 256 << 20

// New prepares a client for the Prometheus at url. It does not connect. httpConfig
// is the file that says how, see package httpclient; "" is none. host is the value of
// the label host that every query is held to; "" is none.
func New(url, httpConfig, host string, timeout time.Duration) (*Client, error) {
	// Answers to queries are large: compressing them costs both sides more than
	// sending them, over loopback above all.
	client := func(limit time.Duration, plain bool) (*http.Client, error) {
		return httpclient.New("Prometheus", httpConfig, &http.Transport{
			DisableCompression:  plain,
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     time.Minute,
		}, limit)
	}
	pages, err := client(timeout, false)
	if err != nil {
		return nil, err
	}
	queries, err := client(0, true)
	if err != nil {
		return nil, err
	}
	c, err := api.NewClient(api.Config{Address: url, Client: pages})
	var wrong *neturl.Error
	if errors.As(err, &wrong) {
		err = wrong.Err // not the address: it may hold a password
	}
	if err != nil {
		return nil, fmt.Errorf("prometheus url: %w", err)
	}
	return &Client{api: v1.NewAPI(c), raw: c, plain: queries, host: host, timeout: timeout, longest: maxAnswer}, nil
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
	a, err := c.instant(ctx, query, at)
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking Prometheus: %w", err)
	case len(a.notes) > 0:
		return nil, fmt.Errorf("%w: Prometheus warns: %s", ErrUnusable, a.notes[0])
	case a.kind != "vector":
		return nil, fmt.Errorf("%w: a %s, not an instant vector", ErrUnusable, a.kind)
	case a.histogram:
		return nil, fmt.Errorf("%w: a histogram, not a number", ErrUnusable)
	case c.host == "":
		return a.rows, nil
	}
	rows := make([]Row, 0, len(a.rows))
	for _, r := range a.rows {
		if host, has := r.Labels["host"]; !has || string(host) == c.host {
			rows = append(rows, r)
		}
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
