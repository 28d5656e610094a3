package linezip

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"
)

// unpack decompresses with another implementation.
func unpack(t testing.TB, packed []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(text), err)
	}
	return text
}

// pack writes text in pieces of the given size.
func pack(t testing.TB, w *Writer, text []byte, piece int) []byte {
	t.Helper()
	var b bytes.Buffer
	w.Reset(&b)
	for rest := text; len(rest) > 0; {
		n := min(piece, len(rest))
		if got, err := w.Write(rest[:n]); got != n || err != nil {
			t.Fatalf("Write: %d, %v", got, err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// exposition is text like the sample of the codes.
func exposition(containers int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var ids []string
	for range containers {
		ids = append(ids, fmt.Sprintf("%012x", r.Uint64()>>16))
	}
	var b bytes.Buffer
	for _, name := range []string{"estiba_container_cpu_seconds_total", "estiba_container_memory_rss_bytes", "estiba_container_processes"} {
		fmt.Fprintf(&b, "# HELP %s What is counted here.\n# TYPE %s counter\n", name, name)
		for i, id := range ids {
			fmt.Fprintf(&b, "%s{id=%q,name=\"stress-cpu-high-%06x\"} %d\n", name, id, i*7919, r.Uint64()>>(r.Uint64()%64))
		}
	}
	return b.Bytes()
}

func testCodes() *Codes { return NewCodes(exposition(50)) }

func TestAnyTextComesBack(t *testing.T) {
	random := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range random {
		random[i] = byte(r.Uint64())
	}
	long := strings.Repeat("x", window+1)
	texts := map[string]string{
		"nothing":                      "",
		"no line":                      "a",
		"one line":                     "a\n",
		"an exposition":                string(exposition(1000)),
		"every byte":                   string(random),
		"a line without end":           long,
		"lines as long as the window":  strings.Repeat(long[2:]+"\n", 3),
		"lines longer than the window": strings.Repeat(long+"\n", 3),
		"only line feeds":              strings.Repeat("\n", 100),
		"quotation marks":              strings.Repeat(`""""`+"\n", 9) + `"` + "\n" + `"""` + "\n",
		"first line has no marks":      "abcdef\n\"abcdef\"\nabcdef\n",
	}
	// Matches of each length, at many distances.
	var b strings.Builder
	for n := range 600 {
		same := strings.Repeat("y", n)
		fmt.Fprintf(&b, "%s1\n%s2\n%s", same, same, strings.Repeat("z", n%7))
	}
	texts["each length"] = b.String()
	b.Reset()
	for n := 0; n < window; n = n*9/8 + 1 {
		fmt.Fprintf(&b, "=====%s\n=====%s\n", strings.Repeat("u", n), strings.Repeat("v", n))
	}
	texts["each distance"] = b.String()

	w := NewWriter(nil, testCodes())
	for name, text := range texts {
		for _, piece := range []int{1, 7, 4096, 1 << 20} {
			if got := unpack(t, pack(t, w, []byte(text), piece)); string(got) != text {
				t.Errorf("%s, in pieces of %d: %d bytes came back of %d, or others", name, piece, len(got), len(text))
			}
		}
	}
}

func TestSmallerThanItWas(t *testing.T) {
	text := exposition(1000)
	packed := pack(t, NewWriter(nil, testCodes()), text, 1<<20)
	if len(packed)*3 > len(text) {
		t.Errorf("%d bytes became %d", len(text), len(packed))
	}
}

// Text unlike the sample still has codes for everything.
func TestCodesAreComplete(t *testing.T) {
	for name, sample := range map[string]string{"no sample": "", "usual": string(exposition(50)), "one letter": strings.Repeat("a", 1<<20)} {
		c := NewCodes([]byte(sample))
		sum := 0 // of 2^-length, in 2^-15 (Kraft's inequality)
		for _, s := range c.symbols {
			if s.length == 0 || s.length > maxCodeLength {
				t.Errorf("%s: a code of %d bits", name, s.length)
			}
			sum += 1 << (maxCodeLength - s.length)
		}
		seen := map[int]bool{}
		for n := 3; n <= maxMatch; n++ {
			s := lengthSpan(n)
			if !seen[s.symbol] {
				seen[s.symbol] = true
				sum += 1 << (maxCodeLength - (c.lengths[n].length - s.extra))
			}
		}
		if sum != 1<<maxCodeLength || len(seen) != symbols-firstLength {
			t.Errorf("%s: codes fill %d of %d, %d symbols of lengths", name, sum, 1<<maxCodeLength, len(seen))
		}
	}
}

type broken struct{ after int }

var errBroken = errors.New("broken")

func (b *broken) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestAnErrorBelowIsTold(t *testing.T) {
	w := NewWriter(&broken{after: 100_000}, testCodes())
	text := exposition(10_000)
	_, err := w.Write(text)
	if !errors.Is(err, errBroken) {
		t.Fatalf("Write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, errBroken) {
		t.Errorf("Close: %v", err)
	}
	if got := unpack(t, pack(t, w, text, 1<<20)); !bytes.Equal(got, text) {
		t.Error("after an error, Reset does not begin anew")
	}
}

func FuzzWriter(f *testing.F) {
	f.Add(exposition(5), 100)
	f.Add([]byte("a\"b\"\n\"a\"b\n"), 1)
	codes := testCodes()
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		if piece <= 0 {
			t.Skip()
		}
		if got := unpack(t, pack(t, NewWriter(nil, codes), text, piece)); !bytes.Equal(got, text) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// BenchmarkWriter compares with a general compressor.
func BenchmarkWriter(b *testing.B) {
	text := exposition(10_000)
	for name, w := range map[string]interface {
		io.WriteCloser
		Reset(io.Writer)
	}{"linezip": NewWriter(nil, testCodes()), "klauspost": general(b)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			var out bytes.Buffer
			for b.Loop() {
				out.Reset()
				w.Reset(&out)
				for rest := text; len(rest) > 0; {
					n := min(len(rest), 32<<10)
					w.Write(rest[:n])
					rest = rest[n:]
				}
				w.Close()
			}
			b.ReportMetric(float64(out.Len())/float64(len(text)), "size")
		})
	}
}

func general(b *testing.B) *kgzip.Writer {
	w, err := kgzip.NewWriterLevel(nil, kgzip.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	return w
}
