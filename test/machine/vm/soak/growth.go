package soak

import (
	"fmt"
	"time"
)

// Reading is the resource usage of a process at one time.
type Reading struct {
	At         time.Duration // since the start of the process
	RSSKB      int
	FDs        int
	Goroutines int // 0: unknown
}

// Bounds limit the usage of a process and its growth over one life.
type Bounds struct {
	RSSKB, FDs, Goroutines             int
	GrowRSSKB, GrowFDs, GrowGoroutines int
}

// A process fills its caches in the first minutes; a life shorter than twice that is not
// checked for growth.
const (
	settled  = 2 * time.Minute
	longLife = 2 * settled
)

// Largest returns the maximum of each value.
func Largest(life []Reading) (most Reading) {
	for _, r := range life {
		most.At = max(most.At, r.At)
		most.RSSKB, most.FDs, most.Goroutines = max(most.RSSKB, r.RSSKB), max(most.FDs, r.FDs), max(most.Goroutines, r.Goroutines)
	}
	return most
}

// Grown checks one life of a process. It reports a value above its bound at any time, and
// growth: a minimum in the last third that exceeds the maximum in the first third (after
// settling) by more than allowed. judged is false if the life was too short for that.
func Grown(life []Reading, b Bounds) (wrong []string, judged bool) {
	most := Largest(life)
	over := func(what string, is, bound int) {
		if is > bound {
			wrong = append(wrong, fmt.Sprintf("%s: %d, limit %d", what, is, bound))
		}
	}
	over("resident kB", most.RSSKB, b.RSSKB)
	over("descriptors", most.FDs, b.FDs)
	over("goroutines", most.Goroutines, b.Goroutines)

	if most.At < longLife {
		return wrong, false
	}
	third := (most.At - settled) / 3
	grew := func(what string, of func(Reading) int, bound int) {
		early, late := -1, -1
		for _, r := range life {
			v := of(r)
			switch {
			case v == 0 || r.At < settled:
			case r.At < settled+third:
				early = max(early, v)
			case r.At > most.At-third && (late < 0 || v < late):
				late = v
			}
		}
		if early >= 0 && late > early+bound {
			wrong = append(wrong, fmt.Sprintf("%s: at most %d early, at least %d late in a life of %s", what, early, late, most.At.Round(time.Second)))
		}
	}
	grew("resident kB", func(r Reading) int { return r.RSSKB }, b.GrowRSSKB)
	grew("descriptors", func(r Reading) int { return r.FDs }, b.GrowFDs)
	grew("goroutines", func(r Reading) int { return r.Goroutines }, b.GrowGoroutines)
	return wrong, true
}
