// Package kmod reads the document that the kernel module writes to
// /proc/estiba, and writes such documents. kmod/schema/v1.json describes the
// format.
package kmod

import (
	"bytes"
	"fmt"

	"github.com/estiba/estiba/exporter/source"
)

// Schema is the version of the format that this package knows.
const Schema = "1"

// maxID is the longest container id that is believed.
const maxID = 128

// rowKeys are the keys of a container in the order in which the module writes
// them: field is set for numbers, text for the others.
type rowKey struct {
	name  string
	ahead []byte // `,"name":"`
	field source.Field
	text  func(*source.Container) *string
}

type hostKey struct {
	name  string
	field source.HostField
}

// Parser reads documents. It is not safe for concurrent use. It keeps what it
// parsed last, to share texts that did not change.
type Parser struct {
	rows     []rowKey
	rowIndex map[string]int
	top      []hostKey
	topIndex map[string]int
	rest     []hostKey // of "unattributed"

	previous []source.Container
	none     source.Container
}

// NewParser makes a parser.
func NewParser() *Parser {
	p := &Parser{rowIndex: map[string]int{}, topIndex: map[string]int{}}
	p.rows = rowOrder()
	for i, k := range p.rows {
		p.rowIndex[k.name] = i
		p.rows[i].ahead = []byte(`,"` + k.name + `":"`)
	}
	for f := source.HostField(0); int(f) < source.NumHostFields; f++ {
		k := hostKey{f.Info().Key, f}
		if f >= source.FirstUnattributed {
			p.rest = append(p.rest, k)
			continue
		}
		p.topIndex[k.name] = len(p.top)
		p.top = append(p.top, k)
	}
	return p
}

// rowOrder is the order of a container's keys in document version 1.
func rowOrder() []rowKey {
	texts := map[source.Field][]rowKey{ // texts that come before the number
		source.PID:     {{name: "process_name", text: func(c *source.Container) *string { return &c.ProcessName }}},
		source.VSZ:     {{name: "container_id", text: func(c *source.Container) *string { return &c.ID }}},
		source.InitPID: {{name: "namespace", text: func(c *source.Container) *string { return &c.Namespace }}},
		source.StartTime: {
			{name: "command", text: func(c *source.Container) *string { return &c.Command }},
			{name: "cgroup", text: func(c *source.Container) *string { return &c.Cgroup }},
		},
		source.CPUUser:    {{name: "cpu_source", text: func(c *source.Container) *string { return &c.CPUSource }}},
		source.NetRxBytes: {{name: "network", text: func(c *source.Container) *string { return &c.Network }}},
	}
	var keys []rowKey
	for f := source.Field(0); int(f) < source.NumFields; f++ {
		keys = append(keys, texts[f]...)
		keys = append(keys, rowKey{name: f.Info().Key, field: f})
	}
	return append(keys, rowKey{name: "state", text: func(c *source.Container) *string { return &c.State }})
}

// Parse reads one document. Its errors wrap source.ErrMalformed, ErrCut or
// ErrUnsupported. The snapshot does not refer to data.
func (p *Parser) Parse(data []byte) (*source.Snapshot, error) {
	s := &scanner{data: data}
	snap := &source.Snapshot{Source: source.Kmod}
	snap.Containers = make([]source.Container, 0, len(p.previous)+len(p.previous)/8)
	if err := p.document(s, snap); err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if snap.Schema != "" && snap.Schema != Schema {
		return nil, fmt.Errorf("%w %q: this exporter reads schema %s", source.ErrUnsupported, snap.Schema, Schema)
	}
	for _, f := range []source.HostField{source.MemoryTotal, source.MemoryFree, source.MemoryUsed} {
		if _, ok := snap.Host.Get(f); !ok {
			return nil, fmt.Errorf("%w: no %s", source.ErrMalformed, f.Info().Key)
		}
	}
	if _, ok := snap.Host.Get(source.ContainersFound); !ok {
		snap.Host.Set(source.ContainersFound, uint64(len(snap.Containers)))
	}
	p.previous = snap.Containers
	return snap, nil
}

func (p *Parser) document(s *scanner, snap *source.Snapshot) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	seen := false
	for first := true; ; first = false {
		more, err := s.more(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if i, ok := p.topIndex[string(key)]; ok {
			v, err := number(s, p.top[i].name, p.top[i].field.Info().Unit)
			if err != nil {
				return err
			}
			snap.Host.Set(p.top[i].field, v)
			continue
		}
		switch string(key) {
		case "schema":
			err = text(s, &snap.Schema, "")
		case "module":
			err = text(s, &snap.Module, "")
		case "module_version":
			err = text(s, &snap.ModuleVersion, "")
		case "truncated":
			var v string
			err = text(s, &v, "")
			snap.Truncated = v == "true"
		case "unattributed":
			err = p.unattributed(s, snap)
		case "processes":
			seen = true
			snap.Containers = snap.Containers[:0]
			err = p.containers(s, snap)
		default:
			err = s.skip(1)
		}
		if err != nil {
			return err
		}
	}
	if !seen {
		return fmt.Errorf("%w: no processes", source.ErrMalformed)
	}
	return nil
}

