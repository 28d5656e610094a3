// Package criclient is the only package that talks to a runtime by the Container Runtime
// Interface (CRI) of Kubernetes, version 1. It only reads, with its own types, so that the
// generated client can be replaced.
package criclient

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is the largest response: about 50,000 containers. The default of gRPC, 4 MiB,
// is what a large host with long annotations already has.
const maxMessage = 64 << 20

// Client is a connection to one runtime. It is safe for concurrent use.
type Client struct {
	conn *grpc.ClientConn
	api  cri.RuntimeServiceClient
}

// New returns a client for an address ("unix:///run/…"). It does not connect, so the
// runtime may be down.
func New(address string) (*Client, error) {
	if path, ok := strings.CutPrefix(address, "unix://"); !ok || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("CRI endpoint %q: must be unix:///PATH", address)
	}
	retry := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a local socket
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("CRI endpoint %q: %w", address, err)
	}
	return &Client{conn: conn, api: cri.NewRuntimeServiceClient(conn)}, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Runtime describes the runtime.
type Runtime struct {
	Name    string // "containerd", "cri-o"
	Version string // "v2.1.4", "1.34.0"
}

// Version queries the runtime's name and version. The error is IsNotImplemented if the
// program at the socket has no CRI: containerd without its CRI plugin.
func (c *Client) Version(ctx context.Context) (Runtime, error) {
	r, err := c.api.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return Runtime{}, failure("querying the version", err)
	}
	return Runtime{Name: r.GetRuntimeName(), Version: r.GetRuntimeVersion()}, nil
}

// Sandbox is the environment of one pod.
type Sandbox struct {
	ID        string
	Pod       string
	Namespace string
	Handler   string // runtime class: "", "kata", …
	Labels    map[string]string
	Ready     bool
	Attempt   uint32 // how many sandboxes the pod had before
	Created   time.Time
}

// Sandboxes lists all sandboxes, or with an id at most that one.
func (c *Client) Sandboxes(ctx context.Context, id string) ([]Sandbox, error) {
	request := &cri.ListPodSandboxRequest{}
	if id != "" {
		request.Filter = &cri.PodSandboxFilter{Id: id}
	}
	r, err := c.api.ListPodSandbox(ctx, request)
	if err != nil {
		return nil, failure("listing pods", err)
	}
	all := make([]Sandbox, 0, len(r.GetItems()))
	for _, s := range r.GetItems() {
		all = append(all, Sandbox{
			ID: s.GetId(), Pod: s.GetMetadata().GetName(), Namespace: s.GetMetadata().GetNamespace(), Handler: s.GetRuntimeHandler(),
			Labels: s.GetLabels(), Ready: s.GetState() == cri.PodSandboxState_SANDBOX_READY,
			Attempt: s.GetMetadata().GetAttempt(), Created: timeOf(s.GetCreatedAt()),
		})
	}
	return all, nil
}

// The states of containers.
const (
	Created = "created"
	Running = "running"
	Exited  = "exited"
)

// Container is one container of a pod.
type Container struct {
	ID      string
	Sandbox string // id of its pod's sandbox
	Name    string // in its pod
	Image   string // a reference, or an id
	Labels  map[string]string
	State   string // Created, Running, Exited; "" if the runtime does not know
	Attempt uint32 // how many containers of this name its pod had before: restarts
	Created time.Time
}

// Containers lists all containers, or with an id at most that one.
func (c *Client) Containers(ctx context.Context, id string) ([]Container, error) {
	request := &cri.ListContainersRequest{}
	if id != "" {
		request.Filter = &cri.ContainerFilter{Id: id}
	}
	r, err := c.api.ListContainers(ctx, request)
	if err != nil {
		return nil, failure("listing containers", err)
	}
	all := make([]Container, 0, len(r.GetContainers()))
	for _, one := range r.GetContainers() {
		all = append(all, Container{
			ID: one.GetId(), Sandbox: one.GetPodSandboxId(), Name: one.GetMetadata().GetName(), Image: image(one.GetImage()),
			Labels: one.GetLabels(), State: state(one.GetState()),
			Attempt: one.GetMetadata().GetAttempt(), Created: timeOf(one.GetCreatedAt()),
		})
	}
	return all, nil
}

// Status has what a list lacks.
type Status struct {
	Image     string // as the pod names it, else as the runtime does
	State     string
	ExitCode  int
	OOMKilled bool // its last exit
	EndedAt   time.Time
}

// Status returns the status of one container. The error is IsNotFound if it does not
// exist.
func (c *Client) Status(ctx context.Context, id string) (Status, error) {
	r, err := c.api.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return Status{}, failure("inspecting container "+id, err)
	}
	s := r.GetStatus()
	if s == nil {
		return Status{}, fmt.Errorf("inspecting container %s: incomplete response", id)
	}
	return Status{
		Image: image(s.GetImage()), State: state(s.GetState()), ExitCode: int(s.GetExitCode()),
		OOMKilled: s.GetReason() == "OOMKilled", EndedAt: timeOf(s.GetFinishedAt()),
	}, nil
}

// PauseImage returns the image of a sandbox's own container, "" if the runtime does not
// report it: containerd and CRI-O have it in the part of the status that is for people.
func (c *Client) PauseImage(ctx context.Context, id string) (string, error) {
	r, err := c.api.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		return "", failure("inspecting pod "+id, err)
	}
	var info struct {
		Image string `json:"image"`
	}
	if json.Unmarshal([]byte(r.GetInfo()["info"]), &info) != nil {
		return "", nil
	}
	return info.Image, nil
}

// Sizes returns the size of each container's writable layer in bytes, by id.
func (c *Client) Sizes(ctx context.Context) (map[string]int64, error) {
	r, err := c.api.ListContainerStats(ctx, &cri.ListContainerStatsRequest{})
	if err != nil {
		return nil, failure("measuring writable layers", err)
	}
	all := make(map[string]int64, len(r.GetStats()))
	for _, s := range r.GetStats() {
		if used := s.GetWritableLayer().GetUsedBytes(); used != nil {
			all[s.GetAttributes().GetId()] = int64(min(used.GetValue(), 1<<62))
		}
	}
	return all, nil
}

// image returns the name of an image: as the pod names it, because the kubelet replaces
// that by the image's id.
func image(i *cri.ImageSpec) string {
	if i.GetUserSpecifiedImage() != "" {
		return i.GetUserSpecifiedImage()
	}
	return i.GetImage()
}

func state(s cri.ContainerState) string {
	switch s {
	case cri.ContainerState_CONTAINER_CREATED:
		return Created
	case cri.ContainerState_CONTAINER_RUNNING:
		return Running
	case cri.ContainerState_CONTAINER_EXITED:
		return Exited
	}
	return ""
}

// timeOf converts ns since the Unix epoch; 0 means never.
func timeOf(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// failure wraps an error of gRPC, so that it is one of errdefs.
func failure(what string, err error) error {
	switch status.Code(err) {
	case codes.NotFound:
		return fmt.Errorf("%s: %w: %w", what, cerrdefs.ErrNotFound, err)
	case codes.Unimplemented:
		return fmt.Errorf("%s: %w: %w", what, cerrdefs.ErrNotImplemented, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// IsNotFound reports whether err means that the container or pod does not exist.
func IsNotFound(err error) bool { return cerrdefs.IsNotFound(err) }

// IsNotImplemented reports whether err means that the runtime lacks the call, or the CRI.
func IsNotImplemented(err error) bool { return cerrdefs.IsNotImplemented(err) }
