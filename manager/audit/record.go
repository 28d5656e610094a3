// Package audit is the manager's memory on disk: one JSON object a line,
// appended and synced, an intent before each act and one outcome after it. A
// kill that cannot be recorded is not made.
package audit

import (
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// Phase says on which side of the act a record stands.
type Phase string

// The phases. A veto is no part of an act: a kill was announced and somebody
// objected.
const (
	Intent Phase = "intent"
	Done   Phase = "outcome"
	Vetoed Phase = "veto"
)

// Outcome is what became of an intent.
type Outcome string

// The outcomes.
const (
	OutcomeDone        Outcome = "done"         // acted, and seen to have worked
	OutcomeAlreadyGone Outcome = "already_gone" // ended before the act, or by somebody else during it
	OutcomeRefused     Outcome = "refused"      // a guard refused at the last moment; see Guard
	OutcomeFailed      Outcome = "failed"       // the Engine refused, or nothing came of the act
	OutcomeDryRun      Outcome = "dry_run"      // would have acted
	OutcomeNoRecord    Outcome = "no_record"    // the intent could not be written, so nothing was done
	OutcomeUnknown     Outcome = "unknown"      // the manager ended between intent and outcome; see Found
)

// Outcomes returns all of them in their fixed order.
func Outcomes() []Outcome {
	return []Outcome{OutcomeDone, OutcomeAlreadyGone, OutcomeRefused, OutcomeFailed, OutcomeDryRun, OutcomeNoRecord, OutcomeUnknown}
}

// Record is one line of the file.
type Record struct {
	Time      time.Time     `json:"ts"`
	KillID    string        `json:"kill_id"` // the same in log, record and metric
	Phase     Phase         `json:"phase"`
	Rule      string        `json:"rule"`
	Kind      string        `json:"kind"` // cpu, ram, io, disk or ""
	Container string        `json:"container"`
	StartedAt time.Time     `json:"started_at"` // of the life that is meant
	Name      string        `json:"name"`
	Image     string        `json:"image"`
	Value     float64       `json:"value"`
	Query     string        `json:"query"`
	Reason    policy.Reason `json:"reason"`
	Mode      policy.Mode   `json:"mode"`
	Action    string        `json:"action"`
	// Unrelieved is how many kills of the rule in a row were not known to have
	// brought relief when this one was decided.
	Unrelieved int `json:"kills_without_relief,omitempty"`

	// In outcomes only.
	Outcome  Outcome       `json:"outcome,omitempty"`
	Guard    policy.Reason `json:"guard,omitempty"`    // with refused
	Found    Found         `json:"found,omitempty"`    // with unknown
	Error    string        `json:"error,omitempty"`    // with failed
	Duration float64       `json:"duration,omitempty"` // seconds from intent to outcome

	// In vetoes, and in outcomes refused because of one.
	Veto *Veto `json:"veto,omitempty"`
}

// Veto is who objected to a kill.
type Veto struct {
	Silences  []string `json:"silences"`             // ids in Alertmanager
	CreatedBy string   `json:"created_by,omitempty"` // of the first; empty if Alertmanager did not tell
	Comment   string   `json:"comment,omitempty"`
}

// Found is what a later start of the manager saw of a container whose kill it
// cannot answer for.
type Found string

// The findings.
const (
	FoundGone      Found = "gone"      // not there, or not running
	FoundRunning   Found = "running"   // the same life goes on
	FoundRestarted Found = "restarted" // runs, in another life
	FoundPaused    Found = "paused"
)