func (p *Parser) unattributed(s *scanner, snap *source.Snapshot) error {
	if err := s.expect('{'); err != nil {
		return err
	}
next:
	for first := true; ; first = false {
		more, err := s.more(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		for _, k := range p.rest {
			if string(key) == k.name {
				v, err := number(s, k.name, k.field.Info().Unit)
				if err != nil {
					return err
				}
				snap.Host.Set(k.field, v)
				continue next
			}
		}
		if err := s.skip(2); err != nil {
			return err
		}
	}
}

func (p *Parser) containers(s *scanner, snap *source.Snapshot) error {
	if err := s.expect('['); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := s.more(first, ']')
		if err != nil || !more {
			return err
		}
		n := len(snap.Containers)
		snap.Containers = append(snap.Containers, source.Container{})
		before := &p.none
		if n < len(p.previous) {
			before = &p.previous[n]
		}
		if err := p.container(s, &snap.Containers[n], before); err != nil {
			return err
		}
	}
}

// container reads one line. It expects the keys in the module's order and, at
// each that is not there, looks it up.
func (p *Parser) container(s *scanner, c, before *source.Container) error {
	start := s.pos
	if err := s.expect('{'); err != nil {
		return err
	}
	hint := 0
	for first := true; ; first = false {
		if !first {
			hint = p.ahead(s, c, hint)
		}
		more, err := s.more(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if hint >= len(p.rows) || string(key) != p.rows[hint].name {
			i, ok := p.rowIndex[string(key)]
			if !ok {
				if err := s.skip(3); err != nil {
					return err
				}
				continue
			}
			hint = i
		}
		k := &p.rows[hint]
		hint++
		if k.text != nil {
			if err := text(s, k.text(c), *k.text(before)); err != nil {
				return err
			}
			continue
		}
		v, err := number(s, k.name, k.field.Info().Unit)
		if err != nil {
			return err
		}
		c.Set(k.field, v)
	}
	return check(s, c, start)
}

// ahead takes numbers for as long as they come in the module's order and in
// its very form, and returns the index of the key after the last. Whatever is
// not so is left to container.
func (p *Parser) ahead(s *scanner, c *source.Container, hint int) int {
	for ; hint < len(p.rows); hint++ {
		k := &p.rows[hint]
		if k.text != nil || !bytes.HasPrefix(s.data[s.pos:], k.ahead) {
			return hint
		}
		start := s.pos + len(k.ahead)
		i, digits, v := start, 0, uint64(0)
		percent := k.field.Info().Unit == source.Hundredths
		for ; i < len(s.data); i++ {
			d := s.data[i] - '0'
			if d > 9 {
				break
			}
			v = v*10 + uint64(d)
		}
		digits = i - start
		if percent && i+2 < len(s.data) && s.data[i] == '.' && s.data[i+1]-'0' <= 9 && s.data[i+2]-'0' <= 9 {
			v = v*100 + uint64(s.data[i+1]-'0')*10 + uint64(s.data[i+2]-'0')
			i += 3
		} else if percent {
			return hint
		}
		if digits == 0 || digits > 16 || i >= len(s.data) || s.data[i] != '"' {
			return hint
		}
		c.Set(k.field, v)
		s.pos = i + 1
	}
	return hint
}

// check refuses a container without the fixed keys or with an id that could
// not be one.
func check(s *scanner, c *source.Container, start int) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: container at byte %d: %s", source.ErrMalformed, start, fmt.Sprintf(format, args...))
	}
	for _, f := range [...]source.Field{source.PID, source.VSZ, source.RSS, source.MemoryPercent, source.CPUPercent} {
		if _, ok := c.Get(f); !ok {
			return fail("no %s", f.Info().Key)
		}
	}
	if c.ProcessName == "" {
		return fail("no process_name")
	}
	if c.ID == "N/A" {
		c.ID = ""
	}
	if len(c.ID) > maxID {
		return fail("container_id of %d bytes", len(c.ID))
	}
	for i := 0; i < len(c.ID); i++ {
		switch b := c.ID[i]; {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b == '_', b == '.', b == '-':
		default:
			return fail("container_id %q", c.ID)
		}
	}
	return nil
}

// text reads a string into to, sharing the memory of before if it is the same.
func text(s *scanner, to *string, before string) error {
	b, err := s.text()
	if err != nil {
		return err
	}
	if string(b) == before {
		*to = before
	} else {
		*to = string(b)
	}
	return nil
}

func number(s *scanner, key string, unit source.Unit) (uint64, error) {
	b, err := s.scalar()
	if err != nil {
		return 0, err
	}
	var v uint64
	var ok bool
	if unit == source.Hundredths {
		v, ok = hundredths(b)
	} else {
		v, ok = count(b)
	}
	if !ok {
		return 0, s.bad("%s: %.40q is not a number of its kind", key, b)
	}
	return v, nil
}
