package status

import (
	"math"
	"sort"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

// Decisions is the response of /api/v1/decisions and the output of `manager plan
// --output=json`: the last tick.
type Decisions struct {
	Tick          uint64            `json:"tick"` // ticks since the start; 0 before the first
	Time          time.Time         `json:"time"`
	Result        gather.TickResult `json:"result"`
	Error         string            `json:"error,omitempty"`
	DryRun        bool              `json:"dry_run"`
	DataAge       *float64          `json:"data_age_seconds"` // null if unknown
	BudgetLeft    int               `json:"kill_budget_remaining"`
	Rules         []RuleState       `json:"rules"`
	Containers    []Row             `json:"containers"`
	KillsPlanned  int               `json:"kills_planned"`
	InScope       int               `json:"in_scope"`
	NotContainers int               `json:"candidates_gone"` // candidates that do not run
}

// Row is one container and its decision.
type Row struct {
	ID        string              `json:"id"` // 64 hex digits; of a foreign container the label id
	ShortID   string              `json:"short_id"`
	Name      string              `json:"name"`
	Image     string              `json:"image"`
	Kind      string              `json:"kind"`
	Runtime   string              `json:"runtime,omitempty"` // of a container that the Engine does not run alone, if known
	Observed  string              `json:"observed_kind"`     // what it behaves as, if it declares no kind or another; "" if idle or unknown
	State     string              `json:"state"`             // running, transitional, dying; foreign: not on the Engine's list
	InScope   bool                `json:"in_scope"`
	Protected []policy.Protection `json:"protected"`
	Class     string              `json:"class"` // high, low or ""
	CPU       *float64            `json:"cpu_percent"`
	Memory    *float64            `json:"memory_percent"`
	Decision  policy.Choice       `json:"decision"`
	Reason    policy.Reason       `json:"reason"`
	Rule      string              `json:"rule"` // the deciding rule; "" if the container is no candidate
	Value     *float64            `json:"value"`
	Distance  *float64            `json:"distance"`               // see ByRule; null without a threshold
	Rank      int                 `json:"rank,omitempty"`         // 1 is killed first
	Wait      float64             `json:"wait_seconds,omitempty"` // remaining for, announce or cooldown of the rule
	Detail    string              `json:"detail,omitempty"`       // of the reason, see policy.Decision
	ByRule    []ByRule            `json:"by_rule"`
}

// ByRule is one rule's decision about a container.
type ByRule struct {
	Rule     string        `json:"rule"`
	Decision policy.Choice `json:"decision"`
	Reason   policy.Reason `json:"reason"`
	Value    float64       `json:"value"`
	// Distance is the value minus the threshold. The threshold of a rule that compares
	// with a number is that number, if it was queried (manager plan); else it is the
	// lowest value that the rule kills in this tick, or null if there is no kill.
	Distance *float64 `json:"distance"`
	Rank     int      `json:"rank"`
	Wait     float64  `json:"wait_seconds,omitempty"`
	Detail   string   `json:"detail,omitempty"`
}

// Describe describes a tick. Containers are sorted: planned kills first, then
// candidates by rank, then the rest by name.
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
		rows[c.ID] = t.row(c)
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
		if !ok && one.Reason == policy.ForeignRuntime {
			r, ok = t.row(one.Container), true
			r.State = stateForeign
			rows[one.Container.ID] = r
		}
		if !ok {
			if one.Container.ID != "" {
				d.NotContainers++
			}
			continue
		}
		var distance *float64
		if l, compared := t.Thresholds[one.Rule]; compared {
			d := finite(one.Value - l.Value)
			distance = &d
		} else if lowest, known := line[one.Rule]; known {
			d := finite(one.Value - lowest)
			distance = &d
		}
		r.ByRule = append(r.ByRule, ByRule{one.Rule, one.Choice, one.Reason, finite(one.Value), distance, one.Rank, one.Wait.Seconds(), one.Detail})
		// The first rule decides, unless a later one kills.
		if r.Rule == "" || (one.Choice == policy.Kill && r.Decision != policy.Kill) {
			value := finite(one.Value)
			r.Rule, r.Decision, r.Reason, r.Value, r.Distance, r.Rank, r.Wait = one.Rule, one.Choice, one.Reason, &value, distance, one.Rank, one.Wait.Seconds()
			r.Detail = one.Detail
		}
	}
	// Containers that are no candidates have a distance as well.
	for _, rule := range t.Rules {
		l, compared := t.Thresholds[rule.Name]
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

// stateForeign is the state of a candidate that runs, but not on the Engine.
const stateForeign = "foreign"

// row describes a container without its decision.
func (t Tick) row(c policy.Container) *Row {
	r := &Row{
		ID: c.ID, ShortID: container.ShortID(c.ID), Name: c.Name, Image: c.Image, Kind: string(c.Kind),
		Runtime: c.Runtime, State: stateName(c.State), InScope: c.InScope, Protected: c.Protected,
		Decision: policy.Spare, Reason: policy.NotSelected, ByRule: []ByRule{},
	}
	if r.Protected == nil {
		r.Protected = []policy.Protection{}
	}
	u := t.Usage[r.ShortID]
	r.Class, r.CPU, r.Memory, r.Observed = u.Class, finiteOrNone(u.CPUPercent), finiteOrNone(u.MemoryPercent), u.Observed
	return r
}

// finite replaces values that JSON cannot represent by 0; their reason is no_data.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// finiteOrNone is v, or nil for values that JSON cannot represent.
func finiteOrNone(v *float64) *float64 {
	if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
		return nil
	}
	return v
}

// Loud reports whether the row is being killed or about to be.
func (r Row) Loud() bool {
	return r.Decision == policy.Kill || r.Announced() || r.State == "dying"
}

// Announced reports whether the kill of the container is announced.
func (r Row) Announced() bool { return r.Reason == policy.Announced }

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
