package batch

import (
	"fmt"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// StressCommand is the command line that does the item's work with stress(1) 1.0.4, as in
// containerstack/alpine-stress, for at most lifetime.
//
// stress always runs at full speed, so high cpu and io use all of their CPU limit. A low
// load is a shell loop around a stress that wakes up (--backoff, µs) shortly before it
// exits (--timeout).
func (i Item) StressCommand(lifetime time.Duration) []string {
	p := i.Params
	timeout := fmt.Sprintf("%ds", max(1, int64(lifetime/time.Second)))
	size := fmt.Sprint(p.Bytes)
	if i.Level == Low {
		switch p.Kind {
		case container.KindCPU:
			return periodically("--cpu 1 --backoff 995000", lifetime, 30*time.Second)
		case container.KindIO:
			return periodically("--io 1 --backoff 995000", lifetime, 30*time.Second)
		case container.KindDisk:
			return periodically("--hdd 1 --hdd-bytes "+size+" --backoff 985000", lifetime, 60*time.Second)
		}
	}
	switch p.Kind {
	case container.KindCPU:
		return []string{"stress", "--cpu", "1", "--timeout", timeout}
	case container.KindRAM:
		// Held, and touched every ten seconds.
		return []string{"stress", "--vm", "1", "--vm-bytes", size, "--vm-keep", "--vm-hang", "10", "--timeout", timeout}
	case container.KindIO:
		return []string{"stress", "--io", "1", "--timeout", timeout}
	default:
		return []string{"stress", "--hdd", "1", "--hdd-bytes", size, "--timeout", timeout}
	}
}

// periodically runs stress with options for one second every period, until lifetime is
// over. The sleep is in the background, so that the shell handles SIGTERM.
func periodically(options string, lifetime, period time.Duration) []string {
	times := max(1, int64(lifetime/period))
	return []string{"sh", "-c", fmt.Sprintf(
		"trap 'exit 0' TERM; n=%d; while [ $n -gt 0 ]; do stress %s --timeout 1s >/dev/null; sleep %d & wait $!; n=$((n-1)); done",
		times, options, int64(period/time.Second)-1)}
}
