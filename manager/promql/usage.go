package promql

import (
	"context"
	"time"
)

const usageQuery = `{__name__=~"estiba:container_class|estiba:container_cpu_usage:percent|estiba:container_memory_usage:percent"}`

// Usage is what one container uses, for people to read.
type Usage struct {
	Name          string
	Class         string   // high, low, or "" when not known
	CPUPercent    *float64 // 100 is one core; nil when not known
	MemoryPercent *float64 // of the host's memory; nil when not known
}

// Usage asks for class and use of all containers, by the label id.
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
		value := r.Value
		switch r.Labels["__name__"] {
		case "estiba:container_class":
			u.Class = string(r.Labels["class"])
		case "estiba:container_cpu_usage:percent":
			u.CPUPercent = &value
		case "estiba:container_memory_usage:percent":
			u.MemoryPercent = &value
		}
		usage[id] = u
	}
	return usage, nil
}
