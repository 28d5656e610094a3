package config

import (
	"math"
	"regexp"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// Characters of container names and image references, and *. A pattern with others,
// such as db-[0-9], would protect nothing.
var (
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9_.*-]+$`)
	imagePattern = regexp.MustCompile(`^[A-Za-z0-9_.:/@*-]+$`)
)

// ruleName keeps rule names usable as label values and file names.
var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Parse parses a policy file. The error, if any, is of type Problems and lists all
// errors of the file.
func Parse(data []byte) (*Config, error) {
	r := &reader{}
	var c *Config
	if doc := r.document(data); doc != nil {
		c = r.config(doc)
	}
	if err := r.mistakes(); err != nil {
		return nil, err
	}
	return c, nil
}

func (r *reader) config(n *yaml.Node) *Config {
	c := &Config{
		Interval:        DefaultInterval,
		MaxSampleAge:    DefaultMaxSampleAge,
		MaxKillsPerTick: DefaultMaxKillsPerTick,
		Scope:           DefaultScope,
	}
	var rules *yaml.Node
	r.mapping(n, "", []string{"mode", "keep", "rules"}, map[string]func(*yaml.Node, string){
		"mode":               func(n *yaml.Node, p string) { word(r, n, p, &c.Mode, ModeLive, ModeDryRun) },
		"interval":           func(n *yaml.Node, p string) { r.duration(n, p, time.Second, maxInterval, &c.Interval) },
		"max_sample_age":     func(n *yaml.Node, p string) { r.sampleAge(n, p, &c.MaxSampleAge) },
		"max_kills_per_tick": func(n *yaml.Node, p string) { r.count(n, p, 1, maxKills, &c.MaxKillsPerTick) },
		"max_kills_per_hour": func(n *yaml.Node, p string) { r.count(n, p, 1, maxPerHour, &c.MaxKillsPerHour) },
		"scope":              func(n *yaml.Node, p string) { word(r, n, p, &c.Scope, ScopeManaged, ScopeAll) },
		"keep":               func(n *yaml.Node, p string) { c.Keep = r.keeps(n, p) },
		"protect":            func(n *yaml.Node, p string) { c.Protect = r.protect(n, p) },
		"rules":              func(n *yaml.Node, _ string) { rules = n },
	})
	// Rules are compared with the interval and the budget, so they are read last.
	if rules != nil {
		c.Rules = r.rules(rules, "rules", c)
	}
	return c
}

func (r *reader) sampleAge(n *yaml.Node, path string, to *time.Duration) {
	var age time.Duration
	r.duration(n, path, time.Second, math.MaxInt64, &age)
	switch {
	case age > MaxSampleAgeLimit:
		r.fail(n, path, "%s is more than %s, and Prometheus looks back no further for a sample", n.Value, model.Duration(MaxSampleAgeLimit))
	case age > 0:
		*to = age
	}
}

func (r *reader) protect(n *yaml.Node, path string) Protect {
	var p Protect
	patterns := func(to *[]string, possible *regexp.Regexp, what string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			r.list(n, path, func(n *yaml.Node, path string) {
				var s string
				if r.text(n, path, &s); s == "" {
					return
				}
				if !possible.MatchString(s) {
					r.fail(n, path, "%q matches no %s: * stands for any text, other characters for themselves", s, what)
				}
				*to = append(*to, s)
			})
		}
	}
	r.mapping(n, path, nil, map[string]func(*yaml.Node, string){
		"names":  patterns(&p.Names, namePattern, "container name"),
		"images": patterns(&p.Images, imagePattern, "image reference"),
		"labels": func(n *yaml.Node, path string) { p.Labels = r.texts(n, path) },
	})
	return p
}

func (r *reader) rules(n *yaml.Node, path string, c *Config) []Rule {
	if len(n.Content) > maxRules {
		r.fail(n, path, "has %d rules, at most %d are allowed", len(n.Content), maxRules)
		return nil
	}
	var rules []Rule
	names := map[string]bool{}
	r.list(n, path, func(n *yaml.Node, path string) {
		rule := r.rule(n, path, c)
		if rule.Name != "" && names[rule.Name] {
			r.fail(n, join(path, "name"), "another rule is named %s", rule.Name)
		}
		names[rule.Name] = true
		rules = append(rules, rule)
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.fail(n, path, "has no rules")
	}
	return rules
}

func (r *reader) rule(n *yaml.Node, path string, c *Config) Rule {
	rule := Rule{
		Grace: DefaultGrace, MaxKills: c.MaxKillsPerTick,
		Relief: Relief{By: DefaultReliefBy, StopAfter: DefaultStopAfter, ResumeAfter: DefaultResumeAfter},
	}
	var relief, volumes, perTick *yaml.Node
	r.mapping(n, path, []string{"name", "query", "action"}, map[string]func(*yaml.Node, string){
		"name": func(n *yaml.Node, p string) {
			if r.text(n, p, &rule.Name); rule.Name != "" && !ruleName.MatchString(rule.Name) {
				r.fail(n, p, "%q is not a name of lower case letters, digits and _", rule.Name)
			}
		},
		"query": func(n *yaml.Node, p string) {
			if r.text(n, p, &rule.Query); rule.Query != "" {
				r.query(n, p, rule.Query)
			}
		},
		"for": func(n *yaml.Node, p string) {
			r.duration(n, p, 0, maxFor, &rule.For)
			if rule.For > 0 && rule.For < c.Interval {
				r.fail(n, p, "%s is shorter than interval %s", model.Duration(rule.For), model.Duration(c.Interval))
			}
		},
		"announce": func(n *yaml.Node, p string) {
			r.duration(n, p, 0, maxAnnounce, &rule.Announce)
			if rule.Announce > 0 && rule.Announce < c.Interval {
				r.fail(n, p, "%s is shorter than interval %s", model.Duration(rule.Announce), model.Duration(c.Interval))
			}
		},
		"action": func(n *yaml.Node, p string) {
			word(r, n, p, &rule.Action, ActionStop, ActionKill, ActionRemove, ActionPause)
		},
		"remove_volumes": func(n *yaml.Node, p string) { volumes = n; r.flag(n, p, &rule.RemoveVolumes) },
		"grace":          func(n *yaml.Node, p string) { r.duration(n, p, 0, maxGrace, &rule.Grace) },
		"cooldown":       func(n *yaml.Node, p string) { r.duration(n, p, 0, maxCooldown, &rule.Cooldown) },
		"max_kills": func(n *yaml.Node, p string) {
			perTick = n
			r.count(n, p, 1, maxKills, &rule.MaxKills)
			if rule.MaxKills > c.MaxKillsPerTick {
				r.fail(n, p, "%d is more than max_kills_per_tick %d", rule.MaxKills, c.MaxKillsPerTick)
			}
		},
		"max_kills_per_hour": func(n *yaml.Node, p string) {
			r.count(n, p, 1, maxPerHour, &rule.MaxKillsPerHour)
			if c.MaxKillsPerHour > 0 && rule.MaxKillsPerHour > c.MaxKillsPerHour {
				r.fail(n, p, "%d is more than max_kills_per_hour %d of all rules", rule.MaxKillsPerHour, c.MaxKillsPerHour)
			}
		},
		"dry_run":  func(n *yaml.Node, p string) { r.flag(n, p, &rule.DryRun) },
		"schedule": func(n *yaml.Node, p string) { rule.Schedule = r.schedule(n, p) },
		"relief":   func(n *yaml.Node, _ string) { relief = n },
	})
	if volumes != nil && rule.Action != "" && rule.Action != ActionRemove {
		r.fail(volumes, join(path, "remove_volumes"), "needs action: remove")
	}
	if perTick != nil && rule.MaxKillsPerHour > 0 && rule.MaxKills > rule.MaxKillsPerHour {
		r.fail(perTick, join(path, "max_kills"), "%d in one tick is more than max_kills_per_hour %d", rule.MaxKills, rule.MaxKillsPerHour)
	}
	// Compared with the cooldown, so it is read last.
	if relief != nil {
		r.relief(relief, join(path, "relief"), &rule)
	}
	return rule
}

func (r *reader) relief(n *yaml.Node, path string, rule *Rule) {
	to := &rule.Relief
	r.mapping(n, path, nil, map[string]func(*yaml.Node, string){
		"by": func(n *yaml.Node, p string) { word(r, n, p, &to.By, ReliefByCount, ReliefBySum, ReliefByQuery) },
		"query": func(n *yaml.Node, p string) {
			if r.text(n, p, &to.Query); to.Query != "" {
				r.number(n, p, to.Query)
			}
		},
		"at_least": func(n *yaml.Node, p string) { r.share(n, p, &to.AtLeast) },
		"after": func(n *yaml.Node, p string) {
			r.duration(n, p, 0, maxCooldown, &to.After)
			if to.After > rule.Cooldown {
				r.fail(n, p, "%s is longer than cooldown %s: the next kills would come before the effect of the last is known", model.Duration(to.After), model.Duration(rule.Cooldown))
			}
		},
		"stop_after":   func(n *yaml.Node, p string) { r.count(n, p, 0, maxStopAfter, &to.StopAfter) },
		"resume_after": func(n *yaml.Node, p string) { r.duration(n, p, 0, maxResumeAfter, &to.ResumeAfter) },
	})
	switch {
	case n.Kind != yaml.MappingNode:
	case to.By == ReliefByQuery && to.Query == "":
		r.fail(n, join(path, "query"), "is required with by: query")
	case to.By != ReliefByQuery && to.Query != "":
		r.fail(n, join(path, "query"), "needs by: query")
	}
}

// promQL parses a query; nil after an error.
func (r *reader) promQL(n *yaml.Node, path, query string) parser.Expr {
	if len(query) > maxQuery {
		r.fail(n, path, "has %d characters, at most %d are allowed; a recording rule may hold part of it", len(query), maxQuery)
		return nil
	}
	if r.queries += len(query); r.queries > maxQueries {
		r.fail(n, path, "is one query too many: all of a file may have %d characters", maxQueries)
		return nil
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		r.fail(n, path, "is not PromQL: %v", err)
		return nil
	}
	return expr
}

// number refuses a query that cannot return one number.
func (r *reader) number(n *yaml.Node, path, query string) {
	expr := r.promQL(n, path, query)
	if expr == nil {
		return
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		r.fail(n, path, "is a %s, expected one number", parser.DocumentedType(t))
	}
}

// query refuses a query that cannot return a sample with a container's id.
func (r *reader) query(n *yaml.Node, path, query string) {
	expr := r.promQL(n, path, query)
	if expr == nil {
		return
	}
	if expr.Type() != parser.ValueTypeVector {
		r.fail(n, path, "is a %s, expected an instant vector", parser.DocumentedType(expr.Type()))
		return
	}
	if why := neverHasID(expr); why != "" {
		r.fail(n, path, "its result has no label id, so it selects no container: %s", why)
	}
}
