package batch

import (
	"fmt"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// StressCommand is the command line that does the item's work with the
// program stress (stress(1), version 1.0.4) as containerstack/alpine-stress
// has it, for at most lifetime.
//
// stress burns what it gets, so high cpu and io are as heavy as their CPU
// limit. A low load is a loop of the shell around a stress that wakes up
// (--backoff, µs) shortly before its own end (--timeout): stress itself knows
// no smaller work.
func (i Item) StressCommand(lifetime time.Duration) []string {
	p := i.Params
	timeout := fmt.Sprintf("%ds", max(1, int64(lifetime/time.Second)))
	size := fmt.Sprint(p.Bytes)
	if i.Level == Low {
		switch p.Kind {
		case container.KindCPU:
			return nowAndThen("--cpu 1 --backoff 995000", lifetime, 30*time.Second)
		case container.KindIO:
			return nowAndThen("--io 1 --backoff 995000", lifetime, 30*time.Second)
		case container.KindDisk:
			return nowAndThen("--hdd 1 --hdd-bytes "+size+" --backoff 985000", lifetime, 60*time.Second)
		}
	}
	switch p.Kind {
	case container.KindCPU:
		return []string{"stress", "--cpu", "1", "--timeout", timeout}
	case container.KindRAM:
		// Held, and touched again each ten seconds.
		return []string{"stress", "--vm", "1", "--vm-bytes", size, "--vm-keep", "--vm-hang", "10", "--timeout", timeout}
	case container.KindIO:
		return []string{"stress", "--io", "1", "--timeout", timeout}
	default:
		return []string{"stress", "--hdd", "1", "--hdd-bytes", size, "--timeout", timeout}
	}
}

// nowAndThen runs stress with options for its last moments of one second,
// every period, until lifetime is over. The shell waits in the background, so
// that it can hear SIGTERM.
func nowAndThen(options string, lifetime, period time.Duration) []string {
	times := max(1, int64(lifetime/period))
	return []string{"sh", "-c", fmt.Sprintf(
		"trap 'exit 0' TERM; n=%d; while [ $n -gt 0 ]; do stress %s --timeout 1s >/dev/null; sleep %d & wait $!; n=$((n-1)); done",
		times, options, int64(period/time.Second)-1)}
}
