// Package kmod reads and writes the kernel module's document, /proc/estiba. Its format
// is kmod/schema/v1.json.
package kmod

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/jsonscan"
)

// Schema is the supported version of the format.
const Schema = "1"

// rowKey is a key of a container: field for numbers, text for strings.
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

// Parser parses documents. It is not safe for concurrent use. It keeps the last
// containers, to share unchanged strings.
type Parser struct {
	rows             []rowKey
	rowIndex         map[string]int
	top              []hostKey
	topIndex         map[string]int
	unattributedKeys []hostKey // of "unattributed"

	previous []source.Container
	none     source.Container
}

// NewParser returns a parser.
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
			p.unattributedKeys = append(p.unattributedKeys, k)
			continue
		}
		p.topIndex[k.name] = len(p.top)
		p.top = append(p.top, k)
	}
	return p
}

// rowOrder returns the keys of a container in the order of document version 1.
func rowOrder() []rowKey {
	texts := map[source.Field][]rowKey{ // strings before the number
		source.PID: {{name: "process_name", text: func(c *source.Container) *string { return &c.ProcessName }}},
		source.VSZ: {{name: "container_id", text: func(c *source.Container) *string { return &c.ID }}},
		source.User: {
			{name: "namespace", text: func(c *source.Container) *string { return &c.Namespace }},
			{name: "runtime", text: func(c *source.Container) *string { return &c.Runtime }},
			{name: "pod", text: func(c *source.Container) *string { return &c.Pod }},
			{name: "pause", text: func(c *source.Container) *string { return &c.Pause }},
		},
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

// Parse parses one document. Its errors wrap source.ErrMalformed, ErrCut or
// ErrUnsupported. The snapshot does not reference data.
func (p *Parser) Parse(data []byte) (*source.Snapshot, error) {
	s := &jsonscan.Scanner{Data: data}
	snap := &source.Snapshot{Source: source.Kmod}
	snap.Containers = make([]source.Container, 0, len(p.previous)+len(p.previous)/8)
	err := p.document(s, snap)
	if err == nil {
		err = s.End()
	}
	var syntax *jsonscan.Error
	switch {
	case errors.As(err, &syntax) && syntax.Cut():
		return nil, fmt.Errorf("%w after %d bytes", source.ErrCut, len(data))
	case syntax != nil:
		return nil, fmt.Errorf("%w %w", source.ErrMalformed, err)
	case err != nil:
		return nil, err
	}
	if snap.Schema != "" && snap.Schema != Schema {
		return nil, fmt.Errorf("%w %q: expected %s", source.ErrUnsupported, snap.Schema, Schema)
	}
	for _, f := range []source.HostField{source.MemoryTotal, source.MemoryFree, source.MemoryUsed} {
		if _, ok := snap.Host.Get(f); !ok {
			return nil, fmt.Errorf("%w: missing %s", source.ErrMalformed, f.Info().Key)
		}
	}
	if _, ok := snap.Host.Get(source.ContainersFound); !ok {
		snap.Host.Set(source.ContainersFound, uint64(len(snap.Containers)))
	}
	p.previous = snap.Containers
	return snap, nil
}

func (p *Parser) document(s *jsonscan.Scanner, snap *source.Snapshot) error {
	if err := s.Expect('{'); err != nil {
		return err
	}
	seen := false
	for first := true; ; first = false {
		more, err := s.More(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := s.Key()
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
			err = s.Skip(1)
		}
		if err != nil {
			return err
		}
	}
	if !seen {
		return fmt.Errorf("%w: missing processes", source.ErrMalformed)
	}
	return nil
}

func (p *Parser) unattributed(s *jsonscan.Scanner, snap *source.Snapshot) error {
	if err := s.Expect('{'); err != nil {
		return err
	}
next:
	for first := true; ; first = false {
		more, err := s.More(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.Key()
		if err != nil {
			return err
		}
		for _, k := range p.unattributedKeys {
			if string(key) == k.name {
				v, err := number(s, k.name, k.field.Info().Unit)
				if err != nil {
					return err
				}
				snap.Host.Set(k.field, v)
				continue next
			}
		}
		if err := s.Skip(2); err != nil {
			return err
		}
	}
}

func (p *Parser) containers(s *jsonscan.Scanner, snap *source.Snapshot) error {
	if err := s.Expect('['); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := s.More(first, ']')
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

// container parses one container. It expects the keys in the module's order and looks
// up any other key.
func (p *Parser) container(s *jsonscan.Scanner, c, before *source.Container) error {
	start := s.Pos
	if err := s.Expect('{'); err != nil {
		return err
	}
	hint := 0
	for first := true; ; first = false {
		if !first {
			hint = p.ahead(s, c, hint)
		}
		more, err := s.More(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := s.Key()
		if err != nil {
			return err
		}
		if hint >= len(p.rows) || string(key) != p.rows[hint].name {
			i, ok := p.rowIndex[string(key)]
			if !ok {
				if err := s.Skip(3); err != nil {
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
	return check(c, start)
}

// ahead takes numbers as long as they have exactly the module's order and format, and
// returns the index of the key after the last. container parses everything else.
func (p *Parser) ahead(s *jsonscan.Scanner, c *source.Container, hint int) int {
	for ; hint < len(p.rows); hint++ {
		k := &p.rows[hint]
		if k.text != nil || !bytes.HasPrefix(s.Data[s.Pos:], k.ahead) {
			return hint
		}
		start := s.Pos + len(k.ahead)
		i, digits, v := start, 0, uint64(0)
		percent := k.field.Info().Unit == source.Hundredths
		for ; i < len(s.Data); i++ {
			d := s.Data[i] - '0'
			if d > 9 {
				break
			}
			v = v*10 + uint64(d)
		}
		digits = i - start
		if percent && i+2 < len(s.Data) && s.Data[i] == '.' && s.Data[i+1]-'0' <= 9 && s.Data[i+2]-'0' <= 9 {
			v = v*100 + uint64(s.Data[i+1]-'0')*10 + uint64(s.Data[i+2]-'0')
			i += 3
		} else if percent {
			return hint
		}
		if digits == 0 || digits > 16 || i >= len(s.Data) || s.Data[i] != '"' {
			return hint
		}
		c.Set(k.field, v)
		s.Pos = i + 1
	}
	return hint
}

// check rejects a container without the mandatory keys or with an invalid id.
func check(c *source.Container, start int) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: container at byte %d: %s", source.ErrMalformed, start, fmt.Sprintf(format, args...))
	}
	for _, f := range [...]source.Field{source.PID, source.VSZ, source.RSS, source.MemoryPercent, source.CPUPercent} {
		if _, ok := c.Get(f); !ok {
			return fail("missing %s", f.Info().Key)
		}
	}
	if c.ProcessName == "" {
		return fail("missing process_name")
	}
	if c.ID == "N/A" {
		c.ID = ""
	}
	switch {
	case len(c.ID) > container.MaxID:
		return fail("container_id is %d bytes long", len(c.ID))
	case c.ID != "" && !container.ValidID(c.ID):
		return fail("invalid container_id %q", c.ID)
	}
	return nil
}

// text parses a string into to and shares the memory of an equal before.
func text(s *jsonscan.Scanner, to *string, before string) error {
	b, err := s.Text()
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

func number(s *jsonscan.Scanner, key string, unit source.Unit) (uint64, error) {
	b, err := s.Scalar()
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
		return 0, s.Bad("%s: invalid number %.40q", key, b)
	}
	return v, nil
}
