package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Terminal is a program in a terminal of tmux, without which the test is skipped.
type Terminal struct{ socket string }

// ended is what the shell prints after the program.
const ended = "program ended with status "

// StartTerminal starts a program in a terminal of the given size, which is removed after
// the test. env are more variables, "NAME=value".
func StartTerminal(t *testing.T, width, height int, env []string, argv ...string) *Terminal {
	t.Helper()
	Require(t, "tmux")
	dir, err := os.MkdirTemp("", "tmux") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	m := &Terminal{socket: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		m.tmux(t, "kill-server")
		os.RemoveAll(dir)
	})
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height)}
	for _, one := range env {
		args = append(args, "-e", one)
	}
	shell := []string{"sh", "-c", `"$@"; echo "` + ended + `$?"; exec sleep 600`, "sh"}
	m.tmux(t, append(append(args, shell...), argv...)...)
	return m
}

func (m *Terminal) tmux(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Keys presses keys, by tmux's names.
func (m *Terminal) Keys(t *testing.T, keys ...string) {
	t.Helper()
	m.tmux(t, append([]string{"send-keys"}, keys...)...)
}

// Resize changes the size of the terminal.
func (m *Terminal) Resize(t *testing.T, width, height int) {
	t.Helper()
	m.tmux(t, "resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// Screen is the text on the screen, without trailing blanks.
func (m *Terminal) Screen(t *testing.T) string {
	t.Helper()
	return m.tmux(t, "capture-pane", "-p")
}

// Styled is the text with its styles, as escape sequences.
func (m *Terminal) Styled(t *testing.T) string {
	t.Helper()
	return m.tmux(t, "capture-pane", "-p", "-e")
}

// Alternate reports whether the program uses the alternate screen, which leaves what was
// printed before untouched.
func (m *Terminal) Alternate(t *testing.T) bool {
	t.Helper()
	return strings.TrimSpace(m.tmux(t, "display-message", "-p", "#{alternate_on}")) == "1"
}

// Children are the processes that the shell of the terminal started.
func (m *Terminal) Children(t *testing.T) []int {
	t.Helper()
	shell := strings.TrimSpace(m.tmux(t, "display-message", "-p", "#{pane_pid}"))
	b, err := os.ReadFile(filepath.Join("/proc", shell, "task", shell, "children"))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Ended returns the exit status of the program; false while it runs.
func (m *Terminal) Ended(t *testing.T) (status string, ok bool) {
	t.Helper()
	_, after, ok := strings.Cut(m.Screen(t), ended)
	status, _, _ = strings.Cut(after, "\n")
	return status, ok
}
