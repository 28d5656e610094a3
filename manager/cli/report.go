package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	commandline "github.com/estiba/estiba/internal/cli"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

// Report is the output of `manager report --output=json`.
type Report struct {
	High    []Reported `json:"high"`
	Low     []Reported `json:"low"`
	Unknown []Reported `json:"unclassified"` // running, but without a class in Prometheus (yet)
	// Foreign are the containers that another runtime runs, high and low.
	Foreign []Foreign `json:"foreign"`
}

// Foreign is one container that is not on the Engine's list.
type Foreign struct {
	Runtime       string   `json:"runtime"`
	Name          string   `json:"name"`  // "" if unknown
	ID            string   `json:"id"`    // 64 hex digits, or a name
	Class         string   `json:"class"` // high, low or "" (not yet)
	MemoryPercent *float64 `json:"memory_percent"`
	CPUPercent    *float64 `json:"cpu_percent"`
}

// Reported is one running container.
type Reported struct {
	PID           int      `json:"pid"` // of its init process, in the Engine's PID namespace
	Name          string   `json:"name"`
	ID            string   `json:"id"` // 64 hex digits
	Kind          string   `json:"kind"`
	MemoryPercent *float64 `json:"memory_percent"` // of the system
	CPUPercent    *float64 `json:"cpu_percent"`    // 100 is one core
}

// PrintReport prints the high and the low containers, busiest first.
func PrintReport(ctx context.Context, o gather.Options, file, output string, stdout io.Writer) error {
	g, c, err := prepare(o, file)
	if err != nil {
		return err
	}
	now := o.Now()
	fresh, err := g.Prometheus().Fresh(ctx, now, c.MaxSampleAge)
	if err != nil {
		return err
	}
	if !fresh.Fresh {
		return fmt.Errorf("no fresh data: %w", errors.New(fresh.Why))
	}
	usage, err := g.Prometheus().Usage(ctx, now)
	if err != nil {
		return fmt.Errorf("querying classes and usage: %w", err)
	}
	measured, err := g.Prometheus().Measured(ctx, now)
	if err != nil {
		return fmt.Errorf("querying runtimes: %w", err)
	}
	runtime, err := o.Engine.Runtime(ctx)
	if err != nil {
		return err
	}
	list, err := g.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		delete(measured, container.ShortID(c.ID))
	}
	r := Report{Foreign: []Foreign{}}
	for id, m := range measured {
		if u := usage[id]; m.Kubernetes || policy.Foreign(m.Runtime, runtime) {
			r.Foreign = append(r.Foreign, Foreign{m.Runtime, m.Name, cmp.Or(m.ID, id), u.Class, u.MemoryPercent, u.CPUPercent})
		}
	}
	slices.SortFunc(r.Foreign, func(a, b Foreign) int {
		return cmp.Or(cmp.Compare(busy(b.CPUPercent, b.MemoryPercent), busy(a.CPUPercent, a.MemoryPercent)), cmp.Compare(a.ID, b.ID))
	})
	for i, pid := range pids(ctx, o.Engine, list) {
		u := usage[container.ShortID(list[i].ID)]
		one := Reported{
			PID: pid, Name: list[i].Name, ID: list[i].ID, Kind: string(container.ParseLabels(list[i].Labels).Kind),
			MemoryPercent: u.MemoryPercent, CPUPercent: u.CPUPercent,
		}
		switch u.Class {
		case "high":
			r.High = append(r.High, one)
		case "low":
			r.Low = append(r.Low, one)
		default:
			r.Unknown = append(r.Unknown, one)
		}
	}
	for _, part := range []*[]Reported{&r.High, &r.Low, &r.Unknown} {
		if *part == nil {
			*part = []Reported{}
		}
		p := *part
		sort.Slice(p, func(i, j int) bool {
			if a, b := busy(p[i].CPUPercent, p[i].MemoryPercent), busy(p[j].CPUPercent, p[j].MemoryPercent); a != b {
				return a > b
			}
			return p[i].ID < p[j].ID
		})
	}
	if output == "json" {
		return printJSON(stdout, r)
	}
	printReport(stdout, r)
	return nil
}

func busy(percent ...*float64) float64 {
	sum := 0.0
	for _, v := range percent {
		if v != nil {
			sum += *v
		}
	}
	return sum
}

// pids looks up the init process of each container; 0 if it is gone.
func pids(ctx context.Context, engine enforce.Reader, list []dockerclient.Container) []int {
	found := make([]int, len(list))
	places := make([]int, len(list))
	for i := range places {
		places[i] = i
	}
	gather.Parallel(places, func(i int) {
		ctx, cancel := context.WithTimeout(ctx, gather.EngineTimeout)
		defer cancel()
		if c, err := engine.Inspect(ctx, list[i].ID); err == nil {
			found[i] = c.PID
		}
	})
	return found
}

func printReport(w io.Writer, r Report) {
	p := commandline.PaintFor(w)
	sections := []struct {
		title string
		rows  []Reported
		style func(string) string
	}{
		{"High containers", r.High, p.Red},
		{"Low containers", r.Low, p.Green},
		{"Not classified yet", r.Unknown, p.Dim},
	}
	for i, s := range sections {
		if i == 2 && len(s.rows) == 0 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %d\n", p.Bold(s.title), len(s.rows))
		if len(s.rows) == 0 {
			continue
		}
		rows := [][]string{{"PID", "NAME", "ID", "KIND", "MEMORY %", "CPU %"}}
		for _, one := range s.rows {
			rows = append(rows, []string{fmt.Sprint(one.PID), one.Name, container.ShortID(one.ID), dash(one.Kind), two(one.MemoryPercent), two(one.CPUPercent)})
		}
		printTable(w, rows, func(row []string, cell string) string {
			if row[0] == "PID" {
				return cell
			}
			return s.style(cell)
		})
	}
	if len(r.Foreign) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s: %d\n", p.Bold("Of another runtime"), len(r.Foreign))
	rows := [][]string{{"RUNTIME", "NAME", "ID", "CLASS", "MEMORY %", "CPU %"}}
	for _, one := range r.Foreign {
		rows = append(rows, []string{
			dash(one.Runtime), dash(one.Name), container.ShortID(one.ID), dash(one.Class), two(one.MemoryPercent), two(one.CPUPercent),
		})
	}
	printTable(w, rows, func(_ []string, cell string) string { return cell })
}

func two(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *v)
}
