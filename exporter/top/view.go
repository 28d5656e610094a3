package top

import (
	"fmt"
	"strings"
)

// screen is the size of a terminal.
type screen struct{ width, height int }

// header are the lines about the host.
func header(f *Figures, screen int) []line {
	return []line{titleLine(f, screen), metersLine(&f.Host, screen), pressureLine(&f.Host).cut(screen)}
}

// sourceName is a source in words.
func sourceName(source string) string {
	switch source {
	case "kmod":
		return "kernel module"
	case "cgroup":
		return "/proc and cgroups"
	}
	return clean(source)
}

func titleLine(f *Figures, screen int) line {
	var l line
	l.add(titleStyle, "estiba top")
	if f.Host.Name != "" {
		l.add(bold, "  "+clean(f.Host.Name))
	}
	l.add(dim, "  from "+sourceName(f.Source))
	var right line
	containers := count(f.Host.ContainersFound) + " containers"
	if containers == "1 containers" {
		containers = "1 container"
	}
	right.add(bold, containers)
	if f.Truncated {
		right.add(yellow, fmt.Sprintf(" (%d shown: the source has a limit)", len(f.Rows)))
	}
	right.add(normal, "  "+f.Time.Format("15:04:05"))
	return spread(l, right, screen)
}

// spread puts two parts at both ends of a line.
func spread(left, right line, screen int) line {
	left = left.cut(max(0, screen-right.width()-1))
	left.fill(screen - right.width())
	return append(left, right...).cut(screen)
}

// metersLine shows CPU and memory of the host.
func metersLine(h *Host, screen int) line {
	cpu := percent(h.CPU) + "%"
	if !h.CPU.known {
		cpu = unknown
	}
	if h.CPUs.known {
		cpu += " of " + count(h.CPUs) + " CPUs"
	}
	memory := size(h.MemoryUsed) + " of " + size(h.MemoryTotal)
	half := (screen - 2) / 2
	left := meter("CPU", h.CPU, cpu, half)
	left.fill(screen - half)
	return append(left, meter("MEM", h.MemoryUsed.percentOf(h.MemoryTotal), memory, half)...).cut(screen)
}

// meter draws a bar of a percentage with a text on its right.
func meter(name string, v Value, text string, n int) line {
	var l line
	l.add(bold, name+" ")
	columns := max(0, n-width(name)-width(text)-2)
	full := 0
	if p, ok := v.Get(); ok {
		full = min(columns, int(p*float64(columns)/100+0.5))
	}
	s := over(v, 75, 90)
	if s == normal || s == dim {
		s = green
	}
	l.add(s, strings.Repeat("━", full))
	l.add(dim, strings.Repeat("─", columns-full))
	l.add(normal, " "+text)
	return l
}

// pressureLine shows load and pressure of the host.
func pressureLine(h *Host) line {
	var l line
	if h.Load[0].known {
		l.add(bold, "load ")
		var loads []string
		for _, v := range h.Load {
			n, _ := v.Get()
			loads = append(loads, fmt.Sprintf("%.2f", n))
		}
		l.add(normal, strings.Join(loads, " ")+"   ")
	}
	l.add(bold, "pressure")
	for _, p := range []struct {
		name string
		v    Value
	}{{"cpu", h.PressureCPU}, {"memory", h.PressureMemory}, {"io", h.PressureIO}} {
		l.add(dim, "  "+p.name+" ")
		text := percent(p.v)
		if p.v.known {
			text += "%"
		}
		l.add(over(p.v, 10, 40), text)
	}
	return l
}

// body draws the titles, the sums, and n items from the first one that is visible.
func body(t table, f *Figures, withSums bool, all []item, first, n int) []line {
	lines := []line{t.head()}
	if withSums {
		lines = append(lines, t.sums(f)...)
	}
	for i := first; i < len(all) && i < first+n; i++ {
		lines = append(lines, t.item(&all[i]))
	}
	return lines
}

