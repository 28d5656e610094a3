// Package linezip compresses text with similar lines, such as an exposition, into gzip
// (RFC 1952 around one block of RFC 1951).
//
// A general compressor spends its time searching for repetitions. Here they are known:
// a line starts like the previous one, and the two match again after each quotation
// mark. So there is no table of earlier text, and the Huffman codes are computed once
// from a sample. Any text can be compressed; other text compresses poorly.
package linezip

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
)

const (
	minMatch = 4        // a shorter match costs as much as its literals
	maxMatch = 258      // RFC 1951, 3.2.5
	window   = 32 << 10 // largest distance of a match
	outSize  = 32 << 10
)

// Writer writes gzip to another writer. Close ends the stream, Reset starts a new one. It
// is not safe for concurrent use.
type Writer struct {
	to    io.Writer
	codes *Codes
	err   error // first error of to

	out   []byte // complete bytes, not written yet
	acc   uint64 // bits of the incomplete byte, lowest first
	nbits uint   // number of bits in acc, at most 7

	last    []byte // previous line, directly before the next text
	pending []byte // incomplete line
	sum     uint32
	size    uint32 // of the text, modulo 2^32
	begun   bool
}

// NewWriter returns a writer of one gzip stream to another writer.
func NewWriter(to io.Writer, c *Codes) *Writer {
	w := &Writer{codes: c, out: make([]byte, 0, outSize+outSize/4)}
	w.Reset(to)
	return w
}

// Reset starts a new stream.
func (w *Writer) Reset(to io.Writer) {
	*w = Writer{to: to, codes: w.codes, out: w.out[:0], last: w.last[:0], pending: w.pending[:0]}
}

func (w *Writer) begin() {
	if w.begun {
		return
	}
	w.begun = true
	// No name, no time, unknown system (RFC 1952, 2.3).
	w.out = append(w.out, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
	for _, c := range w.codes.header {
		w.put(uint64(c.bits), uint(c.length))
	}
}

// Write compresses p. It returns the first error of the underlying writer.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.begin()
	w.sum = crc32.Update(w.sum, crc32.IEEETable, p)
	w.size += uint32(len(p))
	n := len(p)
	if len(w.pending) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			end = len(p)
		}
		w.pending = append(w.pending, p[:end]...)
		p = p[end:]
		if w.pending[len(w.pending)-1] != '\n' && len(w.pending) < window {
			return n, nil
		}
		w.line(w.last, w.pending)
		w.last, w.pending = w.pending, w.last[:0]
	}
	last := w.last
	for {
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			break
		}
		w.line(last, p[:end])
		last, p = p[:end], p[end:]
	}
	w.last = append(w.last[:0], last...)
	w.pending = append(w.pending, p...)
	return n, w.err
}

// Close ends the stream; it does not close the underlying writer.
func (w *Writer) Close() error {
	w.begin()
	w.line(w.last, w.pending)
	w.last, w.pending = w.last[:0], w.pending[:0]
	end := w.codes.symbols[endOfBlock]
	w.put(uint64(end.bits), uint(end.length))
	if w.nbits > 0 {
		w.out = append(w.out, byte(w.acc))
	}
	w.out = binary.LittleEndian.AppendUint32(w.out, w.sum)
	w.out = binary.LittleEndian.AppendUint32(w.out, w.size)
	w.flush()
	return w.err
}

func (w *Writer) flush() {
	if w.err == nil {
		_, w.err = w.to.Write(w.out)
	}
	w.out = w.out[:0]
}

// line compresses a line that directly follows last.
func (w *Writer) line(last, line []byte) {
	compress(w, last, line)
	if len(w.out) >= outSize {
		w.flush()
	}
}

// sink takes literals, and matches of at least minMatch bytes at a distance of 1 to
// window bytes.
type sink interface {
	literals(text []byte)
	match(length, distance int)
}

// compress splits a line that directly follows last into literals and matches. The two
// are compared from the start and from each quotation mark.
func compress(to sink, last, line []byte) {
	i, j := 0, 0 // positions in line and last
	done := 0    // of line
	for {
		n := common(line[i:], last[j:])
		if distance := len(last) - j + i; n >= minMatch && distance <= window {
			to.literals(line[done:i])
			to.match(n, distance)
			done = i + n
		}
		i, j = i+n, j+n
		a := bytes.IndexByte(line[i:], '"')
		if a < 0 {
			break
		}
		b := bytes.IndexByte(last[j:], '"')
		if b < 0 {
			break
		}
		i, j = i+a, j+b
	}
	to.literals(line[done:])
}

// common returns the length of the common prefix.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// put writes a code of at most 56 bits.
func (w *Writer) put(c uint64, length uint) {
	w.acc |= c << w.nbits
	w.nbits += length
	w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)
	whole := w.nbits / 8
	w.out = w.out[:len(w.out)-8+int(whole)]
	w.acc >>= whole * 8
	w.nbits %= 8
}

// literals writes three literals at a time, of at most 15 bits each.
func (w *Writer) literals(text []byte) {
	acc, n := w.acc, w.nbits
	out := slices.Grow(w.out, 2*len(text)+16)
	at := len(out)
	out = out[:cap(out)]
	letters := &w.codes.symbols
	for ; len(text) >= 3; text = text[3:] {
		a, b, c := letters[text[0]], letters[text[1]], letters[text[2]]
		acc |= uint64(a.bits) << (n & 63)
		n += uint(a.length)
		acc |= uint64(b.bits) << (n & 63)
		n += uint(b.length)
		acc |= uint64(c.bits) << (n & 63)
		n += uint(c.length)
		binary.LittleEndian.PutUint64(out[at:], acc)
		at += int(n / 8)
		acc >>= n &^ 7 & 63
		n %= 8
	}
	for _, letter := range text {
		c := letters[letter]
		acc |= uint64(c.bits) << (n & 63)
		n += uint(c.length)
	}
	binary.LittleEndian.PutUint64(out[at:], acc)
	at += int(n / 8)
	acc >>= n &^ 7 & 63
	n %= 8
	w.out, w.acc, w.nbits = out[:at], acc, n
}

func (w *Writer) match(length, distance int) {
	d := distanceSpan(distance)
	back := w.codes.distances[d.symbol].with(distance-d.base, d.extra)
	for length > 0 {
		now := min(length, maxMatch)
		if rest := length - now; rest > 0 && rest < 3 {
			now -= 3 // a match has at least 3 bytes
		}
		long := w.codes.lengths[now]
		w.put(uint64(long.bits)|uint64(back.bits)<<long.length, uint(long.length+back.length))
		length -= now
	}
}
