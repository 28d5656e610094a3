package top

import (
	"slices"
	"strings"
)

// table draws the list in a given width.
type table struct {
	columns []column
	name    int // width of the names
	width   int
	look    Look
}

// newTable selects columns for the items. Where no container has a memory cgroup, RSS
// takes the place of the working set.
func newTable(f *Figures, list []item, l Look, screen int) table {
	names := width(restTitle)
	for i := range list {
		names = max(names, width(list[i].title()))
	}
	t := table{width: screen, look: l}
	t.columns, t.name = chosen(screen, names)
	workingSets := len(f.Rows) == 0
	for i := range f.Rows {
		workingSets = workingSets || f.Rows[i].WorkingSet.known
	}
	if !workingSets {
		for i, c := range t.columns {
			if c.title == "MEM" {
				t.columns[i].title = "RSS"
				t.columns[i].usage = func(u *Usage) (string, style) { return size(u.RSS), faint(u.RSS) }
			}
		}
	}
	return t
}

// The lines above the list.
const (
	sumTitle  = "all containers"
	restTitle = "unattributed (RSS)"
)

// head is the line of titles; the arrow marks the sort key.
func (t table) head() line {
	arrow := "▼"
	if t.look.Reverse != (t.look.Order == "name") {
		arrow = "▲"
	}
	var l line
	if t.look.Order == "name" {
		l.add(titleStyle, fit("NAME"+arrow, t.name, false))
	} else {
		l.add(bold, fit("NAME", t.name, false))
	}
	for _, c := range t.columns {
		if c.order == t.look.Order {
			l.add(titleStyle, fit(arrow+c.title, c.width+1, true)) // also between the columns
			continue
		}
		l.add(bold, " "+fit(c.title, c.width, !c.left))
	}
	return l.cut(t.width)
}

// item draws one line of the list.
func (t table) item(i *item) line {
	if i.row == nil {
		return t.only(summed+" PSI PSIcpu PSImem PSIio").cells(i.title(), bold, i.usage, nil)
	}
	s := normal
	if i.row.Ended {
		s = dim
	}
	return t.cells(i.title(), s, i.usage, i.row)
}

// summed are the columns that can be added up.
const summed = "CPU% MEM RSS SWAP READ/s WRIT/s RX/s TX/s OOM PROC"

// cells draws a line; row is nil for what is not a container.
func (t table) cells(name string, s style, u *Usage, row *Row) line {
	var l line
	l.add(s, fit(name, t.name, false))
	for _, c := range t.columns {
		text, s := "", dim
		switch {
		case c.usage != nil:
			text, s = c.usage(u)
		case row != nil:
			text = c.text(row)
		}
		l.add(normal, " ")
		l.add(s, fit(text, c.width, !c.left))
	}
	return l.cut(t.width)
}

// sums are the lines of all containers and of the remainder.
func (t table) sums(f *Figures) []line {
	// The remainder is in no memory cgroup.
	rest := f.Unattributed
	rest.WorkingSet = rest.RSS
	return []line{
		t.only(summed).cells(sumTitle, bold, &f.Sum, nil),
		t.only("CPU% MEM RSS SWAP PROC").cells(restTitle, bold, &rest, nil),
	}
}

// only blanks all columns but those with the given titles.
func (t table) only(titles string) table {
	t.columns = slices.Clone(t.columns)
	for i, c := range t.columns {
		if !slices.Contains(strings.Fields(titles), c.title) {
			t.columns[i].usage = nil
		}
	}
	return t
}
