// Package status shows what the manager does: metrics, JSON and a page.
package status

import (
	"time"

	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// Tick is one finished tick, for showing.
type Tick struct {
	Time     time.Time
	Duration time.Duration // to the decision, without the acts
	Result   TickResult
	Error    string // in words, when not ok

	DataKnown bool
	DataAge   time.Duration

	Listed     bool // Containers is what the Engine said
	Containers []policy.Container
	Decided    bool // Plan holds
	Plan       policy.Plan
	Rules      []RuleState
	Usage      map[string]promql.Usage // by the label id; for showing only
	// Lines are the thresholds of rules that have one, where somebody has asked
	// for what lies on both sides of them.
	Lines map[string]Line
}

// Line is a rule's threshold and what is compared with it.
type Line struct {
	Value  float64
	Values map[string]float64 // by the label id
}

// RuleState is one rule in one tick.
type RuleState struct {
	Name   string      `json:"name"`
	Query  string      `json:"query"` // as it was sent, host matcher and all
	Mode   policy.Mode `json:"mode"`
	Action string      `json:"action"`
	Error  string      `json:"error,omitempty"` // why its answer was of no use
	// VetoError is why nobody knows whether somebody objects to the rule's kills.
	VetoError string      `json:"veto_error,omitempty"`
	Relief    ReliefState `json:"relief"`
}

// ReliefState is what is known of the effect of a rule's kills.
type ReliefState struct {
	By         string     `json:"by"`                   // count, sum or query
	Query      string     `json:"query,omitempty"`      // of the pressure, with by query
	Pressure   *float64   `json:"pressure,omitempty"`   // what it says now
	Ratio      *float64   `json:"ratio"`                // of the last measurement; null before the first
	Unrelieved int        `json:"kills_without_relief"` // in a row
	StopAfter  int        `json:"stop_after"`           // 0 never
	Stopped    bool       `json:"stopped"`
	ResumesAt  *time.Time `json:"resumes_at,omitempty"` // when a stopped rule may try once more
	Error      string     `json:"error,omitempty"`      // why the pressure is not known
}
