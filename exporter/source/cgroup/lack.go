package cgroup

import (
	"errors"
	"io/fs"
)

// Lack is something that the source may not read. What depends on it is
// absent from the snapshots.
type Lack string

// All of them. Each wants CAP_SYS_PTRACE (ptrace(2), "Ptrace access mode
// checking"), which root has.
const (
	LackIO      Lack = "io"
	LackNetwork Lack = "network"
)

// Says tells a person what is missing and why.
func (l Lack) Says() string {
	switch l {
	case LackIO:
		return "no I/O activity of containers, and with cgroup v1 no disk traffic: /proc/PID/io of other users' processes wants root (CAP_SYS_PTRACE)"
	case LackNetwork:
		return "no network traffic of containers: /proc/PID/ns/net of other users' processes wants root (CAP_SYS_PTRACE)"
	}
	return string(l)
}

// lacking tells of a lack for the first time that err shows it.
func (s *Source) lacking(l Lack, err error) {
	if errors.Is(err, fs.ErrPermission) && !s.lacks[l] {
		s.lacks[l] = true
		s.config.Lacking(l)
	}
}
