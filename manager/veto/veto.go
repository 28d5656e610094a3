// Package veto asks Alertmanager what it holds of announced kills and who has
// silenced them. What it cannot understand is an error: who acts only if nobody
// objects must not take a strange answer for silence.
package veto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/estiba/estiba/manager/httpclient"
)

// Alert is the name of the alert that announces a kill, see
// prometheus/rules/alerts.rules.yml.
const Alert = "EstibaKillPending"

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 16 << 20

// Client asks one Alertmanager (of a cluster any one: they share silences and
// alerts).
type Client struct {
	base *url.URL
	host string // value of the label host; "" is any
	http *http.Client
}

// New prepares a client for the Alertmanager at address, with its path prefix if it
// has one. It does not connect. httpConfig is the file that says how, see package
// httpclient; "" is none. timeout is of one question.
func New(address, httpConfig, host string, timeout time.Duration) (*Client, error) {
	u, err := url.Parse(address)
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err // not the address: it may hold a password
	}
	if err != nil {
		return nil, fmt.Errorf("alertmanager url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("alertmanager url %q: want http://HOST:PORT", u.Redacted())
	}
	client, err := httpclient.New("Alertmanager", httpConfig, http.DefaultTransport.(*http.Transport).Clone(), timeout)
	if err != nil {
		return nil, err
	}
	return &Client{base: u, host: host, http: client}, nil
}

// Announced is one announcement that Alertmanager holds.
type Announced struct {
	Rule, ID string   // labels of the alert; ID is a container's short id
	Silences []string // ids of those that match it now
	// Muted: its receivers do not get it, because of another alert or the time of
	// day, or not yet.
	Muted bool
}

// alert is a gettableAlert of Alertmanager's API v2.
type alert struct {
	Labels map[string]string `json:"labels"`
	Status *struct {
		State       string   `json:"state"`
		SilencedBy  []string `json:"silencedBy"`
		InhibitedBy []string `json:"inhibitedBy"`
		MutedBy     []string `json:"mutedBy"` // since 0.28
	} `json:"status"`
}

// Announced asks for all announcements.
func (c *Client) Announced(ctx context.Context) ([]Announced, error) {
	query := url.Values{"filter": {`alertname="` + Alert + `"`}}
	for _, all := range []string{"active", "silenced", "inhibited", "unprocessed"} {
		query.Set(all, "true")
	}
	var alerts []alert
	if err := c.get(ctx, "alerts", query, &alerts); err != nil {
		return nil, fmt.Errorf("asking Alertmanager for announced kills: %w", err)
	}
	if alerts == nil {
		return nil, errors.New("asking Alertmanager for announced kills: the answer is no list")
	}
	list := make([]Announced, 0, len(alerts))
	for _, a := range alerts {
		if a.Status == nil || a.Labels["alertname"] != Alert || a.Labels["rule"] == "" || a.Labels["id"] == "" {
			return nil, errors.New("asking Alertmanager for announced kills: the answer holds something else")
		}
		if c.host != "" && a.Labels["host"] != c.host {
			continue
		}
		one := Announced{Rule: a.Labels["rule"], ID: a.Labels["id"], Silences: a.Status.SilencedBy}
		switch a.Status.State {
		case "active":
		case "suppressed", "unprocessed":
			one.Muted = true
		default:
			return nil, fmt.Errorf("asking Alertmanager for announced kills: unknown state %q", a.Status.State)
		}
		one.Muted = one.Muted || len(a.Status.InhibitedBy)+len(a.Status.MutedBy) > 0
		list = append(list, one)
	}
	return list, nil
}

// Silence is who objects, and why.
type Silence struct {
	ID        string    `json:"id"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	EndsAt    time.Time `json:"endsAt"`
}

// Silence asks for one silence.
func (c *Client) Silence(ctx context.Context, id string) (Silence, error) {
	s := Silence{ID: id}
	if err := c.get(ctx, "silence/"+url.PathEscape(id), nil, &s); err != nil {
		return Silence{ID: id}, fmt.Errorf("asking Alertmanager for silence %s: %w", id, err)
	}
	return s, nil
}

// get asks for one document of the API.
func (c *Client) get(ctx context.Context, path string, query url.Values, to any) error {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v2/" + path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %.200q", resp.StatusCode, body)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return json.Unmarshal(body, to)
}
