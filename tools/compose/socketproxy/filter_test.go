package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

const id = "4f5e8c1d9b7a60235fd1c0ab93e7d2486b1f5c7a9e0d3b2846f1a5c7e9d0b3f2"

// proxy is a filter in front of a socket that records requests.
func proxy(t *testing.T, args ...string) (*httptest.Server, *filter) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	engine := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s\n", r.Method, r.URL.RequestURI())
		if r.URL.Path == "/events" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})}
	go engine.Serve(l)
	t.Cleanup(func() { engine.Close() })
	c, err := parse(append(args, "-socketpath="+socket))
	if err != nil {
		t.Fatal(err)
	}
	f := newFilter(c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s, f
}

func TestOnlyTheListPasses(t *testing.T) {
	s, _ := proxy(t,
		`-allowGET=(/v1\.[0-9]+)?/(_ping|containers/json)`,
		`-allowPOST=(/v1\.[0-9]+)?/containers/[0-9a-f]{64}/(stop|kill)`,
		`-allowDELETE=/containers/[0-9a-f]{64}|/never`,
		`-allowPUT=/open/.*`)
	address := strings.TrimPrefix(s.URL, "http://")
	for _, c := range []struct {
		line string // method and path as they are sent
		want int
	}{
		{"GET /_ping", 200},
		{"GET /v1.41/containers/json?all=1", 200},
		{"POST /v1.41/containers/" + id + "/kill?signal=SIGKILL", 200},
		{"DELETE /containers/" + id + "?force=1", 200},
		{"HEAD /_ping", 405},
		{"PATCH /containers/" + id, 405},
		{"PUT /open/x", 200},
		{"PUT /open/../x", 403},
		{"PUT /open//x", 403},
		{"GET /info", 403},
		{"GET /_ping/", 403},
		{"GET //_ping", 403},
		{"GET /x/../_ping", 403},
		{"GET /v1.41/%63ontainers/json", 403},
		{"GET /v1.41%2Fcontainers/json", 403},
		{"POST /containers/" + id[:12] + "/kill", 403},
		{"POST /containers/" + id + "0/kill", 403},
		{"POST /containers/" + strings.ToUpper(id) + "/kill", 403},
		{"POST /containers/" + id + "/exec", 403},
		{"POST /containers/" + id + "/kill/../exec", 403},
		{"POST /containers/" + id + "%2Fexec%3F/kill", 403},
		{"POST /containers/create", 403},
		{"POST /containers/" + id + "/kill%0A", 403},
		// An alternative is held at both ends.
		{"DELETE /containers/" + id + "/x", 403},
		{"DELETE /x/never", 403},
	} {
		t.Run(c.line, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", c.line)
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: strings.Fields(c.line)[0]})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
			if passed := strings.Contains(string(body), "/"); passed != (c.want == 200) {
				t.Errorf("the Engine answered %q", body)
			}
		})
	}
}

func TestClients(t *testing.T) {
	_, f := proxy(t, "-allowfrom=10.1.0.0/16,manager,gone", "-allowGET=/_ping")
	f.resolve = func(_ context.Context, host string) ([]string, error) {
		if host == "manager" {
			return []string{"172.18.0.3", "fd00::3"}, nil
		}
		return nil, errors.New("no such host")
	}
	for remote, want := range map[string]int{
		"10.1.255.1:1":   200,
		"172.18.0.3:1":   200,
		"[fd00::3]:1":    200,
		"10.2.0.1:1":     403,
		"172.18.0.1:1":   403, // the host itself
		"127.0.0.1:1":    403,
		"no address":     403,
		"172.18.0.3":     403,
		"172.18.0.3.x:1": 403,
	} {
		t.Run(remote, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/_ping", nil)
			r.RemoteAddr = remote
			if got, _ := f.judge(r); got != want {
				t.Errorf("status %d, want %d", got, want)
			}
		})
	}
}

func TestEventsAreNotHeldBack(t *testing.T) {
	s, _ := proxy(t, "-allowGET=/events")
	resp, err := http.Get(s.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n') // while the stream stays open
	if err != nil || line != "GET /events\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"-allowGET=("}, {"-listenip=nowhere"}, {"-proxyport=0"}, {"-allowfrom="}, {"-allowget=/x"}, {"extra"},
	} {
		t.Run(args[0], func(t *testing.T) {
			if _, err := parse(args); err == nil {
				t.Error("no error")
			}
		})
	}
}
