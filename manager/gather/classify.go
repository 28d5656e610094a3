package gather

import (
	"slices"
	"strings"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

// Facts is what is known of a container, from the Engine or from Prometheus' history.
type Facts struct {
	policy.Container // without InScope; Protected has what does not depend on the policy
	Managed          bool
	// Labels are nil where they are not known, as in the past.
	Labels map[string]string
	// Described: its labels are known, at least those of Docker Compose.
	Described      bool
	ComposeService string // PROJECT/SERVICE, "" is none
	// Label looks up a label of a keep rule; "" is none, known is false if it is unknown.
	Label func(name string) (value string, known bool)
	// Infra: it only holds the namespaces of a pod, and is in no group.
	Infra bool
}

// Apply completes a container with what a policy says of it: whether it is in scope, and
// what protects it. Live decisions and those over the past use the same function.
func Apply(c *config.Config, f Facts) policy.Container {
	p := f.Container
	p.InScope = !f.Foreign && (c.Scope == config.ScopeAll || f.Managed)
	p.Protected = slices.Clone(f.Protected)
	for _, one := range []struct {
		why      policy.Protection
		protects bool
	}{
		{policy.ProtectedByPolicyName, matchesAny(c.Protect.Names, p.Name)},
		{policy.ProtectedByPolicyImage, matchesImage(c.Protect.Images, p.Image)},
		{policy.ProtectedByImageUnknown, p.Image == unknownImage && len(c.Protect.Images) > 0},
		{policy.ProtectedByPolicyLabel, MatchesLabels(c.Protect.Labels, f.Labels)},
	} {
		if one.protects {
			p.Protected = append(p.Protected, one.why)
		}
	}
	slices.Sort(p.Protected)
	p.Protected = slices.Compact(p.Protected)
	p.Groups = groups(c.Keep, f)
	return p
}

// classifier describes the Engine's containers. The decision and the check before a
// kill use the same one.
type classifier struct {
	config    *config.Config
	self      Self
	project   string // of the manager, "" is none
	pod       string // of the manager, "" is none
	endpoints *endpoints
	images    map[string]string // see images.snapshot
}

func (k classifier) classify(c dockerclient.Container) policy.Container {
	l := container.ParseLabels(c.Labels)
	if c.ImageIsID() { // as the list at the kill has it
		c.Image = imageIn(k.images, c.ID)
	}
	label := func(name string) (string, bool) { return c.Labels[name], true }
	f := Facts{Managed: l.Managed, Labels: c.Labels, Described: true, Label: label, Infra: c.Infra, Container: policy.Container{
		ID: c.ID, Name: c.Name, Image: c.Image, Kind: l.Kind, StartedAt: c.StartedAt, EndedAt: c.EndedAt,
		State: policy.InTransition, Protected: LabelProtection(l),
	}}
	if c.State == dockerclient.StateRunning {
		f.State = policy.Running
	}
	f.ComposeService = ComposeService(l.ComposeProject, l.ComposeService)
	if ofKubernetes(c.Labels) {
		f.Foreign, f.Runtime = true, "kubernetes"
	}
	if c.Infra { // it has the labels of the pod
		f.Managed, f.Kind = false, container.KindNone
		f.Protected = append(f.Protected, policy.ProtectedByPodInfra)
	}
	if k.pod != "" && c.Pod == k.pod {
		f.Protected = append(f.Protected, policy.ProtectedByPod)
	}
	if k.self.is(c) {
		f.Protected = append(f.Protected, policy.ProtectedBySelf)
	}
	if k.project != "" && l.ComposeProject == k.project {
		f.Protected = append(f.Protected, policy.ProtectedByComposeProject)
	}
	if k.endpoints != nil {
		f.Protected = append(f.Protected, k.endpoints.protections(c, l.ComposeService)...)
	}
	return Apply(k.config, f)
}

// ofKubernetes reports whether a kubelet made a container, as with cri-dockerd. It would
// start another in its place.
//
// https://github.com/Mirantis/cri-dockerd/blob/v0.3.17/libdocker/helpers.go
func ofKubernetes(labels map[string]string) bool {
	for key := range labels {
		if strings.HasPrefix(key, "io.kubernetes.") {
			return true
		}
	}
	return false
}

// LabelProtection is how a container's labels protect it under each policy.
func LabelProtection(l container.Labels) (protections []policy.Protection) {
	if l.Protected {
		protections = append(protections, policy.ProtectedByLabel)
	}
	if len(l.Errors) > 0 {
		protections = append(protections, policy.ProtectedByLabelError)
	}
	if l.Monitoring {
		protections = append(protections, policy.ProtectedByMonitoring)
	}
	return protections
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

// MatchesLabels reports whether a label of have is one of want, where * is any value.
func MatchesLabels(want, have map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; ok && (value == "*" || got == value) {
			return true
		}
	}
	return false
}

// glob matches s against a pattern in which * is any text.
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
