package container

import (
	"strings"
	"testing"
)

func TestIndex(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("a", 12)+strings.Repeat("b", 52)
	c := strings.Repeat("c", 64)
	x := NewIndex([]string{c, b, a})
	for prefix, want := range map[string]string{
		a: a, b: b, c: c, c[:12]: c, c[:30]: c, b[:13]: b,
		a[:12]: "", // of two
		c[:11]: "", // too short
		"":     "", strings.Repeat("d", 64): "", c + "c": "",
	} {
		if got, found := x.Find(prefix); got != want || found != (want != "") {
			t.Errorf("%q: found %q, want %q", prefix, got, want)
		}
	}
}
