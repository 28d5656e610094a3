package replay

import (
	"testing"
	"time"
)

func TestMoments(t *testing.T) {
	until := time.Unix(1_800_000_000, 0)
	for since, want := range map[time.Duration]int{0: 1, 9 * time.Second: 1, 10 * time.Second: 2, 25 * time.Second: 3} {
		m, err := Moments(until.Add(-since), until, 10*time.Second)
		if err != nil || m.N != want || !m.At(m.N-1).Equal(until) {
			t.Errorf("%s: %+v, %v, want %d ticks up to %s", since, m, err, want, until)
		}
	}
	if _, err := Moments(until.Add(11*time.Second), until, 10*time.Second); err == nil {
		t.Error("no error for a time range without ticks")
	}
}
