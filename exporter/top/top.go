// Package top shows what the containers of a host use, live in a terminal, as a table, or
// as JSON. It reads a source of its own: neither a running exporter nor Prometheus is
// needed.
//
//	source ─► Reading ─► NewFigures (rates) ─► Model (keys) ─► draw (lines) ─► terminal
//	                               └─► Text, JSON
package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/estiba/estiba/exporter/source"
)

// Options are what Run needs.
type Options struct {
	Source   source.Source
	ProcFS   string
	Describe Namer
	Interval time.Duration
	Timeout  time.Duration // of one snapshot
	Look     Look
	Once     bool
	JSON     bool

	Colour bool // Stdout shows colours
	Width  int  // of the table that Once prints
}

// Run shows figures on out until ctx ends or the user quits; once, with Once.
func Run(ctx context.Context, o Options, in io.Reader, out io.Writer) error {
	if o.Once || o.JSON {
		return o.print(ctx, out)
	}
	m := &Model{
		look: o.Look, describe: o.Describe, interval: o.Interval, colour: o.Colour,
		collect: o.collect, ctx: ctx,
	}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil // a signal
	}
	if err == nil && !m.ready {
		return m.err
	}
	return err
}

// collect takes one snapshot.
func (o Options) collect(ctx context.Context) (*Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	s, err := o.Source.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &Reading{Snapshot: s, Machine: ReadMachine(o.ProcFS), At: time.Now()}, nil
}

// print writes figures of whole intervals, so that all rates are known.
func (o Options) print(ctx context.Context, out io.Writer) error {
	last, err := o.collect(ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			if o.Once {
				return fmt.Errorf("interrupted: %w", ctx.Err())
			}
			return nil
		case <-time.After(o.Interval):
		}
		now, err := o.collect(ctx)
		if err != nil {
			if ctx.Err() != nil && !o.Once {
				return nil
			}
			return err
		}
		if _, newer := elapsed(last, now); !newer && !o.Once {
			continue
		}
		f := NewFigures(last, now, o.Describe)
		if o.JSON {
			err = writeJSON(out, &f, o.Look)
		} else {
			_, err = io.WriteString(out, Text(&f, o.Look, o.Width, o.Colour))
		}
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("writing: %w", err)
		}
		if o.Once {
			return nil
		}
		last = now
	}
}

// writeJSON writes figures as one line. Filter and order are those of the table.
func writeJSON(w io.Writer, f *Figures, l Look) error {
	l.Tree = false
	rows := make([]Row, 0, len(f.Rows))
	for _, i := range items(f, l) {
		rows = append(rows, *i.row)
	}
	shown := *f
	shown.Rows = rows
	b, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escaped(b), '\n'))
	return err
}

// escaped writes characters that clean escapes as \u…, which means the same in JSON: a
// terminal may show it. Outside strings JSON is ASCII.
func escaped(b []byte) []byte {
	var out []byte
	for _, r := range string(b) {
		if plain(r) {
			out = append(out, string(r)...)
			continue
		}
		if r >= 0x10000 {
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			continue
		}
		out = fmt.Appendf(out, `\u%04x`, r)
	}
	return out
}
