package kmod

import (
	"bytes"
	"math"

	"github.com/estiba/estiba/exporter/source/scan"
)

// count parses an unsigned integer in any JSON notation: 100, 100.0, 1e2.
func count(b []byte) (uint64, bool) {
	if v, ok := scan.Uint(b); ok {
		return v, true
	}
	v, exact, ok := decimal(b, 0)
	return v, ok && exact
}

// hundredths parses an unsigned number and rounds it to hundredths.
func hundredths(b []byte) (uint64, bool) {
	v, _, ok := decimal(b, 2)
	return v, ok
}

// maxDigits is above the digits of any 64-bit number with exponent.
const maxDigits = 400

// decimal parses an unsigned number times 10^places, rounded to an integer; exact is
// false if it was rounded.
func decimal(b []byte, places int) (v uint64, exact, ok bool) {
	mantissa, exponent := b, 0
	if i := bytes.IndexAny(b, "eE"); i >= 0 {
		mantissa = b[:i]
		power, negative := bytes.CutPrefix(b[i+1:], []byte("-"))
		if !negative {
			power = bytes.TrimPrefix(power, []byte("+"))
		}
		n, valid := scan.Uint(power)
		if !valid || n > maxDigits {
			return 0, false, false
		}
		if exponent = int(n); negative {
			exponent = -exponent
		}
	}
	whole, fraction, dotted := bytes.Cut(mantissa, []byte("."))
	if len(whole) == 0 || dotted && len(fraction) == 0 || len(mantissa) > maxDigits {
		return 0, false, false
	}
	// The digits up to end are the integer; the next one rounds it.
	end := len(whole) + exponent + places
	exact = true
	for i := range max(end, len(whole)+len(fraction)) {
		d := uint64(0)
		switch {
		case i < len(whole):
			d = uint64(whole[i] - '0')
		case i < len(whole)+len(fraction):
			d = uint64(fraction[i-len(whole)] - '0')
		}
		switch {
		case d > 9:
			return 0, false, false
		case i < end:
			if v > math.MaxUint64/10 || v*10 > math.MaxUint64-d {
				return 0, false, false
			}
			v = v*10 + d
		case d > 0:
			exact = false
			if i == end && d >= 5 {
				if v == math.MaxUint64 {
					return 0, false, false
				}
				v++
			}
		}
	}
	return v, exact, true
}
