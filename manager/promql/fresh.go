package promql

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

const freshQuery = `{__name__=~"estiba_snapshot_timestamp_seconds|estiba_snapshot_sequence|estiba_scrape_success"}`

// maxAhead is how far a snapshot may lie in the future: exporter and manager
// share a host, so only rounding and a clock step can do that.
const maxAhead = 2 * time.Second

// Freshness is how good the measurements are.
type Freshness struct {
	Fresh    bool
	Why      string // in words, when not fresh
	At       time.Time
	Age      time.Duration
	Sequence string
	Known    bool // At and Age mean something
}

// Fresh asks when the exporter's last snapshot was taken and whether it was a
// good one. An error means that Prometheus failed; an answer that is empty,
// not one exporter's, no number or too old is not an error but not fresh.
func (c *Client) Fresh(ctx context.Context, now time.Time, maxAge time.Duration) (Freshness, error) {
	query, err := c.Parse(freshQuery)
	if err != nil {
		return Freshness{}, err
	}
	rows, err := c.Vector(ctx, query, now)
	if err != nil {
		return Freshness{}, fmt.Errorf("freshness: %w", err)
	}
	return freshOf(rows, now, maxAge), nil
}

// freshOf judges the rows of freshQuery.
func freshOf(rows []Row, now time.Time, maxAge time.Duration) Freshness {
	var f Freshness
	seen := map[string]float64{}
	for _, r := range rows {
		name := string(r.Labels["__name__"])
		if _, twice := seen[name]; twice {
			f.Why = "several exporters answer: name one with --host"
			return f
		}
		if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
			f.Why = name + " is not a number"
			return f
		}
		seen[name] = r.Value
	}
	stamp, ok := seen["estiba_snapshot_timestamp_seconds"]
	if !ok {
		f.Why = "Prometheus has no snapshot of the exporter"
		return f
	}
	f.At, f.Known = unix(stamp), true
	f.Age = now.Sub(f.At)
	sequence, hasSequence := seen["estiba_snapshot_sequence"]
	success, hasSuccess := seen["estiba_scrape_success"]
	switch {
	case !hasSequence || !hasSuccess:
		f.Why = "the exporter does not say whether its scrape succeeded"
	case success != 1:
		f.Why = "the exporter's last scrape failed"
	case f.Age > maxAge:
		f.Why = fmt.Sprintf("the snapshot is %s old", f.Age.Round(100*time.Millisecond))
	case f.Age < -maxAhead:
		f.Why = fmt.Sprintf("the snapshot is %s in the future", (-f.Age).Round(100*time.Millisecond))
	default:
		f.Fresh = true
		f.Sequence = strconv.FormatFloat(sequence, 'f', -1, 64)
	}
	return f
}

// unix turns seconds since the epoch into a time, to the microsecond: a
// float64 holds no more at this magnitude.
func unix(seconds float64) time.Time {
	return time.UnixMicro(int64(math.Round(seconds * 1e6)))
}
