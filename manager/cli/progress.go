package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	commandline "github.com/estiba/estiba/internal/cli"
)

// progress draws a progress bar on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer
	what  string
	total int
	begun time.Time
	last  time.Time
}

// progressEvery is the shortest interval between two updates.
const progressEvery = 100 * time.Millisecond

func newProgress(w io.Writer, what string, total int) *progress {
	p := &progress{what: what, total: total, begun: time.Now()}
	if commandline.PaintFor(w).On {
		p.w = w
	}
	return p
}

// show draws the bar: progress, kills, estimated time left.
func (p *progress) show(done, kills int) {
	now := time.Now()
	if p.w == nil || (now.Sub(p.last) < progressEvery && done < p.total) {
		return
	}
	p.last = now
	fmt.Fprintf(p.w, "\r\x1b[K%s", progressLine(p.what, done, p.total, kills, now.Sub(p.begun)))
}

// clear removes the bar.
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
