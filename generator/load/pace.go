package load

import (
	"context"
	"time"
)

// dropPause is the shortest pause for which a load drops its code pages. A load that
// works more often would fault them in again at once.
const dropPause = 2 * time.Second

// every calls step each period until ctx ends or step fails. It does not make up for
// late steps, so a slow disk never causes a burst afterwards.
func every(ctx context.Context, period time.Duration, code *codePages, step func() error) error {
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
		if pause >= dropPause {
			code.drop()
		}
		timer.Reset(pause)
	}
}

// perSecond turns a rate into a period.
func perSecond(rate float64) time.Duration {
	return time.Duration(float64(time.Second) / rate)
}