// Text draws one refresh as a table of the given width.
func Text(f *Figures, look Look, screen int, colour bool) string {
	all := items(f, look)
	t := newTable(f, all, look, screen)
	lines := append(header(f, min(screen, 100)), nil)
	lines = append(lines, body(t, f, true, all, 0, len(all))...)
	if len(all) == 0 {
		lines = append(lines, line{{nothing(f, look), dim}})
	}
	var b strings.Builder
	for _, l := range lines {
		text := l.render(colour)
		if !colour {
			text = strings.TrimRight(l.plain(), " ")
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

// nothing says why the list is empty.
func nothing(f *Figures, look Look) string {
	if len(f.Rows) > 0 {
		return "no container matches " + clean(look.Filter)
	}
	return "no containers"
}

// Rows of the screen besides the list.
const (
	headerRows = 3
	sumRows    = 2
	otherRows  = 2 // titles and keys
)

// room is the number of lines for containers; small screens have no header or sums.
func (s screen) room() (n int, withHeader, withSums bool) {
	n = s.height - otherRows
	if withSums = n > sumRows+2; withSums {
		n -= sumRows
	}
	if withHeader = n > headerRows+2; withHeader {
		n -= headerRows
	}
	return max(0, n), withHeader, withSums
}

// draw draws the whole screen.
func (m *Model) draw() []line {
	s := m.screen
	var lines []line
	switch {
	case m.help:
		lines = helpLines(s)
	case !m.ready:
		lines = []line{{{"estiba top", titleStyle}}, nil, {{"reading the first snapshot", normal}}}
		if m.err != nil {
			lines = lines[:2]
			for text := []rune(clean(m.err.Error())); len(text) > 0; {
				n := min(len(text), max(1, s.width))
				lines = append(lines, line{{string(text[:n]), normal}})
				text = text[n:]
			}
			lines = append(lines, nil, line{{"it is tried again every " + m.interval.String(), dim}})
		}
		lines = append(lines, nil, line{{"q", bold}, {" quit", dim}})
	default:
		room, withHeader, withSums := s.room()
		if withHeader {
			lines = header(&m.figures, s.width)
		}
		all := items(&m.figures, m.look)
		m.first = max(0, min(m.first, len(all)-room))
		t := newTable(&m.figures, all, m.look, s.width)
		lines = append(lines, body(t, &m.figures, withSums, all, m.first, room)...)
		if len(all) == 0 && room > 0 {
			lines = append(lines, line{{nothing(&m.figures, m.look), dim}})
		}
		for len(lines) < s.height-1 {
			lines = append(lines, nil)
		}
		lines = append(lines, m.footer(len(all), room))
	}
	lines = lines[:min(len(lines), s.height)]
	for i := range lines {
		lines[i] = lines[i].cut(s.width)
	}
	return lines
}

// footer is the last line: an error, the filter while it is typed, or the keys.
func (m *Model) footer(n, room int) line {
	var right line
	if n > room {
		right.add(dim, fmt.Sprintf(" %d-%d of %d", m.first+1, min(n, m.first+room), n))
	}
	var l line
	switch {
	case m.err != nil:
		l.add(alarm, "last refresh failed: ")
		l.add(normal, clean(m.err.Error()))
	case m.typing:
		l.add(bold, "filter: ")
		l.add(normal, clean(m.look.Filter))
		l.add(reverse, " ")
		l.add(dim, "  Enter keeps it, Esc removes it")
	default:
		if m.paused {
			l.add(yellow, "paused  ")
		}
		if m.look.Filter != "" {
			l.add(bold, "filter: ")
			l.add(yellow, clean(m.look.Filter)+"  ")
		}
		for _, k := range [][2]string{{"q", "quit"}, {"?", "help"}, {"/", "filter"}, {"t", "tree"}, {"<>", "sort"}, {"r", "reverse"}, {"Space", "pause"}} {
			l.add(bold, k[0])
			l.add(dim, " "+k[1]+"  ")
		}
	}
	return spread(l, right, m.screen.width)
}
