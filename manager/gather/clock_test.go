package gather

import (
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/promql"
)

// The wall clock is set back twice, by 30 s and by 31 s: until it reaches the time of
// the last sample from before, that sample seems fresh.
func TestClockStepTwice(t *testing.T) {
	begin := time.Now()
	at := func(seconds, step int) time.Time {
		return testutil.StepWall(begin.Add(time.Duration(seconds)*time.Second), -time.Duration(step)*time.Second)
	}
	last := promql.Freshness{Fresh: true, At: at(39, 0).Round(0), Sequence: "8"}
	var s clockStep
	for _, one := range []struct {
		now     time.Time
		setBack bool // Prometheus has samples from the future
		stale   bool
	}{
		{at(39, 0), false, false},
		{at(49, 30), true, true},
		{at(59, 61), true, true},
		{at(102, 61), false, true},
		{at(102+int(clockStepTime/time.Second), 61), false, false},
	} {
		f := last
		if f.SetBack = one.setBack; one.setBack {
			f.Floor = 8
		}
		s.look(one.now)
		if s.judge(&f, one.now); f.Fresh == one.stale {
			t.Errorf("%s after the last sample by the wall clock: fresh %t (%s)", one.now.Round(0).Sub(last.At), f.Fresh, f.Why)
		}
	}
}
