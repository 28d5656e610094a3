// Package config parses the manager's policy file: keys, defaults, and all errors at
// once.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Mode is live or dry run.
type Mode string

// The two modes. There is no default: the file has to have one.
const (
	ModeLive   Mode = "live"
	ModeDryRun Mode = "dry_run"
)

// Scope is which containers may be killed.
type Scope string

// The two scopes.
const (
	ScopeManaged Scope = "managed" // labelled estiba.managed=true
	ScopeAll     Scope = "all"
)

// Action is how a container is killed.
type Action string

// The four actions.
const (
	ActionStop   Action = "stop"   // SIGTERM, after the grace SIGKILL
	ActionKill   Action = "kill"   // SIGKILL at once
	ActionRemove Action = "remove" // stop, then delete
	ActionPause  Action = "pause"  // freeze
)

// Config is an accepted policy file. It does not change after Parse.
type Config struct {
	Mode            Mode
	Interval        time.Duration // from the start of one tick to the next
	MaxSampleAge    time.Duration // older data kill nothing
	MaxKillsPerTick int           // over all rules
	MaxKillsPerHour int           // over all rules, in each hour; 0 is no limit
	Scope           Scope
	Keep            []Keep
	Protect         Protect
	Rules           []Rule
}

// Protect are the protected containers. Names and Images are patterns in which * is any
// text.
type Protect struct {
	Names  []string
	Images []string          // match the whole reference, or the one without tag or registry
	Labels map[string]string // key to value; the value "*" is any
}

// Rule is a query, an action and its limits.
type Rule struct {
	Name     string
	Query    string // PromQL; one sample per candidate, label id, the highest value is killed first
	For      time.Duration
	Announce time.Duration // time between the announcement and the kill; 0 is no announcement
	Action   Action
	Grace    time.Duration // between SIGTERM and SIGKILL (stop, remove)
	Cooldown time.Duration // after a kill of this rule
	MaxKills int           // per tick
	// MaxKillsPerHour is in each hour; 0 is no limit.
	MaxKillsPerHour int
	DryRun          bool
	// RemoveVolumes: remove deletes the container's anonymous volumes as well.
	RemoveVolumes bool
	Schedule      *Schedule // nil is always
	Relief        Relief
}

// KillTime is how long a container may take to exit in a kill of the rule.
func (r Rule) KillTime() time.Duration {
	if r.Action == ActionStop || r.Action == ActionRemove {
		return r.Grace
	}
	return 0
}

// ReliefBy is how a rule's relief value is computed.
type ReliefBy string

// The three relief values.
const (
	ReliefByCount ReliefBy = "count" // number of candidates
	ReliefBySum   ReliefBy = "sum"   // the sum of their values
	ReliefByQuery ReliefBy = "query" // result of Relief.Query
)

// Relief is how the effect of a rule's kills is measured.
type Relief struct {
	By          ReliefBy
	Query       string        // PromQL, one number; with ReliefByQuery only
	AtLeast     float64       // required decrease of the relief value, as a share from 0 to 1
	After       time.Duration // time between a kill and the sample that measures it
	StopAfter   int           // consecutive kills without relief that stop the rule; 0 is never
	ResumeAfter time.Duration // time until the retry of a stopped rule; 0 is never
}

// EffectiveMode is the mode of kills of r: live only if nothing requests a dry run.
func (c *Config) EffectiveMode(r Rule, dryRunFlag bool) Mode {
	if dryRunFlag || r.DryRun || c.Mode != ModeLive {
		return ModeDryRun
	}
	return ModeLive
}

// Defaults. mode, keep, rules and a rule's name, query and action have none.
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
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("policy file %s: %w", path, err)
	}
	return c, nil
}

// readTime limits reading a pipe.
const readTime = 5 * time.Second

// readFile reads up to the size limit. A pipe without a writer is empty, and one
// without data does not block: a policy is read while the manager runs.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(readTime)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
