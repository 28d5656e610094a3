package runtimes

import (
	"maps"
	"slices"

	"github.com/estiba/estiba/internal/container"
)

// Info describes one container. It is immutable: a change creates a new Info.
type Info struct {
	ID      string // 64 hex digits
	User    uint32 // owner of a rootless container; 0: root
	Runtime string // that reported it: "docker"
	Name    string
	Image   string // name at creation; "": unknown yet
	Labels  container.Labels
	Extra   map[string]string // allowed labels that it has
	State   State

	Pod          string // name of its pod; "": none
	PodNamespace string
	PodContainer string // its name in the pod; PodPause: it only holds the pod's namespaces
	Sandbox      bool   // see Container
	SandboxID    string // id of its pod's sandbox; "": none, or unknown

	from *Cache
}

// Labels that the kubelet sets, on Docker's containers too (cri-dockerd).
const (
	labelPod          = "io.kubernetes.pod.name"
	labelPodNamespace = "io.kubernetes.pod.namespace"
	labelPodContainer = "io.kubernetes.container.name"
)

// info returns an Info without image, which differs between List and Inspect.
func (c *Cache) info(d Container) *Info {
	i := &Info{
		ID: d.ID, User: c.user, Runtime: c.about.Runtime, Name: d.Name, Labels: container.ParseLabels(d.Labels),
		State: State{Status: d.State, Changed: d.Created},
		Pod:   d.Pod, PodNamespace: d.PodNamespace, PodContainer: d.PodContainer, Sandbox: d.Sandbox, SandboxID: d.SandboxID, from: c,
	}
	if i.Pod == "" {
		i.Pod, i.PodNamespace, i.PodContainer = d.Labels[labelPod], d.Labels[labelPodNamespace], d.Labels[labelPodContainer]
	}
	if i.PodContainer == PodPause {
		i.Labels.Kind = container.KindNone // a pod's label is not about this container
	}
	for _, key := range c.config.Labels {
		if v, ok := d.Labels[key]; ok {
			if i.Extra == nil {
				i.Extra = map[string]string{}
			}
			i.Extra[key] = v
		}
	}
	return i
}

// Key identifies the container on its host, see container.Key.
func (i *Info) Key() string { return container.Key(i.User, i.ID) }

// equal reports whether two infos are equal except for the state.
func (i *Info) equal(o *Info) bool {
	return o != nil && i.User == o.User && i.Runtime == o.Runtime && i.Name == o.Name && i.Image == o.Image &&
		i.Pod == o.Pod && i.PodNamespace == o.PodNamespace && i.PodContainer == o.PodContainer && i.Sandbox == o.Sandbox && i.SandboxID == o.SandboxID &&
		i.Labels.Managed == o.Labels.Managed && i.Labels.Protected == o.Labels.Protected && i.Labels.Kind == o.Labels.Kind &&
		i.Labels.ComposeProject == o.Labels.ComposeProject && i.Labels.ComposeService == o.Labels.ComposeService &&
		slices.Equal(i.Labels.Errors, o.Labels.Errors) && maps.Equal(i.Extra, o.Extra)
}
