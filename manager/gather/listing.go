package gather

import (
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/policy"
)

// listing is one list of the Engine's.
type listing struct {
	asked time.Time // before it was taken; zero: there was none
	index container.Index
}

func newListing(asked time.Time, list []dockerclient.Container) listing {
	ids := make([]string, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	return listing{asked, container.NewIndex(ids)}
}

// markElsewhere marks the samples of containers that ran while the Engine listed them
// neither now nor at the tick before: they had started well before the earlier list was
// taken, and the snapshot shows them after it. A container that has exited is in no such
// snapshot.
func markElsewhere(answers []policy.Answer, snapshot time.Time, lists []listing) {
	earlier := lists[0].asked
	if earlier.IsZero() || !snapshot.After(earlier) {
		return
	}
	for _, a := range answers {
		if !a.At.IsZero() && !a.At.After(earlier) {
			continue // recorded from an earlier snapshot
		}
		for i := range a.Samples {
			s := &a.Samples[i]
			if s.Start.IsZero() || s.Start.After(earlier.Add(-policy.StartTolerance)) {
				continue
			}
			s.Measured.Elsewhere = true
			for _, l := range lists {
				if _, listed := l.index.Find(s.ID); listed {
					s.Measured.Elsewhere = false
				}
			}
		}
	}
}
