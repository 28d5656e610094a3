package batch

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"

	"github.com/estiba/estiba/internal/container"
)

// System returns the system's random source.
func System() *rand.Rand { return rand.New(systemSource{}) }

type systemSource struct{}

func (systemSource) Uint64() uint64 {
	var b [8]byte
	crand.Read(b[:]) // never fails, by its documentation
	return binary.LittleEndian.Uint64(b[:])
}

// Seeded returns the random source for batch n (from 0) of a seed.
func Seeded(seed uint64, n int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(n)))
}

const (
	alphabet   = "0123456789abcdefghijkmnpqrstuvwxyz" // without l and o, which look like 1 and 0
	idLength   = 8
	nameLength = 10
)

// word draws n characters.
func word(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// name is kind, level and 50 random bits.
func name(r *rand.Rand, kind container.Kind, level Level) string {
	return string(kind) + "-" + string(level) + "-" + word(r, nameLength)
}
