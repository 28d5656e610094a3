// Package policytest runs policy tests: it writes made-up histories to a temporary
// Prometheus and replays a policy over them.
package policytest

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/replay"
)

// Case is the result of a case.
type Case struct {
	Name     string
	Mistakes []string // differences from the expectation; none: it passed
}

// Run runs the cases of a policy test file on a temporary Prometheus, which is the
// program binary. done is called after each case.
func Run(ctx context.Context, file, binary string, done func(Case)) (err error) {
	f, err := config.LoadTests(file, reasonWords())
	if err != nil {
		return err
	}
	c, err := config.LoadOrBuiltIn(f.Policy)
	if err != nil {
		return err
	}
	rules, err := loadRecordingRules(f.RuleFiles)
	if err != nil {
		return err
	}
	text, err := rules.file()
	if err != nil {
		return err
	}
	reach, bounded, err := reachOf(c, rules)
	if err != nil {
		return err
	}
	h := host{binary: binary, rules: text, reach: reach, bounded: bounded}
	defer func() { err = errors.Join(err, h.close()) }()
	for i, one := range f.Cases {
		t := testCase{TestCase: one, from: beginOf(one, i), scrape: f.Scrape, evaluation: f.Evaluation}
		mistakes, err := t.run(ctx, c, rules, &h)
		if err != nil {
			return fmt.Errorf("%s: case %q: %w", file, t.Name, err)
		}
		done(Case{Name: t.Name, Mistakes: mistakes})
	}
	return nil
}

// reasonWords are the reasons why a container can be spared.
func reasonWords() []string {
	words := []string{string(policy.NotSelected)}
	for _, r := range policy.Guards() {
		words = append(words, string(r))
	}
	return words
}

// testCase is a case at a time.
type testCase struct {
	config.TestCase
	from               time.Time
	scrape, evaluation time.Duration
}

// run writes the history of the case, evaluates the recording rules over it, decides,
// and returns the differences from the expectation.
func (t testCase) run(ctx context.Context, c *config.Config, rules recordingRules, h *host) ([]string, error) {
	series, err := t.series(c)
	if err != nil {
		return nil, err
	}
	whole := span{t.from, t.from.Add(t.Duration + c.Interval)}
	for _, s := range series {
		if n := len(s.Samples); n > 0 && s.Samples[n-1].At.After(whole.to) {
			whole.to = s.Samples[n-1].At
		}
	}
	client, server, err := h.prometheus(ctx, whole)
	if err != nil {
		return nil, err
	}
	if err := server.Write(ctx, series); err != nil {
		return nil, err
	}
	steps := promql.Moments{Start: t.from, Step: t.evaluation, N: int(t.Duration/t.evaluation) + 1}
	if err := rules.evaluate(ctx, client, server, steps); err != nil {
		return nil, err
	}
	return t.check(ctx, client, c)
}

// check decides over the case and compares.
func (t testCase) check(ctx context.Context, client *promql.Client, c *config.Config) ([]string, error) {
	r, err := replay.New(client, c, container.Docker)
	if err != nil {
		return nil, err
	}
	r.AllLabels = true
	from, interval := t.from, c.Interval
	plans := map[time.Duration]policy.Plan{}
	r.Watch = func(d gather.Decision) {
		if d.Decided {
			plans[d.Time.Sub(from)] = d.Plan
		}
	}
	out, err := r.Run(ctx, promql.Moments{Start: from, Step: interval, N: int(t.Duration/interval) + 1})
	if err != nil {
		return nil, err
	}
	var wrong []string
	for name, e := range out.Unusable {
		if !t.NoData {
			wrong = append(wrong, fmt.Sprintf("rule %s: %d ticks with an unusable query result, last error: %s", name, e.Ticks, e.Error))
		}
	}
	sort.Strings(wrong)
	names := map[string]string{}
	for _, c := range t.Containers {
		names[container.HashID(c.Name)] = c.Name
	}
	want := map[string]int{}
	for _, k := range t.Kills {
		want[killText(k)]++
	}
	for _, k := range out.Kills {
		got := killText(config.TestKill{At: k.Time.Sub(from), Rule: k.Rule, Container: names[k.ID]})
		if want[got]--; want[got] < 0 {
			wrong = append(wrong, "killed, expected spared: "+got)
		}
	}
	for _, k := range t.Kills {
		if want[killText(k)]--; want[killText(k)] >= 0 {
			wrong = append(wrong, "not killed: "+killText(k)+instead(plans, k))
		}
	}
	for _, s := range t.Spared {
		plan, ticked := plans[s.At]
		if !ticked {
			wrong = append(wrong, fmt.Sprintf("no tick at %s: the interval is %s", model.Duration(s.At), model.Duration(interval)))
			continue
		}
		if got, ok := reasonIn(plan, s.Rule, s.Container); !ok || got != s.Reason {
			wrong = append(wrong, fmt.Sprintf("at %s: %s: expected spared as %s, found %s", model.Duration(s.At), s.Container, s.Reason, orGone(got)))
		}
	}
	return wrong, nil
}

func orGone(reason string) string {
	if reason == "" {
		return "no container"
	}
	return reason
}

// instead describes a container that should have been killed.
func instead(plans map[time.Duration]policy.Plan, k config.TestKill) string {
	plan, ticked := plans[k.At]
	if !ticked {
		return "; no tick at that time"
	}
	got, _ := reasonIn(plan, k.Rule, k.Container)
	return "; found " + orGone(got)
}

// reasonIn finds the reason of a container, of one rule or of any.
func reasonIn(p policy.Plan, rule, name string) (string, bool) {
	for _, d := range p.Decisions {
		if d.Container.ID == container.HashID(name) && (rule == "" || d.Rule == rule || d.Rule == "") {
			return string(d.Reason), true
		}
	}
	return "", false
}

func killText(k config.TestKill) string {
	return fmt.Sprintf("%s by %s at %s", k.Container, k.Rule, model.Duration(k.At))
}
