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

// quiet lets a sleeping load shrink to what it really needs. The program is
// several megabytes of code and constants, and whatever of it was touched
// counts as resident memory (RssFile in proc(5)): more than the work of a low
// load. These pages are clean copies of the file, so dropping them is free;
// the few that the next step needs come back from the page cache.
type quiet struct {
	code []span // read-only file mappings of this process
}

// span is a range of addresses.
type span struct{ start, length uintptr }

func newQuiet() (*quiet, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("finding own code: %w", err)
	}
	defer f.Close()
	code, err := parseMaps(f)
	if err != nil {
		return nil, fmt.Errorf("finding own code: %w", err)
	}
	return &quiet{code: code}, nil
}

// giveBack drops the pages. It is a hint to the kernel: where it is refused,
// the load is a little larger and nothing else is wrong.
func (q *quiet) giveBack() {
	for _, s := range q.code {
		unix.RawSyscall(unix.SYS_MADVISE, s.start, s.length, unix.MADV_DONTNEED)
	}
}

// parseMaps reads /proc/PID/maps (proc(5)) and returns the private mappings
// of files that cannot be written: there MADV_DONTNEED loses nothing.
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
			return nil, fmt.Errorf("range %q of the memory map is not start-end", f[0])
		}
		found = append(found, span{uintptr(start), uintptr(end - start)})
	}
	return found, lines.Err()
}
