package scan

import (
	"bytes"
	"math"
	"strconv"
	"testing"
)

func TestUint(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "18446744073709551615": true, "18446744073709551616": false,
		"99999999999999999999": false, "": false, "-1": false, "1 ": false, "0x1": false, "000000000000000000001": false,
	} {
		v, ok := Uint([]byte(text))
		if ok != want || text == "18446744073709551615" && v != math.MaxUint64 {
			t.Errorf("Uint(%q) = %d, %t, want %t", text, v, ok, want)
		}
	}
	for text, want := range map[string]bool{"-5": true, "7": true, "-": false, "--5": false, "-x": false} {
		if v, ok := Counter([]byte(text)); ok != want || ok && text[0] == '-' && v != 0 {
			t.Errorf("Counter(%q) = %d, %t, want %t", text, v, ok, want)
		}
	}
	if _, ok := Amount([]byte("18446744073709547520")); ok {
		t.Error("a number that slipped below zero is an amount")
	}
	if _, ok := Times(math.MaxUint64/10+1, 10); ok {
		t.Error("a product that is no number any more")
	}
}

func TestValue(t *testing.T) {
	for _, tt := range []struct {
		text      string
		want      uint64
		found, ok bool
	}{
		{"a 1\nkey 5\n", 5, true, true},
		{"key: 5 kB\n", 5, true, true},
		{"key:\t5", 5, true, true},
		{"key:5\x00\x00\x00", 5, true, true},
		{"key:5 kB\r\n", 5, true, true},
		{"keys 5\nkey 6", 6, true, true},
		{"key:5kB\n", 5, true, true},
		{"key:5kBs\n", 0, true, false},
		{"key: kB\n", 0, true, false},
		{"key x\nkeys 7\nkey 5\nkey 6\n", 5, true, true},
		{"key\n", 0, true, false},
		{"key -5\n", 0, true, false},
		{"key five\n", 0, true, false},
		{"", 0, false, false},
		{"\x00\x00", 0, false, false},
	} {
		if v, found, ok := Value([]byte(tt.text), "key"); v != tt.want || found != tt.found || ok != tt.ok {
			t.Errorf("%q: %d, %t, %t, want %d, %t, %t", tt.text, v, found, ok, tt.want, tt.found, tt.ok)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, seed := range []string{"a b\x00c\n\nd", "18446744073709551616", "-1", "key: 5 kB\nkey 6", "\r\n\t"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, ok := Uint(data); ok {
			if want, err := strconv.ParseUint(string(data), 10, 64); err != nil || v != want {
				t.Errorf("%q is %d, want %d, %v", data, v, want, err)
			}
		}
		var words, lines int
		for rest := data; ; words++ {
			var word []byte
			if word, rest = Word(rest); len(word) == 0 {
				break
			}
			if !bytes.Contains(data, word) {
				t.Errorf("%q is no word of %q", word, data)
			}
		}
		for rest := data; len(rest) > 0; lines++ {
			_, rest = Line(rest)
		}
		if words > len(data) || lines > bytes.Count(data, []byte("\n"))+1 {
			t.Errorf("%q: %d words, %d lines", data, words, lines)
		}
		if v, found, ok := Value(data, "key"); ok && (!found || !bytes.Contains(data, []byte("key"))) {
			t.Errorf("%q has key %d", data, v)
		}
	})
}
