package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"

	"github.com/prometheus/common/model"
)

// Line is one series of a graph.
type Line struct {
	Labels model.Metric
	Values []float64 // at each moment; NaN without a sample
}

// Graph evaluates query at all moments with one request, for display. Unlike Range it
// does not look for the moments at which the query fails.
func (c *Client) Graph(ctx context.Context, query string, m Moments) ([]Line, error) {
	e, err := c.Parse(query)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p, err := c.rangeOnce(ctx, e, m)
	if err != nil {
		return nil, err
	}
	lines := make([]Line, len(p.series))
	for i, s := range p.series {
		lines[i] = Line{Labels: s.labels, Values: make([]float64, m.N)}
		for k := range m.N {
			if lines[i].Values[k] = math.NaN(); s.at(k) {
				lines[i].Values[k] = s.values[k]
			}
		}
	}
	return lines, nil
}

// Peers are where a person finds Prometheus and its Alertmanagers.
type Peers struct {
	External      string // --web.external-url of Prometheus; "" if not set
	Alertmanagers []string
}

// alertsPath is the endpoint of Alertmanager behind --web.route-prefix.
var alertsPath = regexp.MustCompile(`/api/v[0-9]+/alerts$`)

// Peers returns the addresses that Prometheus knows.
func (c *Client) Peers(ctx context.Context) (Peers, error) {
	var p Peers
	urls, err := c.alertmanagers(ctx)
	if err != nil {
		return p, err
	}
	for _, address := range urls {
		// Without the path of the API: http://HOST:9093/api/v2/alerts.
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			u.Path, u.RawPath, u.RawQuery = alertsPath.ReplaceAllString(u.Path, ""), "", ""
			p.Alertmanagers = append(p.Alertmanagers, u.String())
		}
	}
	var flags map[string]string
	if err := c.page(ctx, "/api/v1/status/flags", nil, &flags); err != nil && !errors.Is(err, errNoPage) {
		return p, fmt.Errorf("getting the flags of Prometheus: %w", err)
	}
	p.External = flags["web.external-url"]
	return p, nil
}
