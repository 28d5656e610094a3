package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// ruleName keeps rule names usable as label values and in file names.
var ruleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Parse reads a policy file. The error, if any, is of type Problems and holds
// every mistake that the file has.
func Parse(data []byte) (*Config, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, Problems{{Message: "the file is empty"}}
	} else if err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	r := &reader{}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		r.fail(nil, "", "the file holds more than one document")
	}
	c := r.config(doc.Content[0])
	if len(r.problems) > 0 {
		sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
		return nil, r.problems
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
		"interval":           func(n *yaml.Node, p string) { r.duration(n, p, time.Second, &c.Interval) },
		"max_sample_age":     func(n *yaml.Node, p string) { r.duration(n, p, time.Second, &c.MaxSampleAge) },
		"max_kills_per_tick": func(n *yaml.Node, p string) { r.count(n, p, 1, &c.MaxKillsPerTick) },
		"scope":              func(n *yaml.Node, p string) { word(r, n, p, &c.Scope, ScopeManaged, ScopeAll) },
		"keep":               func(n *yaml.Node, p string) { c.Keep = r.keeps(n, p) },
		"protect":            func(n *yaml.Node, p string) { c.Protect = r.protect(n, p) },
		"rules":              func(n *yaml.Node, _ string) { rules = n },
	})
	// Rules are compared with the interval and the budget, so they come last
	// wherever they stand in the file.
	if rules != nil {
		c.Rules = r.rules(rules, "rules", c)
	}
	return c
}

func (r *reader) keeps(n *yaml.Node, path string) []Keep {
	keeps := []Keep{}
	seen := map[KeepBy]bool{}
	r.list(n, path, func(n *yaml.Node, path string) {
		var k Keep
		r.mapping(n, path, []string{"by", "min"}, map[string]func(*yaml.Node, string){
			"by":  func(n *yaml.Node, p string) { word(r, n, p, &k.By, KeepByKind) },
			"min": func(n *yaml.Node, p string) { r.count(n, p, 1, &k.Min) },
		})
		if k.By != "" && seen[k.By] {
			r.fail(n, join(path, "by"), "%s has a keep rule already", k.By)
		}
		seen[k.By] = true
		keeps = append(keeps, k)
	})
	return keeps
}

func (r *reader) protect(n *yaml.Node, path string) Protect {
	var p Protect
	texts := func(to *[]string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			r.list(n, path, func(n *yaml.Node, path string) {
				var s string
				if r.text(n, path, &s); s != "" {
					*to = append(*to, s)
				}
			})
		}
	}
	r.mapping(n, path, nil, map[string]func(*yaml.Node, string){
		"names":  texts(&p.Names),
		"images": texts(&p.Images),
		"labels": func(n *yaml.Node, path string) {
			if n.Kind != yaml.MappingNode {
				r.fail(n, path, "want a mapping, not %s", describe(n))
				return
			}
			p.Labels = map[string]string{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, value := n.Content[i].Value, resolve(n.Content[i+1])
				at := join(path, key)
				if _, twice := p.Labels[key]; twice {
					r.fail(n.Content[i], at, "stands here twice")
				}
				// A label's value is text to Docker, so true and 1 are taken
				// as they are written.
				if value.Kind != yaml.ScalarNode || value.ShortTag() == "!!null" {
					r.fail(value, at, "want a text, not %s", describe(value))
				}
				p.Labels[key] = value.Value
			}
		},
	})
	return p
}

func (r *reader) rules(n *yaml.Node, path string, c *Config) []Rule {
	var rules []Rule
	names := map[string]bool{}
	r.list(n, path, func(n *yaml.Node, path string) {
		rule := r.rule(n, path, c)
		if rule.Name != "" && names[rule.Name] {
			r.fail(n, join(path, "name"), "another rule is called %s", rule.Name)
		}
		names[rule.Name] = true
		rules = append(rules, rule)
	})
	if n.Kind == yaml.SequenceNode && len(rules) == 0 {
		r.fail(n, path, "holds no rule")
	}
	return rules
}

