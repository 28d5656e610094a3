package runtimes

import (
	"slices"
	"testing"
)

// World is a set of containers of every runtime, each of which uses something.
type World struct {
	*Host
	Docker      []Container
	PodmanAlone Container
	PodmanPod   []Container
	Users       []Container // of another user
	Ctr         []Container
	Cart, Till  *Pod

	// Impostor is a process of the user in a cgroup that is named as the one of
	// PodmanAlone.
	Impostor Container
	// Lost is a rootless container without a cgroup: its process belongs to the remainder.
	Lost Container
}

// podmanPod is the name of the pod of Podman.
const podmanPod = "pantry"

// Populate starts the containers.
func (h *Host) Populate(t *testing.T) *World {
	t.Helper()
	w := &World{Host: h}
	w.Docker = []Container{
		h.RunDocker(t, "docker-burns", Load{CPUShare: 0.2}),
		h.RunDocker(t, "docker-holds", Load{Holds: 24 << 20}),
	}
	h.Say("containers of Docker started")
	w.PodmanAlone = h.Podman.Run(t, "podman-burns", Load{CPUShare: 0.15})
	w.PodmanPod = h.Podman.RunPod(t, podmanPod, []Named{{"bread", Load{Holds: 32 << 20}}, {"yeast", Load{CPUShare: 0.1}}})
	h.Say("containers of Podman started")
	w.Users = []Container{h.Rootless.Run(t, "rootless-holds", Load{Holds: 40 << 20})}
	w.Lost = h.Rootless.RunWithoutCgroup(t, "rootless-lost", Load{CPUShare: 0.05})
	w.Impostor = h.Rootless.Impostor(t, w.PodmanAlone)
	h.Say("containers of another user started")
	w.Ctr = []Container{h.Containerd.Run(t, "ctr-burns", Load{CPUShare: 0.1})}
	w.Cart = h.Containerd.RunPod(t, "shop", "cart", []Named{{"web", Load{CPUShare: 0.15}}, {"db", Load{Holds: 48 << 20}}})
	w.Till = h.Containerd.RunPod(t, "shop", "till", []Named{{"web", Load{CPUShare: 0.05}}, {"db", Load{Holds: 16 << 20}}})
	h.Say("pods and container of containerd started")
	return w
}

// Containers are all that run, without Impostor and Lost.
func (w *World) Containers() []Container {
	return slices.Concat(w.Docker, []Container{w.PodmanAlone}, w.PodmanPod, w.Users, w.Ctr, w.Cart.Containers, w.Till.Containers)
}
