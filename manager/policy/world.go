// Package policy decides which containers are killed. It is pure: a World goes in, a
// Plan comes out. It has no clock, no I/O and no logger, so decisions can be repeated,
// tested over random worlds, and made over the past.
package policy

import (
	"time"

	"github.com/estiba/estiba/internal/container"
)

// World is the input of a decision.
type World struct {
	Now        time.Time
	Engine     string      // package container's Docker or Podman
	Containers []Container // the Engine's list, each id once
	Data       Data
	Keep       []Keep
	Budget     int // kills in this tick, all rules
	MaxPerHour int // kills in each hour, all rules; 0 is no limit
	Rules      []Rule
	Answers    []Answer // of the rule with the same index
	// MaxGap is the longest time between two snapshots over which a rule's for and
	// announce go on counting.
	MaxGap time.Duration
	// ClockSet: the wall clock was set a short time ago, so schedules are not to be relied
	// on.
	ClockSet bool
	Notices  Notices // of announced kills
	Memory   Memory
}

// State is the state of a container.
type State int

// The states.
const (
	Running      State = iota
	InTransition       // paused, restarting, being removed
	BeingKilled        // a kill is in flight
)

// Container is one container of the Engine's list.
type Container struct {
	ID        string // 64 hex digits
	Name      string
	Image     string
	Kind      container.Kind // as declared
	State     State
	InScope   bool
	Protected []Protection // nil: not protected
	// Groups are its groups under the keep rules with the same index. Those by kind do
	// not use them.
	Groups []Group
	// Foreign: something else than the Engine runs it, or a kubelet on the Engine. It does
	// not count for keep.
	Foreign bool
	Runtime string // that runs it: "docker", "podman", …; "" is unknown
	// Signalled: this life was sent a signal, or the Engine was asked to end it and did
	// not confirm. It may end at any time and does not count for keep.
	Signalled bool
	StartedAt time.Time // zero: not looked up yet
	EndedAt   time.Time // end of the previous life; zero: none, or not looked up yet
}

// Data is the quality of the measurements, for all rules.
type Data struct {
	Fresh    bool
	At       time.Time // time of the exporter's snapshot
	Sequence string    // of that snapshot; "" is unknown
}

// Mode is live or dry run.
type Mode string

// The modes.
const (
	Live   Mode = "live"
	DryRun Mode = "dry_run"
)

// Rule is a rule of the policy, without its query.
type Rule struct {
	Name     string
	For      time.Duration
	Announce time.Duration // before a kill; 0 is no announcement
	Cooldown time.Duration
	MaxKills int // in this tick
	// MaxPerHour is the kills in each hour; 0 is no limit.
	MaxPerHour int
	Mode       Mode
	Action     string
	Schedule   *Schedule // nil is always
	Relief     Relief
}

// Answer is the result of one rule's query. The zero value has no candidates.
type Answer struct {
	// Unusable: an error, a warning, not a vector, a sample without id.
	Unusable bool
	Samples  []Sample
	// Stale: the query reads recorded series that are older than max_sample_age, or
	// whose recording rule fails.
	Stale bool
	// At is the time of the oldest snapshot in the answer. A query over recorded series
	// is older than Data.At. Zero: Data.At.
	At time.Time
	// ReliefValue is the result of the rule's relief query.
	ReliefValue      float64
	ReliefValueKnown bool
}

// Sample is one candidate.
type Sample struct {
	ID           string    // label id: a prefix of the container's id, or all of it
	Value        float64   // the highest is killed first
	Start        time.Time // of the measured life; zero is unknown
	WindowFilled bool      // the history covers the query's range
	LabelsKnown  bool      // the exporter knows the container's name, image and labels
	Measured     Measured
}

// Measured is the container that a sample is of, as far as Prometheus has it.
type Measured struct {
	ID      string // 64 hex digits; "" is unknown
	Name    string
	Image   string
	Kind    container.Kind
	Runtime string // "" is unknown
	// Kubernetes: in one of its pods, so that a kubelet would start another; or, as
	// Podman's, it only holds the namespaces of its pod.
	Kubernetes bool
	// Elsewhere: it ran while the Engine did not list it.
	Elsewhere bool
}

// Foreign reports whether a container of a runtime is not one of an Engine, which is
// Docker or Podman. An unknown runtime can be any, and Kata Containers is one of both.
func Foreign(runtime, engine string) bool {
	return runtime != "" && runtime != container.Kata && runtime != engine
}

// Candidate is a container that a rule's query returned.
type Candidate struct {
	Rule string
	ID   string // 64 hex digits
}

// Hold is how long a container has been a candidate without interruption.
type Hold struct {
	Start       time.Time // of the life
	First, Last time.Time // snapshots, not ticks: a repeated sample adds nothing
}
