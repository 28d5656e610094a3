package gather

import (
	"math"
	"time"

	"github.com/estiba/estiba/manager/promql"
)

// clockStepTime is how long the sequence from before a clock step is kept after the
// last sample from the future: that is how long a sample lasts.
const clockStepTime = 5 * time.Minute

// clockStep detects that the wall clock was set back: by the monotonic clock, also if
// nothing was scraped since, or by samples from the future in Prometheus, also if the
// manager started since. Samples from before the step look younger than they are.
type clockStep struct {
	last   time.Time
	before time.Time // wall clock of the step: later samples are from after it; zero: unknown
	floor  float64   // the last sequence from before; NaN: unknown
	until  time.Time
	// distrusted is until when schedules are not to be relied on: the clock was set, in
	// either direction.
	distrusted time.Time
}

// stepSlack is the drift of the two clocks between two ticks that is not a step:
// adjtimex(2) slews by at most half a millisecond a second.
const stepSlack = time.Second

// look compares the two clocks, at the beginning of each tick. A step before the first
// call stays unseen.
func (s *clockStep) look(now time.Time) {
	wall := now.Round(0)
	if !s.last.IsZero() {
		behind := now.Sub(s.last) - wall.Sub(s.last.Round(0))
		if behind.Abs() > stepSlack {
			s.distrusted = now.Add(clockStepTime)
		}
		if behind > stepSlack {
			if step := wall.Add(behind); step.After(s.before) { // after two steps the furthest sample counts
				s.before = step
			}
			s.floor, s.until = math.NaN(), now.Add(s.before.Sub(wall)+clockStepTime)
		}
	}
	s.last = now
}

// distrusts reports whether the clock was set a short time ago. After a suspension of
// the host it appears to have been.
func (s *clockStep) distrusts(now time.Time) bool { return now.Before(s.distrusted) }

// ClockWasSet reports whether the wall clock was set between two times of this process.
func ClockWasSet(since, now time.Time) bool {
	return (now.Sub(since) - now.Round(0).Sub(since.Round(0))).Abs() > stepSlack
}

// judge makes a snapshot stale that may be from before the step.
func (s *clockStep) judge(f *promql.Freshness, now time.Time) {
	s.look(now)
	switch ahead := now.Round(0).Add(promql.Ahead); {
	case f.SetBack:
		if math.IsNaN(s.floor) || f.Floor > s.floor {
			s.floor = f.Floor
		}
		s.until = now.Add(clockStepTime)
	case s.before.After(ahead):
		s.before = ahead // at most this far ahead
	}
	if !now.Before(s.until) {
		*s = clockStep{last: s.last, distrusted: s.distrusted}
		return
	}
	if f.SetBack = true; s.before.IsZero() || !f.At.After(s.before) {
		f.After(s.floor)
	}
}
