package status

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Links are where the other programs are.
type Links struct {
	Prometheus string // as the manager reaches it
	Grafana    string // as a browser reaches it; "" is none
	// Contained: the manager runs in a container, so that the browser's loopback is not its
	// own and cannot be probed.
	Contained bool
	// Probe requests an address and reports whether it answers.
	Probe func(ctx context.Context, address string) bool
}

// link is one link of the page.
type link struct{ Name, URL string }

// How often the links are looked up, and how long one may take to answer.
const (
	linksTTL     = time.Minute
	probeTimeout = 2 * time.Second
)

// NewProbe returns the Probe over the network: a page, or a login, is an answer. It sends
// no password and believes nothing that it reads, so it accepts any certificate: whether
// to trust it is up to the browser.
func NewProbe() func(ctx context.Context, address string) bool {
	client := &http.Client{
		Timeout: probeTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	return func(ctx context.Context, address string) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode < http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized
	}
}

// finder looks up the links while pages are open, never twice at once. A page never
// waits for it.
type finder struct {
	source Prometheus
	links  Links
	now    func() time.Time

	mu      sync.Mutex // not held during requests
	found   []link
	grafana string // base of the links to Grafana; "" if it does not answer
	at      time.Time
	running bool
	version int // grows with each change
}

// get returns the links that answered, and Grafana's base.
func (f *finder) get() (found []link, grafana string, version int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); !f.running && (now.Sub(f.at) >= linksTTL || now.Before(f.at)) {
		f.running, f.at = true, now
		go f.refresh()
	}
	return f.found, f.grafana, f.version
}

func (f *finder) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), linksTTL/2)
	defer cancel()
	found, grafana := f.look(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(found, f.found) || grafana != f.grafana {
		f.version++
	}
	f.found, f.grafana, f.running = found, grafana, false
}

func (f *finder) look(ctx context.Context) (found []link, grafana string) {
	if f.links.Probe == nil {
		return nil, ""
	}
	base := func(address string) string { return strings.TrimRight(address, "/") }
	if f.source != nil {
		peers, err := f.source.Peers(ctx)
		// It may be built without its pages.
		if own := base(withoutPassword(f.links.Prometheus)); err == nil && own != "" && f.links.Probe(ctx, own+"/") {
			if peers.External != "" {
				own = base(withoutPassword(peers.External))
			}
			if own != "" {
				found = append(found, link{"Prometheus", own + "/"})
			}
		}
		for i, address := range peers.Alertmanagers {
			if i == maxAlertmanagers {
				break
			}
			if address = base(withoutPassword(address)); f.links.Probe(ctx, address+"/") {
				found = append(found, link{"Alertmanager", address + "/"})
			}
		}
	}
	if address := base(withoutPassword(f.links.Grafana)); address != "" && (f.links.Contained && isLocal(address) || f.links.Probe(ctx, address+"/")) {
		found = append(found, link{"Grafana", address + "/"})
		grafana = address
	}
	return found, grafana
}

// maxAlertmanagers limits the links to the members of a cluster.
const maxAlertmanagers = 3

// withoutPassword is an http or https address without user and password; "" if it is
// none.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return ""
	}
	u.User = nil
	return u.String()
}

// opens reports whether a browser that reached this page as viewer can be expected to
// reach an address that the manager reaches: loopback is each machine's own, and a name
// without a dot is one of a container network or of a local domain.
func opens(address, viewer string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	if host, _, err := net.SplitHostPort(viewer); err == nil {
		viewer = host
	}
	viewer = strings.Trim(viewer, "[]")
	switch host := u.Hostname(); {
	case isLoopback(host):
		return isLoopback(viewer)
	case isBare(host):
		return isBare(viewer)
	}
	return true
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isLocal reports whether an address is on loopback.
func isLocal(address string) bool {
	u, err := url.Parse(address)
	return err == nil && isLoopback(u.Hostname())
}

// isBare reports whether host is a name without a domain, but not localhost.
func isBare(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && !strings.Contains(host, ".") && !isLoopback(host)
}
