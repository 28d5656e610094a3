package testutil

import "testing"

func TestBefore(t *testing.T) {
	for _, c := range []struct {
		output, release string
		want            bool
	}{
		{"prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5)", "3.0", true},
		{"prometheus, version 3.13.5 (branch: , revision: unknown)", "3.0", false},
		{"amtool, version 0.25.0 (branch: x)", "0.26", true},
		{"amtool, version 0.26.0 (branch: x)", "0.26", false},
		{"amtool, version 0.9.1 (branch: x)", "0.26", true},
		{"prometheus, version 10.1.0", "9.2", false},
	} {
		if got, err := before(c.output, c.release); err != nil || got != c.want {
			t.Errorf("%q before %s: %v, %v", c.output, c.release, got, err)
		}
	}
	if _, err := before("no version here", "1.2"); err == nil {
		t.Error("output without a release accepted")
	}
}
