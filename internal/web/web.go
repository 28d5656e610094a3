// Package web is the HTTP listener that exporter and manager share: address
// and TLS flags, bounded requests, orderly stop, and the check that a
// container's HEALTHCHECK runs.
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

// Bounds of one request, so that neither slow nor greedy clients cost much.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Config is where to listen.
type Config struct {
	ListenAddress string // host:port; an empty host is every address
	ConfigFile    string // exporter-toolkit web configuration (TLS, basic auth), or ""
}

// Flags registers --web.listen-address and --web.config.file on app and
// returns the Config that parsing fills.
func Flags(app *kingpin.Application, defaultAddress string) *Config {
	c := &Config{}
	app.Flag("web.listen-address", "Address to listen on.").Default(defaultAddress).StringVar(&c.ListenAddress)
	app.Flag("web.config.file", "Path to a configuration file that enables TLS or basic authentication (exporter-toolkit format).").
		Default("").StringVar(&c.ConfigFile)
	return c
}

// Server is a bound listener with its handler.
type Server struct {
	listener net.Listener
	http     *http.Server
	config   Config
	logger   log.Logger
}

// Listen validates the TLS configuration and binds the address, so that both
// kinds of mistake are errors before anything else starts.
func Listen(c Config, handler http.Handler, logger log.Logger) (*Server, error) {
	if c.ConfigFile != "" {
		if err := toolkit.Validate(c.ConfigFile); err != nil {
			return nil, fmt.Errorf("web configuration %s: %w", c.ConfigFile, err)
		}
	}
	l, err := net.Listen("tcp", c.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", c.ListenAddress, err)
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

// Addr is the bound address, of use when the port asked for was 0.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx ends, then lets running ones finish for at
// most grace. It returns nil after such a stop.
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

// Healthcheck asks the server that runs with c on this host for /-/healthy. An
// answer that wants authentication counts as alive. It trusts any certificate,
// since it only ever talks to its own listener.
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
			return fmt.Errorf("asking %s: %w", url, err)
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
		last = fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return last
}
