// Package promql queries Prometheus, and accepts complete results only: errors,
// warnings, partial results and unexpected types are "unusable", never "zero".
package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/manager/httpclient"
)

// Client queries one Prometheus, for one host if host is not empty.
type Client struct {
	raw     api.Client   // builds URLs
	plain   *http.Client // for queries; their contexts limit the time
	pages   *http.Client // for all other endpoints
	host    string
	timeout time.Duration // per query
	longest int64         // bytes of a response
}

// maxAnswer limits a response in memory. A thousand containers are 0.3 MiB in an
// instant vector, and an hour of 10,000 at each tick, the largest request, some 110
// MiB.
const maxAnswer = 256 << 20

// New prepares a client for the Prometheus at url. It does not connect. httpConfig is a
// configuration file, see package httpclient; "" is none. host is the value of the
// label host to add to each query; "" is none.
func New(url, httpConfig, host string, timeout time.Duration) (*Client, error) {
	// Query results are large: compressing them costs both sides more than sending
	// them, in particular over loopback.
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
	if _, err := httpclient.URL("prometheus", url); err != nil {
		return nil, err
	}
	c, err := api.NewClient(api.Config{Address: url, Client: pages})
	if err != nil {
		return nil, err
	}
	return &Client{raw: c, plain: queries, pages: pages, host: host, timeout: timeout, longest: maxAnswer}, nil
}

// ErrUnusable marks a response that arrived but cannot be used.
var ErrUnusable = errors.New("unusable query result")

// Row is one sample of an instant vector.
type Row struct {
	Labels model.Metric
	Value  float64
}

// Vector evaluates query at one time. The result must be an instant vector without
// warnings or infos; samples of other hosts are dropped. Any other result wraps
// ErrUnusable; other errors mean that Prometheus failed.
func (c *Client) Vector(ctx context.Context, query Expr, at time.Time) ([]Row, error) {
	a, err := c.instant(ctx, query, at)
	switch {
	case err != nil:
		return nil, fmt.Errorf("querying Prometheus: %w", err)
	case len(a.notes) > 0:
		return nil, fmt.Errorf("%w: warning from Prometheus: %s", ErrUnusable, a.notes[0])
	case a.kind != "vector":
		return nil, fmt.Errorf("%w: expected an instant vector, found a %s", ErrUnusable, a.kind)
	case a.histogram:
		return nil, fmt.Errorf("%w: expected a float, found a histogram", ErrUnusable)
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

// ParseNumber prepares a query with one number as its result, a scalar or a vector.
func (c *Client) ParseNumber(query string) (Expr, error) {
	e, err := c.Parse(query)
	if err != nil || !e.scalar {
		return e, err
	}
	return c.Parse("vector(" + strings.TrimSpace(query) + "\n)")
}

// Parse prepares a query for this client's host.
func (c *Client) Parse(query string) (Expr, error) { return ParseExpr(query, c.host) }
