package bpf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout finds the members of the kernel's structures in its BTF: their offsets differ
// between kernels and configurations.
type layout struct{ spec *btf.Spec }

// member is where a structure has a member.
type member struct {
	offset int // bytes
	size   int // bytes; of an array: of all its elements
	of     btf.Type
}

// errNoMember means that this kernel has no such structure or member.
var errNoMember = errors.New("not in the kernel's BTF")

// member finds a path such as "memory.usage.counter" in a structure. Members of
// anonymous structures and unions are found without their names, as in C. Array
// elements and pointers end a path.
func (l layout) member(structure, path string) (member, error) {
	var s *btf.Struct
	if err := l.spec.TypeByName(structure, &s); err != nil {
		return member{}, fmt.Errorf("struct %s: %w", structure, errNoMember)
	}
	at := member{of: s}
	for name := range strings.SplitSeq(path, ".") {
		m, ok := find(btf.UnderlyingType(at.of), name)
		if !ok {
			return member{}, fmt.Errorf("struct %s: member %s: %w", structure, path, errNoMember)
		}
		at = member{offset: at.offset + m.offset, of: m.of}
	}
	size, err := btf.Sizeof(at.of)
	if err != nil {
		return member{}, fmt.Errorf("struct %s: member %s: %w", structure, path, err)
	}
	at.size = size
	return at, nil
}

// find finds a member of a structure or union.
func find(t btf.Type, name string) (member, bool) {
	var members []btf.Member
	switch t := t.(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	for _, m := range members {
		if m.BitfieldSize != 0 {
			continue
		}
		if m.Name == name {
			return member{offset: int(m.Offset.Bytes()), of: m.Type}, true
		}
		if m.Name != "" {
			continue
		}
		if inner, ok := find(btf.UnderlyingType(m.Type), name); ok {
			inner.offset += int(m.Offset.Bytes())
			return inner, true
		}
	}
	return member{}, false
}

// value returns a constant of an enumeration.
func (l layout) value(enumeration, name string) (int, error) {
	var e *btf.Enum
	if err := l.spec.TypeByName(enumeration, &e); err != nil {
		return 0, fmt.Errorf("enum %s: %w", enumeration, errNoMember)
	}
	for _, v := range e.Values {
		if v.Name == name {
			return int(v.Value), nil
		}
	}
	return 0, fmt.Errorf("enum %s: %s: %w", enumeration, name, errNoMember)
}

// size returns the size of a structure in bytes.
func (l layout) size(structure string) (int, error) {
	var s *btf.Struct
	if err := l.spec.TypeByName(structure, &s); err != nil {
		return 0, fmt.Errorf("struct %s: %w", structure, errNoMember)
	}
	return int(s.Size), nil
}

// element returns the type of the elements of an array, nil if it is none.
func (m member) element() btf.Type {
	if a, ok := btf.UnderlyingType(m.of).(*btf.Array); ok {
		return btf.UnderlyingType(a.Type)
	}
	return nil
}

// isPointer reports whether a member is a pointer.
func (m member) isPointer() bool {
	_, ok := btf.UnderlyingType(m.of).(*btf.Pointer)
	return ok
}
