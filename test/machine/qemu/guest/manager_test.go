//go:build estiba_guest

package guest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/estiba/estiba/manager/policies"
)

// The manager accepts the policies on this machine and runs. Without a Docker Engine it
// kills nothing, reports that in its metrics, and opens the audit log.
func TestManagerStarts(t *testing.T) {
	manager := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("/bin/manager", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("manager %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	if out := manager("--version"); !strings.Contains(out, "linux/"+runtime.GOARCH) {
		t.Errorf("--version: %s", out)
	}
	dir := t.TempDir()
	for name, policy := range map[string][]byte{"one-of-each-kind.yml": policies.OneOfEachKind, "high-low.yml": policies.HighLow} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, policy, 0o644); err != nil {
			t.Fatal(err)
		}
		if out := manager("check", file); !strings.Contains(out, file+": ok, ") {
			t.Errorf("check %s: %s", name, out)
		}
		// The same with an unknown key.
		if err := os.WriteFile(file, append(policy[:len(policy):len(policy)], "\nsurplus: 1\n"...), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("/bin/manager", "check", file).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "surplus: unknown key") {
			t.Errorf("check of an invalid %s: %v: %s", name, err, out)
		}
	}

	record := filepath.Join(dir, "audit.jsonl")
	cmd := exec.Command("/bin/manager", "run", "--docker.host=unix:///none", "--prometheus.url=http://127.0.0.1:1",
		"--audit.file="+record, "--web.listen-address=127.0.0.1:10121")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	var metrics string
	eventually(t, "first tick of the manager", func() bool {
		out, _ := exec.Command("wget", "-q", "-O", "-", "http://127.0.0.1:10121/metrics").Output()
		metrics = string(out)
		_, ticks, found := strings.Cut(metrics, `estiba_manager_ticks_total{result="docker_error"} `)
		return found && !strings.HasPrefix(ticks, "0\n")
	})
	for _, line := range []string{"estiba_manager_config_last_reload_successful 1", "estiba_manager_audit_append_failures_total 0"} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, metrics)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit on SIGTERM: %v", err)
	}
	if text, err := os.ReadFile(record); err != nil || len(text) != 0 {
		t.Errorf("audit log: %q, %v", text, err)
	}
}
