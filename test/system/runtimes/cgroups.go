package runtimes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// userID is a user that exists in no distribution, and userIDs the first of the 65536
// subordinate ids of that user.
const (
	userID   = 24018
	userIDs  = 3_000_000
	userName = "rootless"

	usersRun = "/run/user" // where the exporter looks for the user's Podman
	userRun  = usersRun + "/24018"
)

// The cgroups of the user, named as systemd names them for a session.
var (
	userSlice   = fmt.Sprintf("/user.slice/user-%d.slice", userID)
	userService = fmt.Sprintf("%s/user@%d.service", userSlice, userID)
	// userParent is the parent of the containers; it must not be named like a slice
	// with the cgroupfs driver.
	userParent  = userService + "/containers"
	userSession = userService + "/session"
)

// makeUser makes a user for rootless containers, in copies of the files in /etc that are
// mounted over them until the test ends.
func (h *Host) makeUser(t *testing.T) {
	t.Helper()
	for name, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%[2]d::%s:/bin/sh", userName, userID, h.in("home")),
		"group":  fmt.Sprintf("%s:x:%d:", userName, userID),
		"subuid": fmt.Sprintf("%s:%d:65536", userName, userIDs),
		"subgid": fmt.Sprintf("%s:%d:65536", userName, userIDs),
	} {
		path := filepath.Join("/etc", name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(h.write(t, filepath.Join("etc", name), string(old)+line+"\n"), path, "", unix.MS_BIND, ""); err != nil {
			t.Fatalf("mounting a file over %s: %v", path, err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(path, 0); err != nil {
				t.Errorf("unmounting %s: %v", path, err)
			}
		})
	}
	if err := os.MkdirAll(usersRun, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", usersRun, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatalf("mounting a tmpfs over %s: %v", usersRun, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(usersRun, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", usersRun, err)
		}
	})
	for _, dir := range []string{h.in("home"), userRun, filepath.Join(userRun, "podman")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, userID, userID); err != nil {
			t.Fatal(err)
		}
	}
}

// hierarchies are the roots of all hierarchies of cgroups.
func (h *Host) hierarchies(t *testing.T) []string {
	t.Helper()
	if h.v2 {
		return []string{cgroupRoot}
	}
	all, err := filepath.Glob(cgroupRoot + "/*/cgroup.procs")
	if err != nil || len(all) == 0 {
		t.Fatalf("no cgroups: %v", err)
	}
	for i := range all {
		all[i] = filepath.Dir(all[i])
	}
	return all
}

// delegate makes the user's cgroups and gives them to the user, as systemd does for
// user@UID.service with Delegate=yes.
func (h *Host) delegate(t *testing.T) {
	t.Helper()
	h.removeNew(t, "/user.slice", "/libpod_parent", "/kubepods", "/default")
	for _, root := range h.hierarchies(t) {
		for _, path := range []string{userParent, userSession} {
			h.makeCgroup(t, root, path)
		}
		err := filepath.WalkDir(root+userService, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, userID, userID)
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeCgroups(t, root+userSlice) })
	}
}

// removeNew removes these cgroups after the test, unless they exist now.
func (h *Host) removeNew(t *testing.T, tops ...string) {
	t.Helper()
	for _, root := range h.hierarchies(t) {
		for _, top := range tops {
			if _, err := os.Stat(root + top); err == nil {
				continue // somebody else's
			}
			t.Cleanup(func() { removeCgroups(t, root+top) })
		}
	}
}

// makeCgroup makes a cgroup and those above it.
func (h *Host) makeCgroup(t *testing.T, root, path string) {
	t.Helper()
	above := root
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		dir := filepath.Join(above, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		switch {
		case h.v2:
			for _, controller := range []string{"cpu", "memory", "pids", "io", "cpuset"} {
				// Those that the kernel has.
				os.WriteFile(filepath.Join(above, "cgroup.subtree_control"), []byte("+"+controller), 0)
			}
		case filepath.Base(root) == "cpuset":
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				value, err := os.ReadFile(filepath.Join(above, file))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		above = dir
	}
}

// removeEverywhere removes a cgroup in all hierarchies.
func (h *Host) removeEverywhere(t *testing.T, path string) {
	t.Helper()
	for _, root := range h.hierarchies(t) {
		removeCgroups(t, root+path)
	}
}

// removeCgroups removes a cgroup and those below it, once their last processes have exited.
func removeCgroups(t *testing.T, top string) {
	t.Helper()
	for try := 0; ; try++ {
		var dirs []string
		filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			os.Remove(dirs[i])
		}
		if _, err := os.Stat(top); err != nil {
			return
		}
		if try == 20 {
			t.Logf("%s is still in use", top)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
