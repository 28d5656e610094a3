package kmod

import (
	"bufio"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/estiba/estiba/exporter/source"
)

// Write writes a snapshot as document version 1: values as strings, one container per
// line, without unknown values.
func Write(w io.Writer, snap *source.Snapshot) error {
	out := bufio.NewWriterSize(w, 64<<10)
	d := &writer{}
	d.buf = append(d.buf, "{\n"...)
	d.text("schema", Schema)
	d.optional("module", snap.Module)
	d.optional("module_version", snap.ModuleVersion)
	for f := source.HostField(0); f < source.FirstUnattributed; f++ {
		if v, ok := snap.Host.Get(f); ok {
			d.number(f.Info(), v)
		}
	}
	d.open("unattributed")
	for f := source.FirstUnattributed; int(f) < source.NumHostFields; f++ {
		if v, ok := snap.Host.Get(f); ok {
			d.number(f.Info(), v)
		}
	}
	d.buf = append(d.buf, "},\n\"processes\":["...)
	rows := rowOrder()
	for i := range snap.Containers {
		if i > 0 {
			d.buf = append(d.buf, ',')
		}
		d.container(rows, &snap.Containers[i])
		if _, err := out.Write(d.buf); err != nil {
			return err
		}
		d.buf = d.buf[:0]
	}
	if len(snap.Containers) > 0 {
		d.buf = append(d.buf, '\n')
	}
	d.buf = append(d.buf, ']')
	if snap.Truncated {
		d.buf = append(d.buf, ",\n\"truncated\":\"true\""...)
	}
	d.buf = append(d.buf, "\n}\n"...)
	if _, err := out.Write(d.buf); err != nil {
		return err
	}
	return out.Flush()
}

type writer struct{ buf []byte }

func (d *writer) container(rows []rowKey, c *source.Container) {
	d.buf = append(d.buf, "\n{"...)
	for _, k := range rows {
		switch {
		case k.name == "container_id" && c.ID == "":
			d.text(k.name, "N/A")
		case k.text != nil:
			d.optional(k.name, *k.text(c))
		default:
			if v, ok := c.Get(k.field); ok {
				d.number(k.field.Info(), v)
			}
		}
	}
	d.buf = append(d.buf, '}')
}

func (d *writer) key(name string) {
	if n := len(d.buf); n > 0 && d.buf[n-1] == '"' {
		d.buf = append(d.buf, ',')
	}
	d.buf = append(d.buf, '"')
	d.buf = append(d.buf, name...)
	d.buf = append(d.buf, `":`...)
}

func (d *writer) open(name string) {
	d.key(name)
	d.buf = append(d.buf, '{')
}

func (d *writer) number(i source.FieldInfo, v uint64) {
	d.key(i.Key)
	d.buf = append(d.buf, '"')
	if i.Unit == source.Hundredths {
		d.buf = strconv.AppendUint(d.buf, v/100, 10)
		d.buf = append(d.buf, '.', byte('0'+v/10%10), byte('0'+v%10))
	} else {
		d.buf = strconv.AppendUint(d.buf, v, 10)
	}
	d.buf = append(d.buf, '"')
}

func (d *writer) optional(name, value string) {
	if value != "" {
		d.text(name, value)
	}
}

func (d *writer) text(name, value string) {
	const hex = "0123456789abcdef"
	d.key(name)
	d.buf = append(d.buf, '"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			d.buf = append(d.buf, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			d.buf = append(d.buf, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			d.buf = utf8.AppendRune(d.buf, r) // invalid bytes are U+FFFD
		}
	}
	d.buf = append(d.buf, '"')
}
