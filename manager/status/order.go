package status

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// order is how the rows of the table are sorted and which are shown, from the query of
// the page's URL. The script sorts and filters by the same rules.
type order struct {
	Sort       string // a key of columns; "" is the order of the decisions
	Descending bool
	Text       string // in name, id or image, in any case
	Show       string // a key of shown; "" is all
}

// columns are the sortable columns of the table. Numbers begin with the largest.
var columns = []struct {
	Key, Title string
	Number     bool
	compare    func(a, b Row) int
}{
	{"name", "Container", false, func(a, b Row) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) }},
	{"kind", "Kind", false, func(a, b Row) int { return cmp.Compare(a.KindShown(), b.KindShown()) }},
	{"class", "Class", false, func(a, b Row) int { return cmp.Compare(a.Class, b.Class) }},
	{"cpu", "CPU", true, func(a, b Row) int { return compareKnown(a.CPU, b.CPU) }},
	{"memory", "Memory", true, func(a, b Row) int { return compareKnown(a.Memory, b.Memory) }},
	{"value", "Value", true, func(a, b Row) int { return compareKnown(a.Value, b.Value) }},
}

// shown are the filters by decision.
var shown = []struct {
	Key, Title string
	has        func(Row) bool
}{
	{"", "all", func(Row) bool { return true }},
	{"kill", "kills", func(r Row) bool { return r.Loud() }},
	{"candidate", "candidates", func(r Row) bool { return r.Rule != "" }},
	{"scope", "in scope", func(r Row) bool { return r.InScope }},
	{"protected", "protected", func(r Row) bool { return len(r.Protected) > 0 }},
}

func orderOf(q url.Values) order {
	o := order{Text: q.Get("q"), Show: q.Get("show")}
	for _, c := range columns {
		if c.Key == q.Get("sort") {
			o.Sort, o.Descending = c.Key, c.Number
		}
	}
	switch q.Get("order") {
	case "asc":
		o.Descending = false
	case "desc":
		o.Descending = true
	}
	return o
}

// apply sorts the rows, stable; those without a value are last in both directions.
func (o order) apply(rows []Row) {
	for _, c := range columns {
		if c.Key != o.Sort {
			continue
		}
		slices.SortStableFunc(rows, func(a, b Row) int {
			if x, y := a.lacks(c.Key), b.lacks(c.Key); x != y {
				if x {
					return 1
				}
				return -1
			}
			if o.Descending {
				return c.compare(b, a)
			}
			return c.compare(a, b)
		})
	}
}

// hides reports whether the filters leave a row out.
func (o order) hides(r Row) bool {
	for _, s := range shown {
		if s.Key == o.Show && !s.has(r) {
			return true
		}
	}
	return !strings.Contains(strings.ToLower(r.Name+" "+r.ShortID+" "+r.Image), strings.ToLower(strings.TrimSpace(o.Text)))
}

// query is the query of the page with another column, "" for none.
func (o order) query(column string, descending bool) string {
	q := url.Values{}
	if column != "" {
		q.Set("sort", column)
		q.Set("order", map[bool]string{true: "desc", false: "asc"}[descending])
	}
	if o.Text != "" {
		q.Set("q", o.Text)
	}
	if o.Show != "" {
		q.Set("show", o.Show)
	}
	return "?" + q.Encode()
}

// compareKnown compares two numbers, of which lacks has sorted out the unknown ones.
func compareKnown(a, b *float64) int {
	if a == nil || b == nil {
		return 0
	}
	return cmp.Compare(*a, *b)
}

// lacks reports whether the row has nothing in a column.
func (r Row) lacks(column string) bool {
	switch column {
	case "kind":
		return r.KindShown() == ""
	case "class":
		return r.Class == ""
	case "cpu":
		return r.CPU == nil
	case "memory":
		return r.Memory == nil
	case "value":
		return r.Value == nil
	}
	return false
}

// KindShown is the kind of the container: declared, else observed.
func (r Row) KindShown() string {
	if r.Kind == "" {
		return r.Observed
	}
	return r.Kind
}
