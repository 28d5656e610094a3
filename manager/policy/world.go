// Package policy decides who dies. It is pure: a World goes in, a Plan comes
// out. It has no clock, no I/O and no logger, so a decision can be repeated,
// tested over random worlds, and made over the past.
package policy

import (
	"time"

	"github.com/estiba/estiba/internal/container"
)

// World is all that a decision may depend on.
type World struct {
	Now        time.Time
	Containers []Container // what the Engine lists, each id once
	Data       Data
	Keep       []Keep
	Budget     int // kills in this tick over all rules
	Rules      []Rule
	Answers    []Answer // of the rule with the same index
	// MaxGap is the longest time between two distinct snapshots over which a
	// rule's "for" and "announce" go on counting.
	MaxGap  time.Duration
	Notices Notices // of the kills that were announced
	Memory  Memory
}

// State is what a container is doing, as far as decisions care.
type State int

// The states.
const (
	Running  State = iota
	Unsteady       // paused, restarting, being removed
	Dying          // the manager is acting on it right now
)

// Container is one container of the Engine's list.
type Container struct {
	ID        string // 64 hex digits
	Name      string
	Image     string
	Kind      container.Kind // as declared
	State     State
	InScope   bool
	Protected []Why     // nil: nothing protects it
	StartedAt time.Time // zero: not looked up yet
	EndedAt   time.Time // end of the life before this one; zero: this is its first, or not looked up yet
}

// Data is how good the measurements are, for all rules alike.
type Data struct {
	Fresh    bool
	At       time.Time // when the exporter's snapshot was taken
	Sequence string    // of that snapshot; "" is not known
}

// Keep is a promise for each kind: at least Min running containers in scope.
type Keep struct {
	Min int
}

// Mode says whether a kill is carried out.
type Mode string

// The modes.
const (
	Live   Mode = "live"
	DryRun Mode = "dry_run"
)

// Rule is a rule of the policy file, without its query.
type Rule struct {
	Name     string
	For      time.Duration
	Announce time.Duration // before a kill; 0 announces nothing
	Cooldown time.Duration
	MaxKills int // in this tick
	Mode     Mode
	Action   string
	Relief   Relief
}

// Answer is what one rule's query gave. Its zero value is an answer without
// candidates.
type Answer struct {
	// Unusable: an error, a warning, not a vector, a row without an id.
	Unusable bool
	Samples  []Sample
	// Pressure is what the rule's own question for it gave.
	Pressure      float64
	PressureKnown bool
}

// Sample is one candidate.
type Sample struct {
	ID           string    // label id: a prefix of the container's id, or all of it
	Value        float64   // the highest dies first
	Start        time.Time // of the container's life that was measured; zero is not known
	WindowFilled bool      // the history reaches back as far as the query looks
}

// Candidate is a container in the eyes of one rule.
type Candidate struct {
	Rule string
	ID   string // 64 hex digits
}

// Hold is how long a rule has wanted a container without a break.
type Hold struct {
	Start       time.Time // of the life that is meant
	First, Last time.Time // snapshots, not ticks: a repeated sample adds nothing
}
