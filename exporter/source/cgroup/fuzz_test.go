package cgroup

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// FuzzFiles gives every parser of this package the same bytes. What one accepts
// must be what the bytes say, read another way.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		"42 (a b) S 7 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 12345 4096 17 1 0",
		"1 () S) S 18446744073709551615 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 1 2 3",
		"Inter-| R\n face |b\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
		"0::/a/b\n3:cpu,cpuacct:/x:y\n", "shim\x00-namespace\x00moby\x00-id\x00abc\x00",
		"8:0 Read 4096\n8:0 Write 1\nTotal 4097\n", "8:0 rbytes=1 wbytes=2 rios=3\n",
		"some avg10=0.00 total=5\nfull total=6\n", "usage_usec 5\nuser_usec 99999999999999999999\n", "max\n", "",
		"2048 256 128 10 0 300 0\n", "inodeinooffsetof\x18\x00\x04123\x00\x00inodeinooffsetof\x18\x00\x04sys\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, ok := number(data); ok {
			if want, err := strconv.ParseUint(string(data), 10, 64); err != nil || v != want {
				t.Errorf("number %q = %d, want %d, %v", data, v, want, err)
			}
		}
		if p, err := parseStat(data, "comm"); err == nil {
			// The comm is between the first and the last bracket.
			if !bytes.HasPrefix(data, []byte(fmt.Sprintf("%d (", p.pid))) && !bytes.HasPrefix(data, []byte("0")) {
				t.Errorf("stat %q: pid %d", data, p.pid)
			}
			again := fmt.Sprintf("%d (%s) S %d 0 0 0 0 0 %d 0 %d 0 %d 0 0 0 0 0 %d 0 %d %d %d", p.pid, p.comm, p.parent, p.minor, p.major, p.cpu, p.threads, p.start, p.vsz, p.rss)
			if q, err := parseStat([]byte(again), ""); err != nil || q != p {
				t.Errorf("stat %q: %+v comes back as %+v, %v", data, p, q, err)
			}
		}
		for controller, path := range parseMembership(data) {
			if strings.ContainsAny(controller, ":\n,") || strings.Contains(path, "\n") {
				t.Errorf("membership %q: %q at %q", data, controller, path)
			}
		}
		if id, _, ok := parseShimArgs(data); ok && (!validID(id) || strings.ContainsAny(id, "/ \x00\n")) {
			t.Errorf("arguments %q: id %q", data, id)
		}
		if v, ok := value(data, "usage_usec"); ok && !bytes.Contains(data, []byte(strconv.FormatUint(v, 10))) && !bytes.Contains(data, []byte("0")) {
			t.Errorf("value of %q is %d", data, v)
		}
		if size, resident, ok := parseStatm(data); ok {
			// As the kernel writes it, it says the same again.
			again := fmt.Sprintf("%d %d 0 0 0 0 0\n", size, resident)
			if s, r, ok := parseStatm([]byte(again)); !ok || s != size || r != resident {
				t.Errorf("statm %q: %d %d comes back as %d %d, %t", data, size, resident, s, r, ok)
			}
		}
		var l listing
		l.take(data)
		if n := len(l.pids) + int(l.folders); n*20 > len(data)+20 {
			t.Errorf("%d bytes of a listing hold %d entries", len(data), n)
		}
		parseNetDev(data)
		parseBlkio(data)
		parseIOStat(data)
	})
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]bool{"0": true, "18446744073709551615": true, "18446744073709551616": false,
		"99999999999999999999": false, "": false, "-1": false, "1 ": false, "0x1": false, "000000000000000000001": false} {
		v, ok := number([]byte(text))
		if ok != want || text == "18446744073709551615" && v != math.MaxUint64 {
			t.Errorf("number(%q) = %d, %v, want %v", text, v, ok, want)
		}
	}
}
