package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress draws one line on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer
	what  string
	total int
	begun time.Time
	last  time.Time
}

// progressEvery bounds how often the line is drawn.
const progressEvery = 100 * time.Millisecond

func newProgress(w io.Writer, what string, total int) *progress {
	p := &progress{what: what, total: total, begun: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// show draws the line: how far, how many kills, how long it may take yet.
func (p *progress) show(done, kills int) {
	now := time.Now()
	if p.w == nil || (now.Sub(p.last) < progressEvery && done < p.total) {
		return
	}
	p.last = now
	fmt.Fprintf(p.w, "\r\x1b[K%s", progressLine(p.what, done, p.total, kills, now.Sub(p.begun)))
}

// clear takes the line away, so that what follows stands alone.
func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func progressLine(what string, done, total, kills int, took time.Duration) string {
	const width = 24
	full := width * done / total
	left := "-"
	if done > 0 {
		left = (took * time.Duration(total-done) / time.Duration(done)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s [%s%s] %3d %%  %d kills, %s left", what, strings.Repeat("#", full), strings.Repeat(".", width-full), 100*done/total, kills, left)
}
