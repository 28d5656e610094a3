package load

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cpuPeriod   = 100 * time.Millisecond // the kernel's period for CPU limits
	cpuMinBurst = 2 * time.Millisecond   // shorter bursts would be mostly wake-up cost
)

// runCPU burns its share of a core in bursts: at least cpuMinBurst long, at
// least cpuPeriod apart.
func runCPU(ctx context.Context, p Params, code *codePages) error {
	// The thread's CPU clock measures the burst, so that it is as long on a busy host.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	burst := max(time.Duration(p.Share*float64(cpuPeriod)), cpuMinBurst)
	period := time.Duration(float64(burst) / p.Share)
	x := uint64(88172645463325252)
	return every(ctx, period, code, func() error {
		begin, err := threadTime()
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			for range 20000 {
				x ^= x << 13
				x ^= x >> 7
				x ^= x << 17
			}
			now, err := threadTime()
			if err != nil {
				return err
			}
			if now-begin >= burst {
				return nil
			}
		}
		return nil
	})
}

// threadTime is the CPU time of the calling thread (clock_gettime(2)).
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("reading the thread's CPU clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
