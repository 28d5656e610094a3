package cgroupfile

import "testing"

func TestCPULimit(t *testing.T) {
	for text, want := range map[string]CPULimit{
		"max 100000\n": {Period: 100e6}, "50000 100000\n": {50e6, 100e6, true}, "1000 1000000": {1e6, 1e9, true},
		"": {}, "max": {}, "50000": {}, "max 0": {}, "x 100000": {}, "1 2 3": {}, "50000 x": {}, "-5 100000": {}, "max 99999999999999999999": {},
	} {
		if got, ok := CPUMax([]byte(text)); got != want || ok != (want.Period > 0) {
			t.Errorf("cpu.max %q: %+v, %v, want %+v", text, got, ok, want)
		}
	}
	if got, ok := CFS([]byte("-1\n"), []byte("100000\n")); !ok || got != (CPULimit{Period: 100e6}) {
		t.Errorf("quota -1: %+v, %v", got, ok)
	}
}

func FuzzCPU(f *testing.F) {
	f.Add([]byte("50000 100000\n"))
	f.Add([]byte("nr_periods 10\nnr_throttled 2\nthrottled_usec 123456\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, ok := CPUMax(b); ok && l.Period == 0 {
			t.Errorf("%q: %+v", b, l)
		}
		CPUBandwidth(b)
	})
}
