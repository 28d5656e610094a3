package soak

import (
	"testing"
	"time"
)

func TestGrown(t *testing.T) {
	bounds := Bounds{RSSKB: 1000, FDs: 100, Goroutines: 100, GrowRSSKB: 100, GrowFDs: 5, GrowGoroutines: 5}
	life := func(minutes int, reading func(minute int) Reading) (list []Reading) {
		for m := range minutes + 1 {
			r := reading(m)
			r.At = time.Duration(m) * time.Minute
			list = append(list, r)
		}
		return list
	}
	steady := func(int) Reading { return Reading{RSSKB: 500, FDs: 20, Goroutines: 20} }
	for name, c := range map[string]struct {
		life   []Reading
		judged bool
		wrong  int
	}{
		"steady":           {life(20, steady), true, 0},
		"short":            {life(3, func(m int) Reading { return Reading{RSSKB: 200 * m} }), false, 0},
		"above the bounds": {life(3, func(int) Reading { return Reading{RSSKB: 1001, FDs: 101, Goroutines: 101} }), false, 3},
		"fills a cache":    {life(20, func(m int) Reading { return Reading{RSSKB: 200 + 300*min(m, 2), FDs: 20, Goroutines: 20} }), true, 0},
		"leaks slowly":     {life(20, func(m int) Reading { return Reading{RSSKB: 500, FDs: 20 + m, Goroutines: 20 + m} }), true, 2},
		"leaks memory":     {life(20, func(m int) Reading { return Reading{RSSKB: 500 + 20*m} }), true, 1},
		"a peak":           {life(20, func(m int) Reading { return Reading{RSSKB: 500 + 400*(m/18%2), FDs: 20, Goroutines: 20} }), true, 0},
		"goroutines sometimes unknown": {life(20, func(m int) Reading {
			return Reading{RSSKB: 500, FDs: 20, Goroutines: 30 * (m % 2)}
		}), true, 0},
	} {
		wrong, judged := Grown(c.life, bounds)
		if judged != c.judged || len(wrong) != c.wrong {
			t.Errorf("%s: %q, %t", name, wrong, judged)
		}
	}
}
