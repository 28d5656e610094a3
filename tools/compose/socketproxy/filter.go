package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"strings"
)

// filter answers a request itself, with a refusal, or hands it to the Engine.
type filter struct {
	config  config
	logger  *slog.Logger
	resolve func(ctx context.Context, host string) ([]string, error)
	engine  http.Handler
}

func newFilter(c config, logger *slog.Logger) *filter {
	return &filter{
		config: c, logger: logger, resolve: net.DefaultResolver.LookupHost,
		engine: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker"
			},
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", c.socket)
				},
				DisableCompression: true,
			},
		},
	}
}

func (f *filter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, why := f.judge(r)
	if status != http.StatusOK {
		f.logger.Warn("refused", "why", why, "method", r.Method, "path", r.URL.Path, "client", r.RemoteAddr)
		http.Error(w, http.StatusText(status), status)
		return
	}
	f.engine.ServeHTTP(w, r)
}

// judge gives 200 for a request that may pass, else the refusal. A path that
// is not written the one plain way is refused, so that what was compared is
// what the Engine reads.
func (f *filter) judge(r *http.Request) (status int, why string) {
	if !f.known(r) {
		return http.StatusForbidden, "client"
	}
	allowed, ok := f.config.allow[r.Method]
	if !ok {
		return http.StatusMethodNotAllowed, "method"
	}
	if r.URL.RawPath != "" || path.Clean(r.URL.Path) != r.URL.Path || !allowed.MatchString(r.URL.Path) {
		return http.StatusForbidden, "path"
	}
	return http.StatusOK, ""
}

// known reports whether the request comes from one of the allowed clients.
// Names are asked for each time: a container's address changes.
func (f *filter) known(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	if err != nil || ip == nil {
		return false
	}
	for _, from := range f.config.from {
		if _, network, err := net.ParseCIDR(from); err == nil {
			if network.Contains(ip) {
				return true
			}
			continue
		}
		addresses, err := f.resolve(r.Context(), strings.TrimSpace(from))
		if err != nil {
			f.logger.Warn("a client's name has no address", "name", from, "err", err)
		}
		for _, a := range addresses {
			if ip.Equal(net.ParseIP(a)) {
				return true
			}
		}
	}
	return false
}
