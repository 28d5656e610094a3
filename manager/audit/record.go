// Package audit is the audit log: one JSON object per line, appended and synced, an
// intent before each kill and one outcome after it. A kill that cannot be recorded is
// not made.
package audit

import (
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// Phase is the kind of a record.
type Phase string

// The phases. The last three are not part of a kill, and of them only a veto has a kill
// id.
const (
	Intent     Phase = "intent"
	Done       Phase = "outcome"
	Vetoed     Phase = "veto"   // an announced kill was vetoed
	Relief     Phase = "relief" // the effect of a rule's kills was measured
	Checkpoint Phase = "state"  // sum of all earlier records
)

// Outcome is how a kill ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone        Outcome = "done"         // the effect was confirmed
	OutcomeAlreadyGone Outcome = "already_gone" // exited before the kill, or removed by another program during it
	OutcomeRefused     Outcome = "refused"      // a guard spared it just before the kill; see Guard
	OutcomeFailed      Outcome = "failed"       // the Engine returned an error, or there was no effect
	OutcomeDryRun      Outcome = "dry_run"      // would have killed
	OutcomeNoRecord    Outcome = "no_record"    // the intent could not be written, so nothing was done
	OutcomeUnknown     Outcome = "unknown"      // the manager exited between intent and outcome; see Found
)

// Outcomes returns all outcomes in their fixed order.
func Outcomes() []Outcome {
	return []Outcome{OutcomeDone, OutcomeAlreadyGone, OutcomeRefused, OutcomeFailed, OutcomeDryRun, OutcomeNoRecord, OutcomeUnknown}
}

// Record is one line of the audit log.
type Record struct {
	Time      time.Time     `json:"ts"`
	KillID    string        `json:"kill_id"` // the same in log, audit log and metric
	Phase     Phase         `json:"phase"`
	Rule      string        `json:"rule"`
	Kind      string        `json:"kind"` // cpu, ram, io, disk or ""
	Container string        `json:"container"`
	StartedAt time.Time     `json:"started_at"` // of the intended life
	Name      string        `json:"name"`
	Image     string        `json:"image"`
	Value     float64       `json:"value"`
	Query     string        `json:"query"`
	Reason    policy.Reason `json:"reason"`
	Mode      policy.Mode   `json:"mode"`
	Action    string        `json:"action"`
	// Unrelieved is how many consecutive kills of the rule without relief there were at
	// the decision; with phase relief, at the measurement.
	Unrelieved int `json:"kills_without_relief,omitempty"`

	// Acted: a request was sent to the Engine, whatever its effect. Only in outcomes.
	Acted bool `json:"acted,omitempty"`

	// Only in outcomes.
	Outcome  Outcome       `json:"outcome,omitempty"`
	Guard    policy.Reason `json:"guard,omitempty"`    // with refused
	Found    Found         `json:"found,omitempty"`    // with unknown
	Error    string        `json:"error,omitempty"`    // with failed
	Duration float64       `json:"duration,omitempty"` // seconds from intent to outcome

	// In vetoes, and in outcomes that a veto refused.
	Veto *Veto `json:"veto,omitempty"`

	// With phase relief, if the rule is stopped.
	StoppedAt *time.Time `json:"stopped_at,omitempty"`

	// Only with phase state.
	State *checkpoint `json:"state,omitempty"`
}

// Veto is a veto of a kill.
type Veto struct {
	Silences  []string `json:"silences"`             // ids in Alertmanager
	CreatedBy string   `json:"created_by,omitempty"` // of the first; "" if unknown
	Comment   string   `json:"comment,omitempty"`
}

// Found is the state of the container of an interrupted kill.
type Found string

// The states.
const (
	FoundGone      Found = "gone"      // missing, or not running
	FoundRunning   Found = "running"   // same life
	FoundRestarted Found = "restarted" // running, in another life
	FoundPaused    Found = "paused"
)
