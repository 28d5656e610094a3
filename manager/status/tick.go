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
}

// RuleState is one rule in one tick.
type RuleState struct {
	Name   string      `json:"name"`
	Query  string      `json:"query"` // as it was sent, host matcher and all
	Mode   policy.Mode `json:"mode"`
	Action string      `json:"action"`
	Error  string      `json:"error,omitempty"` // why its answer was of no use
}
