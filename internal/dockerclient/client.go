// Package dockerclient is the only package that talks to the Docker Engine. It offers the
// calls that Estiba uses with its own types, so that the client library can be replaced.
//
// It follows the Docker Engine API reference, versions 1.41 (Debian 12) to 1.51. The
// first call negotiates the version. Podman's service has the same API, see podman.go.
package dockerclient

import (
	"context"
	"fmt"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// DefaultHost is the Engine's default socket.
const DefaultHost = client.DefaultDockerHost

// Client is a connection to one Docker Engine. It is safe for concurrent use.
type Client struct {
	api *client.Client
}

// New returns a client for host ("unix:///…", "tcp://…", or "" for the Engine's default
// socket). It does not connect, so the Engine may be down.
func New(host string) (*Client, error) {
	if host == "" {
		host = DefaultHost
	}
	// DOCKER_HOST can have addresses that need the command docker.
	if scheme, _, _ := strings.Cut(host, "://"); scheme == "ssh" || scheme == "fd" || scheme == "npipe" {
		return nil, fmt.Errorf("docker host %q: %s:// is not supported, only unix:// and tcp://", host, scheme)
	}
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker host %q: %w", host, err)
	}
	return &Client{api: api}, nil
}

// Host is the address of the Engine.
func (c *Client) Host() string { return c.api.DaemonHost() }

// Close closes idle connections.
func (c *Client) Close() error { return c.api.Close() }

// Ping checks that the Engine responds.
func (c *Client) Ping(ctx context.Context) error {
	if _, err := c.api.Ping(ctx); err != nil {
		return fmt.Errorf("docker engine at %s: %w", c.Host(), err)
	}
	return nil
}

// Info describes the Engine.
type Info struct {
	Version       string // "20.10.24+dfsg1"
	APIVersion    string // negotiated, "1.41"
	DataRoot      string // "/var/lib/docker"
	StorageDriver string // "overlay2"
	CgroupDriver  string // "cgroupfs" or "systemd"
	CgroupVersion string // "1" or "2"
}

// Info queries the Engine's version and configuration.
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

// IsNotFound reports whether err means that the container or image does not exist.
// Podman 4.3 answers 500 if the container is removed while it looks it up.
func IsNotFound(err error) bool {
	return cerrdefs.IsNotFound(err) || err != nil && strings.HasSuffix(err.Error(), ": no such container")
}

// IsConflict reports whether err means that the state of the object forbids the call: a
// name in use, a removal in progress, a container that is not running.
func IsConflict(err error) bool {
	return cerrdefs.IsConflict(err) || err != nil && strings.Contains(err.Error(), improperState)
}
