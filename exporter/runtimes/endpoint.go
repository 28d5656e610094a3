package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Endpoint is where a runtime answers.
type Endpoint struct {
	Kind    string // Docker, Podman or CRI
	Address string // "unix:///run/…", "tcp://…"
	// Usual: it is one of the usual places, where there may be no runtime.
	Usual bool
	// Owner is whose containers the runtime describes; nil: those of the socket's owner,
	// or root's at a network address.
	Owner *uint32
}

// Values of the flags that configure endpoints.
const (
	Auto = "auto" // the usual places
	None = "none" // no endpoint; "" is the same
)

// The usual places of root's runtimes, under the root of the file system.
var usual = map[string][]string{
	Docker: {"var/run/docker.sock"},
	Podman: {"run/podman/podman.sock"},
	CRI:    {"run/containerd/containerd.sock", "run/crio/crio.sock", "run/k3s/containerd/containerd.sock"},
}

// rootless returns the usual place of a user's Podman.
func rootless(root string, user uint32) Endpoint {
	path := filepath.Join(root, "run/user", strconv.FormatUint(uint64(user), 10), "podman/podman.sock")
	return Endpoint{Kind: Podman, Address: "unix://" + path, Usual: true, Owner: &user}
}

// path returns the path of a socket, "" for a network address.
func (e Endpoint) path() string {
	path, ok := strings.CutPrefix(e.Address, "unix://")
	if !ok {
		return ""
	}
	return path
}

// reach connects once, and returns the user whose containers the runtime describes. The
// error is fs.ErrNotExist or fs.ErrPermission if it is one of these; those of the
// libraries do not report.
func (e Endpoint) reach(ctx context.Context) (user uint32, err error) {
	user, err = e.user()
	path := e.path()
	if err != nil || path == "" {
		return user, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return 0, connecting(path, err)
	}
	return user, conn.Close()
}

// user returns whose containers the runtime describes: the owner of its socket.
func (e Endpoint) user() (uint32, error) {
	path := e.path()
	if path == "" {
		if e.Owner != nil {
			return *e.Owner, nil
		}
		return 0, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, connecting(path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return 0, fmt.Errorf("connecting to %s: not a socket", path)
	}
	owner := uint32(0)
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = s.Uid
	}
	if e.Owner != nil && owner != *e.Owner {
		return 0, fmt.Errorf("connecting to %s: the socket is of user %d, want %d", path, owner, *e.Owner)
	}
	return owner, nil
}

// still checks that the runtime describes the containers of that user. HTTP requests are
// repeated on a new connection if one breaks, so another socket may have taken the place
// of the first one unnoticed.
func (e Endpoint) still(user uint32) error {
	now, err := e.user()
	if err == nil && now != user {
		err = fmt.Errorf("connecting to %s: the socket is of user %d, was of user %d", e.path(), now, user)
	}
	return err
}

// connecting adds the path, once, to an error of the system.
func connecting(path string, err error) error {
	var with *fs.PathError
	if errors.As(err, &with) {
		err = with.Err
	}
	var from *net.OpError
	if errors.As(err, &from) {
		err = from.Err
	}
	return fmt.Errorf("connecting to %s: %w", path, err)
}

// same reports whether two endpoints are the same socket: /run/docker.sock is often a link
// to Podman's.
func (e Endpoint) same(o Endpoint) bool {
	if e.Address == o.Address {
		return true
	}
	a, err1 := os.Stat(e.path())
	b, err2 := os.Stat(o.path())
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
