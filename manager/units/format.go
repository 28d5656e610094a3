package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Format formats v for display.
func (u Unit) Format(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if u.of == moment && math.Abs(v) < 1e11 { // the year 5138
		return time.Unix(int64(v), 0).UTC().Format("2006-01-02 15:04:05")
	}
	if v < 0 {
		if text := u.Format(-v); text != u.Format(0) {
			return "-" + text
		}
		return u.Format(0)
	}
	if v /= u.factor(); v == 0 {
		v = 0 // not -0
	}
	text := ""
	switch u.of {
	case seconds:
		text = length(v)
	case bytes:
		text = steps(v, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
	case ratio:
		text = share(100 * v)
	case percent:
		text = share(v)
	default:
		text = number(v)
	}
	if u.perSecond {
		text += "/s"
	}
	return text
}

// FormatDifference formats a signed difference.
func (u Unit) FormatDifference(v float64) string {
	text := u.difference().Format(v)
	if v >= 0 && !math.IsInf(v, 0) { // infinity has its sign
		return "+" + text
	}
	return text
}

// Length formats a duration in seconds.
func Length(s float64) string { return Unit{of: seconds}.Format(s) }

// length formats a duration with its two largest units.
func length(s float64) string {
	const minute, hour, day = 60, 3600, 86400
	switch {
	case s == 0:
		return "0 s"
	case s < 0.9995:
		return digits(1000*s, 3) + " ms"
	case s < 59.95:
		return digits(s, 3) + " s"
	case s >= 1e15:
		return number(s/day) + "d"
	}
	two := func(large int64, largeName string, small int64, smallName string) string {
		n := int64(math.Round(s / float64(small)))
		text := fmt.Sprintf("%d%s", n*small/large, largeName)
		if rest := n * small % large / small; rest > 0 {
			text += fmt.Sprintf(" %d%s", rest, smallName)
		}
		return text
	}
	switch {
	case math.Round(s) < hour:
		return two(minute, "m", 1, "s")
	case math.Round(s/minute) < day/minute:
		return two(hour, "h", minute, "m")
	}
	return two(day, "d", hour, "h")
}

// share formats a percentage; small ones with their significant digits.
func share(v float64) string {
	if v == 0 || v >= 0.095 {
		if v < 1e15 {
			return trim(strconv.FormatFloat(v, 'f', 1, 64)) + " %"
		}
		return number(v) + " %"
	}
	return digits(v, 2) + " %"
}

// number formats a plain number, without an exponent up to 15 digits.
func number(v float64) string {
	const most = 1e15
	switch {
	case v == 0 || v >= 1 && v < most && v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', -1, 64)
	case v < most:
		return digits(v, 5)
	case v >= 1e33:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return steps(v/most, 1000, []string{"P", "E", "Z", "Y", "R", "Q"})
}

// steps formats v with three digits and a matching unit prefix.
func steps(v, step float64, names []string) string {
	i := 0
	for i < len(names)-1 && v >= step-0.5 {
		v, i = v/step, i+1
	}
	if v >= 1e15 {
		return strconv.FormatFloat(v, 'g', 3, 64) + " " + names[i]
	}
	return digits(v, 3) + " " + names[i]
}

// digits formats v with n significant digits, and all digits before the point.
func digits(v float64, n int) string {
	if v != 0 && v < 1e-9 {
		return strconv.FormatFloat(v, 'g', n, 64)
	}
	after := 0
	if v != 0 {
		after = max(0, n-1-int(math.Floor(math.Log10(v))))
	}
	return trim(strconv.FormatFloat(v, 'f', after, 64))
}

func trim(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
