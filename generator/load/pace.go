package load

import (
	"context"
	"time"
)

// quietPause is the pause from which on a load gives its code pages back: a
// load that works more often would only fault them in again.
const quietPause = 2 * time.Second

// every calls step each period until ctx ends or step fails. A step that
// comes late is not made up for: a slow disk makes a load slower, never a
// burst afterwards.
func every(ctx context.Context, period time.Duration, q *quiet, step func() error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := step(); err != nil {
			return err
		}
		next = next.Add(period)
		now := time.Now()
		if next.Before(now) {
			next = now
		}
		pause := next.Sub(now)
		if pause >= quietPause {
			q.giveBack()
		}
		timer.Reset(pause)
	}
}

// perSecond turns a rate into a period.
func perSecond(rate float64) time.Duration {
	return time.Duration(float64(time.Second) / rate)
}
