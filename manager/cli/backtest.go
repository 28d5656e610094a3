package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	commandline "github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/replay"
	"github.com/estiba/estiba/manager/units"
)

// BacktestOptions are the options of `manager backtest`.
type BacktestOptions struct {
	Since  time.Duration // length of the history before Until
	Until  time.Time     // the last tick; zero is now
	Policy string        // the policy file; "" is the built-in policy
	Other  string        // a second policy file to compare with; "" is none
	// Runtime is the one whose containers the manager could have killed, docker or podman;
	// "" is docker.
	Runtime string
	Output  string // table or json
	All     bool   // print all kills
}

// Backtest is the output of `manager backtest --output=json`.
type Backtest struct {
	From     time.Time        `json:"from"`
	To       time.Time        `json:"to"`
	Policies []BacktestPolicy `json:"policies"`
	// Difference compares two policies; nil with one.
	Difference *Difference `json:"difference,omitempty"`
}

// BacktestPolicy is the result of one policy.
type BacktestPolicy struct {
	Policy   string  `json:"policy"`
	Interval float64 `json:"interval_seconds"`
	replay.Result
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

// Difference compares the lives that two policies would have ended.
type Difference struct {
	Both       int           `json:"both"`
	Earlier    int           `json:"both_second_earlier"` // of both: the second policy kills earlier
	Later      int           `json:"both_second_later"`
	OnlyFirst  []replay.Kill `json:"only_first"`
	OnlySecond []replay.Kill `json:"only_second"`
}

// RunBacktest decides over the history in Prometheus and prints the kills. It does not
// use the Docker Engine and holds nothing that could kill.
func RunBacktest(ctx context.Context, o gather.Options, b BacktestOptions, stdout, stderr io.Writer) error {
	if b.Since <= 0 {
		return fmt.Errorf("--since must be positive, found %s", b.Since)
	}
	client, err := promql.New(o.PrometheusURL, o.PrometheusHTTPConfig, o.Host, gather.QueryTimeout)
	if err != nil {
		return err
	}
	until := b.Until
	if until.IsZero() {
		until = o.Now()
	}
	files := []string{b.Policy}
	if b.Other != "" {
		files = append(files, b.Other)
	}
	result := Backtest{From: until.Add(-b.Since).UTC(), To: until.UTC()}
	var replayers []*replay.Replayer
	var policies []*config.Config
	for _, file := range files {
		c, err := config.LoadOrBuiltIn(file)
		if err != nil {
			return err
		}
		r, err := replay.New(client, c, cmp.Or(b.Runtime, container.Docker))
		if err != nil {
			return err
		}
		replayers, policies = append(replayers, r), append(policies, c)
		result.Policies = append(result.Policies, BacktestPolicy{Policy: config.PolicyName(file), Interval: c.Interval.Seconds()})
	}
	for i, r := range replayers {
		m, err := replay.Moments(result.From, until, policies[i].Interval)
		if err != nil {
			return err
		}
		bar := newProgress(stderr, result.Policies[i].Policy, m.N)
		r.Progress = bar.show
		p := &result.Policies[i]
		p.Result, err = r.Run(ctx, m)
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
	printBacktest(stdout, result, policies, b.All)
	return nil
}

func totals(kills []replay.Kill) []Total {
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

// difference compares two policies by life: a restarted container is another one.
func difference(first, second []replay.Kill) Difference {
	type life struct {
		id    string
		start int64
	}
	of := func(k replay.Kill) life { return life{k.ID, k.Start.UnixMicro()} }
	d := Difference{OnlyFirst: []replay.Kill{}, OnlySecond: []replay.Kill{}}
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

// shownKills limits each list of kills in the table.
const shownKills = 50

func printBacktest(w io.Writer, b Backtest, policies []*config.Config, all bool) {
	p := commandline.PaintFor(w)
	clock := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
	kills := func(list []replay.Kill, c *config.Config, style func(string) string) {
		unit := map[string]units.Unit{}
		for _, r := range c.Rules {
			unit[r.Name] = units.Of(r.Query)
		}
		rows := [][]string{{"TIME (UTC)", "RULE", "KIND", "VALUE", "ID", "NAME"}}
		cut := 0
		for i, k := range list {
			if i >= shownKills && !all {
				cut = len(list) - i
				break
			}
			rule := k.Rule
			if k.Mode == policy.DryRun {
				rule += " (dry run)"
			}
			rows = append(rows, []string{clock(k.Time), rule, dash(k.Kind), unit[k.Rule].Format(k.Value), container.ShortID(k.ID), k.Name})
		}
		printTable(w, rows, func(row []string, cell string) string {
			if row[0] == rows[0][0] {
				return p.Bold(cell)
			}
			return style(cell)
		})
		if cut > 0 {
			fmt.Fprintln(w, p.Dim(fmt.Sprintf("and %d more; use --all to print all", cut)))
		}
	}
	fmt.Fprintf(w, "From %s to %s UTC. No container was killed: these kills would have been made.\n", clock(b.From), clock(b.To))
	for i, one := range b.Policies {
		ticks := 0
		for _, n := range one.Ticks {
			ticks += n
		}
		fmt.Fprintf(w, "\n%s: %d kills in %d ticks, one every %gs\n", p.Bold(one.Policy), len(one.Kills), ticks, one.Interval)
		for _, r := range []gather.TickResult{gather.TickNoFreshData, gather.TickPrometheusError} {
			if n := one.Ticks[r]; n > 0 {
				fmt.Fprintln(w, p.Red(fmt.Sprintf("  skipped ticks: %d, %s", n, r)))
			}
		}
		for _, note := range notes(one.Result, policies[i]) {
			fmt.Fprintln(w, p.Dim("  "+note))
		}
		if len(one.Kills) == 0 {
			continue
		}
		if len(b.Policies) == 1 {
			fmt.Fprintln(w)
			kills(one.Kills, policies[i], p.Red)
		}
		fmt.Fprintln(w)
		rows := [][]string{{"RULE", "KIND", "KILLS", "FIRST (UTC)", "LAST (UTC)"}}
		for _, t := range one.Totals {
			rows = append(rows, []string{t.Rule, dash(t.Kind), fmt.Sprint(t.Kills), clock(t.First), clock(t.Last)})
		}
		printTable(w, rows, func(row []string, cell string) string {
			if row[0] == "RULE" {
				return p.Bold(cell)
			}
			return cell
		})
	}
	if d := b.Difference; d != nil {
		fmt.Fprintf(w, "\n%s: both kill %d", p.Bold("Difference"), d.Both)
		if d.Earlier+d.Later > 0 {
			fmt.Fprintf(w, ", the second policy %d of them earlier and %d later", d.Earlier, d.Later)
		}
		fmt.Fprintln(w)
		for i, list := range [][]replay.Kill{d.OnlyFirst, d.OnlySecond} {
			fmt.Fprintf(w, "\nonly %s kills %d\n", p.Bold(b.Policies[i].Policy), len(list))
			if len(list) > 0 {
				kills(list, policies[i], []func(string) string{p.Red, p.Green}[i])
			}
		}
	}
}

// notes are the limits of what the history shows.
func notes(r replay.Result, c *config.Config) []string {
	var list []string
	for _, s := range r.Stopped {
		list = append(list, fmt.Sprintf("%s: rule %s stops: its kills bring no relief", s.Time.Format("2006-01-02 15:04:05"), s.Rule))
	}
	var rules []string
	for name := range r.Unusable {
		rules = append(rules, name)
	}
	sort.Strings(rules)
	for _, name := range rules {
		u := r.Unusable[name]
		list = append(list, fmt.Sprintf("rule %s: %d ticks with an unusable query result, last error: %s", name, u.Ticks, strings.TrimSpace(u.Error)))
	}
	for _, label := range r.UnknownLabels {
		list = append(list, fmt.Sprintf("keep by label:%s: no container in the history has this label, so each one may be the last; the exporter publishes it with --docker.label=%s", label, label))
	}
	if len(c.Protect.Labels) > 0 {
		list = append(list, "protect.labels: not in the history; labels that protected a container at that time count")
	}
	return list
}
