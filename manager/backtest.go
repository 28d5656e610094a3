package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
)

// BacktestOptions is what `manager backtest` is asked for.
type BacktestOptions struct {
	Since  time.Duration // how far back, from Until
	Until  time.Time     // the last tick; zero is now
	Other  string        // a second policy file to compare with; "" is none
	Output string        // table or json
	All    bool          // print every kill, however many
}

// Backtest is the document of `manager backtest --output=json`.
type Backtest struct {
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Policies []BacktestPolicy `json:"policies"`
	// Difference is that of two policies; nil with one.
	Difference *Difference `json:"difference,omitempty"`
}

// BacktestPolicy is what one policy would have done.
type BacktestPolicy struct {
	Policy   string  `json:"policy"`
	Interval float64 `json:"interval_seconds"`
	Replay
	Totals []Total `json:"totals"`
}

// Total counts the kills of a rule and kind.
type Total struct {
	Rule  string      `json:"rule"`
	Kind  string      `json:"kind"`
	Mode  policy.Mode `json:"mode"`
	Kills int         `json:"kills"`
	First time.Time   `json:"first"`
	Last  time.Time   `json:"last"`
}

// Difference is which lives two policies would have ended.
type Difference struct {
	Both       int        `json:"both"`
	Earlier    int        `json:"both_second_earlier"` // of both: the second policy is the quicker one
	Later      int        `json:"both_second_later"`
	OnlyFirst  []PastKill `json:"only_first"`
	OnlySecond []PastKill `json:"only_second"`
}

// backtest decides over Prometheus' history and prints what would have been
// killed. It asks no Docker Engine and holds nothing that could act.
func backtest(ctx context.Context, o Options, b BacktestOptions, stdout, stderr io.Writer) error {
	if b.Since <= 0 {
		return fmt.Errorf("--since %s: there is no past in it", b.Since)
	}
	client, err := promql.New(o.PrometheusURL, o.PrometheusHTTPConfig, o.Host, queryTimeout)
	if err != nil {
		return err
	}
	until := b.Until
	if until.IsZero() {
		until = o.Now()
	}
	files := []string{o.ConfigFile}
	if b.Other != "" {
		files = append(files, b.Other)
	}
	result := Backtest{From: until.Add(-b.Since).UTC(), To: until.UTC()}
	var replayers []*replayer
	for _, file := range files {
		c, err := loadPolicy(file)
		if err != nil {
			return err
		}
		r, err := newReplayer(client, c)
		if err != nil {
			return err
		}
		replayers = append(replayers, r)
		result.Policies = append(result.Policies, BacktestPolicy{Policy: policyName(file), Interval: c.Interval.Seconds()})
	}
	for i, r := range replayers {
		m, err := moments(result.From, until, r.loaded.config.Interval)
		if err != nil {
			return err
		}
		bar := newProgress(stderr, result.Policies[i].Policy, m.N)
		r.progress = bar.show
		p := &result.Policies[i]
		p.Replay, err = r.run(ctx, m)
		bar.clear()
		if err != nil {
			return err
		}
		p.Totals = totals(p.Kills)
	}
	if len(result.Policies) == 2 {
		d := difference(result.Policies[0].Kills, result.Policies[1].Kills)
		result.Difference = &d
	}
	if b.Output == "json" {
		return printJSON(stdout, result)
	}
	printBacktest(stdout, result, replayers, b.All)
	return nil
}

func totals(kills []PastKill) []Total {
	type key struct {
		rule, kind string
		mode       policy.Mode
	}
	at := map[key]int{}
	list := []Total{}
	for _, k := range kills {
		i, known := at[key{k.Rule, k.Kind, k.Mode}]
		if !known {
			i = len(list)
			at[key{k.Rule, k.Kind, k.Mode}] = i
			list = append(list, Total{Rule: k.Rule, Kind: k.Kind, Mode: k.Mode, First: k.Time})
		}
		list[i].Kills++
		list[i].Last = k.Time
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].Rule != list[j].Rule {
			return list[i].Rule < list[j].Rule
		}
		return list[i].Kind < list[j].Kind
	})
	return list
}

// difference compares two policies life by life: a container that was
// restarted is another one.
func difference(first, second []PastKill) Difference {
	type life struct {
		id    string
		start int64
	}
	of := func(k PastKill) life { return life{k.ID, k.start.UnixMicro()} }
	d := Difference{OnlyFirst: []PastKill{}, OnlySecond: []PastKill{}}
	when := map[life]time.Time{}
	for _, k := range first {
		if _, again := when[of(k)]; !again {
			when[of(k)] = k.Time
		}
	}
	matched := map[life]bool{}
	for _, k := range second {
		at, both := when[of(k)]
		switch {
		case matched[of(k)]:
		case !both:
			d.OnlySecond = append(d.OnlySecond, k)
		default:
			d.Both++
			if k.Time.Before(at) {
				d.Earlier++
			} else if k.Time.After(at) {
				d.Later++
			}
		}
		matched[of(k)] = true
	}
	for _, k := range first {
		if !matched[of(k)] {
			matched[of(k)] = true
			d.OnlyFirst = append(d.OnlyFirst, k)
		}
	}
	return d
}

