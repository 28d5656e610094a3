package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// Report is the classification: what `manager report --output=json` prints.
type Report struct {
	High    []Reported `json:"high"`
	Low     []Reported `json:"low"`
	Unknown []Reported `json:"unclassified"` // run, but Prometheus does not class them (yet)
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

// report prints the high and the low containers, the busiest first.
func report(ctx context.Context, o Options, output string, stdout io.Writer) error {
	b, err := newBrain(o)
	if err != nil {
		return err
	}
	c, err := loadPolicy(o.ConfigFile)
	if err != nil {
		return err
	}
	now := o.Now()
	fresh, err := b.client.Fresh(ctx, now, c.MaxSampleAge)
	if err != nil {
		return err
	}
	if !fresh.Fresh {
		return fmt.Errorf("no fresh data: %w", errors.New(fresh.Why))
	}
	usage, err := b.client.Usage(ctx, now)
	if err != nil {
		return fmt.Errorf("classes and use: %w", err)
	}
	list, err := b.list(ctx)
	if err != nil {
		return err
	}
	var r Report
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
			if a, b := p[i].busy(), p[j].busy(); a != b {
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

func (r Reported) busy() float64 {
	sum := 0.0
	for _, v := range []*float64{r.CPUPercent, r.MemoryPercent} {
		if v != nil {
			sum += *v
		}
	}
	return sum
}

// pids looks up the init process of each container; 0 where it is gone.
func pids(ctx context.Context, engine Engine, list []dockerclient.Container) []int {
	found := make([]int, len(list))
	slots := make(chan struct{}, maxLookups)
	var wg sync.WaitGroup
	for i := range list {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			ctx, cancel := context.WithTimeout(ctx, engineTimeout)
			defer cancel()
			if c, err := engine.Inspect(ctx, list[i].ID); err == nil {
				found[i] = c.PID
			}
		}()
	}
	wg.Wait()
	return found
}

func printReport(w io.Writer, r Report) {
	p := paint{on: isTerminal(w)}
	sections := []struct {
		title string
		rows  []Reported
		style func(string) string
	}{
		{"High containers", r.High, p.red},
		{"Low containers", r.Low, p.green},
		{"Not classified yet", r.Unknown, p.dim},
	}
	for i, s := range sections {
		if i == 2 && len(s.rows) == 0 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %d\n", p.bold(s.title), len(s.rows))
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
}

func two(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *v)
}
