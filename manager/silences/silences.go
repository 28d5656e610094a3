// Package silences asks Alertmanager for the announcements it holds and for the
// silences that match them. An answer that cannot be understood is an error: it must
// not be read as "no veto".
package silences

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/estiba/estiba/manager/httpclient"
)

// Alert is the name of the alert that announces a kill, see
// prometheus/rules/alerts.rules.yml.
const Alert = "EstibaKillPending"

// maxAnswer limits the size of a response, in bytes.
const maxAnswer = 16 << 20

// Client queries one Alertmanager. In a cluster any one will do: they share silences
// and alerts.
type Client struct {
	base *url.URL
	host string // value of the label host; "" is any
	http *http.Client

	mu    sync.Mutex
	known map[string]Silence // by id; the creator of a silence does not change
}

// maxSilences limits the cached silences.
const maxSilences = 1000

// New prepares a client for the Alertmanager at address, with its path prefix if it
// has one. It does not connect. httpConfig is the file that says how, see package
// httpclient; "" is none. timeout is of one question.
func New(address, httpConfig, host string, timeout time.Duration) (*Client, error) {
	u, err := httpclient.URL("alertmanager", address)
	if err != nil {
		return nil, err
	}
	client, err := httpclient.New("Alertmanager", httpConfig, http.DefaultTransport.(*http.Transport).Clone(), timeout)
	if err != nil {
		return nil, err
	}
	return &Client{base: u, host: host, http: client}, nil
}

// Announced is one announcement.
type Announced struct {
	Rule, ID string   // labels of the alert; ID is a container's short id
	Silences []string // ids of the silences that match it now
	// Muted: its receivers do not get it, because of inhibition or mute times, or not
	// yet.
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

// Announced returns all announcements.
func (c *Client) Announced(ctx context.Context) ([]Announced, error) {
	query := url.Values{"filter": {`alertname="` + Alert + `"`}}
	for _, all := range []string{"active", "silenced", "inhibited", "unprocessed"} {
		query.Set(all, "true")
	}
	var alerts []alert
	if err := c.get(ctx, "alerts", query, &alerts); err != nil {
		return nil, fmt.Errorf("getting announcements from Alertmanager: %w", err)
	}
	if alerts == nil {
		return nil, errors.New("getting announcements from Alertmanager: expected a list")
	}
	list := make([]Announced, 0, len(alerts))
	for _, a := range alerts {
		if a.Status == nil || a.Labels["alertname"] != Alert || a.Labels["rule"] == "" || a.Labels["id"] == "" {
			return nil, errors.New("getting announcements from Alertmanager: unexpected alert")
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
			return nil, fmt.Errorf("getting announcements from Alertmanager: unknown state %q", a.Status.State)
		}
		one.Muted = one.Muted || len(a.Status.InhibitedBy)+len(a.Status.MutedBy) > 0
		list = append(list, one)
	}
	return list, nil
}

// Silence is a silence and its creator.
type Silence struct {
	ID        string    `json:"id"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	EndsAt    time.Time `json:"endsAt"`
}

// Silence returns one silence, cached.
func (c *Client) Silence(ctx context.Context, id string) (Silence, error) {
	c.mu.Lock()
	s, known := c.known[id]
	c.mu.Unlock()
	if known {
		return s, nil
	}
	s = Silence{ID: id}
	if err := c.get(ctx, "silence/"+url.PathEscape(id), nil, &s); err != nil {
		return Silence{ID: id}, fmt.Errorf("getting silence %s: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxSilences {
		c.known = map[string]Silence{}
	}
	c.known[id] = s
	return s, nil
}

// get requests one resource of the API.
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
		return fmt.Errorf("HTTP status %d: %.200q", resp.StatusCode, body)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("response exceeds %d bytes", maxAnswer)
	}
	return json.Unmarshal(body, to)
}
