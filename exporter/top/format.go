package top

import (
	"fmt"
	"strconv"
)

// unknown is shown for an unknown value.
const unknown = "–"

// size formats bytes, or bytes per second, in at most five characters: 0, 512B, 1.5K,
// 37M, 1023G.
func size(v Value) string {
	n, ok := v.Get()
	switch {
	case !ok:
		return unknown
	case n < 0.5:
		return "0"
	case n < 999.5:
		return fmt.Sprintf("%.0fB", n)
	}
	units := "KMGTPE"
	n /= 1024
	i := 0
	for n >= 1023.5 && i < len(units)-1 {
		n /= 1024
		i++
	}
	if n < 9.95 {
		return fmt.Sprintf("%.1f%c", n, units[i])
	}
	return fmt.Sprintf("%.0f%c", n, units[i])
}

// percent formats a percentage: 0.0, 3.4, 212.5.
func percent(v Value) string {
	n, ok := v.Get()
	if !ok {
		return unknown
	}
	return strconv.FormatFloat(n, 'f', 1, 64)
}

// shortPercent formats a percentage in at most four characters.
func shortPercent(v Value) string {
	n, ok := v.Get()
	if ok && n >= 99.95 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return percent(v)
}

// count formats a number of things: 0, 12, 99999, 123k.
func count(v Value) string {
	n, ok := v.Get()
	switch {
	case !ok:
		return unknown
	case n >= 1e8:
		return fmt.Sprintf("%.0fM", n/1e6)
	case n >= 1e5:
		return fmt.Sprintf("%.0fk", n/1e3)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// duration formats seconds in at most six characters: 42s, 17m, 5h30m, 3d4h, 120d.
func duration(v Value) string {
	n, ok := v.Get()
	s := int64(n)
	switch {
	case !ok:
		return unknown
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	case s < 100*86400:
		return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
	}
	return fmt.Sprintf("%dd", s/86400)
}
