package enforce

import (
	"context"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
)

// Complete is the outcome of an interrupted kill: unknown, since that run may or may
// not have killed, with the current state of the container. An error means that the
// Engine did not answer.
func Complete(ctx context.Context, reader Reader, rec audit.Record, now time.Time) (audit.Record, error) {
	rec.Phase, rec.Time, rec.Outcome = audit.Done, now.UTC(), audit.OutcomeUnknown
	if rec.Mode != policy.Live {
		rec.Outcome = audit.OutcomeDryRun
		return rec, nil
	}
	found, err := find(ctx, reader, rec)
	if err != nil {
		return audit.Record{}, err
	}
	rec.Found, rec.Acted = found, true // as far as known
	return rec, nil
}

func find(ctx context.Context, reader Reader, rec audit.Record) (audit.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := reader.Inspect(ctx, rec.Container)
	switch {
	case dockerclient.IsNotFound(err):
		return audit.FoundGone, nil
	case err != nil:
		return "", err
	case c.ID != rec.Container:
		return audit.FoundGone, nil // another container is named like its id
	case !c.StartedAt.Equal(rec.StartedAt):
		return audit.FoundRestarted, nil
	case c.State == dockerclient.StatePaused:
		return audit.FoundPaused, nil
	case c.State == dockerclient.StateRunning || c.State == dockerclient.StateRestarting:
		return audit.FoundRunning, nil
	}
	return audit.FoundGone, nil
}
