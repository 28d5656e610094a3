package collector

import (
	"io"
	"math"
	"strconv"
	"strings"
)

// chunk is how much text is handed on at a time: it stays in the processor's
// cache between being written and being compressed, and a whole exposition in
// plain text (28 MB with 10,000 containers) is never in memory.
const chunk = 32 << 10

// textWriter collects text and hands it on in chunks.
type textWriter struct {
	to  io.Writer
	b   []byte
	err error // the first of to
}

func newTextWriter(to io.Writer) *textWriter {
	return &textWriter{to: to, b: make([]byte, 0, chunk+chunk/4)}
}

// full hands the text on if there is a chunk of it.
func (w *textWriter) full() {
	if len(w.b) >= chunk {
		w.flush()
	}
}

func (w *textWriter) flush() {
	if w.err == nil {
		_, w.err = w.to.Write(w.b)
	}
	w.b = w.b[:0]
}

// families writes the containers' samples in the text format, or in
// OpenMetrics, which names a counter without its suffix in HELP and TYPE.
func (w *textWriter) families(families []family, rows []row, openMetrics bool) {
	for i := range families {
		f := &families[i]
		header := false
		for j := range f.points {
			p := &f.points[j]
			for k := range rows {
				v, ok := p.value(&rows[k])
				if !ok {
					continue
				}
				if !header {
					w.b, header = appendHeader(w.b, &f.Desc, openMetrics), true
				}
				b := append(w.b, f.Name...)
				b = append(b, '{')
				b = append(b, p.labels(&rows[k])...)
				b = append(b, p.extra...)
				b = append(b, '}', ' ')
				b = appendValue(b, v, p.unit)
				w.b = append(b, '\n')
				w.full()
			}
		}
	}
}

func (w *textWriter) labelErrors(rows []row, openMetrics bool) {
	d := labelErrors()
	header := false
	for i := range rows {
		for _, labels := range rows[i].entry.errors {
			if !header {
				w.b, header = appendHeader(w.b, &d, openMetrics), true
			}
			w.b = append(w.b, d.Name...)
			w.b = append(w.b, '{')
			w.b = append(w.b, labels...)
			w.b = append(w.b, "} 1\n"...)
			w.full()
		}
	}
}

func appendHeader(b []byte, d *Desc, openMetrics bool) []byte {
	name := d.Name
	if openMetrics && d.Type == Counter {
		name = strings.TrimSuffix(name, "_total")
	}
	b = append(b, "# HELP "...)
	b = append(b, name...)
	b = append(b, ' ')
	b = append(b, d.Help...)
	b = append(b, "\n# TYPE "...)
	b = append(b, name...)
	b = append(b, ' ')
	b = append(b, d.Type...)
	return append(b, '\n')
}

// appendValue appends a number exactly, without going through a float where it
// has so many digits.
func appendValue(b []byte, v uint64, u unit) []byte {
	switch u {
	case kilobytes:
		if v > math.MaxUint64/1024 {
			return strconv.AppendFloat(b, float64(v)*1024, 'g', -1, 64)
		}
		return strconv.AppendUint(b, v*1024, 10)
	case nanos:
		return appendDecimal(b, v, 9, 1e9)
	case hundredths:
		return appendDecimal(b, v, 2, 100)
	}
	return strconv.AppendUint(b, v, 10)
}

// appendDecimal appends v/one with at most digits decimals and no zeros at the end.
func appendDecimal(b []byte, v uint64, digits int, one uint64) []byte {
	b = strconv.AppendUint(b, v/one, 10)
	rest := v % one
	if rest == 0 {
		return b
	}
	var d [9]byte
	for i := digits - 1; i >= 0; i-- {
		d[i] = byte('0' + rest%10)
		rest /= 10
	}
	for d[digits-1] == '0' {
		digits--
	}
	b = append(b, '.')
	return append(b, d[:digits]...)
}
