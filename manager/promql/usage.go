package promql

import (
	"context"
	"math"
	"time"
)

const usageQuery = `{__name__=~"estiba:container_class|estiba:container_cpu_usage:percent|estiba:container_memory_usage:percent"}` +
	` or {__name__="estiba:container_kind", declared="false"} or {__name__="estiba:container_kind_mismatch"}`

// Usage is the usage of one container, for display.
type Usage struct {
	Name          string
	Class         string   // high, low, or "" if unknown
	CPUPercent    *float64 // 100 is one core; nil if unknown
	MemoryPercent *float64 // of host memory; nil if unknown
	// Observed is the kind that the container behaves as, if it declares none or
	// another; else "".
	Observed string
}

// Usage returns class and usage of all containers, by label id.
func (c *Client) Usage(ctx context.Context, at time.Time) (map[string]Usage, error) {
	query, err := c.Parse(usageQuery)
	if err != nil {
		return nil, err
	}
	rows, err := c.Vector(ctx, query, at)
	if err != nil {
		return nil, err
	}
	usage := map[string]Usage{}
	for _, r := range rows {
		id := string(r.Labels["id"])
		u := usage[id]
		if n := string(r.Labels["name"]); n != "" {
			u.Name = n
		}
		var value *float64
		if v := r.Value; !math.IsNaN(v) && !math.IsInf(v, 0) {
			value = &v
		}
		switch r.Labels["__name__"] {
		case "estiba:container_class":
			u.Class = string(r.Labels["class"])
		case "estiba:container_cpu_usage:percent":
			u.CPUPercent = value
		case "estiba:container_memory_usage:percent":
			u.MemoryPercent = value
		case "estiba:container_kind":
			u.Observed = string(r.Labels["kind"])
		case "estiba:container_kind_mismatch":
			u.Observed = string(r.Labels["observed"])
		}
		usage[id] = u
	}
	return usage, nil
}
