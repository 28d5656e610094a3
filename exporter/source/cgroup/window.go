package cgroup

import (
	"context"
	"time"
)

// minWindow is the shortest window of a CPU percentage.
const minWindow = time.Second

// window turns a CPU counter into a percentage over completed windows. The first
// sample at least minWindow after the start completes a window; earlier samples, for
// instance of a second Prometheus, repeat the last completed one. Source.Run takes
// samples between scrapes, so that no window gets long.
type window struct {
	openedAt time.Duration // boot clock
	opened   uint64        // counter then, ns
	length   time.Duration // of the last completed window; 0: none yet
	percent  uint64        // of it, in hundredths
}

// sample takes the counter at the time now. A container younger than its first window
// is measured since its start. ok is false while there is no percentage.
func (w *window) sample(now time.Duration, cpu uint64, started time.Duration) (percent uint64, length time.Duration, ok bool) {
	switch {
	case w.openedAt == 0:
		w.openedAt, w.opened = now, cpu
		if age := now - started; age > 0 && age < minWindow*2 {
			return hundredths(cpu, age), age, true
		}
		return 0, 0, false
	case now-w.openedAt >= minWindow:
		w.length = now - w.openedAt
		w.percent = hundredths(cpu-min(cpu, w.opened), w.length)
		w.openedAt, w.opened = now, cpu
	case w.length == 0:
		if age := now - started; age > 0 && age < minWindow*2 {
			return hundredths(cpu, age), age, true
		}
		return 0, 0, false
	}
	return w.percent, w.length, true
}

// hundredths returns cpu ns per length in hundredths of a percent of one core.
func hundredths(cpu uint64, length time.Duration) uint64 {
	return uint64(float64(cpu)/float64(length)*10000 + 0.5)
}

// WaitWindow waits until the current window can be completed.
func WaitWindow(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(minWindow + minWindow/100):
		return nil
	}
}
