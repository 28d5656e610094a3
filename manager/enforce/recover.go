package enforce

import (
	"context"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
)

// Recover completes the intents that an earlier run left without outcome. It
// cannot know whether that run acted, and says so: unknown, with what is found
// of the container now. An error means that the Engine could not be asked or
// the record not be written; what was completed before stays completed.
func Recover(ctx context.Context, reader Reader, record Record, unfinished []audit.Record, now time.Time) ([]audit.Record, error) {
	var completed []audit.Record
	for _, rec := range unfinished {
		rec.Phase, rec.Time, rec.Outcome = audit.Done, now.UTC(), audit.OutcomeUnknown
		if rec.Mode != policy.Live {
			rec.Outcome = audit.OutcomeDryRun
		} else {
			found, err := find(ctx, reader, rec)
			if err != nil {
				return completed, err
			}
			rec.Found = found
		}
		if err := record.Outcome(rec); err != nil {
			return completed, err
		}
		completed = append(completed, rec)
	}
	return completed, nil
}

func find(ctx context.Context, reader Reader, rec audit.Record) (audit.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	c, err := reader.Inspect(ctx, rec.Container)
	switch {
	case dockerclient.IsNotFound(err):
		return audit.FoundGone, nil
	case err != nil:
		return "", err
	case !c.StartedAt.Equal(rec.StartedAt):
		return audit.FoundRestarted, nil
	case c.State == dockerclient.StatePaused:
		return audit.FoundPaused, nil
	case c.State == dockerclient.StateRunning || c.State == dockerclient.StateRestarting:
		return audit.FoundRunning, nil
	}
	return audit.FoundGone, nil
}
