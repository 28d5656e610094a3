package collector

import (
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/estiba/estiba/exporter/source"
)

// chunk is the size of a write: it stays in the CPU cache until it is compressed, and the
// complete text (28 MB with 10,000 containers) is never in memory.
const chunk = 32 << 10

// textWriter buffers text and writes it in chunks.
type textWriter struct {
	to  io.Writer
	b   []byte
	err error // first error of to
}

func newTextWriter(to io.Writer) *textWriter {
	return &textWriter{to: to, b: make([]byte, 0, chunk+chunk/4)}
}

// full flushes a complete chunk.
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

// families writes the samples of containers in the text format, or in OpenMetrics, which
// omits a counter's suffix in HELP and TYPE.
func (w *textWriter) families(families []family, rows, ended []row, openMetrics bool) {
	for i := range families {
		f := &families[i]
		header := false
		for j := range f.points {
			header = w.samples(f, &f.points[j], rows, header, openMetrics)
			if f.ended {
				header = w.samples(f, &f.points[j], ended, header, openMetrics)
			}
		}
	}
}

// samples writes one point of a family for each row that has it, after the family's
// header. It reports whether the header was written.
func (w *textWriter) samples(f *family, p *point, rows []row, header, openMetrics bool) bool {
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
		if p.signed {
			b = strconv.AppendInt(b, int64(v), 10)
		} else {
			b = appendValue(b, v, p.unit)
		}
		w.b = append(b, '\n')
		w.full()
	}
	return header
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

// appendValue appends a number exactly, without the rounding of a float.
func appendValue(b []byte, v uint64, u source.Unit) []byte {
	switch u {
	case source.Kilobytes:
		if v > math.MaxUint64/1024 {
			return strconv.AppendFloat(b, float64(v)*1024, 'g', -1, 64)
		}
		return strconv.AppendUint(b, v*1024, 10)
	case source.Nanos:
		return appendDecimal(b, v, 9, 1e9)
	case source.Hundredths:
		return appendDecimal(b, v, 2, 100)
	}
	return strconv.AppendUint(b, v, 10)
}

// appendDecimal appends v/one with at most digits decimals and no trailing zeros.
func appendDecimal(b []byte, v uint64, digits int, one uint64) []byte {
	b = strconv.AppendUint(b, v/one, 10)
	fraction := v % one
	if fraction == 0 {
		return b
	}
	var d [9]byte
	for i := digits - 1; i >= 0; i-- {
		d[i] = byte('0' + fraction%10)
		fraction /= 10
	}
	for d[digits-1] == '0' {
		digits--
	}
	b = append(b, '.')
	return append(b, d[:digits]...)
}
