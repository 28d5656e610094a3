package runtimes

import (
	"fmt"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// TestRuntimes runs containers of all runtimes at once and checks what the cgroup source
// and the exporter see of them. The test machine does the same with the kernel module.
func TestRuntimes(t *testing.T) {
	testutil.Require(t, Tools...)
	if testutil.Alone(t) {
		return
	}
	began := time.Now()
	say := func(format string, args ...any) {
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	engine := testutil.StartEngine(t)
	host := Start(t, Options{Program: testutil.Build(t, "./generator"), Docker: engine.Client(t), Patience: time.Minute, Say: say})
	w := host.Populate(t)
	files, err := cgroup.New(cgroup.Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: cgroupRoot})
	if err != nil {
		t.Fatal(err)
	}
	w.CheckSource(t, files)
	say("the source is right")
	address := testutil.FreeAddress(t)
	testutil.StartProcess(t, "exporter", append([]string{
		testutil.Build(t, "./exporter"), "--web.listen-address=" + address, "--source=cgroup", "--docker.host=" + engine.Host,
	}, w.Flags()...)...)
	(&stack.Stack{Patience: host.Patience}).Ready(t, address)
	w.CheckMetrics(t, address)
	say("the exporter is right")
	w.CheckEnds(t, address)
	say("ends and restarts are right")
	w.CheckSource(t, files)
}
