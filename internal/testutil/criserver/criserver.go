// Package criserver is a container runtime of Kubernetes for tests: the Container Runtime
// Interface over a real gRPC socket, with pods that a test makes and faults that it
// chooses.
package criserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is the size of messages that containerd and CRI-O allow.
const maxMessage = 16 << 20

// Server is one runtime. Its fields are for the test to set before Start, or in Change.
type Server struct {
	cri.UnimplementedRuntimeServiceServer

	Name, Release string // "containerd", "v2.1.4"
	// NoEvents is how it has none: "unimplemented", or "ends" as in CRI-O when they are
	// turned off; "" if it has them.
	NoEvents string
	// WithoutCRI: containerd whose CRI plugin is disabled.
	WithoutCRI bool
	Hang       bool          // no call is answered
	Slow       time.Duration // before each answer
	MaxMessage int           // 0: as real ones

	socket string
	server *grpc.Server

	mu         sync.Mutex
	sandboxes  map[string]*cri.PodSandbox
	containers map[string]*cri.Container
	statuses   map[string]*cri.ContainerStatus
	images     map[string]string // of sandboxes
	listeners  map[chan *cri.ContainerEventResponse]bool
	calls      map[string]int // by method
	stopped    chan struct{}
}

// New returns a server at a socket of its own, which is not started.
func New(t testing.TB) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Name: "containerd", Release: "v2.1.4", socket: filepath.Join(dir, "s"),
		sandboxes: map[string]*cri.PodSandbox{}, containers: map[string]*cri.Container{}, statuses: map[string]*cri.ContainerStatus{},
		images: map[string]string{}, listeners: map[chan *cri.ContainerEventResponse]bool{}, calls: map[string]int{},
	}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
	})
	return s
}

// Address is the endpoint.
func (s *Server) Address() string { return "unix://" + s.socket }

// Socket is the path of the socket.
func (s *Server) Socket() string { return s.socket }

// Start serves.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	os.Remove(s.socket)
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	size := s.MaxMessage
	if size == 0 {
		size = maxMessage
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = make(chan struct{})
	s.server = grpc.NewServer(grpc.UnaryInterceptor(s.intercept), grpc.MaxSendMsgSize(size))
	if !s.WithoutCRI {
		cri.RegisterRuntimeServiceServer(s.server, s)
	}
	go s.server.Serve(l)
}

// Stop breaks all connections, as a crash does.
func (s *Server) Stop() {
	s.mu.Lock()
	server := s.server
	s.server = nil
	if server != nil {
		close(s.stopped)
	}
	s.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Change changes fields while it serves.
func (s *Server) Change(do func(*Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s)
}

// Calls counts the calls of a method so far: "ListContainers".
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (s *Server) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	s.mu.Lock()
	hang, slow, stopped := s.Hang, s.Slow, s.stopped
	s.calls[filepath.Base(info.FullMethod)]++
	s.mu.Unlock()
	wait := time.After(slow)
	if hang {
		wait = nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-stopped:
		return nil, status.Error(codes.Unavailable, "stopped")
	case <-wait:
		return handler(ctx, request)
	}
}

// Pod is a pod to add.
type Pod struct {
	ID, Name, Namespace, Handler, Image string
	Labels                              map[string]string
	NotReady                            bool
}

// PutPod adds or changes a pod's sandbox.
func (s *Server) PutPod(p Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	labels := map[string]string{"io.kubernetes.pod.name": p.Name, "io.kubernetes.pod.namespace": p.Namespace}
	for k, v := range p.Labels {
		labels[k] = v
	}
	one := &cri.PodSandbox{
		Id: p.ID, Metadata: &cri.PodSandboxMetadata{Name: p.Name, Namespace: p.Namespace, Uid: "u-" + p.Name},
		Labels: labels, CreatedAt: time.Now().UnixNano(), RuntimeHandler: p.Handler,
	}
	if p.NotReady {
		one.State = cri.PodSandboxState_SANDBOX_NOTREADY
	}
	s.sandboxes[p.ID], s.images[p.ID] = one, p.Image
	s.send(cri.ContainerEventType_CONTAINER_STARTED_EVENT, p.ID)
}

// Container is a container to add.
type Container struct {
	ID, Pod, Name, Image string // Pod is the sandbox's id
	State                string // created, running, exited; "" is running
	ExitCode             int32
	Reason               string
	Attempt              uint32
	Silent               bool // without an event
}

