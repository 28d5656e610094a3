package enforce

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// ErrEngineLocked means that another manager uses the same Engine.
var ErrEngineLocked = errors.New("another manager uses this Docker Engine")

// lockNames is the number of names of a lock. All users share the abstract namespace:
// if a user without access to the Engine holds a name, the next one is used.
const lockNames = 4

// LockEngine makes this the only manager of the host that kills on the Engine at host,
// whatever its audit file. The lock is a name in the abstract namespace of Unix sockets
// (unix(7)): it needs no shared folder and ends with the process. It covers one network
// namespace: managers in separate containers do not see each other's lock.
func LockEngine(host string) (io.Closer, error) {
	base := "estiba-manager:" + engineName(host)
	const longest = 100 // of 108 bytes for address and name (unix(7))
	if len(base) > longest {
		base = container.HashID(base)
	}
	var mine net.Listener
	release := func() {
		if mine != nil {
			mine.Close()
		}
	}
	for i := range lockNames {
		name := "@" + base
		if i > 0 {
			name += "#" + strconv.Itoa(i)
		}
		l, err := net.Listen("unix", name)
		switch {
		case err == nil && mine == nil:
			mine = l
		case err == nil:
			l.Close()
		case !errors.Is(err, syscall.EADDRINUSE):
			release()
			return nil, fmt.Errorf("locking the Docker Engine %s: %w", host, err)
		case holderMayAct(name, host):
			release()
			return nil, fmt.Errorf("%w: %s", ErrEngineLocked, host)
		}
	}
	if mine == nil {
		return nil, fmt.Errorf("locking the Docker Engine %s: all %d lock names are held by users without access to it", host, lockNames)
	}
	go answer(mine)
	return mine, nil
}

// answer lets other managers find the lock's holder, until the lock is closed.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// engineName is one name for all spellings of an Engine's address.
func engineName(host string) string {
	scheme, rest, _ := strings.Cut(host, "://")
	if scheme == "unix" {
		if path, err := filepath.EvalSymlinks(rest); err == nil {
			return path
		}
		// The socket may be created later, its folder exists.
		if dir, err := filepath.EvalSymlinks(filepath.Dir(rest)); err == nil {
			return filepath.Join(dir, filepath.Base(rest))
		}
		return filepath.Clean(rest)
	}
	name, port, err := net.SplitHostPort(strings.TrimRight(rest, "/"))
	if err != nil {
		return host
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if ip := net.ParseIP(name); name == "localhost" || (ip != nil && (ip.IsLoopback() || ip.IsUnspecified())) {
		name = "loopback"
	}
	return scheme + "://" + name + ":" + port
}

// holderMayAct reports whether the holder of a name may be a manager of the Engine: a
// process of root, of this user, or of one with write access to the Engine's socket. If
// that is unknown, it may be. A holder that does not answer is none.
func holderMayAct(name, host string) bool {
	c, err := net.DialTimeout("unix", name, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return true
	}
	var who *syscall.Ucred // of the listening process, see SO_PEERCRED in unix(7)
	if ctl := raw.Control(func(fd uintptr) { who, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED) }); ctl != nil || err != nil {
		return true
	}
	if who.Uid == 0 || int(who.Uid) == os.Geteuid() {
		return true
	}
	path, unix := strings.CutPrefix(host, "unix://")
	if !unix {
		return true
	}
	var socket syscall.Stat_t
	if err := syscall.Stat(path, &socket); err != nil {
		return true
	}
	if socket.Uid == who.Uid || socket.Mode&syscall.S_IWOTH != 0 {
		return true
	}
	groups, known := groupsOf(who)
	return !known || (socket.Mode&syscall.S_IWGRP != 0 && slices.Contains(groups, socket.Gid))
}

// groupsOf reads the groups of a process (proc_pid_status(5)).
func groupsOf(who *syscall.Ucred) (groups []uint32, known bool) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", who.Pid))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	groups = []uint32{who.Gid}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		list, ok := strings.CutPrefix(lines.Text(), "Groups:")
		if !ok {
			continue
		}
		for _, one := range strings.Fields(list) {
			if gid, err := strconv.ParseUint(one, 10, 32); err == nil {
				groups = append(groups, uint32(gid))
			}
		}
		return groups, true
	}
	return nil, false
}
