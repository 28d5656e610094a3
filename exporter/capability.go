package main

import "golang.org/x/sys/unix"

// mayTrace reports whether this process has CAP_SYS_PTRACE, which /proc/PID/io of other
// users requires (ptrace(2), "Ptrace access mode checking").
func mayTrace() bool {
	var have [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0]); err != nil {
		return false
	}
	return have[unix.CAP_SYS_PTRACE/32].Effective&(1<<(unix.CAP_SYS_PTRACE%32)) != 0
}
