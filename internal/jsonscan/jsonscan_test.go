package jsonscan

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// examples are values, most of them broken.
var examples = []string{
	`{}`, `[]`, ` [ 1 , -2.5e+3 , "a" , true , false , null , {"a":{"b":[]}} ] `, `"\u00e9\ud83d\ude00\ud83dx\/\b\f\n\r\t\"\\"`, "\"\xff\xc3\x28é\"",
	`0`, `-0`, `0.10`, `1e9`, `1E-9`, ``, ` `, `{`, `[`, `"`, `"\`, `"\u`, `"\u12`, `"\ud83d\u`, `t`, `tru`, `-`, `1.`, `1e`, `1e+`,
	`[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `01`, `+1`, `.5`, `1.e5`, `--1`, `nul`, `nulL`, `truE`,
	`"\x"`, `"\u12g4"`, "\"a\x00\"", "\"a\n\"", `[}`, `{]`, `1 2`, `[] x`, "\ufeff1", `NaN`, `'a'`,
}

// All of JSON is read, and nothing that encoding/json refuses.
func TestAgainstEncodingJSON(t *testing.T) {
	for _, text := range examples {
		compare(t, []byte(text))
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range examples {
		f.Add([]byte(text))
	}
	f.Fuzz(compare)
}

func compare(t *testing.T, text []byte) {
	s := Scanner{Data: text}
	err := s.Skip(0)
	if err == nil {
		err = s.End()
	}
	if err != nil && strings.Contains(err.Error(), "nested deeper") {
		return
	}
	if valid := json.Valid(text); (err == nil) != valid {
		t.Fatalf("%q: error %v, valid %v", text, err, valid)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%q: %v is no Error", text, err)
	}
	var want string
	if json.Unmarshal(text, &want) == nil && string(text) != "null" && strings.TrimSpace(string(text)) != "null" {
		s := Scanner{Data: text}
		if got, err := s.Text(); err != nil || string(got) != want {
			t.Fatalf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// What is a beginning of something valid is cut, and nothing else is.
func TestCut(t *testing.T) {
	const whole = `{"a":[1.5,"x\u00e9",true],"b":{}}`
	for n := range len(whole) {
		var e *Error
		s := Scanner{Data: []byte(whole[:n])}
		if err := s.Skip(0); !errors.As(err, &e) || !e.Cut() {
			t.Errorf("%q: %v, want the end", whole[:n], err)
		}
	}
	var e *Error
	s := Scanner{Data: []byte(`{"a":x`)}
	if err := s.Skip(0); !errors.As(err, &e) || e.Cut() || e.At != 5 {
		t.Errorf("%v, want a fault at byte 5", err)
	}
}

func TestDepth(t *testing.T) {
	for depth, fails := range map[int]bool{MaxDepth: false, MaxDepth + 2: true, 100_000: true} {
		s := Scanner{Data: []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))}
		if err := s.Skip(0); (err != nil) != fails {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}
