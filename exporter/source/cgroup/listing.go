package cgroup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"
)

// listing is which processes there are. To list /proc costs as much as to read
// the memory of each process, so it is left out where the kernel's count of
// processes proves that nobody came: /proc has as many links as a folder has
// (stat(2), st_nlink), one for each process and each other folder in it. Where
// all processes that are known are still there, and there are as many as are
// known, they are all: it does not matter how many came and went in between, nor
// how.
//
// From inside a PID namespace below the host's the count is of the whole host,
// and other file systems count links otherwise, or not at all. There the numbers
// never add up, and /proc is listed each time.
type listing struct {
	pids    []int // in the kernel's order
	folders uint64
	at      time.Duration
	buf     []byte
}

// The links that a folder has of its own: its name and its ".".
const ownLinks = 2

// due tells whether proc has to be listed anew before the known processes are
// looked at. Where it need not be, and one of them turns out to be gone, it has
// to be after all: then another may have come in its place. A folder of another
// kind that comes or goes in proc, with a driver, may stand for a process: no
// longer than until all are listed, whatever the count says.
func (l *listing) due(proc string, now time.Duration) (bool, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(proc, &st); err != nil {
		return false, fmt.Errorf("counting processes: %w", &os.PathError{Op: "stat", Path: proc, Err: err})
	}
	return now-l.at >= recheck || uint64(st.Nlink) != ownLinks+l.folders+uint64(len(l.pids)), nil
}

// renew lists proc. If it fails there are none, and it is due again.
func (l *listing) renew(proc string, now time.Duration) error {
	l.pids, l.folders, l.at = l.pids[:0], 0, now
	dir, err := os.Open(proc)
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	defer dir.Close()
	if l.buf == nil {
		l.buf = make([]byte, 32<<10)
	}
	for {
		n, err := syscall.ReadDirent(int(dir.Fd()), l.buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			l.pids, l.folders = l.pids[:0], 0
			return fmt.Errorf("listing processes: %w", os.NewSyscallError("getdents", err))
		}
		if n <= 0 {
			return nil
		}
		l.take(l.buf[:n])
	}
}

// take reads records of getdents64(2): 8 bytes of inode, 8 of offset, 2 of
// length, 1 of type, and the name, which ends with a zero.
func (l *listing) take(b []byte) {
	const name = 19
	for len(b) > name {
		length := int(binary.NativeEndian.Uint16(b[16:]))
		if length <= name || length > len(b) {
			return
		}
		record := b[:length]
		b = b[length:]
		text, _, _ := bytes.Cut(record[name:], []byte{0})
		if pid, ok := number(text); ok && pid > 0 && pid <= maxPID {
			l.pids = append(l.pids, int(pid))
		} else if record[18] == syscall.DT_DIR && string(text) != "." && string(text) != ".." {
			l.folders++
		}
	}
}

// maxPID is more than PIDs can be (proc_sys_kernel(5), pid_max).
const maxPID = 1 << 30
