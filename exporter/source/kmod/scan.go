package kmod

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/estiba/estiba/exporter/source"
)

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 64

// scanner reads JSON (RFC 8259) from bytes, in place and without allocating.
type scanner struct {
	data []byte
	pos  int
	buf  []byte // unescaped text of the last string that had escapes
}

// cut is the error for data that end too early.
func (s *scanner) cut() error {
	return fmt.Errorf("%w after %d bytes", source.ErrCut, len(s.data))
}

func (s *scanner) bad(format string, args ...any) error {
	return fmt.Errorf("%w at byte %d: %s", source.ErrMalformed, s.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte without taking it.
func (s *scanner) peek() (byte, error) {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return c, nil
		}
	}
	return 0, s.cut()
}

// expect takes the byte want.
func (s *scanner) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return s.bad("%q where %q should be", c, want)
	}
	s.pos++
	return nil
}

// more is called inside an object or array after `first` or a value: it takes
// the comma or the closing byte, and tells whether another value follows.
func (s *scanner) more(first bool, closing byte) (bool, error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	switch {
	case c == closing:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.bad("%q where ',' or %q should be", c, closing)
	}
	s.pos++
	return true, nil
}

// key takes a key and its colon.
func (s *scanner) key() ([]byte, error) {
	k, err := s.text()
	if err != nil {
		return nil, err
	}
	return k, s.expect(':')
}

// text takes a string. The bytes are valid until the next call.
func (s *scanner) text() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.pos
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[start:i], nil
		case c == '\\' || c >= utf8.RuneSelf:
			return s.escapedText(start, i)
		case c < ' ':
			s.pos = i
			return nil, s.bad("control byte 0x%02x in a string", c)
		}
	}
	return nil, s.cut()
}

// escapedText goes on with a string that began at start and whose first
// escape or non-ASCII byte is at i. As encoding/json it puts U+FFFD where the
// string is not text.
func (s *scanner) escapedText(start, i int) ([]byte, error) {
	s.buf = append(s.buf[:0], s.data[start:i]...)
	for i < len(s.data) {
		c := s.data[i]
		switch {
		case c == '"':
			s.pos = i + 1
			return s.buf, nil
		case c < ' ':
			s.pos = i
			return nil, s.bad("control byte 0x%02x in a string", c)
		case c == '\\':
			n, err := s.escape(i)
			if err != nil {
				return nil, err
			}
			i += n
		case c < utf8.RuneSelf:
			s.buf = append(s.buf, c)
			i++
		default:
			r, n := utf8.DecodeRune(s.data[i:])
			s.buf = utf8.AppendRune(s.buf, r)
			i += n
		}
	}
	return nil, s.cut()
}

// escape decodes the escape at i into buf and returns its length.
func (s *scanner) escape(i int) (int, error) {
	if i+1 >= len(s.data) {
		return 0, s.cut()
	}
	switch c := s.data[i+1]; c {
	case '"', '\\', '/':
		s.buf = append(s.buf, c)
	case 'b':
		s.buf = append(s.buf, '\b')
	case 'f':
		s.buf = append(s.buf, '\f')
	case 'n':
		s.buf = append(s.buf, '\n')
	case 'r':
		s.buf = append(s.buf, '\r')
	case 't':
		s.buf = append(s.buf, '\t')
	case 'u':
		r, err := s.hex4(i + 2)
		if err != nil {
			return 0, err
		}
		if r < 0xd800 || r > 0xdfff {
			s.buf = utf8.AppendRune(s.buf, r)
			return 6, nil
		}
		if r < 0xdc00 && i+7 < len(s.data) && s.data[i+6] == '\\' && s.data[i+7] == 'u' {
			low, err := s.hex4(i + 8)
			if err != nil {
				return 0, err
			}
			if low >= 0xdc00 && low <= 0xdfff {
				s.buf = utf8.AppendRune(s.buf, (r-0xd800)<<10|(low-0xdc00)+0x10000)
				return 12, nil
			}
		}
		s.buf = utf8.AppendRune(s.buf, utf8.RuneError)
		return 6, nil
	default:
		s.pos = i
		return 0, s.bad("unknown escape \\%c", c)
	}
	return 2, nil
}

func (s *scanner) hex4(i int) (rune, error) {
	if i+4 > len(s.data) {
		return 0, s.cut()
	}
	var r rune
	for _, c := range s.data[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			s.pos = i
			return 0, s.bad("%q in \\u", c)
		}
	}
	return r, nil
}

// scalar takes a string or a number and returns its text.
func (s *scanner) scalar() ([]byte, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	if c == '"' {
		return s.text()
	}
	if c != '-' && (c < '0' || c > '9') {
		return nil, s.bad("%q where a string or a number should be", c)
	}
	return s.number()
}

func (s *scanner) number() ([]byte, error) {
	start := s.pos
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return nil, err
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return nil, err
		}
	}
	if s.pos < len(s.data) && (s.data[s.pos] == 'e' || s.data[s.pos] == 'E') {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if err := s.digits(); err != nil {
			return nil, err
		}
	}
	return s.data[start:s.pos], nil
}

func (s *scanner) digits() error {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos > start {
		return nil
	}
	if s.pos == len(s.data) {
		return s.cut()
	}
	return s.bad("%q where a digit should be", s.data[s.pos])
}

// skip takes any one value.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.bad("nested deeper than %d", maxDepth)
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{', '[':
		s.pos++
		closing := c + 2 // in ASCII both pairs are two apart
		for first := true; ; first = false {
			more, err := s.more(first, closing)
			if err != nil || !more {
				return err
			}
			if c == '{' {
				if _, err := s.key(); err != nil {
					return err
				}
			}
			if err := s.skip(depth + 1); err != nil {
				return err
			}
		}
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err = s.scalar()
	return err
}

func (s *scanner) word(w string) error {
	for i := 0; i < len(w); i++ {
		if s.pos == len(s.data) {
			return s.cut()
		}
		if s.data[s.pos] != w[i] {
			return s.bad("%q where %q should be", s.data[s.pos], w)
		}
		s.pos++
	}
	return nil
}

// end is called after the last value: nothing but white space may follow.
func (s *scanner) end() error {
	if c, err := s.peek(); err == nil {
		return s.bad("%q after the end of the document", c)
	}
	return nil
}

// count reads an unsigned decimal number.
func count(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || v > math.MaxUint64/10 || v*10 > math.MaxUint64-d {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// hundredths reads an unsigned decimal fraction, rounded to two decimals, as
// a number of hundredths.
func hundredths(b []byte) (uint64, bool) {
	dot := len(b)
	for i, c := range b {
		if c == '.' {
			dot = i
			break
		}
	}
	whole, ok := count(b[:dot])
	if !ok || whole > math.MaxUint64/100-1 {
		return 0, false
	}
	v := whole * 100
	if dot == len(b) {
		return v, true
	}
	fraction := b[dot+1:]
	if len(fraction) == 0 {
		return 0, false
	}
	for i, c := range fraction {
		d := uint64(c - '0')
		if d > 9 {
			return 0, false
		}
		switch i {
		case 0:
			v += d * 10
		case 1:
			v += d
		case 2:
			if d >= 5 {
				v++
			}
		}
	}
	return v, true
}
