package soak

import (
	"slices"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	a, b, other := NewPlan(7), NewPlan(7), NewPlan(8)
	differs, doubles := 0, 0
	for round := range 5 {
		var seen []Kind
		for range Kinds() {
			f := a.Next()
			if f != b.Next() {
				t.Fatal("same seed, different sequences")
			}
			if f != other.Next() {
				differs++
			}
			if f.Also != "" {
				doubles++
			}
			if f.Also == f.Kind || f.Wait < 15*time.Second || f.Wait >= 45*time.Second || f.Hold < 2*time.Second || f.Step < 3*time.Second {
				t.Errorf("%+v", f)
			}
			seen = append(seen, f.Kind)
		}
		for _, k := range Kinds() {
			if !slices.Contains(seen, k) {
				t.Errorf("round %d has no %q", round, k)
			}
		}
	}
	if differs == 0 || doubles == 0 {
		t.Errorf("%d differ with another seed, %d are double", differs, doubles)
	}
}
