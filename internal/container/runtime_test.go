package container

import "testing"

func TestRuntimes(t *testing.T) {
	const plain, machine, sandbox = "", "machine", "sandbox"
	for runtime, want := range map[string]string{
		"": plain, "runc": plain, "io.containerd.runc.v2": plain, "containerd-shim-runc-v2": plain, "crun": plain, "nvidia": plain, "youki": plain,
		"sysbox-runc": plain,
		"kata":        machine, "kata-runtime": machine, "io.containerd.kata.v2": machine, "kata-fc": machine, "containerd-shim-kata-v2": machine,
		"aws.firecracker": machine,
		"runsc":           sandbox, "io.containerd.runsc.v1": sandbox, "containerd-shim-runsc-v1": sandbox, "gVisor": sandbox,
	} {
		got := plain
		if InMachine(runtime) {
			got += machine
		}
		if Sandboxed(runtime) {
			got += sandbox
		}
		if got != want {
			t.Errorf("runtime %q: %q, want %q", runtime, got, want)
		}
	}
}
