package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/status"
)

// plan decides once and prints it. It holds nothing that could act: no
// enforcer, no killer, no record.
func plan(ctx context.Context, o Options, output string, stdout io.Writer) error {
	b, err := newBrain(o)
	if err != nil {
		return err
	}
	c, err := loadPolicy(o.ConfigFile)
	if err != nil {
		return err
	}
	l, err := b.load(c)
	if err != nil {
		return err
	}
	t := b.decide(ctx, l, policy.NewMemory(), func(string) bool { return false }).tick
	t.Usage, _ = b.client.Usage(ctx, t.Time) // for showing only, like the lines
	t.Lines = lines(ctx, b, l, t.Time)
	dry := true
	for _, r := range c.Rules {
		dry = dry && c.EffectiveMode(r, o.DryRun) == config.ModeDryRun
	}
	d := status.Describe(t, 1, dry)
	if output == "json" {
		return printJSON(stdout, d)
	}
	printPlan(stdout, d)
	if !t.Decided {
		return fmt.Errorf("%s: %s", d.Result, d.Error)
	}
	return nil
}

// lines asks for what lies on both sides of the rules' thresholds.
func lines(ctx context.Context, b *brain, l *loaded, at time.Time) map[string]status.Line {
	found := map[string]status.Line{}
	for i, q := range l.questions {
		line := q.Query.Line()
		if line == nil {
			continue
		}
		rows, err := b.client.Vector(ctx, line.Left, at)
		if err != nil {
			continue
		}
		one := status.Line{Value: line.Value, Values: map[string]float64{}}
		for _, r := range rows {
			one.Values[container.ShortID(string(r.Labels["id"]))] = r.Value
		}
		found[l.config.Rules[i].Name] = one
	}
	return found
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(v)
}

func printPlan(w io.Writer, d status.Decisions) {
	p := paint{on: isTerminal(w)}
	for _, r := range d.Rules {
		fmt.Fprintf(w, "rule %s: %s, %s\n", p.bold(r.Name), r.Action, r.Mode)
		for _, line := range strings.Split(strings.TrimSpace(r.Query), "\n") {
			fmt.Fprintf(w, "    %s\n", p.dim(line))
		}
		if r.Error != "" {
			fmt.Fprintf(w, "    %s\n", p.red("no data: "+r.Error))
		}
	}
	if d.Result != status.TickOK {
		fmt.Fprintf(w, "%s\n", p.red(fmt.Sprintf("%s: %s", d.Result, d.Error)))
	}
	age := "not known"
	if d.DataAge != nil {
		age = fmt.Sprintf("%.1f s", *d.DataAge)
	}
	fmt.Fprintf(w, "data age %s; %s, %d of %d containers in scope, budget left %d\n\n",
		age, p.bold(fmt.Sprintf("%d would be killed", d.KillsPlanned)), d.InScope, len(d.Containers), d.BudgetLeft)
	rows := [][]string{{"VERDICT", "REASON", "RULE", "VALUE", "FROM LINE", "KIND", "CLASS", "ID", "NAME", "PROTECTED BY"}}
	for _, r := range d.Containers {
		reason, value, distance, why := string(r.Reason), "-", "-", make([]string, len(r.Protected))
		if r.Wait > 0 {
			reason += fmt.Sprintf(" (%.0f s left)", r.Wait)
		}
		if r.Value != nil {
			value = fmt.Sprintf("%.4g", *r.Value)
		}
		if r.Distance != nil {
			distance = fmt.Sprintf("%+.4g", *r.Distance)
		}
		for i, one := range r.Protected {
			why[i] = string(one)
		}
		rows = append(rows, []string{string(r.Decision), reason, dash(r.Rule), value, distance, dash(r.Kind), dash(r.Class),
			container.ShortID(r.ID), r.Name, dash(strings.Join(why, ","))})
	}
	printTable(w, rows, func(row []string, cell string) string {
		switch {
		case row[0] == rows[0][0]:
			return p.bold(cell)
		case row[0] == string(policy.Kill):
			return p.red(cell)
		case row[2] == "-": // no rule wants it
			return p.dim(cell)
		}
		return cell
	})
}
