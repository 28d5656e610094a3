package linezip

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
)

// The two alphabets of RFC 1951, 3.2.5: literals 0 to 255, end of block and lengths; and
// distances.
const (
	endOfBlock    = 256
	firstLength   = 257
	symbols       = 286
	distances     = 30
	maxCodeLength = 15
)

// code is a code of length bits, lowest first.
type code struct {
	bits   uint32
	length uint8
}

// Codes has the Huffman codes for one kind of text. It is immutable, so writers can share
// it.
type Codes struct {
	header    []code               // of the block
	symbols   [endOfBlock + 1]code // literals and end of block
	lengths   [maxMatch + 1]code   // of a match, with the extra bits
	distances [distances]code      // without the extra bits
}

// span is the range of a length or distance symbol: 2^extra values from base.
type span struct {
	symbol int
	base   int
	extra  uint8
}

// distanceSpan returns the span of a distance of 1 to 32,768.
func distanceSpan(distance int) span {
	n := distance - 1
	if n < 4 {
		return span{n, distance, 0}
	}
	extra := bits.Len(uint(n)) - 2
	symbol := 2*extra + n>>extra
	return span{symbol, (n>>extra)<<extra + 1, uint8(extra)}
}

// lengthSpan returns the span of a match of 3 to 258 bytes.
func lengthSpan(length int) span {
	n := length - 3
	switch {
	case length == maxMatch:
		return span{symbols - 1, length, 0}
	case n < 8:
		return span{firstLength + n, length, 0}
	}
	extra := bits.Len(uint(n)) - 3
	symbol := firstLength + 4*extra + n>>extra
	return span{symbol, (n>>extra)<<extra + 3, uint8(extra)}
}

// NewCodes returns codes for text like sample, which has complete lines.
func NewCodes(sample []byte) *Codes {
	var n counts
	// Symbols that the sample lacks must have a code as well.
	for i := range n.symbols {
		n.symbols[i] = 1
	}
	for i := range n.distances {
		n.distances[i] = 1
	}
	var last []byte
	for line := range bytes.Lines(sample) {
		compress(&n, last, line)
		last = line
	}
	of := huffman(n.symbols[:])
	back := huffman(n.distances[:])

	c := &Codes{}
	copy(c.symbols[:], of)
	copy(c.distances[:], back)
	for length := 3; length <= maxMatch; length++ {
		s := lengthSpan(length)
		c.lengths[length] = of[s.symbol].with(length-s.base, s.extra)
	}
	c.header = header(of, back)
	return c
}

// with returns a code followed by extra bits.
func (c code) with(more int, length uint8) code {
	return code{c.bits | uint32(more)<<c.length, c.length + length}
}

// header returns the header of a final block with dynamic codes (RFC 1951, 3.2.7). Each
// code length takes four bits.
func header(of, back []code) []code {
	const lastBlock, ownCodes = 1, 2
	h := []code{{lastBlock, 1}, {ownCodes, 2}, {symbols - firstLength, 5}, {distances - 1, 5}, {19 - 4, 4}}
	for _, symbol := range [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} {
		if symbol <= maxCodeLength {
			h = append(h, code{4, 3})
		} else {
			h = append(h, code{0, 3}) // repeat codes: unused
		}
	}
	for _, c := range append(slices.Clone(of), back...) {
		h = append(h, code{reversed(uint32(c.length), 4), 4})
	}
	return h
}

// counts counts the symbols of a text.
type counts struct {
	symbols   [symbols]int
	distances [distances]int
}

func (n *counts) literals(text []byte) {
	for _, b := range text {
		n.symbols[b]++
	}
}

func (n *counts) match(length, distance int) {
	n.symbols[lengthSpan(min(length, maxMatch)).symbol]++
	n.distances[distanceSpan(distance).symbol]++
}

// huffman returns the codes for symbol frequencies (RFC 1951, 3.2.2).
func huffman(weights []int) []code {
	lengths := codeLengths(weights)
	var next [maxCodeLength + 2]uint32 // the next code of each length
	for _, n := range lengths {
		next[n+1]++
	}
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + next[n]) << 1
	}
	// next[n] is now twice the codes of all lengths below n, which is the first code of
	// length n.
	codes := make([]code, len(weights))
	for i, n := range lengths {
		codes[i] = code{reversed(next[n], n), n}
		next[n]++
	}
	return codes
}

// codeLengths returns the length of each code, at most maxCodeLength.
func codeLengths(weights []int) []uint8 {
	type node struct {
		weight  int
		symbols []int
	}
	byWeight := func(a, b node) int { return cmp.Compare(a.weight, b.weight) }
	for {
		lengths := make([]uint8, len(weights))
		nodes := make([]node, len(weights))
		for i, w := range weights {
			nodes[i] = node{w, []int{i}}
		}
		slices.SortStableFunc(nodes, byWeight)
		for len(nodes) > 1 {
			both := node{nodes[0].weight + nodes[1].weight, append(nodes[0].symbols, nodes[1].symbols...)}
			for _, symbol := range both.symbols {
				lengths[symbol]++
			}
			nodes = nodes[2:]
			at, _ := slices.BinarySearchFunc(nodes, both, byWeight)
			nodes = slices.Insert(nodes, at, both)
		}
		if slices.Max(lengths) <= maxCodeLength {
			return lengths
		}
		// Flatter weights result in shorter codes.
		weights = slices.Clone(weights)
		for i := range weights {
			weights[i] = weights[i]/2 + 1
		}
	}
}

// reversed reverses the lowest n bits: codes start with their highest bit, everything
// else with its lowest (RFC 1951, 3.1.1).
func reversed(c uint32, n uint8) uint32 { return bits.Reverse32(c) >> (32 - n) }
