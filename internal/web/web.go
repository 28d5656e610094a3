// Package web is the HTTP server of exporter and manager: address and TLS flags, limits
// on requests, graceful shutdown, and the health check for a container's HEALTHCHECK.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/estiba/estiba/internal/logging"
)

// Limits of one request, against slow and greedy clients.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Config is the configuration of a Server.
type Config struct {
	ListenAddress string // host:port; an empty host is every address
	ConfigFile    string // exporter-toolkit web configuration (TLS, basic auth), or ""
}

// Flags registers --web.listen-address and --web.config.file and returns the Config that
// they set.
func Flags(app *kingpin.Application, defaultAddress string) *Config {
	c := &Config{}
	app.Flag("web.listen-address", "Address to listen on.").Default(defaultAddress).StringVar(&c.ListenAddress)
	app.Flag("web.config.file", "Path to a configuration file that enables TLS or basic authentication (exporter-toolkit format).").
		PlaceHolder("FILE").StringVar(&c.ConfigFile)
	return c
}

// Server is a bound listener with a handler.
type Server struct {
	listener net.Listener
	http     *http.Server
	config   Config
	logger   log.Logger
}

// Listen validates the TLS configuration and binds the address, so that errors in both
// are found before anything else starts.
func Listen(c Config, handler http.Handler, logger log.Logger) (*Server, error) {
	if c.ConfigFile != "" {
		if err := toolkit.Validate(c.ConfigFile); err != nil {
			return nil, fmt.Errorf("web configuration %s: %w", c.ConfigFile, err)
		}
	}
	l, err := net.Listen("tcp", c.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", c.ListenAddress, err)
	}
	return &Server{
		listener: l,
		config:   c,
		logger:   logger,
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
		},
	}, nil
}

// Addr is the bound address, with the real port if port 0 was requested.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves requests until ctx ends, then waits at most grace for running ones, and
// returns nil.
func (s *Server) Serve(ctx context.Context, grace time.Duration) error {
	failed := make(chan error, 1)
	go func() {
		flags := &toolkit.FlagConfig{WebConfigFile: &s.config.ConfigFile}
		failed <- toolkit.Serve(s.listener, s.http, flags, logging.Slog(s.logger))
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		s.http.Close()
	}
	if err := <-failed; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", s.Addr(), err)
	}
	return nil
}

// Healthcheck requests /-/healthy from the server with configuration c on this host.
// 401 Unauthorized counts as healthy. It accepts any certificate, because it connects to
// the local listener only.
func Healthcheck(ctx context.Context, c Config) error {
	host, port, err := net.SplitHostPort(c.ListenAddress)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", c.ListenAddress, err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	schemes := []string{"http"}
	if c.ConfigFile != "" {
		if _, err := os.Stat(c.ConfigFile); err != nil {
			return fmt.Errorf("web configuration: %w", err)
		}
		schemes = []string{"https", "http"}
	}
	client := &http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	var last error
	for _, scheme := range schemes {
		url := scheme + "://" + net.JoinHostPort(host, port) + "/-/healthy"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("requesting %s: %w", url, err)
		}
		resp, err := client.Do(req)
		if err != nil {
			last = err
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusUnauthorized {
			return nil
		}
		last = fmt.Errorf("%s returned %s", url, resp.Status)
	}
	return last
}