func (r *reader) rule(n *yaml.Node, path string, c *Config) Rule {
	rule := Rule{
		Grace: DefaultGrace, MaxKills: c.MaxKillsPerTick,
		Relief: Relief{By: DefaultReliefBy, StopAfter: DefaultStopAfter, ResumeAfter: DefaultResumeAfter},
	}
	var relief *yaml.Node
	r.mapping(n, path, []string{"name", "query", "action"}, map[string]func(*yaml.Node, string){
		"name": func(n *yaml.Node, p string) {
			if r.text(n, p, &rule.Name); rule.Name != "" && !ruleName.MatchString(rule.Name) {
				r.fail(n, p, "%q is not a name of small letters, digits and _", rule.Name)
			}
		},
		"query": func(n *yaml.Node, p string) {
			if r.text(n, p, &rule.Query); rule.Query != "" {
				r.query(n, p, rule.Query)
			}
		},
		"for": func(n *yaml.Node, p string) {
			r.duration(n, p, 0, &rule.For)
			if rule.For > 0 && rule.For < c.Interval {
				r.fail(n, p, "%s is shorter than interval %s", model.Duration(rule.For), model.Duration(c.Interval))
			}
		},
		"announce": func(n *yaml.Node, p string) {
			r.duration(n, p, 0, &rule.Announce)
			if rule.Announce > 0 && rule.Announce < c.Interval {
				r.fail(n, p, "%s is shorter than interval %s", model.Duration(rule.Announce), model.Duration(c.Interval))
			}
		},
		"action": func(n *yaml.Node, p string) {
			word(r, n, p, &rule.Action, ActionStop, ActionKill, ActionRemove, ActionPause)
		},
		"grace":    func(n *yaml.Node, p string) { r.duration(n, p, 0, &rule.Grace) },
		"cooldown": func(n *yaml.Node, p string) { r.duration(n, p, 0, &rule.Cooldown) },
		"max_kills": func(n *yaml.Node, p string) {
			r.count(n, p, 1, &rule.MaxKills)
			if rule.MaxKills > c.MaxKillsPerTick {
				r.fail(n, p, "%d is more than max_kills_per_tick %d", rule.MaxKills, c.MaxKillsPerTick)
			}
		},
		"dry_run": func(n *yaml.Node, p string) { r.flag(n, p, &rule.DryRun) },
		"relief":  func(n *yaml.Node, _ string) { relief = n },
	})
	// Compared with the cooldown, so it comes last wherever it stands.
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
			r.duration(n, p, 0, &to.After)
			if to.After > rule.Cooldown {
				r.fail(n, p, "%s is longer than cooldown %s: the next kills would come before the effect of the last is known", model.Duration(to.After), model.Duration(rule.Cooldown))
			}
		},
		"stop_after":   func(n *yaml.Node, p string) { r.count(n, p, 0, &to.StopAfter) },
		"resume_after": func(n *yaml.Node, p string) { r.duration(n, p, 0, &to.ResumeAfter) },
	})
	switch {
	case n.Kind != yaml.MappingNode:
	case to.By == ReliefByQuery && to.Query == "":
		r.fail(n, join(path, "query"), "is missing; by: query needs it")
	case to.By != ReliefByQuery && to.Query != "":
		r.fail(n, join(path, "query"), "stands here without by: query")
	}
}

// number refuses what can never give one number.
func (r *reader) number(n *yaml.Node, path, query string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		r.fail(n, path, "is not PromQL: %v", err)
		return
	}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		r.fail(n, path, "gives a %s, want one number", parser.DocumentedType(t))
	}
}

// query refuses what can never give one sample a container.
func (r *reader) query(n *yaml.Node, path, query string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		r.fail(n, path, "is not PromQL: %v", err)
		return
	}
	if expr.Type() != parser.ValueTypeVector {
		r.fail(n, path, "gives a %s, want an instant vector", parser.DocumentedType(expr.Type()))
	}
}
