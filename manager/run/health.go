package run

import (
	"fmt"
	"sync/atomic"
	"time"
)

// heartbeat is the end of the last tick.
type heartbeat struct{ at atomic.Pointer[time.Time] }

func (l *heartbeat) sign(at time.Time) { l.at.Store(&at) }

// A tick waits a few seconds each for the Engine and for Prometheus. One that takes
// longer than all of these together hangs.
const (
	hangs         = 2 * time.Minute
	hangsInterval = 5 // intervals, if that is longer
)

// healthy returns an error if the loop hangs.
func (a *App) healthy() error {
	since := a.o.Now().Sub(*a.life.at.Load())
	if limit := max(hangs, hangsInterval*a.policy.Load().Config.Interval); since > limit {
		return fmt.Errorf("last tick ended %s ago", since.Round(time.Second))
	}
	return nil
}
