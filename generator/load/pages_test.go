package load

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseMaps(t *testing.T) {
	const maps = `00400000-0067e000 r-xp 00000000 fe:00 1234 /stress
0067e000-00b0c000 r--p 0027e000 fe:00 1234 /stress
00b0c000-00b3d000 rw-p 0070c000 fe:00 1234 /stress
00b3d000-00b79000 rw-p 00000000 00:00 0
c000000000-c000400000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 r--s 00000000 fe:00 99 /shared
7f0000002000-7f0000003000 r--p 00000000 fe:00 98 /with a space
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
7ffc00030000-7ffc00032000 r-xp 00000000 00:00 0 [vdso]
`
	got, err := parseMaps(strings.NewReader(maps))
	want := []span{{0x400000, 0x27e000}, {0x67e000, 0x48e000}, {0x7f0000002000, 0x1000}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseMaps = %x, %v; want %x", got, err, want)
	}
	for _, bad := range []string{"x-y r--p 0 fe:00 1 /a", "20-10 r--p 0 fe:00 1 /a", "10 r--p 0 fe:00 1 /a"} {
		if _, err := parseMaps(strings.NewReader(bad)); err == nil {
			t.Errorf("parseMaps(%q) accepted", bad)
		}
	}
}
