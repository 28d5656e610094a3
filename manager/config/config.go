// Package config is the manager's policy file: what it may say, what holds
// when it says nothing, and every mistake in it at once.
package config

import (
	"fmt"
	"os"
	"time"
)

// Mode says whether a decided kill is carried out.
type Mode string

// The two modes. There is no default: the file has to say which.
const (
	ModeLive   Mode = "live"
	ModeDryRun Mode = "dry_run"
)

// Scope says which containers may be acted on at all.
type Scope string

// The two scopes.
const (
	ScopeManaged Scope = "managed" // labelled estiba.managed=true
	ScopeAll     Scope = "all"
)

// Action is what is done to a victim.
type Action string

// The four actions.
const (
	ActionStop   Action = "stop"   // SIGTERM, after the grace SIGKILL
	ActionKill   Action = "kill"   // SIGKILL at once
	ActionRemove Action = "remove" // stop, then delete
	ActionPause  Action = "pause"  // freeze
)

// KeepBy is what a keep rule groups containers by.
type KeepBy string

// KeepByKind groups by the label estiba.kind.
const KeepByKind KeepBy = "kind"

// Config is one accepted policy file. It is never changed after Parse.
type Config struct {
	Mode            Mode
	Interval        time.Duration // from the start of one tick to the next
	MaxSampleAge    time.Duration // with older data nobody dies
	MaxKillsPerTick int           // over all rules
	Scope           Scope
	Keep            []Keep
	Protect         Protect
	Rules           []Rule
}

// Keep is a promise that holds after every kill.
type Keep struct {
	By  KeepBy
	Min int // running containers in scope, in each group, at least
}

// Protect names containers that are never acted on. Names and Images are
// patterns in which * stands for any text.
type Protect struct {
	Names  []string
	Images []string          // match the whole reference, or it without tag or registry
	Labels map[string]string // key to value; the value "*" is any
}

// Rule is one question and what to do with the answer.
type Rule struct {
	Name     string
	Query    string // PromQL; one sample a candidate, label id, the highest value dies first
	For      time.Duration
	Announce time.Duration // how long a kill is announced to Alertmanager before it is made; 0 not at all
	Action   Action
	Grace    time.Duration // between SIGTERM and SIGKILL (stop, remove)
	Cooldown time.Duration // after a kill of this rule, before its next
	MaxKills int           // per tick
	DryRun   bool
	Relief   Relief
}

// ReliefBy is what a rule's pressure is.
type ReliefBy string

// The three pressures.
const (
	ReliefByCount ReliefBy = "count" // how many candidates there are
	ReliefBySum   ReliefBy = "sum"   // the sum of their values
	ReliefByQuery ReliefBy = "query" // what Relief.Query says
)

// Relief is how the effect of a rule's kills is judged.
type Relief struct {
	By          ReliefBy
	Query       string        // PromQL, one number; with ReliefByQuery only
	AtLeast     float64       // share of the pressure that has to be gone, 0 to 1
	After       time.Duration // between a kill and the sample that is looked at
	StopAfter   int           // kills in a row without relief; 0 never stops
	ResumeAfter time.Duration // one more try after that; 0 is never
}

// EffectiveMode is the mode that kills of r are made in: live only if nothing
// says dry run.
func (c *Config) EffectiveMode(r Rule, dryRunFlag bool) Mode {
	if dryRunFlag || r.DryRun || c.Mode != ModeLive {
		return ModeDryRun
	}
	return ModeLive
}

// What holds for a key that the file leaves out. mode, keep, rules and a
// rule's name, query and action have no default.
const (
	DefaultInterval        = 10 * time.Second
	DefaultMaxSampleAge    = 20 * time.Second
	DefaultMaxKillsPerTick = 20
	DefaultScope           = ScopeManaged
	DefaultGrace           = 10 * time.Second
	DefaultReliefBy        = ReliefByCount
	DefaultStopAfter       = 5
	DefaultResumeAfter     = 10 * time.Minute
)

// Load reads and parses the policy file at path.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("policy file %s: %w", path, err)
	}
	return c, nil
}
