// Package names keeps what the Docker Engine knows of each container: name,
// image and labels. It follows the Engine in the background; looking something
// up never waits for it.
package names

import (
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// Info is what is known of one container. It is never changed: a change makes
// a new Info.
type Info struct {
	ID     string // 64 hex digits
	Name   string
	Image  string
	Labels container.Labels
	Extra  map[string]string // labels of the allowlist that it has
}

func (c *Cache) info(d dockerclient.Container) *Info {
	i := &Info{ID: d.ID, Name: d.Name, Image: d.Image, Labels: container.ParseLabels(d.Labels)}
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

func (i *Info) equal(o *Info) bool {
	if o == nil || i.Name != o.Name || i.Image != o.Image || i.Labels.Managed != o.Labels.Managed ||
		i.Labels.Protected != o.Labels.Protected || i.Labels.Kind != o.Labels.Kind ||
		i.Labels.ComposeProject != o.Labels.ComposeProject || i.Labels.ComposeService != o.Labels.ComposeService ||
		len(i.Labels.Errors) != len(o.Labels.Errors) || len(i.Extra) != len(o.Extra) {
		return false
	}
	for n, key := range i.Labels.Errors {
		if o.Labels.Errors[n] != key {
			return false
		}
	}
	for k, v := range i.Extra {
		if o.Extra[k] != v {
			return false
		}
	}
	return true
}
