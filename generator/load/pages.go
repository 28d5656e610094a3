package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// codePages are the read-only file mappings of this process: several megabytes of
// code and constants, which count as resident memory once touched (RssFile in
// proc(5)) and outweigh the data of a low load. A sleeping load drops them. That is
// cheap: they are clean, and the next step faults the few it needs back in from the
// page cache.
type codePages struct {
	spans []span
}

// span is a range of addresses.
type span struct{ start, length uintptr }

func findCodePages() (*codePages, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("finding code pages: %w", err)
	}
	defer f.Close()
	spans, err := parseMaps(f)
	if err != nil {
		return nil, fmt.Errorf("finding code pages: %w", err)
	}
	return &codePages{spans: spans}, nil
}

// drop drops the pages. Errors do not matter: madvise(2) is a hint here.
func (c *codePages) drop() {
	for _, s := range c.spans {
		unix.RawSyscall(unix.SYS_MADVISE, s.start, s.length, unix.MADV_DONTNEED)
	}
}

// parseMaps parses /proc/PID/maps (proc(5)) and returns the private read-only file
// mappings, where MADV_DONTNEED loses no data.
func parseMaps(r io.Reader) ([]span, error) {
	var found []span
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// start-end perms offset dev inode path
		f := bytes.Fields(lines.Bytes())
		if len(f) < 6 || string(f[4]) == "0" || f[5][0] != '/' {
			continue
		}
		if perms := string(f[1]); !strings.HasPrefix(perms, "r-") || !strings.HasSuffix(perms, "p") {
			continue
		}
		from, to, ok := strings.Cut(string(f[0]), "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if !ok || err1 != nil || err2 != nil || end <= start {
			return nil, fmt.Errorf("memory map: invalid range %q", f[0])
		}
		found = append(found, span{uintptr(start), uintptr(end - start)})
	}
	return found, lines.Err()
}
