package testutil

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// Alone runs the test that calls it once more, in a PID namespace of its own: there
// /proc holds the processes of that test only, so that its exporter does not see what
// other containers run on this machine. It tells whether it has; the caller then
// has nothing left to do:
//
//	if testutil.Alone(t) {
//		return
//	}
func Alone(t *testing.T) bool {
	t.Helper()
	const mark = "ESTIBA_TEST_ALONE"
	if os.Getenv(mark) == t.Name() {
		return false
	}
	Require(t, Root, "unshare")
	args := []string{"--pid", "--fork", "--kill-child", "--mount-proc", os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v"}
	if end, ok := t.Deadline(); ok {
		// It has to say where it hangs before the one out here says so of itself.
		args = append(args, "-test.timeout="+(time.Until(end)-5*time.Second).String())
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	out, err := cmd.CombinedOutput()
	t.Logf("in a PID namespace of its own:\n%s", out)
	if err != nil {
		t.Errorf("in a PID namespace of its own: %v", err)
	}
	return true
}
