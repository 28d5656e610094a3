// Package status publishes what the manager does: metrics, JSON and a page.
package status

import (
	"cmp"
	"time"

	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// Tick is one finished tick.
type Tick struct {
	Time     time.Time
	Duration time.Duration // to the decision, without the kills
	Result   gather.TickResult
	Error    string // if Result is not ok

	DataKnown bool
	DataAge   time.Duration

	Decided    bool // Containers, Plan and Rules are valid
	Containers []policy.Container
	Plan       policy.Plan
	Rules      []RuleState
	Usage      map[string]promql.Usage // by label id; display only
	// Thresholds are the thresholds of rules, if they were queried.
	Thresholds map[string]Threshold
}

// Threshold is a rule's threshold and the values that it is compared with.
type Threshold struct {
	Value  float64
	Values map[string]float64 // by the label id
}

// RuleState is one rule in one tick.
type RuleState struct {
	Name   string      `json:"name"`
	Query  string      `json:"query"` // as sent, with the host matcher
	Mode   policy.Mode `json:"mode"`
	Action string      `json:"action"`
	Error  string      `json:"error,omitempty"` // why the query result was unusable
	// VetoError is why the vetoes are unknown.
	VetoError string         `json:"veto_error,omitempty"`
	Relief    ReliefState    `json:"relief"`
	Schedule  *ScheduleState `json:"schedule,omitempty"` // nil without a schedule
	// MaxPerHour is the rule's kills in each hour, by its own limit or that of all rules;
	// 0 is no limit.
	MaxPerHour int `json:"max_kills_per_hour,omitempty"`
}

// ScheduleState is the state of a rule's schedule.
type ScheduleState struct {
	TimeZone string     `json:"time_zone"`
	Open     bool       `json:"open"`
	OpensAt  *time.Time `json:"opens_at,omitempty"`  // in the time zone; nil if it is open or unknown
	ClockSet bool       `json:"clock_set,omitempty"` // a short time ago, so the rule kills nothing
}

// Text describes the schedule; "" if the rule may kill.
func (s *ScheduleState) Text() string {
	switch {
	case s == nil:
		return ""
	case s.ClockSet:
		return "the clock was set a short time ago"
	case s.Open:
		return ""
	case s.OpensAt == nil:
		return "outside its schedule"
	}
	return "outside its schedule until " + s.OpensAt.Format(policy.ScheduleTime) + " (" + s.TimeZone + ")"
}

// ReliefState is the state of a rule's relief.
type ReliefState struct {
	By          string     `json:"by"`                   // count, sum or query
	Query       string     `json:"query,omitempty"`      // the relief query, with by query
	ReliefValue *float64   `json:"pressure,omitempty"`   // its current result
	Ratio       *float64   `json:"ratio"`                // of the last measurement; null before the first
	Unrelieved  int        `json:"kills_without_relief"` // consecutive
	StopAfter   int        `json:"stop_after"`           // 0 is never
	Stopped     bool       `json:"stopped"`
	ResumesAt   *time.Time `json:"resumes_at,omitempty"` // time of the retry of a stopped rule
	Error       string     `json:"error,omitempty"`      // why the relief value is unknown
}

// NewTick describes a decision. The caller adds Usage and Thresholds.
func NewTick(p *gather.Policy, d gather.Decision) Tick {
	t := Tick{
		Time: d.Time, Duration: d.Duration, Result: d.Result, Error: text(d.Err), DataKnown: d.Data.Known, DataAge: d.Data.Age,
		Containers: d.World.Containers, Decided: d.Decided, Plan: d.Plan,
	}
	if !d.Decided {
		return t
	}
	memory := d.World.Memory.At(d.World.Now)
	memory.Measured(d.Plan.Measured, d.World.Rules, d.World.Now)
	for i, r := range p.Rules {
		about := d.Rules[i]
		t.Rules = append(t.Rules, RuleState{
			Name: r.Config.Name, Query: r.Queries.Query.String(), Action: string(r.Config.Action), Mode: r.Policy.Mode,
			Error: text(about.Err), VetoError: text(about.VetoErr), Schedule: scheduleState(r, d.World),
			MaxPerHour: cmp.Or(r.Config.MaxKillsPerHour, p.Config.MaxKillsPerHour),
			Relief:     reliefState(r, d.World.Answers[i], memory.ReliefState[r.Config.Name], about.ReliefErr),
		})
	}
	return t
}

// text is the message of err, "" if it is nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// scheduleState describes the schedule of a rule; nil if it has none.
func scheduleState(r gather.Rule, w policy.World) *ScheduleState {
	schedule := r.Policy.Schedule
	if schedule == nil {
		return nil
	}
	s := &ScheduleState{TimeZone: r.Config.Schedule.TimeZone, Open: schedule.Open(w.Now), ClockSet: w.ClockSet}
	if opens, ok := schedule.Opens(w.Now); ok && !s.Open {
		s.OpensAt = &opens
	}
	return s
}

// reliefState describes the relief state of a rule.
func reliefState(r gather.Rule, a policy.Answer, known policy.ReliefState, err error) ReliefState {
	relief := r.Policy.Relief
	s := ReliefState{
		By: string(relief.By), StopAfter: relief.StopAfter, Unrelieved: known.Unrelieved, Stopped: relief.Stopped(known), Error: text(err),
	}
	if q := r.Queries.Relief; q != nil {
		s.Query = q.String()
	}
	if known.Measured {
		s.Ratio = &known.Ratio
	}
	if a.ReliefValueKnown {
		s.ReliefValue = &a.ReliefValue
	}
	if s.Stopped && relief.ResumeAfter > 0 {
		at := known.StoppedAt.Add(relief.ResumeAfter).UTC()
		s.ResumesAt = &at
	}
	return s
}
