package dockerclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/client"

	runtimes "github.com/estiba/estiba/internal/container"
)

// Podman's service answers Docker's API as well, with differences that this file knows.

// improperState is in the errors of Podman's calls that the state of a container forbids
// (ErrCtrStateInvalid in libpod/define/errors.go). Their status is 500.
const improperState = "container state improper"

// Runtime asks what answers: package container's Docker or Podman. Its version shows it, too,
// but Podman runs four programs for that answer. An Engine behind a proxy that forbids the
// question counts as Docker's.
func (c *Client) Runtime(ctx context.Context) (string, error) {
	r, err := c.request(ctx, http.MethodHead, "/_ping", nil)
	if err != nil {
		return "", fmt.Errorf("docker engine at %s: %w", c.Host(), err)
	}
	r.Body.Close()
	if strings.HasPrefix(r.Header.Get("Server"), "Libpod/") {
		return runtimes.Podman, nil
	}
	return runtimes.Docker, nil
}

// IsPodman reports whether Podman answers.
func (c *Client) IsPodman(ctx context.Context) bool {
	runtime, err := c.Runtime(ctx)
	return err == nil && runtime == runtimes.Podman
}

// request sends a request that the client library has no function for.
func (c *Client) request(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	host, err := client.ParseHostURL(c.Host())
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "http", Host: host.Host, Path: path, RawQuery: query.Encode()}
	if strings.HasPrefix(u.Host, "/") || u.Host == "" {
		u.Host = "podman" // a socket: the client's transport knows the path
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return c.api.HTTPClient().Do(request)
}

// EventsSince streams container events from a time on, as Events does, but returns
// without waiting for the response: Podman sends not even its header before the first
// event.
func (c *Client) EventsSince(ctx context.Context, since time.Time) (<-chan Event, <-chan error) {
	out, errs := make(chan Event), make(chan error, 1)
	go func() {
		seconds := fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
		messages, failed := c.api.Events(ctx, events.ListOptions{Filters: containerEvents(), Since: seconds})
		forward(ctx, messages, failed, out, errs)
	}()
	return out, errs
}

// podmanStates are the states of Podman that Docker has by another name.
var podmanStates = map[string]string{
	"configured":  container.StateCreated,
	"initialized": container.StateCreated,
	"stopping":    container.StateRunning,
	"stopped":     container.StateExited,
	"unknown":     "",
}

// dockerState returns the state by its name in Docker.
func dockerState(state string) string {
	if s, ok := podmanStates[state]; ok {
		return s
	}
	return state
}

// PodmanPod is what Podman knows about the pod of a container.
type PodmanPod struct {
	Name  string
	Infra bool // the container only holds the pod's namespaces
}

// maxPods is the largest answer of PodmanPods, in bytes: about 50,000 containers.
const maxPods = 64 << 20

// PodmanPods returns the pods of all containers that have one by the container's id, or
// with an id that container's only. Docker's API has no pods, so it asks Podman's own.
func (c *Client) PodmanPods(ctx context.Context, id string) (map[string]PodmanPod, error) {
	query := url.Values{"all": {"true"}}
	if id != "" {
		query.Set("filters", fmt.Sprintf(`{"id":[%q]}`, id))
	}
	response, err := c.request(ctx, http.MethodGet, "/v4.0.0/libpod/containers/json", query)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("listing pods: status %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPods+1))
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	if len(body) > maxPods {
		return nil, fmt.Errorf("listing pods: the response is above %d bytes", maxPods)
	}
	return parsePods(body)
}

func parsePods(body []byte) (map[string]PodmanPod, error) {
	var list []struct {
		ID      string `json:"Id"`
		Pod     string
		PodName string
		IsInfra bool
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	pods := map[string]PodmanPod{}
	for _, one := range list {
		if one.Pod != "" {
			pods[one.ID] = PodmanPod{Name: one.PodName, Infra: one.IsInfra}
		}
	}
	return pods, nil
}

// inPods completes a list with the pods of its containers. Those that use the network of
// their pod have the addresses of the container that holds it.
func (c *Client) inPods(ctx context.Context, list []Container) error {
	pods, err := c.PodmanPods(ctx, "")
	if err != nil {
		return err
	}
	addresses := map[string][]string{} // by pod
	for i := range list {
		item := &list[i]
		pod := pods[item.ID]
		if item.Pod, item.Infra = pod.Name, pod.Infra; item.Infra {
			addresses[item.Pod] = item.Networks
		}
	}
	for i := range list {
		if list[i].Pod != "" && len(list[i].Networks) == 0 {
			list[i].Networks = addresses[list[i].Pod]
		}
	}
	return nil
}
