package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/promql"
)

// findLabels looks for the labels of keep rules in the history, and returns those that
// no container has. The exporter publishes only the labels it is configured to: without
// this, each container would count as one without the label.
func (r *Replayer) findLabels(ctx context.Context, m promql.Moments) (unknown []string, err error) {
	r.published = map[string]bool{}
	if r.AllLabels {
		return nil, nil
	}
	asked := map[string]bool{}
	last := m.At(m.N - 1)
	for _, k := range r.policy.Config.Keep {
		if k.By != config.KeepByLabel || asked[k.Label] {
			continue
		}
		asked[k.Label] = true
		length := model.Duration(last.Sub(m.Start) + time.Minute)
		query, err := r.client.Parse(fmt.Sprintf(`count(last_over_time(estiba_container_info{%s!=""}[%s]))`, promql.LabelName(k.Label), length))
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", k.Label, err)
		}
		rows, err := r.client.Vector(ctx, query, last)
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", k.Label, err)
		}
		if r.published[k.Label] = len(rows) > 0; len(rows) == 0 {
			unknown = append(unknown, k.Label)
		}
	}
	return unknown, nil
}
