package status

import (
	"sort"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/policy"
)

// Decisions is the document of /api/v1/decisions, and of `manager plan
// --output=json`: the last tick in full.
type Decisions struct {
	Tick          uint64      `json:"tick"` // counts ticks since the start; 0 before the first
	Time          time.Time   `json:"time"`
	Result        TickResult  `json:"result"`
	Error         string      `json:"error,omitempty"`
	DryRun        bool        `json:"dry_run"`
	DataAge       *float64    `json:"data_age_seconds"` // null when not known
	BudgetLeft    int         `json:"kill_budget_remaining"`
	Rules         []RuleState `json:"rules"`
	Containers    []Row       `json:"containers"`
	KillsPlanned  int         `json:"kills_planned"`
	InScope       int         `json:"in_scope"`
	NotContainers int         `json:"candidates_gone"` // rows of an answer whose container does not run
}

// Row is one container and what was decided about it.
type Row struct {
	ID        string         `json:"id"` // 64 hex digits
	ShortID   string         `json:"short_id"`
	Name      string         `json:"name"`
	Image     string         `json:"image"`
	Kind      string         `json:"kind"`
	State     string         `json:"state"` // running, transitional, dying
	InScope   bool           `json:"in_scope"`
	Protected []policy.Why   `json:"protected"`
	Class     string         `json:"class"` // high, low or ""
	CPU       *float64       `json:"cpu_percent"`
	Memory    *float64       `json:"memory_percent"`
	Decision  policy.Verdict `json:"decision"`
	Reason    policy.Reason  `json:"reason"`
	Rule      string         `json:"rule"` // whose decision this is; "" when no rule names it
	Value     *float64       `json:"value"`
	Distance  *float64       `json:"distance"`               // see ByRule; null without a line
	Rank      int            `json:"rank,omitempty"`         // 1 dies first
	Wait      float64        `json:"wait_seconds,omitempty"` // of the rule's for or cooldown
	ByRule    []ByRule       `json:"by_rule"`
}

// ByRule is one rule's verdict on a container.
type ByRule struct {
	Rule     string         `json:"rule"`
	Decision policy.Verdict `json:"decision"`
	Reason   policy.Reason  `json:"reason"`
	Value    float64        `json:"value"`
	// Distance is how far the value lies from the line. Of a rule that compares
	// with a number the line is that number, where it was asked for (manager
	// plan); else it is the lowest value that the rule kills in this tick, and
	// null when it kills nobody.
	Distance *float64 `json:"distance"`
	Rank     int      `json:"rank"`
	Wait     float64  `json:"wait_seconds,omitempty"`
}

// Describe turns a tick into its document. Containers come with the planned
// kills first, then those that a rule names, by rank, then the rest by name.
func Describe(t Tick, number uint64, dryRun bool) Decisions {
	d := Decisions{
		Tick: number, Time: t.Time.UTC(), Result: t.Result, Error: t.Error, DryRun: dryRun,
		BudgetLeft: t.Plan.BudgetLeft, Rules: t.Rules, KillsPlanned: len(t.Plan.Victims),
	}
	if t.DataKnown {
		age := t.DataAge.Seconds()
		d.DataAge = &age
	}
	rows := make(map[string]*Row, len(t.Containers))
	for _, c := range t.Containers {
		r := &Row{
			ID: c.ID, ShortID: container.ShortID(c.ID), Name: c.Name, Image: c.Image, Kind: string(c.Kind),
			State: stateName(c.State), InScope: c.InScope, Protected: c.Protected,
			Decision: policy.Spare, Reason: policy.NotSelected, ByRule: []ByRule{},
		}
		if r.Protected == nil {
			r.Protected = []policy.Why{}
		}
		u := t.Usage[r.ShortID]
		r.Class, r.CPU, r.Memory = u.Class, u.CPUPercent, u.MemoryPercent
		rows[c.ID] = r
		if c.InScope {
			d.InScope++
		}
	}
	line := map[string]float64{}
	for _, v := range t.Plan.Victims {
		if lowest, known := line[v.Rule.Name]; !known || v.Value < lowest {
			line[v.Rule.Name] = v.Value
		}
	}
	for _, one := range t.Plan.Decisions {
		if one.Rule == "" {
			continue
		}
		r, ok := rows[one.Container.ID]
		if !ok {
			if one.Container.ID != "" {
				d.NotContainers++
			}
			continue
		}
		var distance *float64
		if l, compared := t.Lines[one.Rule]; compared {
			d := finite(one.Value - l.Value)
			distance = &d
		} else if lowest, known := line[one.Rule]; known {
			d := finite(one.Value - lowest)
			distance = &d
		}
		r.ByRule = append(r.ByRule, ByRule{one.Rule, one.Verdict, one.Reason, finite(one.Value), distance, one.Rank, one.Wait.Seconds()})
		// The first rule's word stands, unless a later one kills.
		if r.Rule == "" || (one.Verdict == policy.Kill && r.Decision != policy.Kill) {
			value := finite(one.Value)
			r.Rule, r.Decision, r.Reason, r.Value, r.Distance, r.Rank, r.Wait = one.Rule, one.Verdict, one.Reason, &value, distance, one.Rank, one.Wait.Seconds()
		}
	}
	// What no rule wants has a place beside the line all the same.
	for _, rule := range t.Rules {
		l, compared := t.Lines[rule.Name]
		if !compared {
			continue
		}
		for _, r := range rows {
			if v, known := l.Values[r.ShortID]; known && r.Rule == "" && r.Value == nil {
				value, distance := finite(v), finite(v-l.Value)
				r.Value, r.Distance = &value, &distance
			}
		}
	}
	d.Containers = make([]Row, 0, len(rows))
	for _, r := range rows {
		d.Containers = append(d.Containers, *r)
	}
	sort.Slice(d.Containers, func(i, j int) bool {
		a, b := d.Containers[i], d.Containers[j]
		if x, y := a.order(), b.order(); x != y {
			return x < y
		}
		if a.Rank != b.Rank {
			return a.Rank < b.Rank
		}
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		return a.ID < b.ID
	})
	return d
}

// finite replaces what JSON cannot say by 0; the reason no_data tells of it.
func finite(v float64) float64 {
	if v != v || v-v != 0 {
		return 0
	}
	return v
}

func (r Row) order() int {
	switch {
	case r.Decision == policy.Kill:
		return 0
	case r.Rule != "":
		return 1
	case r.InScope:
		return 2
	}
	return 3
}
