package promql

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// windowSlack is the part of a query's range that may be missing at its old
// end: samples fall where the scrape falls, so the oldest one inside a range
// is up to one scrape interval younger than the range.
const windowSlack = 0.25

// history is how much of a range each container has been seen in. The zero
// value is that of a query without a range: nothing has to be filled.
type history struct {
	asked bool
	err   error
	full  bool           // the exporter's own series fills the range
	most  int            // samples of the exporter in the range
	count map[string]int // samples of the container in the range, by label id
}

// filled tells whether the container has been there for the whole range, and
// Prometheus too. A young container and a Prometheus that has just been
// restarted have averages over less than what the rule asks for.
func (h history) filled(id string) bool {
	if !h.asked {
		return true
	}
	return h.full && float64(h.count[id]) >= (1-windowSlack)*float64(h.most)
}

// historyQueries ask how often the exporter and each container were seen
// within reach, and when the first of these samples was.
func (c *Client) historyQueries(reach time.Duration) (own, counts Expr, err error) {
	span := model.Duration(reach).String()
	if own, err = c.Parse(`min_over_time(estiba_snapshot_timestamp_seconds[` + span + `])`); err != nil {
		return own, counts, err
	}
	counts, err = c.Parse(`count_over_time({__name__=~"estiba_container_start_time_seconds|estiba_snapshot_timestamp_seconds"}[` + span + `])`)
	return own, counts, err
}

func (c *Client) history(ctx context.Context, reach time.Duration, at time.Time) history {
	own, counts, err := c.historyQueries(reach)
	if err != nil {
		return history{err: err}
	}
	first, err := c.Vector(ctx, own, at)
	if err != nil {
		return history{err: fmt.Errorf("history: %w", err)}
	}
	rows, err := c.Vector(ctx, counts, at)
	if err != nil {
		return history{err: fmt.Errorf("history: %w", err)}
	}
	return historyOf(first, rows, reach, at)
}

func historyOf(first, counts []Row, reach time.Duration, at time.Time) history {
	if len(first) != 1 {
		return history{err: fmt.Errorf("%w: history of %d exporters, want one", ErrUnusable, len(first))}
	}
	h := history{asked: true, count: make(map[string]int, len(counts))}
	h.full = at.Sub(unix(first[0].Value)) >= time.Duration((1-windowSlack)*float64(reach))
	for _, r := range counts {
		if id := string(r.Labels["id"]); id != "" {
			h.count[id] += int(r.Value)
		} else {
			h.most = max(h.most, int(r.Value))
		}
	}
	return h
}