// shownPastKills bounds each list of kills in the table.
const shownPastKills = 50

func printBacktest(w io.Writer, b Backtest, replayers []*replayer, all bool) {
	p := paint{on: isTerminal(w)}
	clock := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
	kills := func(list []PastKill, style func(string) string) {
		rows := [][]string{{"TIME (UTC)", "RULE", "KIND", "VALUE", "ID", "NAME"}}
		cut := 0
		for i, k := range list {
			if i >= shownPastKills && !all {
				cut = len(list) - i
				break
			}
			rule := k.Rule
			if k.Mode == policy.DryRun {
				rule += " (dry run)"
			}
			rows = append(rows, []string{clock(k.Time), rule, dash(k.Kind), fmt.Sprintf("%.4g", k.Value), container.ShortID(k.ID), k.Name})
		}
		printTable(w, rows, func(row []string, cell string) string {
			if row[0] == rows[0][0] {
				return p.bold(cell)
			}
			return style(cell)
		})
		if cut > 0 {
			fmt.Fprintln(w, p.dim(fmt.Sprintf("and %d more; --all prints them", cut)))
		}
	}
	fmt.Fprintf(w, "From %s to %s UTC. Nothing was killed: this is what would have been.\n", clock(b.From), clock(b.To))
	for i, one := range b.Policies {
		ticks := 0
		for _, n := range one.Ticks {
			ticks += n
		}
		fmt.Fprintf(w, "\n%s: %d kills in %d ticks, one each %gs\n", p.bold(one.Policy), len(one.Kills), ticks, one.Interval)
		for _, r := range []status.TickResult{status.TickNoFreshData, status.TickPrometheusError} {
			if n := one.Ticks[r]; n > 0 {
				fmt.Fprintln(w, p.red(fmt.Sprintf("  ticks without kills: %d, %s", n, r)))
			}
		}
		for _, note := range notes(one.Replay, replayers[i].loaded.config) {
			fmt.Fprintln(w, p.dim("  "+note))
		}
		if len(one.Kills) == 0 {
			continue
		}
		if len(b.Policies) == 1 {
			fmt.Fprintln(w)
			kills(one.Kills, p.red)
		}
		fmt.Fprintln(w)
		rows := [][]string{{"RULE", "KIND", "KILLS", "FIRST (UTC)", "LAST (UTC)"}}
		for _, t := range one.Totals {
			rows = append(rows, []string{t.Rule, dash(t.Kind), fmt.Sprint(t.Kills), clock(t.First), clock(t.Last)})
		}
		printTable(w, rows, func(row []string, cell string) string {
			if row[0] == "RULE" {
				return p.bold(cell)
			}
			return cell
		})
	}
	if d := b.Difference; d != nil {
		fmt.Fprintf(w, "\n%s: both kill %d", p.bold("Difference"), d.Both)
		if d.Earlier+d.Later > 0 {
			fmt.Fprintf(w, ", the second one %d of them earlier and %d later", d.Earlier, d.Later)
		}
		fmt.Fprintln(w)
		for i, list := range [][]PastKill{d.OnlyFirst, d.OnlySecond} {
			fmt.Fprintf(w, "\nonly %s kills %d\n", p.bold(b.Policies[i].Policy), len(list))
			if len(list) > 0 {
				kills(list, []func(string) string{p.red, p.green}[i])
			}
		}
	}
}

// notes says where the past tells less than the present would.
func notes(r Replay, c *config.Config) []string {
	var list []string
	for _, s := range r.Stopped {
		list = append(list, fmt.Sprintf("%s: rule %s stops itself, its kills bring no relief", s.Time.Format("2006-01-02 15:04:05"), s.Rule))
	}
	var rules []string
	for name := range r.Unusable {
		rules = append(rules, name)
	}
	sort.Strings(rules)
	for _, name := range rules {
		list = append(list, fmt.Sprintf("rule %s: %d ticks without a usable answer, the last one: %s", name, r.Unusable[name].Ticks, strings.TrimSpace(r.Unusable[name].Error)))
	}
	if len(c.Protect.Labels) > 0 {
		list = append(list, "protect.labels: history has no labels; what the manager of that time protected by label counts")
	}
	return list
}
