package promql

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

const snapshotName = "estiba_snapshot_timestamp_seconds"

const freshQuery = `{__name__=~"estiba_snapshot_timestamp_seconds|estiba_snapshot_sequence|estiba_scrape_success"}`

// maxAhead is how far a snapshot may be in the future: exporter and manager share a
// host, so it can only be rounding or a clock step.
const maxAhead = 2 * time.Second

// Freshness is the state of the measurements.
type Freshness struct {
	Fresh    bool
	Why      string // why it is not fresh
	At       time.Time
	Age      time.Duration
	Sequence string
	Known    bool   // At and Age are valid
	Exporter Target // the target with the snapshot
	// SetBack: Prometheus has samples from the future, so the wall clock was set back.
	// Until it catches up, samples from before appear as new.
	SetBack bool
	Floor   float64 // with SetBack: the highest sequence from before
}

// Fresh returns the time of the exporter's last snapshot and whether it is good. An
// error means that Prometheus failed; no snapshot, several, one that is not a number or
// too old is not an error but not fresh.
func (c *Client) Fresh(ctx context.Context, now time.Time, maxAge time.Duration) (Freshness, error) {
	query, err := c.Parse(freshQuery)
	if err != nil {
		return Freshness{}, err
	}
	rows, err := c.Vector(ctx, query, now)
	if err != nil {
		return Freshness{}, fmt.Errorf("freshness: %w", err)
	}
	f := freshOf(rows, now, maxAge)
	ahead, err := c.ask(ctx, aheadQuery, now)
	if err != nil {
		return Freshness{}, fmt.Errorf("freshness: samples from the future: %w", err)
	}
	for _, r := range ahead {
		f.SetBack, f.Floor = true, r.Value
		f.After(r.Value)
	}
	return f, nil
}

// After makes a snapshot stale unless its sequence is higher than floor.
func (f *Freshness) After(floor float64) {
	if sequence, err := strconv.ParseFloat(f.Sequence, 64); f.Fresh && (err != nil || !(sequence > floor)) {
		f.Fresh, f.Why = false, "clock was set back after the snapshot"
	}
}

// Ahead is how far in the future a sample has to be to prove that the wall clock was
// set back: longer than a query takes.
const Ahead = 5 * time.Second

// aheadQuery returns the sequence of the last snapshot that is between Ahead and a day
// in the future. It was scraped before the wall clock was set back, and so were all
// snapshots up to it.
var aheadQuery = fmt.Sprintf(`max(max_over_time(estiba_snapshot_sequence[1d] offset -%ds))`, int((24*time.Hour + Ahead).Seconds()))

// freshOf evaluates the samples of freshQuery.
func freshOf(rows []Row, now time.Time, maxAge time.Duration) Freshness {
	var f Freshness
	seen := map[string]float64{}
	for _, r := range rows {
		name := string(r.Labels["__name__"])
		if _, twice := seen[name]; twice {
			f.Why = "several exporters found: choose one with --host"
			f.Exporter = Target{}
			return f
		}
		if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
			f.Why = name + " is not a finite number"
			return f
		}
		seen[name] = r.Value
		if name == snapshotName {
			f.Exporter = Target{Known: true, Job: string(r.Labels["job"]), Instance: string(r.Labels["instance"])}
		}
	}
	stamp, ok := seen[snapshotName]
	if !ok {
		f.Why = "no exporter snapshot in Prometheus"
		return f
	}
	f.At, f.Known = unix(stamp), true
	f.Age = now.Sub(f.At)
	sequence, hasSequence := seen["estiba_snapshot_sequence"]
	success, hasSuccess := seen["estiba_scrape_success"]
	switch {
	case !hasSequence || !hasSuccess:
		f.Why = "no result of the exporter's last scrape in Prometheus"
	case success != 1:
		f.Why = "last scrape of the exporter failed"
	case f.Age > maxAge:
		f.Why = fmt.Sprintf("snapshot is %s old", f.Age.Round(100*time.Millisecond))
	case f.Age < -maxAhead:
		f.Why = fmt.Sprintf("snapshot is %s in the future", (-f.Age).Round(100*time.Millisecond))
	default:
		f.Fresh = true
		f.Sequence = strconv.FormatFloat(sequence, 'f', -1, 64)
	}
	return f
}

// unix converts seconds since the epoch, to the microsecond: a float64 has no more
// precision at this magnitude.
func unix(seconds float64) time.Time {
	return time.UnixMicro(int64(math.Round(seconds * 1e6)))
}
