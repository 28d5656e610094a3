package web

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

func serve(t *testing.T, c Config, h http.Handler) *Server {
	t.Helper()
	s, err := Listen(c, h, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve after stop: %v", err)
		}
	})
	return s
}

func TestServeAndHealthcheck(t *testing.T) {
	mux := http.NewServeMux()
	healthy := true
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		if !healthy {
			http.Error(w, "unhealthy", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok")
	})
	s := serve(t, Config{ListenAddress: "127.0.0.1:0"}, mux)
	c := Config{ListenAddress: s.Addr().String()}
	if err := Healthcheck(context.Background(), c); err != nil {
		t.Errorf("healthy server: %v", err)
	}
	healthy = false
	if err := Healthcheck(context.Background(), c); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("unhealthy server: got %v", err)
	}
}

func TestBasicAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	// bcrypt of "secret", cost 4.
	if err := os.WriteFile(file, []byte("basic_auth_users:\n  op: $2a$04$NKMi8NS8vmY6zPConUvDjOVG.ISCdVxcL.Yt7yy5HMXH3Zg1eVi9K\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in") })
	s := serve(t, Config{ListenAddress: "127.0.0.1:0", ConfigFile: file}, mux)
	resp, err := http.Get("http://" + s.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %s", resp.Status)
	}
	if err := Healthcheck(context.Background(), Config{ListenAddress: s.Addr().String(), ConfigFile: file}); err != nil {
		t.Errorf("healthcheck behind authentication: %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	busy := serve(t, Config{ListenAddress: "127.0.0.1:0"}, http.NotFoundHandler())
	bad := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(bad, []byte("no_such_key: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{
		{ListenAddress: busy.Addr().String()},
		{ListenAddress: "127.0.0.1:0", ConfigFile: bad},
		{ListenAddress: "127.0.0.1:0", ConfigFile: filepath.Join(t.TempDir(), "absent.yml")},
	} {
		if s, err := Listen(c, http.NotFoundHandler(), log.NewNopLogger()); err == nil {
			s.listener.Close()
			t.Errorf("Listen(%+v) accepted", c)
		}
	}
}
