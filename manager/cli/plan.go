// Package cli implements the commands of the manager that print a result and exit.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	commandline "github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
	"github.com/estiba/estiba/manager/units"
)

// Plan decides once and prints the decisions. It holds nothing that could kill: no
// enforcer, no killer, no audit log.
func Plan(ctx context.Context, o gather.Options, file, output string, stdout io.Writer) error {
	g, c, err := prepare(o, file)
	if err != nil {
		return err
	}
	p, err := g.Load(c)
	if err != nil {
		return err
	}
	t := status.NewTick(p, g.Decide(ctx, p, policy.NewMemory(), gather.NoKills{}))
	t.Usage, _ = g.Prometheus().Usage(ctx, t.Time) // display only, like the thresholds
	t.Thresholds = thresholds(ctx, g.Prometheus(), p, t.Time)
	d := status.Describe(t, 1, p.DryRun())
	switch {
	case output == "json":
		err = printJSON(stdout, d)
	case t.Decided:
		printPlan(stdout, d)
	}
	// A script must not take what could not be decided for a decision to kill nothing.
	if err == nil && (!t.Decided || d.Result != gather.TickOK) {
		err = fmt.Errorf("%s: %s", d.Result, d.Error)
	}
	return err
}

// prepare checks the addresses and loads the policy file. It does not connect.
func prepare(o gather.Options, file string) (*gather.Gatherer, *config.Config, error) {
	g, err := gather.New(o)
	if err != nil {
		return nil, nil, err
	}
	c, err := config.LoadOrBuiltIn(file)
	return g, c, err
}

// thresholds queries the values on both sides of the rules' thresholds.
func thresholds(ctx context.Context, client *promql.Client, p *gather.Policy, at time.Time) map[string]status.Threshold {
	found := map[string]status.Threshold{}
	for _, r := range p.Rules {
		threshold := r.Queries.Query.Threshold()
		if threshold == nil {
			continue
		}
		rows, err := client.Vector(ctx, threshold.Left, at)
		if err != nil {
			continue
		}
		one := status.Threshold{Value: threshold.Value, Values: map[string]float64{}}
		for _, row := range rows {
			if math.IsNaN(row.Value) || math.IsInf(row.Value, 0) {
				continue // not representable in JSON
			}
			one.Values[container.ShortID(string(row.Labels["id"]))] = row.Value
		}
		found[r.Config.Name] = one
	}
	return found
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(v)
}

// unitsOf are the units of the rules' values. Those under "" are of containers that are
// no candidates: values beside a threshold, which only some rules have.
func unitsOf(rules []status.RuleState) map[string]units.Unit {
	unit := map[string]units.Unit{}
	for _, r := range rules {
		one := units.Of(r.Query)
		unit[r.Name] = one
		if q, err := promql.ParseExpr(r.Query, ""); err != nil || q.Threshold() == nil {
			continue
		}
		if other, known := unit[""]; known && other != one {
			one = units.Unit{} // ambiguous
		}
		unit[""] = one
	}
	return unit
}

// printable replaces what a terminal could take for a command: values of labels are any
// text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func printPlan(w io.Writer, d status.Decisions) {
	p := commandline.PaintFor(w)
	for _, r := range d.Rules {
		schedule := r.Schedule.Text()
		if schedule != "" {
			schedule = ", " + p.Bold(schedule)
		}
		fmt.Fprintf(w, "rule %s: %s, %s%s\n", p.Bold(r.Name), r.Action, r.Mode, schedule)
		for _, line := range strings.Split(strings.TrimSpace(r.Query), "\n") {
			fmt.Fprintf(w, "    %s\n", p.Dim(line))
		}
		if r.Error != "" {
			fmt.Fprintf(w, "    %s\n", p.Red("no data: "+r.Error))
		}
	}
	planned := p.Green
	if d.KillsPlanned > 0 {
		planned = p.Red
	}
	age := "unknown"
	if d.DataAge != nil {
		age = units.Length(*d.DataAge)
	}
	fmt.Fprintf(w, "data age %s; %s, %d of %d containers in scope, budget left %d\n\n",
		age, planned(fmt.Sprintf("%d would be killed", d.KillsPlanned)), d.InScope, len(d.Containers), d.BudgetLeft)
	if slices.ContainsFunc(d.Rules, func(r status.RuleState) bool { return r.MaxPerHour > 0 }) {
		fmt.Fprintf(w, "max_kills_per_hour: earlier kills are not counted here\n\n")
	}
	unit := unitsOf(d.Rules)
	rows := [][]string{{"DECISION", "REASON", "RULE", "VALUE", "FROM THRESHOLD", "KIND", "CLASS", "ID", "NAME", "PROTECTED BY"}}
	for _, r := range d.Containers {
		reason, value, distance, why := string(r.Reason), "-", "-", make([]string, len(r.Protected))
		if r.Wait > 0 {
			reason += fmt.Sprintf(" (%s left)", units.Length(math.Ceil(r.Wait)))
		}
		if r.Detail != "" {
			reason += " (" + printable(r.Detail) + ")"
		}
		if r.Runtime != "" {
			reason += " (" + r.Runtime + ")"
		}
		if r.Value != nil {
			value = unit[r.Rule].Format(*r.Value)
		}
		if r.Distance != nil {
			distance = unit[r.Rule].FormatDifference(*r.Distance)
		}
		for i, one := range r.Protected {
			why[i] = string(one)
		}
		rows = append(rows, []string{
			string(r.Decision), reason, dash(r.Rule), value, distance, dash(r.Kind), dash(r.Class),
			container.ShortID(r.ID), r.Name, dash(strings.Join(why, ",")),
		})
	}
	printTable(w, rows, func(row []string, cell string) string {
		switch {
		case row[0] == rows[0][0]:
			return p.Bold(cell)
		case row[0] == string(policy.Kill):
			return p.Red(cell)
		case row[2] == "-": // no candidate
			return p.Dim(cell)
		}
		return cell
	})
}
