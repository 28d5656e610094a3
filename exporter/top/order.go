package top

import (
	"cmp"
	"slices"
	"strings"
)

// order is a sort key. The largest come first, except for names.
type order struct {
	name  string
	key   string // on the keyboard
	value func(*Usage) Value
}

// orders lists the sort keys; that of names has no value.
func orders() []order {
	return []order{
		{"cpu", "c", func(u *Usage) Value { return u.CPU }},
		{"memory", "m", (*Usage).memory},
		{"limit", "l", func(u *Usage) Value { return u.OfLimit }},
		{"pressure", "p", func(u *Usage) Value { v, _ := u.pressure(); return v }},
		{"disk", "d", func(u *Usage) Value { return u.DiskRead.plus(u.DiskWrite) }},
		{"network", "n", func(u *Usage) Value { return u.NetRx.plus(u.NetTx) }},
		{"oom", "o", func(u *Usage) Value { return u.OOMKills }},
		{"processes", "x", func(u *Usage) Value { return u.Processes }},
		{"age", "g", func(u *Usage) Value { return u.Age }},
		{"name", "a", nil},
	}
}

// OrderNames lists the names of the sort keys.
func OrderNames() []string {
	var list []string
	for _, o := range orders() {
		list = append(list, o.name)
	}
	return list
}

// orderNamed returns a sort key, the first one if there is none of that name.
func orderNamed(name string) order {
	all := orders()
	return all[max(0, slices.IndexFunc(all, func(o order) bool { return o.name == name }))]
}

// memory is the working set, or RSS where there is no memory cgroup.
func (u *Usage) memory() Value {
	if u.WorkingSet.known {
		return u.WorkingSet
	}
	return u.RSS
}

// compare orders two items. Unknown values come last in both directions; equal ones are
// in the order of their names, so that lines do not jump.
func (o order) compare(a, b *item, reversed bool) int {
	names := cmp.Or(cmp.Compare(a.label(), b.label()), cmp.Compare(a.id(), b.id()))
	if o.value == nil {
		if reversed {
			return -names
		}
		return names
	}
	x, y := o.value(a.usage), o.value(b.usage)
	switch {
	case x.known != y.known:
		if x.known {
			return -1
		}
		return 1
	case !x.known || x.number == y.number:
		return names
	case reversed:
		return cmp.Compare(x.number, y.number)
	}
	return cmp.Compare(y.number, x.number)
}

// matches reports whether a container belongs to what the filter finds: text without
// regard to case, in any of its names.
func (r *Row) matches(filter string) bool {
	if filter == "" {
		return true
	}
	filter = strings.ToLower(filter)
	for _, s := range []string{r.Name, r.ID, r.Image, r.Command, r.Pod, r.Project, r.Service} {
		if strings.Contains(strings.ToLower(clean(s)), filter) {
			return true
		}
	}
	return false
}