// Put adds or changes a container.
func (s *Server) Put(c Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, event := cri.ContainerState_CONTAINER_RUNNING, cri.ContainerEventType_CONTAINER_STARTED_EVENT
	switch c.State {
	case "created":
		state, event = cri.ContainerState_CONTAINER_CREATED, cri.ContainerEventType_CONTAINER_CREATED_EVENT
	case "exited":
		state, event = cri.ContainerState_CONTAINER_EXITED, cri.ContainerEventType_CONTAINER_STOPPED_EVENT
	}
	labels := map[string]string{"io.kubernetes.container.name": c.Name}
	if p := s.sandboxes[c.Pod]; p != nil {
		labels["io.kubernetes.pod.name"], labels["io.kubernetes.pod.namespace"] = p.GetMetadata().GetName(), p.GetMetadata().GetNamespace()
	}
	now := time.Now().UnixNano()
	metadata := &cri.ContainerMetadata{Name: c.Name, Attempt: c.Attempt}
	// The kubelet creates a container by the id of its image; only the status has the name.
	s.containers[c.ID] = &cri.Container{
		Id: c.ID, PodSandboxId: c.Pod, Metadata: metadata, State: state, Labels: labels, CreatedAt: now,
		Image: &cri.ImageSpec{Image: "sha256:" + fmt.Sprintf("%064x", len(c.Image))},
	}
	one := &cri.ContainerStatus{
		Id: c.ID, Metadata: metadata, State: state, Labels: labels, CreatedAt: now, StartedAt: now,
		Image: &cri.ImageSpec{Image: c.Image}, ExitCode: c.ExitCode, Reason: c.Reason,
	}
	if c.State == "exited" {
		one.FinishedAt = now
	}
	s.statuses[c.ID] = one
	if !c.Silent {
		s.send(event, c.ID)
	}
}

// Remove removes a container or a pod's sandbox.
func (s *Server) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, id)
	delete(s.statuses, id)
	delete(s.sandboxes, id)
	s.send(cri.ContainerEventType_CONTAINER_DELETED_EVENT, id)
}

// send sends an event to all clients. The lock must be held.
func (s *Server) send(kind cri.ContainerEventType, id string) {
	for l := range s.listeners {
		select {
		case l <- &cri.ContainerEventResponse{ContainerId: id, ContainerEventType: kind, CreatedAt: time.Now().UnixNano()}:
		default:
		}
	}
}

// Version is a call of the interface, as those below.
func (s *Server) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: s.Name, RuntimeVersion: s.Release, RuntimeApiVersion: "v1"}, nil
}

// ListPodSandbox lists sandboxes.
func (s *Server) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &cri.ListPodSandboxResponse{}
	for id, one := range s.sandboxes {
		if want := r.GetFilter().GetId(); want == "" || want == id {
			answer.Items = append(answer.Items, one)
		}
	}
	return answer, nil
}

// PodSandboxStatus has the image in the part for people only.
func (s *Server) PodSandboxStatus(_ context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sandboxes[r.GetPodSandboxId()]
	if one == nil {
		return nil, status.Error(codes.NotFound, "no such sandbox")
	}
	answer := &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{Id: one.GetId(), Metadata: one.GetMetadata(), State: one.GetState()}}
	if r.GetVerbose() {
		answer.Info = map[string]string{"info": fmt.Sprintf(`{"pid":1,"image":%q,"runtimeSpec":{}}`, s.images[one.GetId()])}
	}
	return answer, nil
}

// ListContainers lists containers.
func (s *Server) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &cri.ListContainersResponse{}
	for id, one := range s.containers {
		if want := r.GetFilter().GetId(); want == "" || want == id {
			answer.Containers = append(answer.Containers, one)
		}
	}
	return answer, nil
}

// ContainerStatus returns one container.
func (s *Server) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.statuses[r.GetContainerId()]
	if one == nil {
		return nil, status.Error(codes.NotFound, "no such container")
	}
	return &cri.ContainerStatusResponse{Status: one}, nil
}

// ListContainerStats has a writable layer of 4096 bytes for each container.
func (s *Server) ListContainerStats(context.Context, *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &cri.ListContainerStatsResponse{}
	for id := range s.containers {
		answer.Stats = append(answer.Stats, &cri.ContainerStats{
			Attributes: &cri.ContainerAttributes{Id: id}, WritableLayer: &cri.FilesystemUsage{UsedBytes: &cri.UInt64Value{Value: 4096}},
		})
	}
	return answer, nil
}

// GetContainerEvents sends events until the client leaves.
func (s *Server) GetContainerEvents(_ *cri.GetEventsRequest, stream cri.RuntimeService_GetContainerEventsServer) error {
	s.mu.Lock()
	s.calls["GetContainerEvents"]++
	how, stopped := s.NoEvents, s.stopped
	events := make(chan *cri.ContainerEventResponse, 100)
	s.listeners[events] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, events)
		s.mu.Unlock()
	}()
	switch how {
	case "unimplemented":
		return status.Error(codes.Unimplemented, "unknown method GetContainerEvents")
	case "ends":
		return nil
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-stopped:
			return status.Error(codes.Unavailable, "stopped")
		case e := <-events:
			if err := stream.Send(e); err != nil {
				return err
			}
		}
	}
}
