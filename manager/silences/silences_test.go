package silences

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// answering is an Alertmanager with a fixed response.
func answering(t *testing.T, host string, status int, body string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	c, err := New(s.URL+"/", "", host, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const held = `{"labels": {"alertname": "EstibaKillPending", "rule": "r", "id": "0123456789ab", "host": "h1"}, "status": {"state": "STATE"REST}}`

func one(state, rest string) string {
	return strings.NewReplacer("STATE", state, "REST", rest).Replace(held)
}

func TestAnnounced(t *testing.T) {
	for name, c := range map[string]struct {
		host, body string
		want       []Announced
	}{
		"none":            {body: `[]`, want: []Announced{}},
		"one":             {body: `[` + one("active", "") + `]`, want: []Announced{{Rule: "r", ID: "0123456789ab"}}},
		"not handed on":   {body: `[` + one("unprocessed", "") + `]`, want: []Announced{{Rule: "r", ID: "0123456789ab", Muted: true}}},
		"inhibited":       {body: `[` + one("suppressed", `, "inhibitedBy": ["x"]`) + `]`, want: []Announced{{Rule: "r", ID: "0123456789ab", Muted: true}}},
		"time of day":     {body: `[` + one("active", `, "mutedBy": ["nights"]`) + `]`, want: []Announced{{Rule: "r", ID: "0123456789ab", Muted: true}}},
		"silenced":        {body: `[` + one("suppressed", `, "silencedBy": ["s1", "s2"]`) + `]`, want: []Announced{{Rule: "r", ID: "0123456789ab", Muted: true, Silences: []string{"s1", "s2"}}}},
		"this host":       {host: "h1", body: `[` + one("active", "") + `]`, want: []Announced{{Rule: "r", ID: "0123456789ab"}}},
		"of another host": {host: "h2", body: `[` + one("active", "") + `]`, want: []Announced{}},
	} {
		got, err := answering(t, c.host, 200, c.body).Announced(context.Background())
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

// An unknown response is never "no veto".
func TestInvalidResponses(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"an error":            {500, `[]`},
		"not found":           {404, `page not found`},
		"no JSON":             {200, `<html>`},
		"null":                {200, `null`},
		"an object":           {200, `{}`},
		"half":                {200, `[` + one("active", "")},
		"another alert":       {200, `[` + strings.Replace(one("active", ""), "EstibaKillPending", "Watchdog", 1) + `]`},
		"without id":          {200, `[` + strings.Replace(one("active", ""), `"id"`, `"i"`, 1) + `]`},
		"without a status":    {200, `[` + strings.Replace(one("active", ""), `"status"`, `"s"`, 1) + `]`},
		"an unknown state":    {200, `[` + one("", "") + `]`},
		"status 206":          {206, `[]`},
		"status 203":          {203, `[]`},
		"bytes after the end": {200, `[]]`},
		"longer than allowed": {200, `[` + strings.Repeat(" ", maxAnswer) + `]`},
	} {
		if got, err := answering(t, "", c.status, c.body).Announced(context.Background()); err == nil {
			t.Errorf("%s accepted as %+v", name, got)
		}
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	c, err := New(slow.URL, "", "", 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Announced(context.Background()); err == nil {
		t.Error("no timeout")
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "localhost:9093", "ftp://a", "http://", "http://a b"} {
		if _, err := New(bad, "", "", time.Second); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
