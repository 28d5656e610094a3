package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// printer writes whole lines, each with the time since the start in front.
type printer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func newPrinter(w io.Writer, start time.Time) *printer { return &printer{w: w, start: start} }

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := time.Since(p.start).Round(time.Second)
	fmt.Fprintf(p.w, "[%2d:%02d] %s\n", int(since.Minutes()), int(since.Seconds())%60, fmt.Sprintf(format, args...))
}

func (p *printer) blank() {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w)
}

// text writes a block as it is.
func (p *printer) text(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.w, s)
}
