package status

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// The drawings have these sizes and are stretched to the page; texts are outside of
// them. One unit of width is one step.
const (
	plotWidth   = historyPoints - 1
	plotHeight  = 100
	stripHeight = 30
	sparkWidth  = sparkPoints - 1
	sparkHeight = 16
)

// graph is one graph, ready for the template.
type graph struct {
	ID, Title, Unit string
	Ticks           []string // labels of the value axis, from the top
	Times           []time.Time
	Start           time.Time
	Step            float64 // seconds
	Lines           []graphLine
	Kills           []killMark
	Columns         []column
	Host            *hostStrip // nil: unknown
}

// graphLine is one container in a graph.
type graphLine struct {
	Name   string
	ID     string
	Slot   int
	Path   string
	Values string // for the script: comma separated, empty is unknown
	Last   string
	Max    string
}

// Class is the class of the line's colour in style.css.
func (l graphLine) Class() string {
	if l.Slot >= hues {
		return fmt.Sprintf("c%d dash", l.Slot-hues)
	}
	return fmt.Sprintf("c%d", l.Slot)
}

// killMark is the kills that share a place in a graph.
type killMark struct {
	X     float64
	Title string
}

// column is what a pointer finds at one moment.
type column struct {
	X     float64
	Title string
}

// hostStrip is the host below a graph, in percent of it.
type hostStrip struct {
	Of                                string // its size: 8 cores
	HostPath, ContainerArea, RestArea string
	Parts                             []hostPart
}

// hostPart is a line of the legend of a hostStrip.
type hostPart struct{ Name, Class, Last, Max string }

// sortBusiest sorts by the sum over all moments, the largest first.
func sortBusiest(lines []promql.Line) {
	sum := func(l promql.Line) float64 {
		total := 0.0
		for _, v := range l.Values {
			if finiteNumber(v) {
				total += v
			}
		}
		return total
	}
	slices.SortStableFunc(lines, func(a, b promql.Line) int {
		if c := cmp.Compare(sum(b), sum(a)); c != 0 {
			return c
		}
		return cmp.Compare(who(a), who(b))
	})
}

// graphs draws a history; none if there is none.
func (h *history) graphs(kills []audit.Record) []graph {
	if !h.known() {
		return nil
	}
	marks := killMarks(kills, h.moments)
	cpu := h.graph("cpu", "CPU", "% of one core", h.cpu, marks)
	memory := h.graph("memory", "Memory", "% of the host’s memory", h.memory, marks)
	cores, bytes := lastOf(h.host["cpus"]), lastOf(h.host["memory_bytes"])
	if finiteNumber(cores) {
		of := number(cores) + " cores"
		if cores == 1 {
			of = "1 core"
		}
		cpu.Host = h.strip("cpu", of)
	}
	if finiteNumber(bytes) {
		memory.Host = h.strip("memory", number(bytes/(1<<30))+" GiB")
	}
	return []graph{cpu, memory}
}

func (h *history) graph(id, title, unit string, lines []promql.Line, marks []killMark) graph {
	g := graph{
		ID: id, Title: title, Unit: unit, Start: h.moments.Start, Step: h.moments.Step.Seconds(), Kills: marks,
		Times: []time.Time{h.moments.At(0), h.moments.At(plotWidth / 3), h.moments.At(2 * plotWidth / 3), h.at()},
	}
	highest := 0.0
	for _, l := range lines {
		highest = max(highest, largest(l.Values))
	}
	step := niceStep(highest / 4)
	for i := 4; i >= 0; i-- {
		g.Ticks = append(g.Ticks, number(float64(i)*step))
	}
	for _, l := range lines {
		g.Lines = append(g.Lines, graphLine{
			Name: visible(who(l)), ID: container.ShortID(string(l.Labels["id"])), Slot: h.colours[who(l)],
			Path: trace(l.Values, plotWidth, plotHeight, 4*step), Values: joined(l.Values),
			Last: percentOf(l.Values[len(l.Values)-1]), Max: percentOf(largest(l.Values)),
		})
	}
	for i := range h.moments.N {
		var b strings.Builder
		b.WriteString(h.moments.At(i).UTC().Format("15:04:05") + " UTC")
		for k, l := range lines {
			if v := l.Values[i]; finiteNumber(v) {
				fmt.Fprintf(&b, "\n%s: %s", short(g.Lines[k].Name, 40), percentOf(v))
			}
		}
		g.Columns = append(g.Columns, column{X: float64(i) - 0.5, Title: b.String()})
	}
	return g
}

// strip draws the host: containers and what belongs to none, stacked, and the whole.
func (h *history) strip(what, of string) *hostStrip {
	host, containers, rest := h.host[what+"_host"], h.host[what+"_containers"], h.host[what+"_unattributed"]
	if len(host) == 0 {
		return nil
	}
	part := func(name, class string, values []float64) hostPart {
		return hostPart{name, class, percentOf(lastOf(values)), percentOf(largest(values))}
	}
	return &hostStrip{
		Of: of, HostPath: trace(host, plotWidth, stripHeight, 100), ContainerArea: area(containers, nil), RestArea: area(rest, containers),
		Parts: []hostPart{part("used", "whole", host), part("containers", "containers", containers), part("unattributed", "unattributed", rest)},
	}
}

