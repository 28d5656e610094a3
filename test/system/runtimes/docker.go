package runtimes

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// RunDocker starts a container of the Docker Engine.
func (h *Host) RunDocker(t *testing.T, name string, l Load) Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	defer cancel()
	if _, err := h.Docker.Image(ctx, loadImage); dockerclient.IsNotFound(err) {
		layer, err := os.Open(h.in("layer.tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer layer.Close()
		if err := h.Docker.ImportImage(ctx, layer, loadImage, []string{`ENTRYPOINT ["/program"]`}); err != nil {
			t.Fatal(err)
		}
	}
	id, err := h.Docker.Create(ctx, dockerclient.Spec{Name: name, Image: loadImage, Command: l.args(), Networkless: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Docker.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	made, err := h.Docker.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return Container{
		Name: name, ID: id, Runtime: container.Docker, Namespace: "moby", InitPID: made.PID, CPUShare: l.CPUShare, Holds: l.Holds,
		Usage: func(t *testing.T) Usage { return h.dockerUsage(t, id) },
	}
}

// RemoveDocker kills a container of the Docker Engine and removes it.
func (h *Host) RemoveDocker(t *testing.T, c Container) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	defer cancel()
	if err := h.Docker.Remove(ctx, c.ID); err != nil {
		t.Fatal(err)
	}
}

// dockerUsage is what `docker stats` computes its columns from.
func (h *Host) dockerUsage(t *testing.T, id string) Usage {
	t.Helper()
	text, err := h.request(strings.TrimPrefix(h.Docker.Host(), "unix://"), http.MethodGet, "/containers/"+id+"/stats?stream=false&one-shot=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		CPU struct {
			Usage struct {
				Total uint64 `json:"total_usage"`
			} `json:"cpu_usage"`
		} `json:"cpu_stats"`
		Memory struct {
			Usage uint64
			Stats struct {
				V1 uint64 `json:"total_inactive_file"`
				V2 uint64 `json:"inactive_file"`
			}
		} `json:"memory_stats"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	inactive := s.Memory.Stats.V1
	if h.v2 {
		inactive = s.Memory.Stats.V2
	}
	return Usage{CPU: s.CPU.Usage.Total, Memory: s.Memory.Usage - min(inactive, s.Memory.Usage), Inactive: true}
}
