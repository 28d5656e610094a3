package testutil

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// Alone runs the calling test again in a new PID namespace, where /proc has the processes
// of that test only, so that its exporter does not see other containers of this machine.
// If it returns true the test has run there, and the caller returns:
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
		// The inner test must time out first, to show where it hangs.
		args = append(args, "-test.timeout="+(time.Until(end)-5*time.Second).String())
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	out, err := cmd.CombinedOutput()
	t.Logf("in a new PID namespace:\n%s", out)
	if err != nil {
		t.Errorf("in a new PID namespace: %v", err)
	}
	return true
}
