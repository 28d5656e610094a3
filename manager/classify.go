package main

import (
	"sort"
	"strings"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

// classifier turns the Engine's description of a container into the policy's.
// The decision and the check at the moment of the act use the same one.
type classifier struct {
	config    *config.Config
	self      Self
	project   string // the manager's compose project, "" is none
	endpoints *endpoints
}

func (k classifier) classify(c dockerclient.Container) policy.Container {
	l := container.ParseLabels(c.Labels)
	p := policy.Container{
		ID: c.ID, Name: c.Name, Image: c.Image, Kind: l.Kind, StartedAt: c.StartedAt, EndedAt: c.EndedAt,
		InScope: k.config.Scope == config.ScopeAll || l.Managed,
		State:   policy.Unsteady,
	}
	if c.State == dockerclient.StateRunning {
		p.State = policy.Running
	}
	because := func(yes bool, why policy.Why) {
		if yes {
			p.Protected = append(p.Protected, why)
		}
	}
	because(l.Protected, policy.WhyLabel)
	because(len(l.Errors) > 0, policy.WhyLabelError)
	because(l.Monitoring, policy.WhyMonitoring)
	because(k.self.is(c), policy.WhySelf)
	because(k.project != "" && l.ComposeProject == k.project, policy.WhyComposeProject)
	if k.endpoints != nil {
		if why := k.endpoints.why(c, l.ComposeService); why != "" {
			because(true, why)
		}
	}
	because(matchesAny(k.config.Protect.Names, c.Name), policy.WhyPolicyName)
	because(matchesImage(k.config.Protect.Images, c.Image), policy.WhyPolicyImage)
	because(matchesLabels(k.config.Protect.Labels, c.Labels), policy.WhyPolicyLabel)
	sort.Slice(p.Protected, func(i, j int) bool { return p.Protected[i] < p.Protected[j] })
	return p
}

// projectOf finds the compose project of the manager's own container.
func projectOf(self Self, list []dockerclient.Container) string {
	for _, c := range list {
		if self.is(c) {
			return c.Labels[container.LabelComposeProject]
		}
	}
	return ""
}

func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if glob(p, s) {
			return true
		}
	}
	return false
}

// matchesImage tries the whole reference, the one without tag or digest, and
// the last part of that: "postgres" protects registry.example/postgres:16 too.
func matchesImage(patterns []string, image string) bool {
	bare, _, _ := strings.Cut(image, "@")
	if at := strings.LastIndex(bare, ":"); at > strings.LastIndex(bare, "/") {
		bare = bare[:at]
	}
	last := bare[strings.LastIndex(bare, "/")+1:]
	return matchesAny(patterns, image) || matchesAny(patterns, bare) || matchesAny(patterns, last)
}

func matchesLabels(want, have map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; ok && (value == "*" || got == value) {
			return true
		}
	}
	return false
}

// glob matches s against a pattern in which * is any text, also none.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		at := strings.Index(s, p)
		if at < 0 {
			return false
		}
		s = s[at+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
