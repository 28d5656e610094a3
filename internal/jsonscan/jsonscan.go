// Package jsonscan reads JSON (RFC 8259) from bytes, in place and without allocations:
// the kernel module's document and Prometheus' answers can be megabytes long. What a
// caller makes of objects, keys and numbers is the caller's.
package jsonscan

import (
	"fmt"
	"unicode/utf8"
)

// MaxDepth limits the nesting of skipped values.
const MaxDepth = 64

// Error is a violation of JSON's grammar, or the end of the data.
type Error struct {
	At   int    // byte
	Text string // "" at the end of the data
}

// Cut reports whether the data ended too early.
func (e *Error) Cut() bool { return e.Text == "" }

func (e *Error) Error() string {
	if e.Cut() {
		return fmt.Sprintf("unexpected end after %d bytes", e.At)
	}
	return fmt.Sprintf("at byte %d: %s", e.At, e.Text)
}

// Scanner reads values from Data one after the other.
type Scanner struct {
	Data []byte
	Pos  int

	buf []byte // the last string with escapes, unescaped
}

func (s *Scanner) cut() error { return &Error{At: len(s.Data)} }

// Bad returns an Error at Pos.
func (s *Scanner) Bad(format string, args ...any) error {
	return &Error{At: s.Pos, Text: fmt.Sprintf(format, args...)}
}

// Peek skips white space and returns the next byte without consuming it.
func (s *Scanner) Peek() (byte, error) {
	for s.Pos < len(s.Data) {
		switch c := s.Data[s.Pos]; c {
		case ' ', '\n', '\t', '\r':
			s.Pos++
		default:
			return c, nil
		}
	}
	return 0, s.cut()
}

// Expect consumes the byte want.
func (s *Scanner) Expect(want byte) error {
	c, err := s.Peek()
	if err != nil {
		return err
	}
	if c != want {
		return s.Bad("expected %q, found %q", want, c)
	}
	s.Pos++
	return nil
}

// More is called in an object or array before the first value and after each value: it
// consumes the comma or the closing byte and reports whether another value follows.
func (s *Scanner) More(first bool, closing byte) (bool, error) {
	c, err := s.Peek()
	if err != nil {
		return false, err
	}
	switch {
	case c == closing:
		s.Pos++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.Bad("expected ',' or %q, found %q", closing, c)
	}
	s.Pos++
	return true, nil
}

// Key consumes a key and its colon.
func (s *Scanner) Key() ([]byte, error) {
	k, err := s.Text()
	if err != nil {
		return nil, err
	}
	return k, s.Expect(':')
}

// Text consumes a string, valid until the next call.
func (s *Scanner) Text() ([]byte, error) {
	if err := s.Expect('"'); err != nil {
		return nil, err
	}
	start := s.Pos
	for i := start; i < len(s.Data); i++ {
		switch c := s.Data[i]; {
		case c == '"':
			s.Pos = i + 1
			return s.Data[start:i], nil
		case c == '\\' || c >= utf8.RuneSelf:
			return s.escapedText(start, i)
		case c < ' ':
			s.Pos = i
			return nil, s.Bad("control character 0x%02x in string", c)
		}
	}
	return nil, s.cut()
}

// escapedText continues a string from start whose first escape or non-ASCII byte is at
// i. Like encoding/json it replaces invalid text by U+FFFD.
func (s *Scanner) escapedText(start, i int) ([]byte, error) {
	s.buf = append(s.buf[:0], s.Data[start:i]...)
	for i < len(s.Data) {
		c := s.Data[i]
		switch {
		case c == '"':
			s.Pos = i + 1
			return s.buf, nil
		case c < ' ':
			s.Pos = i
			return nil, s.Bad("control character 0x%02x in string", c)
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
			r, n := utf8.DecodeRune(s.Data[i:])
			s.buf = utf8.AppendRune(s.buf, r)
			i += n
		}
	}
	return nil, s.cut()
}

