package collector

import (
	"strconv"
	"strings"
)

// writeFamilies appends the containers' samples in the text format, or in
// OpenMetrics, which names a counter without its suffix in HELP and TYPE.
func writeFamilies(b []byte, families []family, rows []row, openMetrics bool) []byte {
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
					b, header = appendHeader(b, &f.Desc, openMetrics), true
				}
				b = append(b, f.Name...)
				b = append(b, '{')
				b = append(b, p.labels(&rows[k])...)
				b = append(b, p.extra...)
				b = append(b, '}', ' ')
				b = appendValue(b, v, p.unit)
				b = append(b, '\n')
			}
		}
	}
	return b
}

func writeLabelErrors(b []byte, rows []row, openMetrics bool) []byte {
	d := labelErrors()
	header := false
	for i := range rows {
		for _, labels := range rows[i].entry.errors {
			if !header {
				b, header = appendHeader(b, &d, openMetrics), true
			}
			b = append(b, d.Name...)
			b = append(b, '{')
			b = append(b, labels...)
			b = append(b, "} 1\n"...)
		}
	}
	return b
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

// appendValue appends a number exactly, without going through a float.
func appendValue(b []byte, v uint64, u unit) []byte {
	switch u {
	case kilobytes:
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
