package soak

import "testing"

func TestDecreases(t *testing.T) {
	series := func(values ...float64) (list []Sample) {
		for i, v := range values {
			list = append(list, Sample{At: float64(5 * i), Value: v})
		}
		return list
	}
	oneLife := series(1, 2, 3, 4, 5)
	for name, c := range map[string]struct {
		counter, process []Sample
		want             int
	}{
		"rises":           {series(1, 2, 2, 3, 4), oneLife, 0},
		"falls":           {series(1, 2, 1.9, 3, 4), oneLife, 1},
		"decreases twice": {series(1, 0, 5, 4, 9), oneLife, 2},
		"restart":         {series(1, 2, 0, 1, 2), series(8, 9, 1, 2, 3), 0},
		"after a restart": {series(1, 2, 3, 1, 2), series(8, 9, 1, 2, 3), 1},
		"restart during a gap": {
			[]Sample{{0, 5}, {20, 1}}, series(8, 9, 1, 2, 3), 0,
		},
		"no samples": {nil, oneLife, 0},
	} {
		if got := Decreases(c.counter, c.process); len(got) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
