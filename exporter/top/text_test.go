package top

import (
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"web-1": "web-1", "größe": "größe", "": "",
		hostile:      `\x1b[2Jé\u009b31m\u202e\u65e5\u05e9\xff\x0a`,
		"a\u0301":    `a\u0301`, // combining
		"\U0001F600": `\U0001f600`,
		"\ufffd":     `\ufffd`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, s string) {
		if got := clean(s); strings.ContainsFunc(got, func(r rune) bool { return !plain(r) }) {
			t.Errorf("clean(%q) = %q", s, got)
		}
	})
}

func TestFormat(t *testing.T) {
	for want, got := range map[string]string{
		"0": size(Known(0.2)), "–": size(Value{}), "999B": size(Known(999)), "1.0K": size(Known(1000)), "9.9K": size(Known(10137)),
		"10K": size(Known(10200)), "1023K": size(Known(1023 << 10)), "1.0M": size(Known(1<<20 - 1)), "16E": size(Known(1 << 64)),
		"0.0": percent(Known(0.04)), "212.5": percent(Known(212.46)), "99.9": shortPercent(Known(99.9)), "100": shortPercent(Known(99.96)),
		"99999": count(Known(99999)), "123k": count(Known(123456)), "59s": duration(Known(59.9)), "2m03s": duration(Known(123)),
		"5h30m": duration(Known(19800)), "3d04h": duration(Known(273600)), "120d": duration(Known(120 * 86400)),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := fit("abcdef", 4, false); got != "abc…" {
		t.Error(got)
	}
	if got := fit("é", 3, true); got != "  é" {
		t.Error(got)
	}
}
