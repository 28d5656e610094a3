package top

import (
	"cmp"
	"slices"
	"strconv"
)

// Look says how to show the containers.
type Look struct {
	Order   string // one of OrderNames
	Reverse bool
	Filter  string
	Tree    bool
}

// item is one line of the list: a container, or a group of them.
type item struct {
	row    *Row   // nil for a group
	group  string // its name
	size   int    // number of its containers
	usage  *Usage
	inside bool // a group
	last   bool // of it
}

// group is what a container belongs to in the tree: its pod, by name if that is known, or
// the project of Docker Compose; "" for none.
func (r *Row) group() string { return cmp.Or(r.Pod, r.Project) }

// label is what an item is called.
func (i *item) label() string {
	if i.row == nil {
		return clean(i.group)
	}
	return i.row.label()
}

// label is the container's name, or its id and command until it is known.
func (r *Row) label() string {
	name := clean(r.Name)
	if name == "" {
		name = clean(r.ID)
		if r.Command != "" {
			name += " " + clean(r.Command)
		}
	}
	if r.Ended {
		name += " (ended)"
	}
	return name
}

func (i *item) id() string {
	if i.row == nil {
		return ""
	}
	return i.row.ID
}

// items lists what to show, in order. A group is where its sum belongs.
func items(f *Figures, l Look) []item {
	o := orderNamed(l.Order)
	var top []item
	members := map[string][]item{}
	for n := range f.Rows {
		r := &f.Rows[n]
		if !r.matches(l.Filter) {
			continue
		}
		one := item{row: r, usage: &r.Usage}
		if g := r.group(); l.Tree && g != "" {
			members[g] = append(members[g], one)
		} else {
			top = append(top, one)
		}
	}
	sorted := func(list []item) []item {
		slices.SortFunc(list, func(a, b item) int { return o.compare(&a, &b, l.Reverse) })
		return list
	}
	for name, list := range members {
		top = append(top, item{group: name, size: len(list), usage: sum(list)})
	}
	var all []item
	for _, one := range sorted(top) {
		all = append(all, one)
		if one.row != nil {
			continue
		}
		list := sorted(members[one.group])
		for n, member := range list {
			member.inside, member.last = true, n == len(list)-1
			all = append(all, member)
		}
	}
	return all
}

// sum adds up a group. Its pressure is that of the container that waits most.
func sum(list []item) *Usage {
	var u Usage
	for _, one := range list {
		u.add(one.usage)
		u.PressureCPU = u.PressureCPU.larger(one.usage.PressureCPU)
		u.PressureMemory = u.PressureMemory.larger(one.usage.PressureMemory)
		u.PressureIO = u.PressureIO.larger(one.usage.PressureIO)
	}
	return &u
}

// title is the text of the first column.
func (i *item) title() string {
	switch {
	case i.row == nil:
		return clean(i.group) + " (" + strconv.Itoa(i.size) + ")"
	case i.inside && i.last:
		return "└─ " + i.label()
	case i.inside:
		return "├─ " + i.label()
	}
	return i.label()
}
