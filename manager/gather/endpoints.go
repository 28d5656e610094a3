package gather

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// derivedTTL is how long addresses of names are cached, and how long a host that is no
// longer in the lists stays protected.
const derivedTTL = time.Minute

// listTTL is how long the lists are cached: about a tick, since a new target must be
// known before a rule can return it.
const listTTL = 5 * time.Second

// endpoints finds the containers behind Prometheus, its scrape targets and its
// Alertmanagers.
//
// refresh updates the lists and resolves names. Lookups, also those before a kill, only
// read the last view and never wait.
type endpoints struct {
	client   *promql.Client
	resolver *resolver

	mu     sync.Mutex // not held during requests
	at     time.Time  // time of the last complete lists
	known  bool       // there were complete lists
	hosts  map[endpoint]*absence
	listed map[string]bool // names of running containers

	view atomic.Pointer[view]
}

// endpoint is a host in the lists, which can be scraped and notified.
type endpoint struct {
	host string
	why  policy.Protection
	// hint: it protects the containers that it matches, and raises no suspicion if it
	// matches none.
	hint bool
}

// view is what protects containers, indexed.
type view struct {
	by      map[string][]policy.Protection // by name and address
	unknown []string                       // names that have never resolved and are no container's
}

// absence is how long a host has been missing from complete lists. It is gone after
// being missing from two of them that are derivedTTL apart.
type absence struct{ since time.Time }

// missing reports whether the host is gone.
func (a *absence) missing(now time.Time) bool {
	if a.since.IsZero() || now.Before(a.since) {
		a.since = now
		return false
	}
	return now.Sub(a.since) >= derivedTTL
}

func newEndpoints(client *promql.Client, prometheusURL string) *endpoints {
	e := &endpoints{client: client, hosts: map[endpoint]*absence{}}
	e.resolver = newResolver(net.DefaultResolver.LookupHost, e.publish)
	if u, err := url.Parse(prometheusURL); err == nil {
		e.add(u.Hostname(), policy.ProtectedByPrometheus, false)
	}
	e.publish()
	return e
}

// refresh updates the lists when they are old, or in each tick while they are
// incomplete. Incomplete lists are an error, and nothing may be killed: Prometheus
// returns empty lists for some seconds after its start. They only add hosts, they
// remove none.
func (e *endpoints) refresh(ctx context.Context, now time.Time, exporter promql.Target) error {
	e.mu.Lock()
	due := !e.known || now.Sub(e.at) >= listTTL || now.Before(e.at)
	e.mu.Unlock()
	var err error
	if due {
		var found promql.Endpoints
		found, err = e.client.Endpoints(ctx, now, exporter)
		e.take(found, err == nil, now)
	}
	e.mu.Lock()
	names := map[string]bool{}
	for h := range e.hosts {
		if !isAddress(h.host) {
			names[h.host] = true
		}
	}
	e.mu.Unlock()
	e.resolver.refresh(ctx, now, names)
	e.publish()
	if err != nil {
		return fmt.Errorf("scrape targets and Alertmanagers unknown: %w", err)
	}
	return nil
}

// take adds the lists; complete ones also remove hosts.
func (e *endpoints) take(found promql.Endpoints, complete bool, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := maps.Clone(e.hosts)
	for _, list := range []struct {
		hosts []string
		why   policy.Protection
		hint  bool
	}{
		{found.Scraped, policy.ProtectedByScrapeTarget, false},
		{found.Probed, policy.ProtectedByScrapeTarget, true},
		{found.Notified, policy.ProtectedByAlertmanager, false},
	} {
		for _, h := range list.hosts {
			delete(before, e.add(h, list.why, list.hint))
		}
	}
	if !complete {
		return
	}
	e.at, e.known = now, true
	for h, f := range before {
		if h.why != policy.ProtectedByPrometheus && f.missing(now) {
			delete(e.hosts, h)
		}
	}
}

// add notes a host as present. The caller holds the lock, except in newEndpoints.
func (e *endpoints) add(host string, why policy.Protection, hint bool) endpoint {
	h := endpoint{normal(host), why, hint}
	if h.host != "" && !isHost(h.host) {
		e.hosts[h] = &absence{}
	}
	return h
}

// setListed sets the running containers: their names need no address.
func (e *endpoints) setListed(list []dockerclient.Container) {
	names := make(map[string]bool, 3*len(list))
	for _, c := range list {
		for _, n := range namesOf(c, c.Labels[container.LabelComposeService]) {
			names[n] = true
		}
	}
	e.mu.Lock()
	e.listed = names
	e.mu.Unlock()
	e.publish()
}

// publish builds a new view.
func (e *endpoints) publish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := &view{by: map[string][]policy.Protection{}}
	protect := func(host string, why policy.Protection) {
		if !isHost(host) && !slices.Contains(v.by[host], why) {
			v.by[host] = append(v.by[host], why)
		}
	}
	for h := range e.hosts {
		protect(h.host, h.why)
		if isAddress(h.host) {
			continue
		}
		addresses, resolved := e.resolver.of(h.host)
		for _, a := range addresses {
			protect(a, h.why)
		}
		if !resolved && !h.hint && !e.listed[h.host] && !slices.Contains(v.unknown, h.host) {
			v.unknown = append(v.unknown, h.host)
		}
	}
	slices.Sort(v.unknown)
	e.view.Store(v)
}

// unresolved are the names that have never resolved and are no container's. While there
// is one, each container with a network is protected.
func (e *endpoints) unresolved() []string { return e.view.Load().unknown }

// protections is what the container serves; empty for nothing known.
func (e *endpoints) protections(c dockerclient.Container, service string) []policy.Protection {
	v := e.view.Load()
	var protections []policy.Protection
	add := func(list ...policy.Protection) {
		for _, w := range list {
			if !slices.Contains(protections, w) {
				protections = append(protections, w)
			}
		}
	}
	for _, n := range namesOf(c, service) {
		add(v.by[n]...)
	}
	for _, a := range c.Networks {
		add(v.by[normal(a)]...)
	}
	if len(v.unknown) > 0 && !c.Networkless {
		add(policy.ProtectedByTargetUnknown)
	}
	return protections
}

// namesOf are the names of a container in Docker's name server.
func namesOf(c dockerclient.Container, service string) []string {
	names := []string{normal(c.Name), container.ShortID(c.ID)}
	if service != "" {
		names = append(names, normal(service))
	}
	return names
}

// normal is the canonical form of a name or an address.
func normal(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().WithZone("").String()
	}
	return host
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// isHost reports whether a name or an address is the host itself or, like loopback, no
// container as seen from outside.
func isHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback() || a.IsUnspecified()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "host.docker.internal"
}
