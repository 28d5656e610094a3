package promql

import (
	"context"
	"fmt"
	"net/url"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// Endpoints is whom Prometheus talks to: host names or addresses, no ports.
type Endpoints struct {
	Scraped  []string
	Notified []string
}

// Endpoints asks Prometheus for its active targets and Alertmanagers.
func (c *Client) Endpoints(ctx context.Context) (Endpoints, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var e Endpoints
	targets, err := c.api.Targets(ctx)
	if err != nil {
		return e, fmt.Errorf("asking Prometheus for its targets: %w", err)
	}
	for _, t := range targets.Active {
		e.Scraped = append(e.Scraped, hostOf(t))
	}
	managers, err := c.api.AlertManagers(ctx)
	if err != nil {
		return e, fmt.Errorf("asking Prometheus for its Alertmanagers: %w", err)
	}
	for _, m := range managers.Active {
		if u, err := url.Parse(m.URL); err == nil {
			e.Notified = append(e.Notified, u.Hostname())
		}
	}
	return e, nil
}

func hostOf(t v1.ActiveTarget) string {
	u, err := url.Parse(t.ScrapeURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