// escape decodes the escape at i into buf and returns its length.
func (s *Scanner) escape(i int) (int, error) {
	if i+1 >= len(s.Data) {
		return 0, s.cut()
	}
	switch c := s.Data[i+1]; c {
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
		if r < 0xdc00 && i+7 < len(s.Data) && s.Data[i+6] == '\\' && s.Data[i+7] == 'u' {
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
		s.Pos = i
		return 0, s.Bad("unknown escape \\%c", c)
	}
	return 2, nil
}

func (s *Scanner) hex4(i int) (rune, error) {
	if i+4 > len(s.Data) {
		return 0, s.cut()
	}
	var r rune
	for _, c := range s.Data[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			s.Pos = i
			return 0, s.Bad("invalid hex digit %q in \\u escape", c)
		}
	}
	return r, nil
}

// Scalar consumes a string or a number and returns its text.
func (s *Scanner) Scalar() ([]byte, error) {
	c, err := s.Peek()
	if err != nil {
		return nil, err
	}
	if c == '"' {
		return s.Text()
	}
	if c != '-' && (c < '0' || c > '9') {
		return nil, s.Bad("expected a string or a number, found %q", c)
	}
	return s.Number()
}

// Number consumes a number and returns its text.
func (s *Scanner) Number() ([]byte, error) {
	c, err := s.Peek()
	if err != nil {
		return nil, err
	}
	start := s.Pos
	if c == '-' {
		s.Pos++
	}
	if s.Pos < len(s.Data) && s.Data[s.Pos] == '0' {
		s.Pos++
	} else if err := s.digits(); err != nil {
		return nil, err
	}
	if s.Pos < len(s.Data) && s.Data[s.Pos] == '.' {
		s.Pos++
		if err := s.digits(); err != nil {
			return nil, err
		}
	}
	if s.Pos < len(s.Data) && (s.Data[s.Pos] == 'e' || s.Data[s.Pos] == 'E') {
		s.Pos++
		if s.Pos < len(s.Data) && (s.Data[s.Pos] == '+' || s.Data[s.Pos] == '-') {
			s.Pos++
		}
		if err := s.digits(); err != nil {
			return nil, err
		}
	}
	return s.Data[start:s.Pos], nil
}

func (s *Scanner) digits() error {
	start := s.Pos
	for s.Pos < len(s.Data) && s.Data[s.Pos] >= '0' && s.Data[s.Pos] <= '9' {
		s.Pos++
	}
	if s.Pos > start {
		return nil
	}
	if s.Pos == len(s.Data) {
		return s.cut()
	}
	return s.Bad("expected a digit, found %q", s.Data[s.Pos])
}

// Skip consumes any value; depth is that of the object or array around it.
func (s *Scanner) Skip(depth int) error {
	if depth > MaxDepth {
		return s.Bad("nested deeper than %d", MaxDepth)
	}
	c, err := s.Peek()
	if err != nil {
		return err
	}
	switch c {
	case '{', '[':
		s.Pos++
		closing := c + 2 // in ASCII both pairs are two apart
		for first := true; ; first = false {
			more, err := s.More(first, closing)
			if err != nil || !more {
				return err
			}
			if c == '{' {
				if _, err := s.Key(); err != nil {
					return err
				}
			}
			if err := s.Skip(depth + 1); err != nil {
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
	_, err = s.Scalar()
	return err
}

func (s *Scanner) word(w string) error {
	for i := range len(w) {
		if s.Pos == len(s.Data) {
			return s.cut()
		}
		if s.Data[s.Pos] != w[i] {
			return s.Bad("expected %q, found %q", w, s.Data[s.Pos])
		}
		s.Pos++
	}
	return nil
}

// End checks that only white space follows the document.
func (s *Scanner) End() error {
	if c, err := s.Peek(); err == nil {
		return s.Bad("unexpected %q after the document", c)
	}
	return nil
}
