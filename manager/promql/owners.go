package promql

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// sharedQuery returns the label ids that more than one container had within a range. A
// container of one runtime may take over the id of one of another's that has ended.
const sharedQuery = `count by (id) (group by (id, container_id) (count_over_time(estiba_container_info{container_id!=""}[%s]))) > 1`

// shared returns the label ids that are ambiguous in each result: part of a value may be
// another container's.
func (c *Client) shared(ctx context.Context, results []Result, rows [][]Row, at time.Time) ([]map[string]bool, error) {
	asked := map[time.Duration]map[string]bool{}
	shared := make([]map[string]bool, len(results))
	for i := range results {
		window := min(results[i].lookBack, maxReach)
		if window == 0 || results[i].Err != nil || len(rows[i]) == 0 {
			continue
		}
		if asked[window] == nil {
			found, err := c.ask(ctx, fmt.Sprintf(sharedQuery, model.Duration(window)), at)
			if err != nil {
				return shared, fmt.Errorf("containers with the same id label: %w", err)
			}
			asked[window] = make(map[string]bool, len(found))
			for _, r := range found {
				asked[window][string(r.Labels["id"])] = true
			}
		}
		shared[i] = asked[window]
	}
	return shared, nil
}