// spark draws the line of a row, on a scale of its own; "" if nothing is known.
func spark(values []float64) string {
	top := largest(values)
	if math.IsInf(top, -1) {
		return ""
	}
	// Noise of an idle container stays a flat line.
	return trace(values, sparkWidth, sparkHeight, max(top, 1))
}

// trace is an SVG path through the values; unknown ones are gaps. A single value between
// gaps is a short stroke, so that it is seen.
func trace(values []float64, width, height int, top float64) string {
	var b strings.Builder
	x := func(i int) float64 { return float64(i) * float64(width) / float64(max(1, len(values)-1)) }
	open := false
	for i, v := range values {
		if !finiteNumber(v) {
			open = false
			continue
		}
		y := float64(height) * (1 - min(1, max(0, v/top)))
		switch {
		case open:
			fmt.Fprintf(&b, "L%s %s", coordinate(x(i)), coordinate(y))
		case i+1 < len(values) && finiteNumber(values[i+1]):
			fmt.Fprintf(&b, "M%s %s", coordinate(x(i)), coordinate(y))
		default:
			fmt.Fprintf(&b, "M%s %sh.3", coordinate(x(i)), coordinate(y))
		}
		open = true
	}
	return b.String()
}

// area is the area of the values of the host on top of others.
func area(values, below []float64) string {
	var b strings.Builder
	y := func(v float64) string { return coordinate(stripHeight * (1 - min(100, max(0, v))/100)) }
	base := func(i int) float64 {
		if below == nil || !finiteNumber(below[i]) {
			return 0
		}
		return below[i]
	}
	for i := 0; i < len(values); {
		if !finiteNumber(values[i]) {
			i++
			continue
		}
		end := i
		for end < len(values) && finiteNumber(values[end]) {
			end++
		}
		fmt.Fprintf(&b, "M%d %s", i, y(base(i)))
		for k := i; k < end; k++ {
			fmt.Fprintf(&b, "L%d %s", k, y(base(k)+values[k]))
		}
		for k := end - 1; k >= i; k-- {
			fmt.Fprintf(&b, "L%d %s", k, y(base(k)))
		}
		b.WriteString("Z")
		i = end
	}
	return b.String()
}

// killMarks are the successful kills within the moments, one mark for those of one step.
func killMarks(kills []audit.Record, m promql.Moments) []killMark {
	type group struct {
		at    time.Time
		names []string
		x     float64
	}
	groups := map[int]*group{}
	for _, k := range kills { // the newest first
		x := float64(k.Time.Sub(m.Start)) / float64(m.Step)
		if k.Outcome != audit.OutcomeDone || k.Mode != policy.Live || x < 0 || x > float64(m.N-1) {
			continue
		}
		i := int(x)
		if groups[i] == nil {
			groups[i] = &group{at: k.Time, x: x}
		}
		name := k.Name
		if name == "" {
			name = container.ShortID(k.Container)
		}
		groups[i].names = append(groups[i].names, short(visible(name), 40))
	}
	var marks []killMark
	for _, g := range groups {
		what := "kill"
		if n := len(g.names); n > 1 {
			what = fmt.Sprintf("%d kills", n)
		}
		const shown = 6
		if n := len(g.names); n > shown {
			g.names = append(g.names[:shown], fmt.Sprintf("and %d more", n-shown))
		}
		marks = append(marks, killMark{g.x, fmt.Sprintf("%s UTC, %s: %s", g.at.UTC().Format("15:04:05"), what, strings.Join(g.names, ", "))})
	}
	slices.SortFunc(marks, func(a, b killMark) int { return cmp.Compare(a.X, b.X) })
	return marks
}

// niceStep is the smallest of 1, 2, 2.5 and 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	if v <= 0 || !finiteNumber(v) {
		v = 0.01
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// largest is the largest finite value, -Inf if there is none.
func largest(values []float64) float64 {
	top := math.Inf(-1)
	for _, v := range values {
		if finiteNumber(v) {
			top = max(top, v)
		}
	}
	return top
}

// lastOf is the last value, NaN if there is none.
func lastOf(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return values[len(values)-1]
}

// joined are the values for the script.
func joined(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		if finiteNumber(v) {
			texts[i] = strconv.FormatFloat(v, 'g', 4, 64)
		}
	}
	return strings.Join(texts, ",")
}

// coordinate is a number in an SVG path, short.
func coordinate(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

// number is a number with at most three significant digits after its integer part.
func number(v float64) string {
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if v == 0 || digits < 0 {
		digits = 0
	}
	factor := math.Pow(10, float64(digits))
	return strconv.FormatFloat(math.Round(v*factor)/factor, 'f', -1, 64)
}

// percentOf is a percentage with about three digits; – if unknown.
func percentOf(v float64) string {
	switch {
	case !finiteNumber(v):
		return "–"
	case math.Abs(v) >= 99.95:
		return fmt.Sprintf("%.0f %%", v)
	case math.Abs(v) >= 9.995:
		return fmt.Sprintf("%.1f %%", v)
	}
	return fmt.Sprintf("%.2f %%", v)
}
