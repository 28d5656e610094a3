// Package dockerclient is the one place that speaks to the Docker Engine. It
// gives the few calls that Estiba needs, in types of its own, so that the
// client library can be changed without touching the rest.
//
// Facts come from the Docker Engine API reference, versions 1.41 (Debian 12)
// to 1.51; the version is negotiated with the Engine at the first call.
package dockerclient

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// DefaultHost is the Engine's usual socket.
const DefaultHost = client.DefaultDockerHost

// Client is a connection to one Docker Engine. It is safe for concurrent use.
type Client struct {
	api *client.Client
}

// New prepares a client for host ("unix:///…", "tcp://…", or "" for the
// Engine's usual socket). It does not connect: an Engine that is down now is
// found by the first call, and may come back later.
func New(host string) (*Client, error) {
	if host == "" {
		host = DefaultHost
	}
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker host %q: %w", host, err)
	}
	return &Client{api: api}, nil
}

// Host is the address the client was made for.
func (c *Client) Host() string { return c.api.DaemonHost() }

// Close drops idle connections.
func (c *Client) Close() error { return c.api.Close() }

// Ping asks whether the Engine answers.
func (c *Client) Ping(ctx context.Context) error {
	if _, err := c.api.Ping(ctx); err != nil {
		return fmt.Errorf("docker engine at %s: %w", c.Host(), err)
	}
	return nil
}

// Info is what the Engine says of itself.
type Info struct {
	Version       string // "20.10.24+dfsg1"
	APIVersion    string // negotiated, "1.41"
	DataRoot      string // "/var/lib/docker"
	StorageDriver string // "overlay2"
	CgroupDriver  string // "cgroupfs" or "systemd"
	CgroupVersion string // "1" or "2"
}

// Info asks the Engine about itself.
func (c *Client) Info(ctx context.Context) (Info, error) {
	i, err := c.api.Info(ctx)
	if err != nil {
		return Info{}, fmt.Errorf("docker info: %w", err)
	}
	return Info{
		Version:       i.ServerVersion,
		APIVersion:    c.api.ClientVersion(),
		DataRoot:      i.DockerRootDir,
		StorageDriver: i.Driver,
		CgroupDriver:  i.CgroupDriver,
		CgroupVersion: i.CgroupVersion,
	}, nil
}

// IsNotFound tells whether err says that the container or image is not there.
func IsNotFound(err error) bool { return cerrdefs.IsNotFound(err) }

// IsConflict tells whether err says that the object's state forbids the call:
// a name in use, a removal already in progress, a container that is not running.
func IsConflict(err error) bool { return cerrdefs.IsConflict(err) }
