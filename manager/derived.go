package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// derivedTTL is how long Prometheus' lists of targets and Alertmanagers and
// the addresses of their names are believed.
const derivedTTL = time.Minute

// Self is what the manager knows of its own container.
type Self struct {
	ContainerID string // 64 hex digits; "" when it runs in none or cannot tell
	Hostname    string // Docker's default is the short id
}

var containerInPath = regexp.MustCompile(`(?:^|[/-])([0-9a-f]{64})(?:[/.]|$)`)

// FindSelf looks for the own container's id where the kernel shows it: in the
// cgroup path (cgroup v1, or v2 without a cgroup namespace), else in the
// source of the bind mounts that Docker makes of /etc/hostname and its like
// (proc(5): /proc/[pid]/cgroup, /proc/[pid]/mountinfo).
func FindSelf(procfs string) Self {
	s := Self{}
	s.Hostname, _ = os.Hostname()
	cgroups, _ := os.ReadFile(procfs + "/self/cgroup")
	for _, line := range strings.Split(string(cgroups), "\n") {
		if m := containerInPath.FindStringSubmatch(line); m != nil {
			s.ContainerID = m[1]
			return s
		}
	}
	mounts, _ := os.ReadFile(procfs + "/self/mountinfo")
	for _, line := range strings.Split(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 || (fields[4] != "/etc/hostname" && fields[4] != "/etc/hosts" && fields[4] != "/etc/resolv.conf") {
			continue
		}
		if m := containerInPath.FindStringSubmatch(fields[3]); m != nil {
			s.ContainerID = m[1]
			return s
		}
	}
	return s
}

// is tells whether c is the manager's own container.
func (s Self) is(c dockerclient.Container) bool {
	if s.ContainerID != "" {
		return c.ID == s.ContainerID
	}
	return len(s.Hostname) == 12 && strings.HasPrefix(c.ID, s.Hostname)
}

// endpoints finds the containers behind what Prometheus scrapes and notifies,
// and behind Prometheus itself.
type endpoints struct {
	client  *promql.Client
	url     string // of Prometheus
	resolve func(ctx context.Context, host string) ([]string, error)

	mu    sync.Mutex
	at    time.Time
	known bool
	hosts map[string]policy.Why // by name or address
}

func newEndpoints(client *promql.Client, prometheusURL string) *endpoints {
	return &endpoints{client: client, url: prometheusURL, resolve: net.DefaultResolver.LookupHost}
}

// refresh asks again when the answer is old. While Prometheus does not answer
// the last lists hold; with none at all there is an error, and nobody may be
// acted on.
func (e *endpoints) refresh(ctx context.Context, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known && now.Sub(e.at) < derivedTTL && !now.Before(e.at) {
		return nil
	}
	targets, err := e.client.Endpoints(ctx)
	if err != nil {
		if e.known {
			return nil
		}
		return fmt.Errorf("what Prometheus scrapes and notifies: %w", err)
	}
	hosts := map[string]policy.Why{}
	add := func(host string, why policy.Why) {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if host == "" {
			return
		}
		hosts[host] = why
		if net.ParseIP(host) != nil {
			return
		}
		limited, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		// A name that cannot be resolved from here may still be a container's.
		addresses, _ := e.resolve(limited, host)
		for _, a := range addresses {
			hosts[a] = why
		}
	}
	for _, t := range targets.Scraped {
		add(t, policy.WhyScrapeTarget)
	}
	for _, t := range targets.Notified {
		add(t, policy.WhyAlertmanager)
	}
	if u, err := url.Parse(e.url); err == nil {
		add(u.Hostname(), policy.WhyPrometheus)
	}
	// Loopback is every container's own, and no container's address outside.
	for h := range hosts {
		if ip := net.ParseIP(h); h == "localhost" || (ip != nil && (ip.IsLoopback() || ip.IsUnspecified())) {
			delete(hosts, h)
		}
	}
	e.hosts, e.at, e.known = hosts, now, true
	return nil
}

// why tells what the container serves, "" when nothing that is known of.
func (e *endpoints) why(c dockerclient.Container, service string) policy.Why {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := append([]string{strings.ToLower(c.Name), strings.ToLower(service), c.ID[:min(12, len(c.ID))]}, c.Networks...)
	for _, n := range names {
		if why, ok := e.hosts[n]; ok && n != "" {
			return why
		}
	}
	return ""
}
