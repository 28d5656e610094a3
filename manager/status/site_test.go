package status

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// Cross-site requests of browsers are refused. Other clients, and the page itself, are
// served.
func TestRequestsFromOtherSites(t *testing.T) {
	reloads := 0
	site := Handler(Site{Store: NewStore(), Metrics: NewMetrics(""), Now: time.Now, Reload: func() error { reloads++; return nil }})
	for _, c := range []struct {
		method, path string
		headers      map[string]string
		want         int
	}{
		{"POST", "/-/reload", nil, 200}, // curl
		{"POST", "/-/reload", map[string]string{"Origin": "http://manager:10121"}, 200},
		{"POST", "/-/reload", map[string]string{"Origin": "http://evil.example"}, 403},
		{"POST", "/-/reload", map[string]string{"Origin": "null"}, 403},
		{"POST", "/-/reload", map[string]string{"Origin": "http://manager:80"}, 403},
		{"POST", "/-/reload", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"POST", "/-/reload", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403},
		{"POST", "/-/reload", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"POST", "/-/reload", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"GET", "/api/v1/kills", map[string]string{"Origin": "http://evil.example"}, 403},
		{"GET", "/metrics", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		{"GET", "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200}, // a link
		{"GET", "/", map[string]string{"Sec-Fetch-Site": "none"}, 200},
		{"GET", "/-/healthy", nil, 200},
	} {
		before := reloads
		r := httptest.NewRequest(c.method, "http://manager:10121"+c.path, nil)
		for k, v := range c.headers {
			r.Header.Set(k, v)
		}
		rec := httptest.NewRecorder()
		site.ServeHTTP(rec, r)
		if rec.Code != c.want || (rec.Code != 200 && reloads != before) {
			t.Errorf("%s %s %v: %d, want %d; %d reloads", c.method, c.path, c.headers, rec.Code, c.want, reloads-before)
		}
	}
}

// A foreign host name that resolves to this host is refused.
func TestForeignHostNames(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	site := OwnHost(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), []string{"Manager.Example.org"})
	for host, want := range map[string]int{
		"localhost:10121": 200, "127.0.0.1:10121": 200, "[::1]:10121": 200, "10.1.2.3": 200, "[fe80::1%25eth0]:10121": 200, "manager:10121": 200,
		"manager.example.org:10121": 200, "manager.example.org.:10121": 200,
		own + ".evil.example:10121": 403, "127.0.0.1%.evil.example": 403, own + ":10121": 200,
		"evil.example:10121": 403, "evil.example": 403, "127.0.0.1.evil.example:10121": 403, "localhost.evil.example": 403,
		"manager.example.org.evil.example": 403,
	} {
		r := httptest.NewRequest("GET", "http://x/", nil)
		r.Host = host
		rec := httptest.NewRecorder()
		site.ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", host, rec.Code, want)
		}
	}
}
