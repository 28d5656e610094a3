package top

import "slices"

// column is one column of the table after that of the names.
type column struct {
	title string
	width int
	rank  int    // the lower, the longer it stays when the screen is narrow
	order string // sort key, or ""
	left  bool   // aligned left
	usage func(*Usage) (string, style)
	text  func(*Row) string // of containers only, instead of usage
}

// Width of the column of names.
const (
	nameWidth    = 18 // at least
	nameWidthMax = 32
)

// The ranks that decide between columns of the same numbers.
const (
	rankPressure = 4  // one column
	rankThree    = 12 // or three
)

func columns() []column {
	pressure := func(v func(*Usage) Value) func(*Usage) (string, style) {
		return func(u *Usage) (string, style) { return shortPercent(v(u)), over(v(u), 10, 40) }
	}
	traffic := func(v func(*Usage) Value) func(*Usage) (string, style) {
		return func(u *Usage) (string, style) { return size(v(u)), faint(v(u)) }
	}
	return []column{
		{title: "ID", width: 12, rank: 13, left: true, text: func(r *Row) string { return r.ID }},
		{title: "CPU%", width: 6, rank: 1, order: "cpu", usage: func(u *Usage) (string, style) { return percent(u.CPU), faint(u.CPU) }},
		{title: "THR%", width: 5, rank: 14, usage: func(u *Usage) (string, style) { return percent(u.Throttled), over(u.Throttled, 10, 50) }},
		{title: "MEM", width: 5, rank: 2, order: "memory", usage: func(u *Usage) (string, style) { return size(u.WorkingSet), faint(u.WorkingSet) }},
		{title: "%LIM", width: 4, rank: 3, order: "limit", usage: func(u *Usage) (string, style) { return shortPercent(u.OfLimit), over(u.OfLimit, 80, 95) }},
		{title: "SWAP", width: 5, rank: 17, usage: func(u *Usage) (string, style) { return size(u.Swap), faint(u.Swap) }},
		{title: "PSI", width: 5, rank: rankPressure, order: "pressure", usage: worst},
		{title: "PSIcpu", width: 6, rank: rankThree, order: "pressure", usage: pressure(func(u *Usage) Value { return u.PressureCPU })},
		{title: "PSImem", width: 6, rank: rankThree, usage: pressure(func(u *Usage) Value { return u.PressureMemory })},
		{title: "PSIio", width: 5, rank: rankThree, usage: pressure(func(u *Usage) Value { return u.PressureIO })},
		{title: "READ/s", width: 6, rank: 5, order: "disk", usage: traffic(func(u *Usage) Value { return u.DiskRead })},
		{title: "WRIT/s", width: 6, rank: 6, usage: traffic(func(u *Usage) Value { return u.DiskWrite })},
		{title: "RX/s", width: 5, rank: 7, order: "network", usage: traffic(func(u *Usage) Value { return u.NetRx })},
		{title: "TX/s", width: 5, rank: 8, usage: traffic(func(u *Usage) Value { return u.NetTx })},
		{title: "OOM", width: 3, rank: 9, order: "oom", usage: oom},
		{title: "PROC", width: 4, rank: 10, order: "processes", usage: func(u *Usage) (string, style) { return count(u.Processes), faint(u.Processes) }},
		{title: "AGE", width: 6, rank: 15, order: "age", usage: func(u *Usage) (string, style) { return duration(u.Age), faint(u.Age) }},
		{title: "COMMAND", width: 15, rank: 16, left: true, text: func(r *Row) string { return clean(r.Command) }},
		{title: "IMAGE", width: 24, rank: 18, left: true, text: func(r *Row) string { return clean(r.Image) }},
	}
}

// chosen selects the columns that fit, and the width of the names. The columns from
// rankThree on must leave room for whole names of the given width.
func chosen(screen, names int) ([]column, int) {
	all := columns()
	wanted := min(max(names, nameWidth), nameWidthMax)
	left := screen
	shown := map[int]bool{}
	for rank := 1; rank <= len(all); rank++ {
		need := 0
		for _, c := range all {
			switch {
			case c.rank == rank:
				need += c.width + 1
			case c.rank == rankPressure && rank == rankThree:
				need -= c.width + 1
			}
		}
		switch {
		case rank < rankThree && left-need < nameWidth:
			rank = len(all) // the others are less important
		case rank < rankThree || left-need >= wanted:
			shown[rank] = true
			left -= need
		}
	}
	list := slices.DeleteFunc(all, func(c column) bool {
		return !shown[c.rank] || c.rank == rankPressure && shown[rankThree]
	})
	return list, max(1, min(left, wanted))
}

// faint is the style of zeros and unknown values, so that the others stand out.
func faint(v Value) style {
	if n, ok := v.Get(); !ok || n < 0.05 {
		return dim
	}
	return normal
}

// over colours values from two thresholds on.
func over(v Value, warning, critical float64) style {
	n, ok := v.Get()
	switch {
	case ok && n >= critical:
		return red
	case ok && n >= warning:
		return yellow
	}
	return faint(v)
}

// worst shows the largest pressure, with the letter of its resource.
func worst(u *Usage) (string, style) {
	v, letter := u.pressure()
	s := shortPercent(v)
	if n, ok := v.Get(); ok && n >= 0.05 {
		s += string(letter)
	}
	return s, over(v, 10, 40)
}

// oom marks containers that the OOM killer hit in the interval.
func oom(u *Usage) (string, style) {
	if n, ok := u.OOMKillsNew.Get(); ok && n > 0 {
		return count(u.OOMKills), alarm
	}
	if n, ok := u.OOMKills.Get(); ok && n > 0 {
		return count(u.OOMKills), yellow
	}
	return count(u.OOMKills), dim
}
