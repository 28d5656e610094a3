package promql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Target is a scrape target, by the labels of its samples.
type Target struct {
	Known         bool // there was a sample
	Job, Instance string
}

// Endpoints are the peers of Prometheus: host names or addresses, without ports.
type Endpoints struct {
	Scraped  []string
	Probed   []string // in the URLs of targets, as the blackbox exporter's ?target=
	Notified []string
}

// Endpoints returns the active targets and Alertmanagers of Prometheus. With an error
// the lists may be incomplete: for the first seconds after its start Prometheus returns
// empty ones. exporter is a target that is known to be scraped.
func (c *Client) Endpoints(ctx context.Context, now time.Time, exporter Target) (Endpoints, error) {
	e, own, err := c.targets(ctx, exporter)
	if err != nil {
		return e, err
	}
	managers, err := c.alertmanagers(ctx)
	if err != nil {
		return e, err
	}
	for _, address := range managers {
		e.Notified = append(e.Notified, hostOf(address, "the URL of an Alertmanager"))
	}
	if err := c.scrapedLately(ctx, now, &e); err != nil {
		return e, err
	}
	if own != nil {
		return e, own
	}
	if len(managers) == 0 {
		return e, c.noAlertmanagers(ctx, now)
	}
	return e, nil
}

// alertmanagers are the URLs to which Prometheus sends alerts.
func (c *Client) alertmanagers(ctx context.Context) ([]string, error) {
	var managers struct {
		Active []struct {
			URL string `json:"url"`
		} `json:"activeAlertmanagers"`
	}
	if err := c.page(ctx, "/api/v1/alertmanagers", nil, &managers); err != nil {
		return nil, fmt.Errorf("getting the Alertmanagers of Prometheus: %w", err)
	}
	urls := make([]string, len(managers.Active))
	for i, m := range managers.Active {
		urls[i] = m.URL
	}
	return urls, nil
}

// latelyQuery returns what has been scraped in the last minutes. The list of targets
// has no history: one that service discovery loses for a moment is missing, and a
// manager that has just started never saw it.
const latelyQuery = `group by (instance) (last_over_time(up[3m]))`

// scrapedLately adds the hosts in the label instance, which is the target's address
// unless relabelled.
func (c *Client) scrapedLately(ctx context.Context, now time.Time, e *Endpoints) error {
	query, err := ParseExpr(latelyQuery, "") // up need not have the label host
	if err != nil {
		return err
	}
	a, err := c.instant(ctx, query, now)
	if err != nil {
		return fmt.Errorf("querying recently scraped targets: %w", err)
	}
	for _, r := range a.rows {
		instance := string(r.Labels["instance"])
		if !strings.Contains(instance, "//") {
			instance = "//" + instance
		}
		if u, err := url.Parse(instance); err == nil && u.Hostname() != "" {
			e.Probed = append(e.Probed, u.Hostname())
		}
	}
	return nil
}

// targets returns the active targets. own is why the list may be incomplete.
func (c *Client) targets(ctx context.Context, exporter Target) (e Endpoints, own, err error) {
	var targets struct {
		Active []struct {
			Discovered map[string]string `json:"discoveredLabels"`
			Labels     map[string]string `json:"labels"`
			ScrapeURL  string            `json:"scrapeUrl"`
		} `json:"activeTargets"`
	}
	if err := c.page(ctx, "/api/v1/targets", url.Values{"state": {"active"}}, &targets); err != nil {
		return e, nil, fmt.Errorf("getting the scrape targets of Prometheus: %w", err)
	}
	found := false
	for _, t := range targets.Active {
		e.Scraped = append(e.Scraped, hostOf(t.ScrapeURL, "a target of job "+t.Labels["job"]))
		if u, err := url.Parse(t.ScrapeURL); err == nil {
			for _, probed := range u.Query()["target"] {
				if !strings.Contains(probed, "//") {
					probed = "//" + probed
				}
				if u, err := url.Parse(probed); err == nil && u.Hostname() != "" {
					e.Probed = append(e.Probed, u.Hostname())
				}
			}
		}
		if id := t.Discovered["__meta_docker_container_id"]; len(id) >= 12 {
			e.Probed = append(e.Probed, id[:12])
		}
		found = found || exporter.Job == t.Labels["job"] && exporter.Instance == t.Labels["instance"]
	}
	switch {
	case len(targets.Active) == 0:
		own = errors.New("list of scrape targets is empty")
	case !exporter.Known:
		own = errors.New("list of scrape targets may be incomplete: no exporter snapshot to compare it with")
	case exporter.Job == "" && exporter.Instance == "": // its samples do not identify it
	case !found:
		own = fmt.Errorf("list of scrape targets is incomplete: exporter missing, job %q, instance %q", exporter.Job, exporter.Instance)
	}
	return e, own, nil
}

// hostOf is the host of a URL, or else a description: text that is not a host name, and
// so never resolves.
func hostOf(address, whose string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return whose + " has an address without a host"
	}
	return u.Hostname()
}

// young is how long after its start, or after loading its configuration, Prometheus may
// not have discovered its Alertmanagers yet. It does so every 5 s.
const young = 15 * time.Second

// noAlertmanagers checks an empty list of Alertmanagers; nil means that it is complete.
func (c *Client) noAlertmanagers(ctx context.Context, now time.Time) error {
	var info struct {
		Start  time.Time `json:"startTime"`
		Loaded time.Time `json:"lastConfigTime"` // later than the start by the WAL replay
	}
	err := c.page(ctx, "/api/v1/status/runtimeinfo", nil, &info)
	if errors.Is(err, errNoPage) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("getting the start time of Prometheus: %w", err)
	}
	if now.Sub(info.Start) >= young && now.Sub(info.Loaded) >= young {
		return nil
	}
	var status struct {
		YAML string `json:"yaml"`
	}
	if err := c.page(ctx, "/api/v1/status/config", nil, &status); err != nil {
		return fmt.Errorf("getting the configuration of Prometheus: %w", err)
	}
	var config struct {
		Alerting struct {
			Alertmanagers []any `yaml:"alertmanagers"`
		} `yaml:"alerting"`
	}
	if err := yaml.Unmarshal([]byte(status.YAML), &config); err != nil {
		return fmt.Errorf("getting the configuration of Prometheus: %w", err)
	}
	if len(config.Alerting.Alertmanagers) == 0 {
		return nil
	}
	return errors.New("list of Alertmanagers is empty, and Prometheus has just started")
}
