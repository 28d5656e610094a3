package runtimes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/internal/testutil"
)

// NodeTools are the programs that a node of Kubernetes needs.
var NodeTools = []testutil.Need{testutil.Root, "runc", "containerd", "ctr", "nsenter", "ip"}

// nodeState is where containerd has its socket and its state on a node.
const nodeState = "/run/containerd"

// Node are the differences between nodes.
type Node struct {
	Options
	Images []Image // besides those of the containers
	// Private: containers have cgroup namespaces of their own with cgroup v1, too.
	Private bool
}

// StartNode starts containerd alone, with its socket where a node of Kubernetes has it and
// a network for pods of which nothing is reached but themselves. It mounts file systems, so
// the caller has a mount namespace of its own (testutil.Alone).
func StartNode(t *testing.T, o Node) *Host {
	t.Helper()
	testutil.Require(t, NodeTools...)
	h := newHost(t, o.Options)
	h.writeImages(t, o.Images...)
	h.writeNetwork(t)
	h.removeNew(t, "/kubepods")
	mountShared(t, nodeState)
	options := containerdOptions{socket: nodeState + "/containerd.sock", state: nodeState, namespaces: []string{"k8s.io"}}
	if o.Private && !h.v2 {
		options.spec = h.writePrivate(t)
	}
	h.Containerd = h.startContainerd(t, options)
	h.Say("containerd started")
	return h
}

// mountShared mounts an empty file system, which is shared as all of a node's are: what is
// mounted below it later, or unmounted, is so in containers, too.
func mountShared(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "mode=711"); err != nil {
		t.Fatalf("mounting a tmpfs over %s: %v", path, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", path, err)
		}
	})
	if err := unix.Mount("", path, "", unix.MS_SHARED, ""); err != nil {
		t.Fatalf("sharing %s: %v", path, err)
	}
}

// writeNetwork writes a plugin that gives each pod a network namespace with nothing but its
// loopback interface, and an address that only exists on paper.
// https://www.cni.dev/docs/spec/
func (h *Host) writeNetwork(t *testing.T) {
	t.Helper()
	const script = `#!/bin/sh
set -e
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
ADD)
	nsenter --net="$CNI_NETNS" ip link set lo up
	printf '{"cniVersion":"0.3.1","interfaces":[{"name":"%s","sandbox":"%s"}],"ips":[{"version":"4","address":"192.0.2.2/32","interface":0}]}\n' \
		"$CNI_IFNAME" "$CNI_NETNS"
	;;
esac
`
	for _, name := range []string{"loopback", "nothing"} {
		if err := os.Chmod(h.write(t, filepath.Join("cni", name), script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.write(t, "cni/10-nothing.conflist", `{"cniVersion":"0.3.1","name":"nothing","plugins":[{"type":"nothing"}]}`)
}

// writePrivate writes a specification of containers in cgroup namespaces of their own.
func (h *Host) writePrivate(t *testing.T) string {
	t.Helper()
	var spec object
	if err := json.Unmarshal([]byte(h.command(t, "ctr", "oci", "spec")), &spec); err != nil {
		t.Fatal(err)
	}
	linux := spec["linux"].(object)
	linux["namespaces"] = append(linux["namespaces"].([]any), object{"type": "cgroup"})
	return h.write(t, "etc/spec.json", string(encode(t, spec)))
}
