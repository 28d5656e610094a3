package soak

import (
	"fmt"
	"time"
)

// Reading is what a process takes at one moment.
type Reading struct {
	At         time.Duration // since the process was started
	RSSKB      int
	FDs        int
	Goroutines int // 0: not known at that moment
}

// Bounds are what a process may take, and by how much that may grow while it
// lives.
type Bounds struct {
	RSSKB, FDs, Goroutines             int
	GrowRSSKB, GrowFDs, GrowGoroutines int
}

// The first minutes of a process fill its caches; a life that is shorter than
// twice that says nothing of growth.
const (
	settled  = 2 * time.Minute
	longLife = 2 * settled
)

// Largest is the most that a process took of each.
func Largest(life []Reading) (most Reading) {
	for _, r := range life {
		most.At = max(most.At, r.At)
		most.RSSKB, most.FDs, most.Goroutines = max(most.RSSKB, r.RSSKB), max(most.FDs, r.FDs), max(most.Goroutines, r.Goroutines)
	}
	return most
}

// Grown tells what is wrong with one life of a process: more than a bound at
// any moment, or in its last third more at best than in the first third (after
// it has settled) at worst, and by more than may be. Judged tells whether the life was
// long enough for that.
func Grown(life []Reading, b Bounds) (wrong []string, judged bool) {
	most := Largest(life)
	over := func(what string, is, bound int) {
		if is > bound {
			wrong = append(wrong, fmt.Sprintf("%s: %d, over %d", what, is, bound))
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
