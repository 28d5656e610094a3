package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// errEngineLocked says that another manager acts on the same Engine.
var errEngineLocked = errors.New("another manager acts on this Docker Engine")

// lockEngine makes this the only manager of this host that acts on the Engine
// at host, whatever audit file another one writes. The lock is a name in the
// abstract namespace of Unix sockets (unix(7)): it needs no folder that all
// users may write, and goes with the process, however that ends. It reaches as
// far as the network namespace: managers in containers of their own do not see
// each other's.
func lockEngine(host string) (io.Closer, error) {
	name := host
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		// The socket may come later than the manager, its folder is there.
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			name = filepath.Join(dir, filepath.Base(path))
		}
	}
	const longest = 100 // of 108 bytes for address and name (unix(7))
	name = "estiba-manager:" + name
	if len(name) > longest {
		name = idOf(name)
	}
	l, err := net.Listen("unix", "@"+name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s", errEngineLocked, host)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the docker engine %s: %w", host, err)
	}
	return l, nil
}
